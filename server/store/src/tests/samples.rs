//! Samples: stored once, read and found as Observations, widened when they change.

use std::sync::Arc;

use conformance::ResourceTypeId;
use fhir_core::ids::{ResourceId, ResourceKey, VersionId};
use fhir_core::json::{Document, Value};
use fhir_core::sample::{SampleValue, Shown, Template, id_text};
use fhir_core::search::predicate::{
    Comparison, DateTest, Direction, Predicate, ReferenceTest, SortBy, SortKeySpec, TokenTest,
    ValueTest,
};

use super::both_engines;
use super::engine::TestDatabase;
use super::world::{body, key, param, type_of};
use crate::{
    Action, Change, Commit, ExpectVersion, NarrowSample, Only, SampleFate, SearchQuery,
    SeriesSamples, Store, TotalMode,
};

both_engines! {
    /// Verifies: SRS-223, RC-220
    an_instant_has_one_value => once;
    /// Verifies: SRS-223, RC-220
    late_samples_are_compared_with_what_stands => late;
    /// Verifies: SRS-224, RC-221
    a_changed_sample_becomes_a_resource => widened;
    /// Verifies: SRS-223
    samples_are_found_by_subject_code_and_date => found;
}

const CHANNEL: &str = "0123456789abcdef0123456789abcdef";
const START: i64 = 1_772_355_600_000_000;
const SECOND: i64 = 1_000_000;

fn template(patient: &str) -> Template {
    let text = format!(
        r#"{{"resourceType":"Observation","status":"final","category":[{{"coding":[{{"code":"vital-signs"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"subject":{{"reference":"Patient/{patient}"}},"effectiveDateTime":"2026-03-01T09:00:00Z","valueQuantity":{{"value":1,"code":"/min"}}}}"#
    );
    Template::of(&Value::parse(text.as_bytes()).unwrap()).unwrap()
}

fn series(patient: &str, samples: &[(i64, i64)]) -> SeriesSamples {
    let sample = |(second, value): &(i64, i64)| NarrowSample {
        at_us: START + second * SECOND,
        value: SampleValue {
            mantissa: *value,
            scale: 1,
        },
        shown: Shown {
            offset_minutes: 60,
            digits: 0,
            is_zulu: true,
        },
    };
    SeriesSamples {
        channel: CHANNEL.to_owned(),
        template: template(patient),
        samples: samples.iter().map(sample).collect(),
    }
}

async fn add(store: &Store, patient: &str, samples: &[(i64, i64)]) -> Vec<SampleFate> {
    let commit = Commit {
        samples: vec![series(patient, samples)],
        ..Commit::default()
    };
    let mut done = store.commit(commit).await.unwrap();
    done.samples.remove(0)
}

fn sample_key(second: i64) -> ResourceKey {
    ResourceKey {
        resource_type: observation(),
        id: ResourceId::parse(&id_text(CHANNEL, START + second * SECOND)).unwrap(),
    }
}

fn observation() -> ResourceTypeId {
    type_of("Observation")
}

fn of_patient(id: &str) -> Predicate {
    Predicate::Value {
        param: param("Observation", "subject"),
        test: ValueTest::Reference(ReferenceTest::Local(vec![key("Patient", id)])),
    }
}

fn query(predicate: Predicate) -> SearchQuery {
    SearchQuery {
        resource_type: observation(),
        predicate,
        sort: Vec::new(),
        limit: 10,
        after: None,
        total: TotalMode::Accurate,
        only: Only::Bodies,
    }
}

async fn count(store: &Store, predicate: Predicate) -> u64 {
    let query = SearchQuery {
        only: Only::CountOnly,
        ..query(predicate)
    };
    store.search(query).await.unwrap().total.unwrap()
}

async fn once(database: Arc<TestDatabase>) {
    use SampleFate::{New, Other, Same};
    let store = database.open().await;
    assert_eq!(add(&store, "a", &[(0, 610), (1, 620)]).await, [New, New]);
    assert_eq!(add(&store, "a", &[(1, 620), (2, 630)]).await, [Same, New]);
    // The same number with other digits is the same; another one, or another patient, is not.
    assert_eq!(add(&store, "a", &[(1, 999)]).await, [Other]);
    assert_eq!(add(&store, "b", &[(1, 620), (3, 640)]).await, [Other, New]);
    let read = store.read(&sample_key(1)).await.unwrap().unwrap();
    let text = String::from_utf8(read.json.to_vec()).unwrap();
    assert!(
        text.contains(r#""effectiveDateTime":"2026-03-01T10:00:01+01:00""#),
        "{text}"
    );
    assert!(
        text.contains(r#""value":62.0"#) && read.version == VersionId(1),
        "{text}"
    );
    assert_eq!(store.read(&sample_key(9)).await.unwrap(), None);
    drop(store);
    let store = database.open().await;
    assert_eq!(store.read(&sample_key(1)).await.unwrap().unwrap(), read);
    assert_eq!(add(&store, "a", &[(2, 630), (4, 650)]).await, [Same, New]);
    store.integrity_check().await.unwrap();
}

async fn late(database: Arc<TestDatabase>) {
    use SampleFate::{New, Other, Same};
    let store = database.open().await;
    let many: Vec<(i64, i64)> = (0..2_000).map(|n| (n * 2, 600 + n % 50)).collect();
    assert!(
        add(&store, "a", &many)
            .await
            .iter()
            .all(|fate| *fate == New)
    );
    let all: Vec<(i64, i64)> = (0..4_000).map(|n| (n, 600 + n / 2 % 50)).collect();
    let fates = add(&store, "a", &all).await;
    let is = |wanted: SampleFate| fates.iter().filter(|fate| **fate == wanted).count();
    assert_eq!((is(New), is(Same), is(Other)), (2_000, 2_000, 0));
    assert_eq!(count(&store, of_patient("a")).await, 4_000);
}

async fn widened(database: Arc<TestDatabase>) {
    let store = database.open().await;
    add(&store, "a", &[(0, 610), (1, 620), (2, 630)]).await;
    let first = store.read(&sample_key(0)).await.unwrap().unwrap();
    let first = Document::parse(&first.json).unwrap();
    let entries_of_first = crate::sample::extract(&first).unwrap();
    let key = sample_key(1);
    let before = store.read(&key).await.unwrap().unwrap();
    let document = Document::parse(&before.json).unwrap();
    let entries = crate::sample::extract(&document).unwrap();
    let change = |expect: ExpectVersion, note: &str| Commit {
        changes: vec![Change {
            key: key.clone(),
            expect,
            action: Action::Put {
                body: body(&key, note),
                index: store.prepare(&key, &entries, &[]),
            },
        }],
        ..Commit::default()
    };
    // Whoever believes that nothing is there is told that something is.
    assert!(
        store
            .commit(change(ExpectVersion::Absent, "x"))
            .await
            .is_err()
    );
    let expect = ExpectVersion::Version(VersionId(1));
    let done = store.commit(change(expect, "x")).await.unwrap();
    assert_eq!(
        done.results.first().map(|(version, _)| *version),
        Some(VersionId(2))
    );
    assert_eq!(store.vread(&key, VersionId(1)).await.unwrap(), Some(before));
    assert_eq!(count(&store, of_patient("a")).await, 2);
    // From now on the channel's samples are compared with resources too.
    assert_eq!(
        add(&store, "a", &[(1, 620), (3, 640)]).await,
        [SampleFate::Other, SampleFate::New]
    );
    let third = store.read(&sample_key(2)).await.unwrap().unwrap();
    let third = Document::parse(&third.json).unwrap();
    let third = crate::sample::extract(&third).unwrap();
    let deleted = Commit {
        changes: vec![Change {
            key: sample_key(2),
            expect,
            action: Action::Delete {
                index: store.prepare(&sample_key(2), &third, &[]),
            },
        }],
        ..Commit::default()
    };
    store.commit(deleted).await.unwrap();
    assert!(store.read(&sample_key(2)).await.unwrap().unwrap().deleted);
    assert_eq!(add(&store, "a", &[(2, 630)]).await, [SampleFate::Deleted]);
    store.integrity_check().await.unwrap();
    // A change that leaves the subject as it was leaves the resource findable by it.
    let key = sample_key(0);
    let change = Change {
        key: key.clone(),
        expect,
        action: Action::Put {
            body: body(&key, "same entries"),
            index: store.prepare(&key, &entries_of_first, &entries_of_first),
        },
    };
    let commit = Commit {
        changes: vec![change],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    assert_eq!(
        store.read(&key).await.unwrap().unwrap().version,
        VersionId(2)
    );
    let wide = store
        .search_without_samples(query(of_patient("a")))
        .await
        .unwrap();
    let ids: Vec<ResourceKey> = wide.matches.into_iter().map(|m| m.key).collect();
    assert_eq!(ids, [key]);
}

async fn found(database: Arc<TestDatabase>) {
    let store = database.open().await;
    let many: Vec<(i64, i64)> = (0..25).map(|n| (n, 600 + n)).collect();
    add(&store, "a", &many).await;
    let code = |code: &str| Predicate::Value {
        param: param("Observation", "code"),
        test: ValueTest::Token(TokenTest::Code(code.to_owned())),
    };
    let from = |second: i64| Predicate::Value {
        param: param("Observation", "date"),
        test: ValueTest::Date(DateTest {
            comparison: Comparison::GreaterOrEqual,
            start: START + second * SECOND,
            end: START + (second + 1) * SECOND,
        }),
    };
    for (predicate, expected) in [
        (of_patient("a"), 25),
        (of_patient("b"), 0),
        (code("8867-4"), 25),
        (code("1"), 0),
        (Predicate::And(vec![of_patient("a"), from(20)]), 5),
        (Predicate::Not(Box::new(code("1"))), 25),
        (Predicate::Not(Box::new(from(20))), 20),
        (Predicate::Id(vec![sample_key(3).id, sample_key(99).id]), 1),
        (Predicate::Or(vec![code("1"), from(24)]), 1),
    ] {
        assert_eq!(
            count(&store, predicate.clone()).await,
            expected,
            "{predicate:?}"
        );
    }
    let latest = store
        .latest_samples(query(of_patient("a")), 2)
        .await
        .unwrap();
    let ids: Vec<ResourceId> = latest.into_iter().map(|stored| stored.key.id).collect();
    assert_eq!(ids, [sample_key(24).id, sample_key(23).id]);
    let wide = store
        .search_without_samples(query(of_patient("a")))
        .await
        .unwrap();
    assert!(wide.matches.is_empty());
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut query = query(of_patient("a"));
        query.sort = vec![SortKeySpec {
            by: SortBy::Param(param("Observation", "date")),
            direction,
        }];
        let mut ids = Vec::new();
        loop {
            let page = store.search(query.clone()).await.unwrap();
            assert_eq!(page.total, Some(25));
            ids.extend(page.matches.into_iter().map(|m| m.key.id));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let mut expected: Vec<ResourceId> = (0..25).map(|n| sample_key(n).id).collect();
        if direction == Direction::Descending {
            expected.reverse();
        }
        assert_eq!(ids, expected);
    }
}
