//! What is kept of EHR tenants, on both engines; the meaning of a page is tested in the server.

use bytes::Bytes;
use fhir_core::ids::Instant;

use crate::tests::both_engines;
use crate::tests::engine::TestDatabase;
use crate::{
    Commit, CommitError, EhrCounts, EhrKey, EhrPage, EhrRecord, EhrReview, EhrRun, EhrWalk, Store,
};

fn key(number: u8) -> EhrKey {
    EhrKey([number; 16])
}

fn record(number: u8, hash: &str) -> EhrRecord {
    EhrRecord {
        key: key(number),
        tenant: "north".to_owned(),
        persona: "system".to_owned(),
        resource_type: "Patient".to_owned(),
        source: format!("source-{number}\0"),
        local: format!("local-{number}"),
        hash: hash.to_owned(),
        updated: number.is_multiple_of(2).then_some(Instant(5)),
        version: None,
        rules: "1".to_owned(),
        masked: number == 3,
        deleted: false,
        replaced_by: None,
        raw_at: 2..5,
    }
}

fn page(walk: u8, revision: i64) -> EhrPage {
    EhrPage {
        walk: EhrWalk {
            key: key(walk),
            tenant: "north".to_owned(),
            persona: "system".to_owned(),
            subject: format!("subject-{walk}"),
            resource_type: "Patient".to_owned(),
            category: None,
            revision,
            state: "{}".to_owned(),
        },
        raw: Bytes::new(),
        records: Vec::new(),
        replaced: Vec::new(),
        gone: Vec::new(),
        seen: Vec::new(),
        sweep: revision,
        missed: Vec::new(),
        counts: EhrCounts::default(),
        reviews: Vec::new(),
    }
}

async fn commit(store: &Store, page: EhrPage) -> Result<(), CommitError> {
    let done = store.commit_page(Commit::default(), page).await;
    done.map(|_| ())
}

both_engines! {
    /// Verifies: SRS-200, RC-200
    pages_of_ehr_walks_are_kept_whole => pages_are_kept_whole;
    what_belongs_to_ehr_tenants_is_kept => small_things_are_kept;
    /// Verifies: SRS-361, RC-361
    copies_of_other_rules_are_found_with_their_bytes => outdated_copies_are_found;
}

async fn outdated_copies_are_found(database: std::sync::Arc<TestDatabase>) {
    let store = database.open().await;
    let mut first = page(200, 1);
    first.records = (0..5).map(|number| record(number, "a")).collect();
    first.raw = Bytes::from_static(b"0123456789");
    commit(&store, first).await.unwrap();
    let mut second = page(200, 2);
    second.records = (5..9).map(|number| record(number, "a")).collect();
    second.raw = Bytes::from_static(b"abcdefghij");
    commit(&store, second).await.unwrap();
    let all = async |store: &crate::Store| {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let some = store.ehr_outdated("north", "system", "2", after, 2);
            let some = some.await.unwrap();
            let Some((last, _)) = some.last() else {
                return found;
            };
            after = Some(last.key);
            found.extend(some);
        }
    };
    let found = all(&store).await;
    let mut keys: Vec<_> = found.iter().map(|(record, _)| record.key).collect();
    keys.sort();
    assert_eq!(keys, (0..9).map(key).collect::<Vec<_>>(), "each once");
    for (record, raw) in &found {
        let sent: &[u8] = if record.key < key(5) { b"234" } else { b"cde" };
        assert_eq!(raw.as_deref(), Some(sent));
    }
    // A row that learns of new rules keeps its bytes; one that is gone is no copy.
    let mut learnt = record(0, "a");
    learnt.rules = "2".to_owned();
    learnt.raw_at = 0..0;
    let mut gone = record(1, "a");
    gone.deleted = true;
    let mut third = page(200, 3);
    third.records = vec![learnt, gone];
    third.replaced = vec![(key(2), key(3))];
    commit(&store, third).await.unwrap();
    assert_eq!(all(&store).await.len(), 9 - 3);
    let raw = store.ehr_raw(key(0)).await.unwrap();
    assert_eq!(raw.as_deref(), Some(&b"234"[..]));
    assert_eq!(
        store.ehr_outdated("north", "patient", "2", None, 2).await,
        Ok(Vec::new())
    );

    let source = store.ehr_source_of("north", "system", "local-7").await;
    assert_eq!(source.unwrap().as_deref(), Some("source-7\u{2400}"));
    for (tenant, local) in [("south", "local-7"), ("north", "local-1"), ("north", "x")] {
        let source = store.ehr_source_of(tenant, "system", local).await;
        assert_eq!(source.unwrap(), None, "{tenant} {local}");
    }
}

async fn pages_are_kept_whole(database: std::sync::Arc<TestDatabase>) {
    let store = database.open().await;
    let mut first = page(200, 1);
    // More than one statement takes, and one record twice.
    first.records = (0..75).map(|number| record(number, "a")).collect();
    first.records.push(record(3, "b"));
    first.seen = (0..75).map(key).collect();
    first.raw = Bytes::from_static(b"0123456789");
    first.counts.received = 76;
    commit(&store, first.clone()).await.unwrap();
    assert_eq!(commit(&store, first).await, Err(CommitError::WalkMoved));
    let known = store.ehr_known(vec![key(3), key(99)]).await.unwrap();
    let mut expected = record(3, "b");
    expected.source = "source-3\u{2400}".to_owned();
    assert_eq!(known, [expected]);
    let raw = store.ehr_raw(key(7)).await.unwrap();
    assert_eq!(raw.as_deref(), Some(&b"234"[..]));
    assert_eq!(store.ehr_members(key(200)).await.unwrap().len(), 75);

    let mut second = page(200, 2);
    second.missed = vec![key(1)];
    second.gone = vec![key(2)];
    second.replaced = vec![(key(4), key(5))];
    second.counts.received = 1;
    commit(&store, second).await.unwrap();
    let members = store.ehr_members(key(200)).await.unwrap();
    let missed: Vec<&str> = members
        .iter()
        .filter(|member| member.missed == 1)
        .map(|member| member.local.as_str())
        .collect();
    assert_eq!((members.len(), missed), (74, vec!["local-1"]));
    let known = store.ehr_known(vec![key(4)]).await.unwrap();
    let keys: Vec<EhrKey> = known.iter().map(|row| row.key).collect();
    assert_eq!(keys, [key(4), key(5)]);

    let mut other = page(201, 1);
    other.seen = vec![key(1)];
    commit(&store, other).await.unwrap();
    assert_eq!(store.ehr_members(key(200)).await.unwrap().len(), 73);
    let (pages, counts) = store.ehr_totals("north").await.unwrap();
    assert_eq!((pages, counts.received), (3, 77));
    let walks = store.ehr_walks("north", None).await.unwrap();
    assert_eq!(walks.len(), 2);
    let own = store.ehr_patients_of("north", vec!["local-9".into(), "else".into()]);
    assert_eq!(own.await.unwrap(), ["local-9"]);
    store.close().await;
}

async fn small_things_are_kept(database: std::sync::Arc<TestDatabase>) {
    let store = database.open().await;
    store.ehr_put_tenant("north", "a = 1").await.unwrap();
    store.ehr_put_tenant("north", "a = 2").await.unwrap();
    let tenants = store.ehr_tenants().await.unwrap();
    assert_eq!(tenants.len(), 1);
    assert_eq!(tenants[0].toml, "a = 2");
    assert!(store.ehr_delete_tenant("north").await.unwrap());
    assert!(!store.ehr_delete_tenant("north").await.unwrap());
    for started in 1..=3 {
        let run = EhrRun {
            tenant: "north".to_owned(),
            started: Instant(started),
            ended: Instant(started + 1),
            outcome: "complete".to_owned(),
            report: "{}".to_owned(),
        };
        store.ehr_add_run(run).await.unwrap();
    }
    let runs = store.ehr_runs("north", 2).await.unwrap();
    let started: Vec<i64> = runs.iter().map(|run| run.started.0).collect();
    assert_eq!(started, [3, 2]);
    for bytes in ["one", "two"] {
        store
            .ehr_put_note("north", "site", bytes.into())
            .await
            .unwrap();
    }
    let note = store.ehr_note("north", "si").await.unwrap();
    assert_eq!(note, None, "the whole name counts");
    let notes = store.ehr_notes("north", "si").await.unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(&notes[0].2[..], b"two");
    store
        .ehr_put_note("north", "site", Bytes::new())
        .await
        .unwrap();
    assert!(store.ehr_notes("north", "").await.unwrap().is_empty());
    let mut asked = page(1, 1);
    let review = |detail: &str| EhrReview {
        key: key(9),
        tenant: "north".to_owned(),
        kind: "rejected".to_owned(),
        resource: "Patient/x".to_owned(),
        detail: detail.to_owned(),
        at: Instant(0),
    };
    asked.reviews = vec![review("one"), review("two")];
    commit(&store, asked).await.unwrap();
    assert_eq!(store.ehr_reviews("north").await.unwrap().len(), 1);
    assert!(store.ehr_close_review(key(9)).await.unwrap());
    assert!(store.ehr_reviews("north").await.unwrap().is_empty());
    store.close().await;
}
