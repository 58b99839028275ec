//! Thousands of random questions: the database must answer what reading everything answers.

use std::sync::Arc;

use fhir_core::ids::VersionId;
use fhir_core::search::predicate::{Predicate, SortKeySpec};

use super::both_engines;
use super::engine::TestDatabase;
use super::memory::{self, Item};
use super::world::{self, Random, TYPES, body, key};
use crate::{Action, Change, Commit, ExpectVersion, Only, SearchQuery, Store, TotalMode};

both_engines! {
    /// Verifies: SRS-005, SRS-006, SRS-023
    random_questions_are_answered_as_by_reading_everything => core_only;
    /// Verifies: SRS-005, SRS-006, SRS-023
    random_questions_with_resources_outside_of_the_core => with_plain;
}

async fn core_only(database: Arc<TestDatabase>) {
    ask(database, 11, false).await;
}

async fn with_plain(database: Arc<TestDatabase>) {
    ask(database, 12, true).await;
}

/// A database of random resources, some changed and some deleted, and what must be found in it.
async fn fill(store: &Store, random: &mut Random, is_plain: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let plan: Vec<(&str, usize)> = vec![
        ("Patient", world::PATIENTS),
        ("Observation", 120),
        ("RiskAssessment", 40),
    ];
    let mut number = 0;
    for (type_name, count) in plan {
        for n in 0..count {
            let key = key(type_name, &format!("{}{n}", &type_name[..1]));
            let entries = world::entries(random, type_name, is_plain);
            let index = store.prepare(&key, &[], &entries);
            let action = Action::Put {
                body: body(&key, "first"),
                index,
            };
            let change = Change {
                key: key.clone(),
                expect: ExpectVersion::Absent,
                action,
            };
            let done = store
                .commit(Commit {
                    changes: vec![change],
                    ..Commit::default()
                })
                .await
                .expect("a create");
            items.push(Item {
                key,
                entries,
                updated: done.results[0].1,
                number,
            });
            number += 1;
        }
    }
    for _ in 0..60 {
        let place = random.below(items.len());
        let is_delete = random.chance(30);
        let item = &items[place];
        let Some(current) = store.read(&item.key).await.expect("a read") else {
            panic!("it is there")
        };
        let entries = if is_delete {
            Vec::new()
        } else {
            world::entries(random, item.key.resource_type.name(), is_plain)
        };
        let index = store.prepare(&item.key, &item.entries, &entries);
        let action = if is_delete {
            Action::Delete { index }
        } else {
            Action::Put {
                body: body(&item.key, "again"),
                index,
            }
        };
        let change = Change {
            key: item.key.clone(),
            expect: ExpectVersion::Version(current.version),
            action,
        };
        let done = store
            .commit(Commit {
                changes: vec![change],
                ..Commit::default()
            })
            .await
            .expect("a change");
        assert_eq!(done.results[0].0, VersionId(current.version.0 + 1));
        if is_delete {
            items.remove(place);
        } else {
            items[place].entries = entries;
            items[place].updated = done.results[0].1;
        }
    }
    items
}

async fn ask(database: Arc<TestDatabase>, seed: u64, is_plain: bool) {
    let questions = if database.is_sqlite() { 3_000 } else { 1_000 };
    let store = database.open().await;
    let mut random = Random(seed);
    let items = fill(&store, &mut random, is_plain).await;
    let mut hits = 0;
    for question in 0..questions {
        let type_name = *random.pick(&TYPES);
        let depth = random.below(4);
        let predicate = world::predicate(&mut random, type_name, depth);
        let sort = world::sort(&mut random, type_name);
        let limit = 1 + random.below(30);
        let expected: Vec<String> =
            memory::search(&items, world::type_of(type_name), &predicate, &sort)
                .iter()
                .map(|item| item.key.to_string())
                .collect();
        hits += usize::from(!expected.is_empty());
        check(
            &store, type_name, predicate, sort, limit, &expected, question,
        )
        .await;
    }
    assert!(
        hits * 4 > questions,
        "too many questions had no answer: {hits}"
    );
    if database.is_sqlite() && !is_plain {
        let short = store.short_searches();
        assert!(short > 30, "too few short searches: {short}");
    }
    store.integrity_check().await.expect("the index fits");
    store.close().await;
}

async fn check(
    store: &Store,
    type_name: &str,
    predicate: Predicate,
    sort: Vec<SortKeySpec>,
    limit: usize,
    expected: &[String],
    question: usize,
) {
    let mut query = SearchQuery {
        resource_type: world::type_of(type_name),
        predicate,
        sort,
        limit,
        after: None,
        // Without a total some are answered on the thread that asks.
        total: if question.is_multiple_of(2) {
            TotalMode::Accurate
        } else {
            TotalMode::None
        },
        only: Only::Bodies,
    };
    let mut found = Vec::new();
    loop {
        let page = match store.search(query.clone()).await {
            Ok(page) => page,
            Err(error) => panic!("question {question}: {error}\n{query:?}"),
        };
        assert_eq!(
            page.total,
            (query.total == TotalMode::Accurate).then_some(expected.len() as u64),
            "total of question {question}\n{query:?}"
        );
        assert!(page.matches.len() <= limit);
        found.extend(page.matches.iter().map(|stored| stored.key.to_string()));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
        assert!(
            found.len() <= expected.len(),
            "question {question} has no end\n{query:?}"
        );
    }
    let mut expected = expected.to_vec();
    if query.sort.is_empty() {
        found.sort();
        expected.sort();
    }
    assert_eq!(
        found,
        expected,
        "question {question}\n{query:?}\n{}",
        store.explain(query.clone()).await.unwrap_or_default()
    );
}
