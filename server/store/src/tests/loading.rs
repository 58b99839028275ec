//! Large groups for loading: commits wait for each other, and every one is answered for itself.

use super::engine;
use super::world::{body, key};
use crate::{Action, Change, Commit, CommitError, ExpectVersion, PreparedIndex, Store, StoreError};

fn create(id: &str) -> Commit {
    let key = key("Patient", id);
    Commit {
        changes: vec![Change {
            action: Action::Put {
                body: body(&key, "loaded"),
                index: PreparedIndex::default(),
            },
            expect: ExpectVersion::Absent,
            key,
        }],
        ..Commit::default()
    }
}

/// Verifies: SRS-100, RC-006
#[test]
fn commits_of_a_load_share_a_transaction_and_are_answered_each() {
    engine::run(engine::sqlite(), |database| async move {
        let mut options = database.options();
        options.group_changes_min = 20;
        let store = Store::open(options).await.unwrap();
        // The 41st comes alone and is written when no other follows; the 7th repeats the 6th and is refused.
        let waiting: Vec<_> = (0..41)
            .map(|n| {
                let store = store.clone();
                let n = if n == 7 { 6 } else { n };
                tokio::spawn(async move { store.commit(create(&format!("p{n}"))).await })
            })
            .collect();
        let (mut done, mut refused) = (0, 0);
        for task in waiting {
            match task.await.unwrap() {
                Ok(_) => done += 1,
                Err(CommitError::VersionMoved { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((done, refused), (40, 1));
        let groups = store.metrics().groups;
        assert!(groups <= 3, "{groups} groups");
        store.integrity_check().await.unwrap();
        store.close().await;
        let store = database.open().await;
        for n in (0..41).filter(|n| *n != 7) {
            let found = store.read(&key("Patient", &format!("p{n}"))).await.unwrap();
            assert!(found.is_some(), "p{n}");
        }
        store.close().await;
    });
}

/// Work that is no commit does not wait for a group to fill.
///
/// Verifies: SRS-100, RC-006
#[test]
fn other_work_of_the_writer_ends_the_wait() {
    engine::run(engine::sqlite(), |database| async move {
        let mut options = database.options();
        options.group_changes_min = 1_000_000;
        let store = Store::open(options).await.unwrap();
        let committing = {
            let store = store.clone();
            tokio::spawn(async move { store.commit(create("p")).await })
        };
        let cleared: Result<(), StoreError> = store.clear_index().await;
        cleared.unwrap();
        committing.await.unwrap().unwrap();
        store.close().await;
    });
}
