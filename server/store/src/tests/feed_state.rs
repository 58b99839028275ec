//! What messages leave behind: aliases, source times, holds, reviews, losses, incidents; references found.

use std::sync::Arc;

use bytes::Bytes;
use fhir_core::ids::ResourceKey;
use fhir_core::index::{IndexEntry, IndexValue};

use super::both_engines;
use super::engine::TestDatabase;
use super::world::{body, key, param};
use crate::{
    Action, Alias, AliasKind, AuditRecord, Bookkeeping, Change, Commit, ExpectVersion,
    MessageFilter, MessagePlace, MessageRecord, MessageState, NewReview, Owner, ReviewState, Store,
    UnmappedCode,
};

both_engines! {
    /// Verifies: SRS-140, SRS-141
    identities_lead_on_and_times_are_kept => identities;
    /// Verifies: SRS-142, SRS-144, SRS-148
    messages_are_read_again_wait_and_are_decided => states;
    losses_are_counted => losses;
    /// Verifies: SRS-141
    what_refers_to_a_record_is_found => referred;
    /// Verifies: SRS-147
    incidents_keep_their_steps => incidents;
}

fn record(control_id: &str, state: MessageState, bookkeeping: Bookkeeping) -> MessageRecord {
    MessageRecord {
        feed: "lab".into(),
        media_type: "x-application/hl7-v2+er7".into(),
        raw: Bytes::from(format!("MSH|{control_id}")),
        sender: "LAB".into(),
        control_id: control_id.into(),
        message_type: "ORU^R01".into(),
        state,
        reason: (state == MessageState::Refused).then(|| "AE no-identity: because".to_owned()),
        issues_json: r#"{"issues":[{"code":"unmapped-code"}]}"#.into(),
        made: vec![key("Patient", "a")],
        bookkeeping,
    }
}

async fn commit(store: &Store, record: MessageRecord) -> i64 {
    let commit = Commit {
        message: Some(record),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap().message.unwrap().id
}

fn person() -> AuditRecord {
    AuditRecord {
        agent: "ada".into(),
        channel: "admin".into(),
        action: 'U',
        interaction: "test",
        entity: None,
        detail: None,
        outcome: 0,
    }
}

fn alias(from: &str, into: &str) -> Alias {
    Alias {
        from: key("Patient", from),
        into: key("Patient", into),
        kind: AliasKind::Merged,
        revision: Some("2026".into()),
        pending: false,
    }
}

async fn identities(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let with = |aliases: Vec<Alias>| Bookkeeping {
        aliases,
        revisions: vec![
            (key("Patient", "a"), "1".into()),
            (key("Patient", "b"), "2".into()),
            (key("Patient", "a"), "3".into()),
        ],
        pair_revisions: vec![(key("Patient", "a"), "lab link b".into(), "9".into())],
        owners: vec![Owner {
            what: key("Encounter", "v"),
            owner: key("Patient", "b"),
            revision: None,
        }],
        ..Bookkeeping::default()
    };
    let pending = Alias {
        pending: true,
        ..alias("a", "b")
    };
    commit(
        &store,
        record("1", MessageState::Processed, with(vec![pending])),
    )
    .await;
    commit(
        &store,
        record("2", MessageState::Processed, with(vec![alias("b", "c")])),
    )
    .await;
    let keys = ["a", "b", "c"].map(|id| key("Patient", id)).to_vec();
    let known = store
        .known_identities("lab", [keys.clone(), vec![key("Encounter", "v")]].concat())
        .await
        .unwrap();
    let mut found: Vec<(ResourceKey, ResourceKey)> = known
        .aliases
        .iter()
        .map(|alias| (alias.from.clone(), alias.into.clone()))
        .collect();
    found.sort();
    let lead = |from: &str| (key("Patient", from), key("Patient", "c"));
    assert_eq!(found, [lead("a"), lead("b")]);
    assert_eq!(known.owners[0].owner, key("Patient", "b"));
    assert_eq!(
        store
            .aliases_into(&key("Patient", "c"))
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        store.pending_aliases().await.unwrap()[0].from,
        key("Patient", "a")
    );
    store.alias_done(&key("Patient", "a")).await.unwrap();
    assert!(store.pending_aliases().await.unwrap().is_empty());

    let mut times = store.known_revisions("lab", keys.clone()).await.unwrap();
    times.sort_by(|a, b| a.key.cmp(&b.key));
    let times: Vec<_> = times
        .iter()
        .map(|t| (t.revision.as_str(), t.message))
        .collect();
    assert_eq!(times, [("3", 2), ("2", 2)]);
    assert!(
        store
            .known_revisions("other", keys.clone())
            .await
            .unwrap()
            .is_empty()
    );
    let pair = store.known_revisions("lab link b", keys).await.unwrap();
    assert_eq!(pair[0].revision, "9");
}

async fn states(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let held = Bookkeeping {
        holds: vec!["Patient/a".into()],
        reviews: vec![NewReview {
            kind: "identity-conflict",
            subjects: vec![key("Patient", "b"), key("Patient", "a")],
            text: "who".into(),
        }],
        ..Bookkeeping::default()
    };
    let id = commit(&store, record("1", MessageState::Refused, held)).await;
    assert_eq!(
        store.holds("lab").await.unwrap(),
        [("Patient/a".to_owned(), id)]
    );
    let filter = |code: &str| MessageFilter {
        code: Some(code.into()),
        ..MessageFilter::default()
    };
    for (code, count) in [
        ("no-identity", 1),
        ("unmapped-code", 1),
        ("unmapped_code", 0),
    ] {
        let found = store.messages(filter(code), 10).await.unwrap();
        assert_eq!(found.len(), count, "{code}");
    }
    let of = |resource: &str| MessageFilter {
        resource: ResourceKey::parse(resource),
        message_type: Some("ORU".into()),
        control_id: Some("1".into()),
        ..MessageFilter::default()
    };
    assert_eq!(store.messages(of("Patient/a"), 10).await.unwrap().len(), 1);
    assert!(
        store
            .messages(of("Patient/z"), 10)
            .await
            .unwrap()
            .is_empty()
    );

    let again = Bookkeeping {
        place: MessagePlace::Again(id),
        mapping: Some("m 2".into()),
        ..Bookkeeping::default()
    };
    let same = commit(&store, record("1", MessageState::Replayed, again)).await;
    assert_eq!(same, id);
    let message = store.message_by_id(id).await.unwrap().unwrap();
    assert_eq!(
        (message.state, message.replays),
        (MessageState::Replayed, 1)
    );
    assert_eq!(message.mapping.as_deref(), Some("m 2"));
    assert_eq!(message.made.len(), 1);
    assert!(store.holds("lab").await.unwrap().is_empty());

    let copy = Bookkeeping {
        place: MessagePlace::CopyOf(id),
        ..Bookkeeping::default()
    };
    let copy = commit(&store, record("2", MessageState::Processed, copy)).await;
    let copy = store.message_by_id(copy).await.unwrap().unwrap();
    assert_eq!(copy.edited_from, Some(id));

    let review = store
        .reviews(Some(ReviewState::Open), None, 10)
        .await
        .unwrap()[0]
        .clone();
    assert_eq!(review.subjects, [key("Patient", "a"), key("Patient", "b")]);
    let close = || store.close_review(review.id, ReviewState::Resolved, "chosen".into(), person());
    assert!(close().await.unwrap());
    assert!(!close().await.unwrap(), "decided once");
    let closed = store.review(review.id).await.unwrap().unwrap();
    assert_eq!(
        closed.closed.map(|c| (c.1, c.2)),
        Some(("ada".into(), "chosen".into()))
    );
    let set = store.set_message_state(
        copy.id,
        MessageState::Discarded,
        Some("why".into()),
        person(),
    );
    assert!(set.await.unwrap());
    let missing = store.set_message_state(99, MessageState::Discarded, None, person());
    assert!(!missing.await.unwrap());
}

async fn losses(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let lost = |places: &[&str]| Bookkeeping {
        lost: places.iter().map(|place| (*place).to_owned()).collect(),
        unmapped: vec![UnmappedCode {
            place: "OBX-6.1".into(),
            code: "mg".into(),
        }],
        ..Bookkeeping::default()
    };
    for (control, places) in [
        ("1", &["PID-9"][..]),
        ("2", &["PID-9"]),
        ("3", &["PID-9", "ZXX-1"]),
    ] {
        commit(
            &store,
            record(control, MessageState::Warnings, lost(places)),
        )
        .await;
    }
    let found = store.losses(None, 10).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.places.len(), row.count))
        .collect();
    assert_eq!(found, [(1, 2), (2, 1)]);
    let found = store.unmapped(Some("lab".into()), 10).await.unwrap();
    assert_eq!(
        (found.len(), found[0].count, found[0].last_message),
        (1, 3, 3)
    );
    assert!(
        store
            .losses(Some("other".into()), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn referred(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let patient = key("Patient", "p");
    let put = |key: ResourceKey, code: &str| {
        let entries = [IndexEntry {
            param: param(key.resource_type.name(), code),
            value: IndexValue::Reference(patient.clone()),
        }];
        let index = store.prepare(&key, &[], &entries);
        Change {
            action: Action::Put {
                body: body(&key, "x"),
                index,
            },
            key,
            expect: ExpectVersion::Absent,
        }
    };
    let changes = vec![
        put(key("Observation", "o"), "subject"),
        put(key("Account", "c"), "subject"),
        put(key("Provenance", "v"), "target"),
    ];
    store
        .commit(Commit {
            changes,
            ..Commit::default()
        })
        .await
        .unwrap();
    let found = store
        .referrers(&patient, &["Provenance"], 10)
        .await
        .unwrap();
    assert_eq!(found, [key("Observation", "o"), key("Account", "c")]);
    assert_eq!(store.referrers(&patient, &[], 10).await.unwrap().len(), 3);
    assert_eq!(store.referrers(&patient, &[], 2).await.unwrap().len(), 2);
    assert!(
        store
            .referrers(&key("Patient", "q"), &[], 2)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn incidents(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let step = |state: &str| (state.to_owned(), "text".to_owned());
    let opened = store.open_incident("title".into(), vec![3, 4], step("open"), person());
    let id = opened.await.unwrap();
    let go = |from: &str, to: &str| store.step_incident(id, from.into(), step(to), person());
    assert!(go("open", "investigation").await.unwrap());
    assert!(
        !go("open", "investigation").await.unwrap(),
        "it stands elsewhere"
    );
    let incident = store.incident(id).await.unwrap().unwrap();
    assert_eq!(incident.messages, [3, 4]);
    let states: Vec<_> = incident.steps.iter().map(|s| s.state.as_str()).collect();
    assert_eq!(states, ["open", "investigation"]);
    assert_eq!(store.incidents(10).await.unwrap(), [incident]);
    assert_eq!(store.incident(99).await.unwrap(), None);
}
