//! Creating, changing, deleting, history, messages, audit, failures.

use std::sync::Arc;

use bytes::Bytes;
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::index::{IndexEntry, IndexValue};
use fhir_core::search::predicate::{Predicate, TokenTest, ValueTest};

use super::both_engines;
use super::engine::TestDatabase;
use super::world::{self, Random, body, key, param, type_of};
use crate::{
    Action, AuditQuery, AuditRecord, Change, Commit, CommitError, ExpectVersion, Expectation,
    FeedRow, HistoryQuery, HistoryScope, MessageFilter, MessageRecord, MessageState, Only,
    SearchQuery, Store, StoreError, TotalMode,
};

both_engines! {
    /// Verifies: SRS-002, SRS-023
    a_resource_lives_changes_dies_and_lives_again => lives;
    /// Verifies: SRS-007
    a_moved_version_is_a_conflict_and_writes_nothing => conflict;
    /// Verifies: SRS-007, SRS-017
    of_many_conditional_creates_one_succeeds => conditional_race;
    /// Verifies: SRS-008
    a_transaction_happens_whole_or_not_at_all => all_or_nothing;
    histories_are_complete_and_in_order => histories;
    deleting_everything_empties_the_index => emptied;
    /// Verifies: SRS-003, SRS-014, SRS-015
    a_message_is_recorded_once => messages;
    /// Verifies: SRS-013
    audit_rows_come_with_their_change => audited;
    /// Verifies: SRS-132, RC-132
    a_message_without_control_id_is_never_a_repeat => messages_without_id;
    /// Verifies: SRS-130, RC-130
    feeds_outlive_the_process_with_their_audit => feeds;
    /// Verifies: SRS-002
    a_failing_commit_leaves_the_others_of_its_group => poisoned;
    /// Verifies: SRS-010, RC-015
    a_newer_schema_is_refused => newer;
    pages_show_each_resource_once_while_others_are_written => paging;
    the_database_survives_reopening => reopened;
    a_position_is_found_within_its_distance => near;
    an_index_can_be_made_anew => reindexed;
}

fn identifier(type_name: &str, value: &str) -> IndexEntry<'static> {
    let value = IndexValue::Identifier {
        system: Some("http://ids.example".into()),
        value: value.to_owned().into(),
        types: Vec::new(),
    };
    IndexEntry {
        param: param(type_name, "identifier"),
        value,
    }
}

fn put(
    store: &Store,
    key: &ResourceKey,
    expect: ExpectVersion,
    note: &str,
    entries: &[IndexEntry<'_>],
) -> Change {
    let index = store.prepare(key, &[], entries);
    Change {
        key: key.clone(),
        expect,
        action: Action::Put {
            body: body(key, note),
            index,
        },
    }
}

fn one(change: Change) -> Commit {
    Commit {
        changes: vec![change],
        ..Commit::default()
    }
}

fn by_identifier(value: &str) -> Predicate {
    let test = ValueTest::Token(TokenTest::SystemCode(
        "http://ids.example".into(),
        value.into(),
    ));
    Predicate::Value {
        param: param("Patient", "identifier"),
        test,
    }
}

fn query(type_name: &str, predicate: Predicate) -> SearchQuery {
    SearchQuery {
        resource_type: type_of(type_name),
        predicate,
        sort: Vec::new(),
        limit: 1_000,
        after: None,
        total: TotalMode::Accurate,
        only: Only::Bodies,
    }
}

async fn lives(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let patient = key("Patient", "p1");
    assert_eq!(store.read(&patient).await.unwrap(), None);
    let done = store
        .commit(one(put(
            &store,
            &patient,
            ExpectVersion::Absent,
            "one",
            &[],
        )))
        .await
        .unwrap();
    assert_eq!(done.results[0].0, VersionId(1));
    let first = store.read(&patient).await.unwrap().unwrap();
    assert_eq!(
        (first.version, first.updated, first.deleted),
        (VersionId(1), done.results[0].1, false)
    );
    assert_eq!(
        first.json,
        body(&patient, "one").to_bytes(VersionId(1), first.updated)
    );

    let change = put(
        &store,
        &patient,
        ExpectVersion::Version(VersionId(1)),
        "two",
        &[],
    );
    let second = store.commit(one(change)).await.unwrap().results[0];
    assert!(second.1 > first.updated);
    let index = store.prepare(&patient, &[], &[]);
    let delete = Change {
        key: patient.clone(),
        expect: ExpectVersion::Version(VersionId(2)),
        action: Action::Delete { index },
    };
    store.commit(one(delete)).await.unwrap();
    let gone = store.read(&patient).await.unwrap().unwrap();
    assert!(gone.deleted && gone.json.is_empty() && gone.version == VersionId(3));
    assert_eq!(
        store
            .read_many(std::slice::from_ref(&patient))
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        store
            .search(query("Patient", Predicate::Everything))
            .await
            .unwrap()
            .matches,
        []
    );

    let change = put(
        &store,
        &patient,
        ExpectVersion::Version(VersionId(3)),
        "four",
        &[],
    );
    store.commit(one(change)).await.unwrap();
    assert_eq!(
        store
            .search(query("Patient", Predicate::Everything))
            .await
            .unwrap()
            .total,
        Some(1)
    );
    for version in 1..=4 {
        let stored = store
            .vread(&patient, VersionId(version))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (stored.version, stored.deleted),
            (VersionId(version), version == 3)
        );
    }
    assert_eq!(store.vread(&patient, VersionId(5)).await.unwrap(), None);
    assert_eq!(
        store
            .vread(&patient, VersionId(1))
            .await
            .unwrap()
            .unwrap()
            .json,
        first.json
    );
    assert_eq!(
        store.counts().await.unwrap().live,
        [(type_of("Patient"), 1)]
    );
    store.ping().await.unwrap();
    store.close().await;
}

async fn conflict(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let patient = key("Patient", "p1");
    store
        .commit(one(put(
            &store,
            &patient,
            ExpectVersion::Absent,
            "one",
            &[],
        )))
        .await
        .unwrap();
    for expect in [ExpectVersion::Absent, ExpectVersion::Version(VersionId(2))] {
        let refused = store
            .commit(one(put(
                &store,
                &patient,
                expect,
                "x",
                &[identifier("Patient", "1")],
            )))
            .await;
        let current = Some((VersionId(1), false));
        assert_eq!(
            refused,
            Err(CommitError::VersionMoved { index: 0, current })
        );
    }
    let missing = put(
        &store,
        &key("Patient", "p2"),
        ExpectVersion::Version(VersionId(1)),
        "x",
        &[],
    );
    assert_eq!(
        store.commit(one(missing)).await,
        Err(CommitError::VersionMoved {
            index: 0,
            current: None
        })
    );
    assert_eq!(
        store
            .search(query("Patient", by_identifier("1")))
            .await
            .unwrap()
            .matches,
        []
    );
    let twice = Commit {
        changes: vec![
            put(
                &store,
                &key("Patient", "p3"),
                ExpectVersion::Absent,
                "x",
                &[],
            ),
            put(
                &store,
                &key("Patient", "p3"),
                ExpectVersion::Absent,
                "x",
                &[],
            ),
        ],
        ..Commit::default()
    };
    assert!(matches!(
        store.commit(twice).await,
        Err(CommitError::Internal(_))
    ));
    store.close().await;
}

async fn conditional_race(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let mut tasks = Vec::new();
    for n in 0..64 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let patient = key("Patient", &format!("p{n}"));
            let mut commit = one(put(
                &store,
                &patient,
                ExpectVersion::Absent,
                "x",
                &[identifier("Patient", "same")],
            ));
            commit.expects.push(Expectation::Matches {
                resource_type: type_of("Patient"),
                predicate: by_identifier("same"),
                keys: Vec::new(),
            });
            store.commit(commit).await
        }));
    }
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error, CommitError::ExpectationFailed { index: 0 }),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(
        store
            .search(query("Patient", by_identifier("same")))
            .await
            .unwrap()
            .total,
        Some(1)
    );
    store.close().await;
}

async fn all_or_nothing(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let keys: Vec<_> = (0..5).map(|n| key("Patient", &format!("p{n}"))).collect();
    store
        .commit(one(put(&store, &keys[4], ExpectVersion::Absent, "x", &[])))
        .await
        .unwrap();
    let changes = |store: &Store| {
        keys.iter()
            .map(|k| put(store, k, ExpectVersion::Absent, "x", &[]))
            .collect()
    };
    let refused = store
        .commit(Commit {
            changes: changes(&store),
            ..Commit::default()
        })
        .await;
    assert!(matches!(
        refused,
        Err(CommitError::VersionMoved { index: 4, .. })
    ));
    assert_eq!(
        store
            .search(query("Patient", Predicate::Everything))
            .await
            .unwrap()
            .total,
        Some(1)
    );
    let mut rest: Vec<Change> = changes(&store);
    rest.pop();
    let done = store
        .commit(Commit {
            changes: rest,
            ..Commit::default()
        })
        .await
        .unwrap();
    let times: Vec<Instant> = done.results.iter().map(|(_, at)| *at).collect();
    assert!(
        times.is_sorted_by(|a, b| a < b),
        "every version has a time of its own"
    );
    assert_eq!(
        store
            .search(query("Patient", Predicate::Everything))
            .await
            .unwrap()
            .total,
        Some(5)
    );
    store.close().await;
}

async fn histories(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let mut expected = Vec::new();
    let mut random = Random(5);
    let mut versions = [0_i64; 4];
    let keys: Vec<_> = ["Patient", "Observation"]
        .iter()
        .flat_map(|t| (0..2).map(|n| key(t, &format!("h{n}"))).collect::<Vec<_>>())
        .collect();
    for _ in 0..40 {
        let n = random.below(4);
        let is_deleted = versions[n] > 0 && store.read(&keys[n]).await.unwrap().unwrap().deleted;
        let expect = if versions[n] == 0 {
            ExpectVersion::Absent
        } else {
            ExpectVersion::Version(VersionId(versions[n]))
        };
        let index = store.prepare(&keys[n], &[], &[]);
        let change = if versions[n] > 0 && !is_deleted && random.chance(30) {
            Change {
                key: keys[n].clone(),
                expect,
                action: Action::Delete { index },
            }
        } else {
            put(&store, &keys[n], expect, "h", &[])
        };
        let (version, updated) = store.commit(one(change)).await.unwrap().results[0];
        versions[n] = version.0;
        expected.insert(0, (keys[n].clone(), version, updated));
    }
    let scopes = [
        HistoryScope::System,
        HistoryScope::Type(type_of("Patient")),
        HistoryScope::Type(type_of("Observation")),
        HistoryScope::Instance(keys[0].clone()),
    ];
    for scope in scopes {
        let is_meant = |key: &ResourceKey| match &scope {
            HistoryScope::System => true,
            HistoryScope::Type(t) => key.resource_type == *t,
            HistoryScope::Instance(k) => key == k,
        };
        for (since, until) in [
            (None, None),
            (Some(expected[20].2), None),
            (None, Some(expected[20].2)),
        ] {
            let is_then =
                |at: Instant| since.is_none_or(|s| at >= s) && until.is_none_or(|u| at <= u);
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(k, _, at)| is_meant(k) && is_then(*at))
                .cloned()
                .collect();
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let query = HistoryQuery {
                    scope: scope.clone(),
                    since,
                    until,
                    at: None,
                    order: crate::api::HistoryOrder::NewestFirst,
                    limit: 3,
                    after,
                    total: TotalMode::Accurate,
                };
                let page = store.history(query).await.unwrap();
                assert_eq!(page.total, Some(wanted.len() as u64));
                found.extend(
                    page.versions
                        .into_iter()
                        .map(|v| (v.key, v.version, v.updated)),
                );
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, wanted);
        }
    }
    store.close().await;
}

async fn emptied(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let mut random = Random(3);
    let mut all = Vec::new();
    for n in 0..60 {
        let type_name = world::TYPES[n % 3];
        let entries = world::entries(&mut random, type_name, true);
        let key = key(type_name, &format!("e{n}"));
        store
            .commit(one(put(&store, &key, ExpectVersion::Absent, "x", &entries)))
            .await
            .unwrap();
        all.push((key, entries));
    }
    for (key, entries) in &mut all {
        let more = world::entries(&mut random, key.resource_type.name(), true);
        let index = store.prepare(key, entries, &more);
        let action = Action::Put {
            body: body(key, "y"),
            index,
        };
        let expect = ExpectVersion::Version(VersionId(1));
        store
            .commit(one(Change {
                key: key.clone(),
                expect,
                action,
            }))
            .await
            .unwrap();
        *entries = more;
    }
    store.integrity_check().await.unwrap();
    for (key, entries) in &all {
        let action = Action::Delete {
            index: store.prepare(key, entries, &[]),
        };
        let expect = ExpectVersion::Version(VersionId(2));
        store
            .commit(one(Change {
                key: key.clone(),
                expect,
                action,
            }))
            .await
            .unwrap();
    }
    database.with_db(|db| {
        for table in ["post", "ref", "dat", "num", "str", "comp", "sd"] {
            let mut sql = crate::sql::Sql::new("SELECT count(*) FROM ");
            sql.push(table);
            assert_eq!(db.number(sql).unwrap(), 0, "{table}");
        }
    });
    assert_eq!(store.counts().await.unwrap().live, []);
    store.close().await;
}

fn message(control_id: &str, raw: &'static [u8], made: Vec<ResourceKey>) -> MessageRecord {
    MessageRecord {
        feed: "lab".into(),
        media_type: "x-application/hl7-v2+er7".into(),
        raw: Bytes::from_static(raw),
        sender: "LAB|HOSPITAL".into(),
        control_id: control_id.into(),
        message_type: "ORU^R01".into(),
        state: MessageState::Processed,
        reason: None,
        issues_json: "[]".into(),
        made,
        bookkeeping: crate::Bookkeeping::default(),
    }
}

async fn messages_without_id(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let commit = Commit {
            message: Some(message("", b"MSH|the same", Vec::new())),
            ..Commit::default()
        };
        let receipt = store.commit(commit).await.unwrap().message.unwrap();
        assert!(!receipt.repeat && !receipt.same_control_id_other_content);
        ids.push(receipt.id);
    }
    assert_ne!(ids[0], ids[1]);
}

async fn feeds(database: Arc<TestDatabase>) {
    let audit = |action, detail: &str| AuditRecord {
        agent: "admin".into(),
        channel: "admin".into(),
        action,
        interaction: "feed",
        entity: None,
        detail: Some(detail.into()),
        outcome: 0,
    };
    let row = |name: &str, settings: Option<&str>, paused| FeedRow {
        name: name.into(),
        settings: settings.map(str::to_owned),
        paused,
        changed_at: Instant(0),
    };
    let store = database.open().await;
    for (feed, action) in [
        (row("lab", Some("{}"), false), 'C'),
        (row("adt", None, true), 'C'),
        (row("lab", Some("{\"a\":1}"), true), 'U'),
    ] {
        let detail = feed.name.clone();
        store.put_feed(feed, audit(action, &detail)).await.unwrap();
    }
    store.close().await;
    let store = database.open().await;
    let stored = store.feeds().await.unwrap();
    let shown: Vec<_> = stored
        .iter()
        .map(|f| (f.name.as_str(), f.settings.as_deref(), f.paused))
        .collect();
    assert_eq!(
        shown,
        [("adt", None, true), ("lab", Some("{\"a\":1}"), true)]
    );
    assert!(stored.iter().all(|f| f.changed_at.0 > 0));
    assert!(
        store
            .remove_feed("lab".into(), audit('D', "lab"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .remove_feed("lab".into(), audit('D', "lab"))
            .await
            .unwrap()
    );
    assert_eq!(store.feeds().await.unwrap().len(), 1);
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let actions: String = store
        .audit_page(query)
        .await
        .unwrap()
        .rows
        .iter()
        .rev()
        .map(|row| row.action)
        .collect();
    assert_eq!(actions, "CCUD");
}

async fn messages(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let patient = key("Patient", "p1");
    let raw: &[u8] = b"MSH|^~\\&|LAB|HOSPITAL\x00\xff|";
    let mut commit = one(put(&store, &patient, ExpectVersion::Absent, "x", &[]));
    commit.message = Some(message(
        "1",
        raw,
        vec![patient.clone(), key("Patient", "p2")],
    ));
    let receipt = store.commit(commit).await.unwrap().message.unwrap();
    assert!(!receipt.repeat && !receipt.same_control_id_other_content);

    let mut again = one(put(
        &store,
        &key("Patient", "p3"),
        ExpectVersion::Absent,
        "x",
        &[],
    ));
    again.message = Some(message("1", raw, Vec::new()));
    let Err(CommitError::RepeatedMessage(repeat)) = store.commit(again).await else {
        panic!("it is a repeat")
    };
    assert!(repeat.repeat && repeat.id == receipt.id && repeat.received_at == receipt.received_at);
    assert_eq!(store.read(&key("Patient", "p3")).await.unwrap(), None);

    let mut refused = message("1", b"other", Vec::new());
    (refused.state, refused.reason) = (MessageState::Refused, Some("no patient".into()));
    let other = store
        .commit(Commit {
            message: Some(refused),
            ..Commit::default()
        })
        .await
        .unwrap()
        .message
        .unwrap();
    assert!(other.same_control_id_other_content && other.state == MessageState::Refused);

    let stored = store.message_by_id(receipt.id).await.unwrap().unwrap();
    assert_eq!(
        stored.made,
        [(patient, Some(VersionId(1))), (key("Patient", "p2"), None)]
    );
    assert_eq!(
        store.message_raw(stored.raw_hash).await.unwrap().unwrap(),
        raw
    );
    assert_eq!(stored.raw_bytes, raw.len() as u64);
    let list = |filter: MessageFilter| {
        let store = store.clone();
        async move {
            store
                .messages(filter, 10)
                .await
                .unwrap()
                .iter()
                .map(|m| m.id)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(list(MessageFilter::default()).await, [other.id, receipt.id]);
    let refused = MessageFilter {
        state: Some(MessageState::Refused),
        feed: Some("lab".into()),
        ..MessageFilter::default()
    };
    assert_eq!(list(refused).await, [other.id]);
    let older = MessageFilter {
        before: Some(other.id),
        ..MessageFilter::default()
    };
    assert_eq!(list(older).await, [receipt.id]);
    store.close().await;
}

fn record(agent: &str, entity: Option<ResourceKey>) -> AuditRecord {
    AuditRecord {
        agent: agent.into(),
        channel: "rest".into(),
        action: 'C',
        interaction: "create",
        entity: entity.map(|key| (key, None)),
        detail: None,
        outcome: 0,
    }
}

async fn audited(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let patient = key("Patient", "p1");
    let mut commit = one(put(&store, &patient, ExpectVersion::Absent, "x", &[]));
    commit.audit.push(record("ann", Some(patient.clone())));
    store.commit(commit.clone()).await.unwrap();
    assert!(
        store.commit(commit).await.is_err(),
        "the second create is refused, with its audit row"
    );
    store
        .record_reads(vec![record("bob", None), record("ann", None)])
        .await
        .unwrap();
    let ask = |query: AuditQuery| {
        let store = store.clone();
        async move { store.audit_page(query).await.unwrap() }
    };
    let all = ask(AuditQuery {
        limit: 2,
        ..AuditQuery::default()
    })
    .await;
    assert_eq!(
        all.rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
        [3, 2]
    );
    let rest = ask(AuditQuery {
        limit: 2,
        before: all.next,
        ..AuditQuery::default()
    })
    .await;
    assert_eq!(rest.next, None);
    assert_eq!(
        rest.rows[0].entity,
        Some((patient.clone(), Some(VersionId(1))))
    );
    assert_eq!(
        (rest.rows[0].action, rest.rows[0].interaction.as_str()),
        ('C', "create")
    );
    let about = ask(AuditQuery {
        entity: Some(patient),
        limit: 9,
        ..AuditQuery::default()
    })
    .await;
    assert_eq!(about.rows.len(), 1);
    assert_eq!(
        ask(AuditQuery {
            agent: Some("ann".into()),
            limit: 9,
            ..AuditQuery::default()
        })
        .await
        .rows
        .len(),
        2
    );
    store.close().await;
}

async fn poisoned(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let is_sqlite = database.is_sqlite();
    database.with_db(|db| {
        let poison = if is_sqlite {
            "CREATE TRIGGER poison BEFORE INSERT ON res WHEN NEW.id = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
        } else {
            "ALTER TABLE res ADD CONSTRAINT poison CHECK (id <> 'poison')"
        };
        db.batch(poison).unwrap();
    });
    let mut tasks = Vec::new();
    for n in 0..50 {
        let id = if n == 25 {
            "poison".to_owned()
        } else {
            format!("p{n}")
        };
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let patient = key("Patient", &id);
            let change = put(
                &store,
                &patient,
                ExpectVersion::Absent,
                "x",
                &[identifier("Patient", &id)],
            );
            (id, store.commit(one(change)).await)
        }));
    }
    for task in tasks {
        let (id, result) = task.await.unwrap();
        assert_eq!(result.is_ok(), id != "poison", "{id}: {result:?}");
    }
    assert_eq!(
        store
            .search(query("Patient", Predicate::Everything))
            .await
            .unwrap()
            .total,
        Some(49)
    );
    assert_eq!(
        store
            .search(query("Patient", by_identifier("poison")))
            .await
            .unwrap()
            .total,
        Some(0)
    );
    store.integrity_check().await.unwrap();
    store.close().await;
}

async fn newer(database: Arc<TestDatabase>) {
    database.open().await.close().await;
    database.with_db(|db| {
        db.batch("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')")
            .unwrap();
    });
    let refused = Store::open(database.options()).await.err();
    assert_eq!(
        refused,
        Some(StoreError::NewerSchema {
            found: "29991231000000".into()
        })
    );
}

async fn paging(database: Arc<TestDatabase>) {
    let store = database.open().await;
    for n in 0..60 {
        let patient = key("Patient", &format!("p{n}"));
        store
            .commit(one(put(&store, &patient, ExpectVersion::Absent, "x", &[])))
            .await
            .unwrap();
    }
    let mut ask = query("Patient", Predicate::Everything);
    ask.limit = 7;
    let mut seen = Vec::new();
    let mut versions = [1_i64; 60];
    let mut random = Random(9);
    loop {
        let page = store.search(ask.clone()).await.unwrap();
        seen.extend(page.matches.iter().map(|m| m.key.to_string()));
        // Meanwhile others are changed and created.
        for n in 0..5 {
            let place = random.below(60);
            let patient = key("Patient", &format!("p{place}"));
            let expect = ExpectVersion::Version(VersionId(versions[place]));
            store
                .commit(one(put(&store, &patient, expect, "y", &[])))
                .await
                .unwrap();
            versions[place] += 1;
            let fresh = key("Patient", &format!("new{}-{n}", seen.len()));
            if seen.len() < 40 {
                store
                    .commit(one(put(&store, &fresh, ExpectVersion::Absent, "z", &[])))
                    .await
                    .unwrap();
            }
        }
        ask.after = page.next;
        if ask.after.is_none() {
            break;
        }
    }
    let old: Vec<_> = seen.iter().filter(|k| k.starts_with("Patient/p")).collect();
    let mut unique = old.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((old.len(), unique.len()), (60, 60));
    store.close().await;
}

async fn reopened(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let secret = store.secret();
    let patient = key("Patient", "p1");
    let entries = [identifier("Patient", "77")];
    store
        .commit(one(put(
            &store,
            &patient,
            ExpectVersion::Absent,
            "x",
            &entries,
        )))
        .await
        .unwrap();
    let before = store.read(&patient).await.unwrap();
    store.close().await;
    assert!(matches!(
        store.commit(Commit::default()).await,
        Err(CommitError::Unavailable(_))
    ));

    let mut options = database.options();
    options.hash_seed = None;
    options.clock = Arc::new(|| Instant(0));
    let store = Store::open(options).await.unwrap();
    assert_eq!(store.secret(), secret);
    assert_eq!(store.read(&patient).await.unwrap(), before);
    assert_eq!(
        store
            .search(query("Patient", by_identifier("77")))
            .await
            .unwrap()
            .total,
        Some(1)
    );
    // A clock that has gone back does not make times go back.
    let other = put(
        &store,
        &key("Patient", "p2"),
        ExpectVersion::Absent,
        "x",
        &[],
    );
    assert!(store.commit(one(other)).await.unwrap().results[0].1 > before.unwrap().updated);
    store.close().await;
}

async fn near(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let place = |latitude_e7, longitude_e7| {
        vec![IndexEntry {
            param: param("Location", "near"),
            value: IndexValue::Position {
                latitude_e7,
                longitude_e7,
            },
        }]
    };
    let here = key("Location", "here");
    let there = key("Location", "there");
    store
        .commit(one(put(
            &store,
            &here,
            ExpectVersion::Absent,
            "x",
            &place(520_000_000, 130_000_000),
        )))
        .await
        .unwrap();
    store
        .commit(one(put(
            &store,
            &there,
            ExpectVersion::Absent,
            "x",
            &place(530_000_000, 130_000_000),
        )))
        .await
        .unwrap();
    for (distance_m, expected) in [(1_000, 1), (100_000, 1), (112_000, 2)] {
        let test = ValueTest::Near {
            latitude_e7: 520_000_000,
            longitude_e7: 130_000_000,
            distance_m,
        };
        let ask = query(
            "Location",
            Predicate::Value {
                param: param("Location", "near"),
                test,
            },
        );
        assert_eq!(
            store.search(ask).await.unwrap().total,
            Some(expected),
            "{distance_m}"
        );
    }
    store.close().await;
}

async fn reindexed(database: Arc<TestDatabase>) {
    let store = database.open().await;
    for n in 0..5 {
        let patient = key("Patient", &format!("p{n}"));
        store
            .commit(one(put(
                &store,
                &patient,
                ExpectVersion::Absent,
                "x",
                &[identifier("Patient", "old")],
            )))
            .await
            .unwrap();
    }
    store.clear_index().await.unwrap();
    let mut after = None;
    loop {
        let page = store.reindex_page(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.rid);
        for row in &page {
            let index = store.prepare(&row.stored.key, &[], &[identifier("Patient", "new")]);
            assert!(
                store
                    .replace_index(row.rid, row.stored.version, index.clone())
                    .await
                    .unwrap()
            );
            assert!(
                !store
                    .replace_index(row.rid, VersionId(99), index)
                    .await
                    .unwrap()
            );
        }
    }
    for (value, expected) in [("old", 0), ("new", 5)] {
        assert_eq!(
            store
                .search(query("Patient", by_identifier(value)))
                .await
                .unwrap()
                .total,
            Some(expected)
        );
    }
    store.close().await;
}

/// Verifies: SRS-002
#[test]
fn a_full_disk_refuses_and_harms_nothing() {
    super::engine::run(super::engine::sqlite(), |database| async move {
        let mut options = database.options();
        options.database_bytes_max = Some(600_000);
        let store = Store::open(options).await.unwrap();
        let mut stored = Vec::new();
        for n in 0..2_000 {
            let patient = key("Patient", &format!("p{n}"));
            let note: String = (0..40)
                .map(|i| format!("{:x}", (n * 7919 + i * 104_729) ^ 0x5a5a))
                .collect();
            match store
                .commit(one(put(
                    &store,
                    &patient,
                    ExpectVersion::Absent,
                    &note,
                    &[],
                )))
                .await
            {
                Ok(_) => stored.push(patient),
                Err(error) => {
                    assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
                    break;
                }
            }
        }
        assert!(stored.len() < 2_000, "the disk becomes full");
        store.integrity_check().await.unwrap();
        store.close().await;
        let store = database.open().await;
        assert_eq!(
            store
                .search(query("Patient", Predicate::Everything))
                .await
                .unwrap()
                .total,
            Some(stored.len() as u64)
        );
        let next = put(
            &store,
            &key("Patient", "after"),
            ExpectVersion::Absent,
            "x",
            &[],
        );
        store.commit(one(next)).await.expect("there is room again");
        store.close().await;
    });
}

/// Verifies: SRS-016
#[test]
fn a_full_queue_refuses_at_once() {
    super::engine::run(super::engine::sqlite(), |database| async move {
        let mut options = database.options();
        options.queue_commits_max = 1;
        let store = Store::open(options).await.unwrap();
        let commits: Vec<_> = (0..500)
            .map(|n| {
                one(put(
                    &store,
                    &key("Patient", &format!("p{n}")),
                    ExpectVersion::Absent,
                    "x",
                    &[],
                ))
            })
            .collect();
        let tasks: Vec<_> = commits
            .into_iter()
            .map(|commit| {
                let store = store.clone();
                tokio::spawn(async move { store.commit(commit).await })
            })
            .collect();
        let (mut done, mut refused) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => done += 1,
                Err(error) => {
                    assert_eq!(error, CommitError::Overloaded);
                    refused += 1;
                }
            }
        }
        assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
        assert_eq!(store.metrics().overloads, refused);
        assert_eq!(
            store
                .search(query("Patient", Predicate::Everything))
                .await
                .unwrap()
                .total,
            Some(done)
        );
        store.close().await;
    });
}
