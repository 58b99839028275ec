//! Measures the store with synthetic Observations: creates in groups, searches, bytes by table.
//!
//! `cargo run --release -p fhir-store --example store_bench -- [resources] [url]`. Index entries are made here by
//! hand in the shape an extractor gives, so that only the store is measured. CPU time is that of the process.

use std::sync::Arc;
use std::time::Instant as Clock;

use conformance::{Definitions, ParamId};
use fhir_core::body::Body;
use fhir_core::datatype::decimal::{Decimal, SortKey};
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::index::{IndexEntry, IndexValue};
use fhir_core::json::Document;
use fhir_core::search::predicate::{
    Comparison, DateTest, Direction, Predicate, QuantityTest, RangeTest, ReferenceTest, SortBy,
    SortKeySpec, TokenTest, UnitTest, ValueTest,
};
use fhir_store::{
    Action, Change, Commit, ExpectVersion, Only, SearchQuery, Store, StoreOptions, TotalMode,
};

const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const MINUTE: i64 = 60_000_000;
const START: i64 = 1_600_000_000_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Params {
    of: Box<dyn Fn(&str) -> ParamId>,
    sort_date: ParamId,
}

fn params() -> Params {
    let t = Definitions::r4()
        .resource_type("Observation")
        .expect("a type");
    let of = move |code: &str| {
        Definitions::r4()
            .search_param(t, code)
            .expect("a parameter")
            .id
    };
    Params {
        sort_date: of("date"),
        of: Box::new(of),
    }
}

struct Made {
    key: ResourceKey,
    text: String,
    entries: Vec<IndexEntry<'static>>,
}

fn hex(random: &mut Random, digits: usize) -> String {
    (0..digits)
        .map(|_| char::from_digit(random.below(16) as u32, 16).unwrap_or('0'))
        .collect()
}

fn uuid(random: &mut Random) -> String {
    [8, 4, 4, 4, 12].map(|n| hex(random, n)).join("-")
}

fn token(system: &str, code: &str) -> IndexValue<'static> {
    IndexValue::Token {
        system: Some(system.to_owned().into()),
        code: code.to_owned().into(),
    }
}

fn observation(random: &mut Random, params: &Params, n: i64, patients: u64) -> Made {
    let id = uuid(random);
    let t = Definitions::r4()
        .resource_type("Observation")
        .expect("a type");
    let key = ResourceKey {
        resource_type: t,
        id: ResourceId::parse(&id).expect("an id"),
    };
    let patient = format!("patient-{}", random.below(patients));
    let code_number = random.below(40);
    let code = format!("{}-{}", 2_000 + code_number * 37, code_number % 10);
    let is_lab = code_number < 20;
    let category = if is_lab { "laboratory" } else { "vital-signs" };
    let number = format!("{}.{}", random.below(200), random.below(10));
    let start = START + n * MINUTE;
    let date = Instant(start).to_fhir();
    let (encounter, order, identifier) = (uuid(random), uuid(random), hex(random, 12));
    let text = format!(
        "{{\"resourceType\":\"Observation\",\"identifier\":[{{\"system\":\"urn:oid:1.2.3.4\",\"value\":\"{identifier}\"}}],\
\"basedOn\":[{{\"reference\":\"ServiceRequest/{order}\"}}],\"status\":\"final\",\"category\":[{{\"coding\":[{{\"system\":\
\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"{category}\"}}]}}],\"code\":{{\"coding\":[{{\
\"system\":\"{LOINC}\",\"code\":\"{code}\",\"display\":\"Measurement {code_number} in blood\"}}],\"text\":\"Measurement {code_number}\"}},\
\"subject\":{{\"reference\":\"Patient/{patient}\"}},\"encounter\":{{\"reference\":\"Encounter/{encounter}\"}},\
\"effectiveDateTime\":\"{date}\",\"issued\":\"{date}\",\"performer\":[{{\"reference\":\"Practitioner/doctor-{}\"}}],\
\"valueQuantity\":{{\"value\":{number},\"unit\":\"mmol/L\",\"system\":\"{UCUM}\",\"code\":\"mmol/L\"}},\"interpretation\":\
[{{\"coding\":[{{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation\",\"code\":\"N\"}}]}}],\
\"referenceRange\":[{{\"low\":{{\"value\":3.5,\"unit\":\"mmol/L\"}},\"high\":{{\"value\":5.1,\"unit\":\"mmol/L\"}}}}]}}",
        random.below(50)
    );
    let t_of = |name: &str| Definitions::r4().resource_type(name).expect("a type");
    let reference = |name: &str, id: &str| {
        IndexValue::Reference(ResourceKey {
            resource_type: t_of(name),
            id: ResourceId::parse(id).expect("an id"),
        })
    };
    let value = SortKey::from_decimal(&Decimal::parse(&number).expect("a decimal"));
    let quantity = || IndexValue::Quantity {
        system: Some(UCUM.into()),
        code: Some("mmol/L".into()),
        unit: Some("mmol/L".into()),
        low: value.clone(),
        high: value.clone(),
    };
    let composite = || IndexValue::Composite(vec![token(LOINC, &code), quantity()]);
    let text_of_code = || {
        IndexValue::TokenText(vec![
            format!("measurement {code_number}"),
            format!("measurement {code_number} in blood"),
        ])
    };
    let p = &params.of;
    let category = token(
        "http://terminology.hl7.org/CodeSystem/observation-category",
        category,
    );
    let identifier = IndexValue::Identifier {
        system: Some("urn:oid:1.2.3.4".into()),
        value: identifier.into(),
        types: Vec::new(),
    };
    let mut entries: Vec<IndexEntry<'static>> = [
        ("identifier", identifier),
        ("based-on", reference("ServiceRequest", &order)),
        (
            "status",
            token("http://hl7.org/fhir/observation-status", "final"),
        ),
        ("category", category),
        ("code", token(LOINC, &code)),
        ("code", text_of_code()),
        ("combo-code", token(LOINC, &code)),
        ("combo-code", text_of_code()),
        ("subject", reference("Patient", &patient)),
        ("patient", reference("Patient", &patient)),
        ("encounter", reference("Encounter", &encounter)),
        (
            "date",
            IndexValue::Date {
                start,
                end: start + 1,
            },
        ),
        (
            "performer",
            reference("Practitioner", &format!("doctor-{}", random.below(50))),
        ),
        ("value-quantity", quantity()),
        ("combo-value-quantity", quantity()),
        ("code-value-quantity", composite()),
        ("combo-code-value-quantity", composite()),
    ]
    .map(|(code, value)| IndexEntry {
        param: p(code),
        value,
    })
    .into();
    entries.sort();
    Made { key, text, entries }
}

/// CPU seconds of the process so far.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn value(param: ParamId, test: ValueTest) -> Predicate {
    Predicate::Value { param, test }
}

fn code_test(random: &mut Random) -> ValueTest {
    let n = random.below(40);
    ValueTest::Token(TokenTest::SystemCode(
        LOINC.into(),
        format!("{}-{}", 2_000 + n * 37, n % 10),
    ))
}

fn query(predicate: Predicate, sort: Vec<SortKeySpec>, only: Only) -> SearchQuery {
    SearchQuery {
        resource_type: Definitions::r4()
            .resource_type("Observation")
            .expect("a type"),
        predicate,
        sort,
        limit: 50,
        after: None,
        total: TotalMode::None,
        only,
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: i64 = arguments
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(300_000);
    let folder = std::env::temp_dir().join(format!("stoker-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let url = arguments
        .next()
        .unwrap_or_else(|| format!("sqlite:{}", folder.join("bench.db").display()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(bench(&url, count));
    let _ = std::fs::remove_dir_all(&folder);
}

async fn bench(url: &str, count: i64) {
    let now = std::sync::atomic::AtomicI64::new(START);
    let clock =
        Arc::new(move || Instant(now.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed)));
    let store = Store::open(StoreOptions::new(url, clock))
        .await
        .expect("the store opens");
    let params = params();
    let mut random = Random(42);
    let patients = (count as u64 / 100).max(1);
    let (mut json_bytes, mut prepare, mut wall, mut cpu) = (0, 0.0, 0.0, 0.0);
    let mut done = 0;
    while done < count {
        let group: Vec<Made> = (0..1_000)
            .map(|n| observation(&mut random, &params, done + n, patients))
            .collect();
        done += 1_000;
        let start = Clock::now();
        let changes: Vec<Change> = group
            .iter()
            .map(|made| {
                json_bytes += made.text.len();
                let document = Document::parse(made.text.as_bytes()).expect("JSON");
                let body = Body::new(document.root(), &made.key.id);
                let index = store.prepare(&made.key, &[], &made.entries);
                Change {
                    key: made.key.clone(),
                    expect: ExpectVersion::Absent,
                    action: Action::Put { body, index },
                }
            })
            .collect();
        prepare += start.elapsed().as_secs_f64();
        let (start, cpu_start) = (Clock::now(), cpu_seconds());
        store
            .commit(Commit {
                changes,
                ..Commit::default()
            })
            .await
            .expect("a commit");
        wall += start.elapsed().as_secs_f64();
        cpu += cpu_seconds() - cpu_start;
    }
    let per = |seconds: f64| seconds * 1e6 / count as f64;
    println!(
        "observations {count}, json {} B each",
        json_bytes as i64 / count
    );
    println!(
        "parse and prepare {:.1} us, commit {:.1} us wall, {:.1} us cpu each",
        per(prepare),
        per(wall),
        per(cpu)
    );
    println!(
        "creates/s: {:.0} wall, {:.0} per core-second",
        count as f64 / wall,
        count as f64 / cpu
    );
    searches(&store, &params, count, patients).await;
    let counts = store.counts().await.expect("counts");
    println!("database {} B each", counts.database_bytes / count as u64);
    for (name, bytes) in counts.tables.iter().filter(|(_, bytes)| *bytes > 100_000) {
        println!("  {name}: {} B each", bytes / count as u64);
    }
    println!("{:?}", store.metrics());
    store.close().await;
}

async fn searches(store: &Store, params: &Params, count: i64, patients: u64) {
    let p = &params.of;
    let newest = || {
        vec![SortKeySpec {
            by: SortBy::Param(params.sort_date),
            direction: Direction::Descending,
        }]
    };
    let patient = |random: &mut Random| {
        let id = ResourceId::parse(&format!("patient-{}", random.below(patients))).expect("an id");
        let t = Definitions::r4().resource_type("Patient").expect("a type");
        value(
            p("patient"),
            ValueTest::Reference(ReferenceTest::Local(vec![ResourceKey {
                resource_type: t,
                id,
            }])),
        )
    };
    let month = |random: &mut Random| {
        let start = START + random.below(count as u64) as i64 * MINUTE;
        let test = |comparison, at: i64| {
            value(
                p("date"),
                ValueTest::Date(DateTest {
                    comparison,
                    start: at,
                    end: at + 86_400_000_000,
                }),
            )
        };
        let end = start + 30 * 86_400_000_000;
        vec![
            test(Comparison::GreaterOrEqual, start),
            test(Comparison::Less, end),
        ]
    };
    let category = || {
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        value(
            p("category"),
            ValueTest::Token(TokenTest::SystemCode(system.into(), "laboratory".into())),
        )
    };
    let above = |random: &mut Random| {
        let number = format!("{}", random.below(190));
        let key = SortKey::from_decimal(&Decimal::parse(&number).expect("a decimal"));
        let range = RangeTest {
            comparison: Comparison::Greater,
            low: key.clone(),
            high: key,
        };
        let unit = UnitTest::SystemCode(UCUM.into(), "mmol/L".into());
        ValueTest::Quantity(QuantityTest {
            number,
            range,
            unit,
        })
    };
    let code = |random: &mut Random| value(p("code"), code_test(random));
    type Ask<'a> = Box<dyn Fn(&mut Random) -> SearchQuery + 'a>;
    let asks: Vec<(&str, Ask<'_>)> = vec![
        (
            "patient+code, newest first",
            Box::new(|r| {
                query(
                    Predicate::And(vec![patient(r), code(r)]),
                    newest(),
                    Only::Bodies,
                )
            }),
        ),
        (
            "patient+category, newest first",
            Box::new(|r| {
                query(
                    Predicate::And(vec![patient(r), category()]),
                    newest(),
                    Only::Bodies,
                )
            }),
        ),
        (
            "patient",
            Box::new(|r| query(patient(r), Vec::new(), Only::Bodies)),
        ),
        (
            "code + month",
            Box::new(|r| {
                let mut all = month(r);
                all.push(code(r));
                query(Predicate::And(all), Vec::new(), Only::Bodies)
            }),
        ),
        (
            "code",
            Box::new(|r| query(code(r), Vec::new(), Only::Bodies)),
        ),
        (
            "code + value-quantity",
            Box::new(|r| {
                query(
                    Predicate::And(vec![code(r), value(p("value-quantity"), above(r))]),
                    Vec::new(),
                    Only::Bodies,
                )
            }),
        ),
        (
            "code-value-quantity",
            Box::new(|r| {
                let tests = vec![code_test(r), above(r)];
                query(
                    Predicate::Composite {
                        param: p("code-value-quantity"),
                        tests,
                    },
                    Vec::new(),
                    Only::Bodies,
                )
            }),
        ),
        (
            "status, newest first",
            Box::new(|_| {
                let test = ValueTest::Token(TokenTest::Code("final".into()));
                query(value(p("status"), test), newest(), Only::Bodies)
            }),
        ),
        (
            "count by code",
            Box::new(|r| query(code(r), Vec::new(), Only::CountOnly)),
        ),
        (
            "identifier",
            Box::new(|r| {
                let test =
                    ValueTest::Token(TokenTest::SystemCode("urn:oid:1.2.3.4".into(), hex(r, 12)));
                query(value(p("identifier"), test), Vec::new(), Only::Bodies)
            }),
        ),
    ];
    for (name, ask) in &asks {
        let mut random = Random(7);
        let (mut times, mut rows) = (Vec::new(), 0);
        let cpu = cpu_seconds();
        let rounds = 200;
        for _ in 0..rounds {
            let query = ask(&mut random);
            let start = Clock::now();
            let page = store.search(query).await.expect("a search");
            times.push(start.elapsed().as_secs_f64() * 1e6);
            rows += page.matches.len();
        }
        let cpu = (cpu_seconds() - cpu) * 1e6 / f64::from(rounds);
        times.sort_by(f64::total_cmp);
        println!(
            "{name}: p50 {:.0} us, cpu {cpu:.0} us, {:.1} rows",
            times[times.len() / 2],
            rows as f64 / f64::from(rounds)
        );
    }
    let mut random = Random(42);
    let made: Vec<Made> = (0..1_000)
        .map(|n| observation(&mut random, params, n, patients))
        .collect();
    let start = Clock::now();
    for made in &made {
        assert!(store.read(&made.key).await.expect("a read").is_some());
    }
    println!("read: {:.1} us", start.elapsed().as_secs_f64() * 1e3);
}
