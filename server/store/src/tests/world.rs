//! Random resources and random questions about them, the same for the same seed.

use conformance::{Definitions, ParamId, ResourceTypeId};
use fhir_core::body::Body;
use fhir_core::datatype::decimal::{Decimal, SortKey};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::index::{IndexEntry, IndexValue};
use fhir_core::json::Document;
use fhir_core::search::predicate::{
    Comparison, DateTest, Direction, Predicate, QuantityTest, RangeTest, ReferenceTest, SortBy,
    SortKeySpec, StringTest, TokenTest, UnitTest, UriTest, ValueTest,
};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

pub(crate) fn type_of(name: &str) -> ResourceTypeId {
    Definitions::r4().resource_type(name).expect("a type")
}

pub(crate) fn param(type_name: &str, code: &str) -> ParamId {
    Definitions::r4()
        .search_param(type_of(type_name), code)
        .unwrap_or_else(|| panic!("{type_name}.{code}"))
        .id
}

pub(crate) fn key(type_name: &str, id: &str) -> ResourceKey {
    ResourceKey {
        resource_type: type_of(type_name),
        id: ResourceId::parse(id).expect("an id"),
    }
}

pub(crate) fn sort_key(text: &str) -> SortKey {
    SortKey::from_decimal(&Decimal::parse(text).expect("a decimal"))
}

pub(crate) fn body(key: &ResourceKey, note: &str) -> Body {
    let text = format!(
        "{{\"resourceType\":\"{}\",\"note\":\"{note}\"}}",
        key.resource_type.name()
    );
    Body::new(
        Document::parse(text.as_bytes()).expect("JSON").root(),
        &key.id,
    )
}

pub(crate) const TYPES: [&str; 3] = ["Patient", "Observation", "RiskAssessment"];
pub(crate) const PATIENTS: usize = 12;
pub(crate) const PRACTITIONERS: usize = 4;

const SYSTEMS: [Option<&str>; 3] = [None, Some("http://a.example"), Some("http://b.example")];
const CODES: [&str; 5] = ["a", "b", "c", "d", "A"];
const WORDS: [&str; 8] = [
    "anna",
    "an",
    "maria anna",
    "zoe",
    "müller",
    "muller",
    "x",
    "longname",
];
const NUMBERS: [&str; 8] = ["-3", "0", "1", "1.5", "2", "2.50", "10", "100.001"];
const UNITS: [(Option<&str>, Option<&str>, Option<&str>); 5] = [
    (Some("http://unitsofmeasure.org"), Some("mg"), Some("mg")),
    (Some("http://unitsofmeasure.org"), Some("g"), Some("gram")),
    (
        Some("http://unitsofmeasure.org"),
        Some("mg"),
        Some("milligram"),
    ),
    (None, None, Some("mg")),
    (None, None, None),
];
const URIS: [&str; 4] = [
    "http://p.example/a",
    "http://p.example/a/b",
    "http://p.example/a/b/c",
    "http://q.example",
];
const DAY: i64 = 86_400_000_000;

/// The kinds of the parameters under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Token,
    Identifier,
    String,
    Date,
    Number,
    Quantity,
    Reference(&'static str),
    Uri,
    CodeQuantity,
    CodeDate,
    CodeString,
    CodeToken,
}

/// Parameters with values of their own, with the chance of having one in percent and the most values.
pub(crate) const PARAMS: &[(&str, &str, Kind, usize, usize)] = &[
    ("Patient", "identifier", Kind::Identifier, 80, 2),
    ("Patient", "family", Kind::String, 90, 2),
    ("Patient", "given", Kind::String, 70, 3),
    ("Patient", "gender", Kind::Token, 90, 1),
    ("Patient", "birthdate", Kind::Date, 80, 1),
    (
        "Patient",
        "general-practitioner",
        Kind::Reference("Practitioner"),
        50,
        2,
    ),
    ("Patient", "_tag", Kind::Token, 40, 2),
    ("Patient", "_profile", Kind::Uri, 50, 2),
    ("Observation", "identifier", Kind::Identifier, 50, 1),
    ("Observation", "status", Kind::Token, 100, 1),
    ("Observation", "category", Kind::Token, 80, 2),
    ("Observation", "code", Kind::Token, 95, 2),
    ("Observation", "component-code", Kind::Token, 30, 2),
    ("Observation", "date", Kind::Date, 85, 1),
    ("Observation", "subject", Kind::Reference("Patient"), 85, 1),
    (
        "Observation",
        "performer",
        Kind::Reference("Practitioner"),
        60,
        2,
    ),
    ("Observation", "value-quantity", Kind::Quantity, 60, 1),
    (
        "Observation",
        "component-value-quantity",
        Kind::Quantity,
        30,
        2,
    ),
    (
        "Observation",
        "code-value-quantity",
        Kind::CodeQuantity,
        60,
        2,
    ),
    (
        "Observation",
        "component-code-value-quantity",
        Kind::CodeQuantity,
        30,
        2,
    ),
    ("Observation", "code-value-date", Kind::CodeDate, 30, 2),
    ("Observation", "code-value-string", Kind::CodeString, 30, 2),
    ("Observation", "code-value-concept", Kind::CodeToken, 30, 2),
    ("Observation", "value-string", Kind::String, 40, 1),
    ("Observation", "value-date", Kind::Date, 30, 2),
    ("Observation", "_profile", Kind::Uri, 30, 2),
    ("RiskAssessment", "probability", Kind::Number, 80, 2),
    ("RiskAssessment", "date", Kind::Date, 60, 2),
    (
        "RiskAssessment",
        "subject",
        Kind::Reference("Patient"),
        90,
        1,
    ),
    ("RiskAssessment", "method", Kind::Token, 50, 1),
];

/// Parameters whose values follow from others': name, kind, the others.
pub(crate) const DERIVED: &[(&str, &str, Kind, &[&str])] = &[
    (
        "Observation",
        "combo-code",
        Kind::Token,
        &["code", "component-code"],
    ),
    (
        "Observation",
        "combo-value-quantity",
        Kind::Quantity,
        &["value-quantity", "component-value-quantity"],
    ),
    (
        "Observation",
        "combo-code-value-quantity",
        Kind::CodeQuantity,
        &["code-value-quantity", "component-code-value-quantity"],
    ),
];

fn token(random: &mut Random) -> IndexValue<'static> {
    let code = if random.chance(2) {
        "L".repeat(1_500)
    } else {
        (*random.pick(&CODES)).to_owned()
    };
    IndexValue::Token {
        system: random.pick(&SYSTEMS).map(Into::into),
        code: code.into(),
    }
}

fn word(random: &mut Random) -> String {
    if random.chance(3) {
        format!("{}{}", "w".repeat(1_200), random.below(3))
    } else {
        (*random.pick(&WORDS)).to_owned()
    }
}

fn date(random: &mut Random) -> (i64, i64) {
    let start = random.below(60) as i64 * DAY;
    match random.below(12) {
        0 => (i64::MIN, start),
        1 => (start, i64::MAX),
        2 => (start, start + 400 * DAY),
        3..=5 => (start, start + 1),
        6 => (start, start + 30 * DAY),
        _ => (start, start + DAY),
    }
}

fn random_key(random: &mut Random) -> SortKey {
    let text = *random.pick(&NUMBERS);
    sort_key(text)
}

fn range(random: &mut Random) -> (SortKey, SortKey) {
    let mut ends = [random_key(random), random_key(random)];
    ends.sort();
    let [low, high] = ends;
    match random.below(10) {
        0 => (low, high),
        1 => (SortKey::min(), high),
        2 => (low, SortKey::max()),
        _ => (low.clone(), low),
    }
}

fn quantity(random: &mut Random) -> IndexValue<'static> {
    let (low, high) = range(random);
    let (system, code, unit) = *random.pick(&UNITS);
    IndexValue::Quantity {
        system: system.map(Into::into),
        code: code.map(Into::into),
        unit: unit.map(Into::into),
        low,
        high,
    }
}

fn reference(random: &mut Random, target: &str) -> IndexValue<'static> {
    let last = if target == "Patient" {
        PATIENTS + 2
    } else {
        PRACTITIONERS
    };
    match random.below(20) {
        0 => IndexValue::ReferenceUrl("http://elsewhere.example/Patient/1".into()),
        1 => IndexValue::ReferenceIdentifier {
            system: random.pick(&SYSTEMS).map(Into::into),
            value: (*random.pick(&CODES)).into(),
        },
        2 if target == "Patient" => IndexValue::Reference(key("Group", "g1")),
        _ => IndexValue::Reference(key(
            target,
            &format!("{}{}", &target[..1], random.below(last)),
        )),
    }
}

fn value(random: &mut Random, kind: Kind) -> IndexValue<'static> {
    match kind {
        Kind::Token if random.chance(10) => {
            let texts = [word(random), format!("{} {}", word(random), word(random))];
            IndexValue::TokenText(texts[..1 + random.below(2)].to_vec())
        }
        Kind::Token => token(random),
        Kind::Identifier => IndexValue::Identifier {
            system: random.pick(&SYSTEMS).map(Into::into),
            value: (*random.pick(&CODES)).into(),
            types: (0..random.below(2))
                .map(|_| (random.pick(&SYSTEMS).map(Into::into), "MR".into()))
                .collect(),
        },
        Kind::String => {
            let normal = word(random);
            let exact = if random.chance(50) {
                normal.clone()
            } else {
                normal.to_uppercase()
            };
            IndexValue::String {
                normal,
                exact: exact.into(),
            }
        }
        Kind::Date => {
            let (start, end) = date(random);
            IndexValue::Date { start, end }
        }
        Kind::Number => {
            let (low, high) = range(random);
            IndexValue::Number { low, high }
        }
        Kind::Quantity => quantity(random),
        Kind::Reference(target) => reference(random, target),
        Kind::Uri => {
            let uri = if random.chance(5) {
                format!("http://p.example/a/{}", "u".repeat(1_300))
            } else {
                (*random.pick(&URIS)).to_owned()
            };
            IndexValue::Uri(uri.into())
        }
        Kind::CodeQuantity => IndexValue::Composite(vec![token(random), quantity(random)]),
        Kind::CodeDate => {
            let (start, end) = date(random);
            IndexValue::Composite(vec![token(random), IndexValue::Date { start, end }])
        }
        Kind::CodeString => {
            let normal = (*random.pick(&WORDS)).to_owned();
            let exact = normal.to_uppercase();
            IndexValue::Composite(vec![
                token(random),
                IndexValue::String {
                    normal,
                    exact: exact.into(),
                },
            ])
        }
        Kind::CodeToken => IndexValue::Composite(vec![token(random), token(random)]),
    }
}

/// The entries of a new resource, sorted, each once. With `is_plain` some Observations have several dates or subjects.
pub(crate) fn entries(
    random: &mut Random,
    type_name: &str,
    is_plain: bool,
) -> Vec<IndexEntry<'static>> {
    let mut out: Vec<IndexEntry<'static>> = Vec::new();
    for (base, code, kind, chance, most) in PARAMS.iter().filter(|row| row.0 == type_name) {
        if !random.chance(*chance) {
            continue;
        }
        let is_core = *base == "Observation" && matches!(*code, "date" | "subject");
        let most = if is_core && is_plain && random.chance(20) {
            2
        } else {
            *most
        };
        for _ in 0..1 + random.below(most) {
            let mut value = value(random, *kind);
            if !is_plain && *base == "Observation" {
                value = tamed(random, code, value);
            }
            out.push(IndexEntry {
                param: param(base, code),
                value,
            });
        }
    }
    for (base, code, _, parts) in DERIVED.iter().filter(|row| row.0 == type_name) {
        let parts: Vec<ParamId> = parts.iter().map(|part| param(base, part)).collect();
        let more: Vec<_> = out
            .iter()
            .filter(|e| parts.contains(&e.param))
            .cloned()
            .collect();
        out.extend(more.into_iter().map(|entry| IndexEntry {
            param: param(base, code),
            ..entry
        }));
    }
    if type_name != "Patient" {
        // `patient` is `subject` where it leads to a Patient.
        let subject = param(type_name, "subject");
        let is_patient = |e: &&IndexEntry<'_>| {
            e.param == subject
                && matches!(&e.value, IndexValue::Reference(k) if k.resource_type == type_of("Patient"))
        };
        let more: Vec<_> = out.iter().filter(is_patient).cloned().collect();
        out.extend(more.into_iter().map(|entry| IndexEntry {
            param: param(type_name, "patient"),
            ..entry
        }));
    }
    out.sort();
    out.dedup();
    out
}

/// Keeps an Observation within what the clinical core takes.
fn tamed(random: &mut Random, code: &str, value: IndexValue<'static>) -> IndexValue<'static> {
    match (code, &value) {
        ("date", _) => {
            let start = random.below(60) as i64 * DAY;
            IndexValue::Date {
                start,
                end: start + [1, DAY][random.below(2)],
            }
        }
        ("code" | "category", IndexValue::Token { system, .. }) => IndexValue::Token {
            system: system.clone(),
            code: (*random.pick(&CODES)).into(),
        },
        _ => value,
    }
}

fn comparison(random: &mut Random) -> Comparison {
    *random.pick(&[
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Greater,
        Comparison::Less,
        Comparison::GreaterOrEqual,
        Comparison::LessOrEqual,
        Comparison::StartsAfter,
        Comparison::EndsBefore,
        Comparison::Approximate,
    ])
}

fn date_test(random: &mut Random) -> DateTest {
    let start = random.below(60) as i64 * DAY;
    let end = start + *random.pick(&[1, DAY, DAY, 20 * DAY, 500 * DAY]);
    DateTest {
        comparison: comparison(random),
        start,
        end,
    }
}

fn range_test(random: &mut Random) -> RangeTest {
    let comparison = comparison(random);
    let is_exact = !matches!(
        comparison,
        Comparison::Equal | Comparison::NotEqual | Comparison::Approximate
    );
    let (low, high) = (random_key(random), random_key(random));
    if is_exact || random.chance(30) {
        return RangeTest {
            comparison,
            low: low.clone(),
            high: low,
        };
    }
    if low < high {
        RangeTest {
            comparison,
            low,
            high,
        }
    } else {
        RangeTest {
            comparison,
            low: high,
            high: low,
        }
    }
}

fn token_test(random: &mut Random) -> TokenTest {
    let code = if random.chance(3) {
        "L".repeat(1_500)
    } else {
        (*random.pick(&CODES)).to_owned()
    };
    match random.below(8) {
        0..=2 => TokenTest::Code(code),
        3..=4 => TokenTest::SystemCode(
            (*random.pick(&["http://a.example", "http://b.example"])).into(),
            code,
        ),
        5 => TokenTest::NoSystemCode(code),
        6 => TokenTest::System(
            (*random.pick(&[
                "http://a.example",
                "http://b.example",
                "http://none.example",
            ]))
            .into(),
        ),
        _ if random.chance(50) => TokenTest::Text(random.pick(&WORDS)[..1].to_owned()),
        _ => TokenTest::OfType {
            system: "http://a.example".into(),
            code: "MR".into(),
            value: (*random.pick(&CODES)).into(),
        },
    }
}

fn string_test(random: &mut Random) -> StringTest {
    let text = if random.chance(4) {
        format!("{}{}", "w".repeat(1_200), random.below(3))
    } else {
        (*random.pick(&WORDS)).to_owned()
    };
    match random.below(5) {
        0 => StringTest::StartsWith(text),
        1 => StringTest::Contains(text.chars().skip(1).collect()),
        2 => StringTest::Equals(text),
        3 => StringTest::EndsWith(text.chars().skip(1).collect()),
        _ => StringTest::Exact(if random.chance(50) {
            text
        } else {
            text.to_uppercase()
        }),
    }
}

fn quantity_test(random: &mut Random) -> QuantityTest {
    let unit = match random.below(4) {
        0 => UnitTest::Any,
        1 => UnitTest::CodeOrUnit((*random.pick(&["mg", "g", "gram"])).into()),
        2 => UnitTest::SystemCode(
            "http://unitsofmeasure.org".into(),
            (*random.pick(&["mg", "g", "kg"])).into(),
        ),
        _ => UnitTest::System("http://unitsofmeasure.org".into()),
    };
    QuantityTest {
        number: "1".into(),
        range: range_test(random),
        unit,
    }
}

fn value_test(random: &mut Random, kind: Kind) -> ValueTest {
    match kind {
        Kind::Token | Kind::Identifier => ValueTest::Token(token_test(random)),
        Kind::String => ValueTest::String(string_test(random)),
        Kind::Date => ValueTest::Date(date_test(random)),
        Kind::Number => ValueTest::Number(range_test(random)),
        Kind::Quantity => ValueTest::Quantity(quantity_test(random)),
        Kind::Reference(target) => ValueTest::Reference(match random.below(8) {
            0 => ReferenceTest::Url("http://elsewhere.example/Patient/1".into()),
            1 => ReferenceTest::Identifier(match token_test(random) {
                TokenTest::Text(code) | TokenTest::OfType { code, .. } => TokenTest::Code(code),
                other => other,
            }),
            2 => ReferenceTest::OfType(type_of(if random.chance(50) { target } else { "Group" })),
            _ => ReferenceTest::Local(
                (0..1 + random.below(2))
                    .map(|_| {
                        key(
                            target,
                            &format!("{}{}", &target[..1], random.below(PATIENTS)),
                        )
                    })
                    .collect(),
            ),
        }),
        Kind::Uri => {
            let uri = if random.chance(10) {
                format!("http://p.example/a/{}", "u".repeat(1_300 + random.below(2)))
            } else {
                (*random.pick(&URIS)).to_owned()
            };
            ValueTest::Uri(match random.below(3) {
                0 => UriTest::Exact(uri),
                1 => UriTest::Below(uri),
                _ => UriTest::Above(uri),
            })
        }
        Kind::CodeQuantity | Kind::CodeDate | Kind::CodeString | Kind::CodeToken => {
            ValueTest::Token(token_test(random))
        }
    }
}

fn part_token(random: &mut Random) -> ValueTest {
    ValueTest::Token(match token_test(random) {
        TokenTest::Text(code) | TokenTest::OfType { code, .. } => TokenTest::Code(code),
        other => other,
    })
}

/// A question about resources of a type.
pub(crate) fn predicate(random: &mut Random, type_name: &str, depth: usize) -> Predicate {
    if depth > 0 {
        let inner = |random: &mut Random| predicate(random, type_name, depth - 1);
        match random.below(10) {
            0..=2 => {
                return Predicate::And((0..1 + random.below(3)).map(|_| inner(random)).collect());
            }
            3 => return Predicate::Or((0..1 + random.below(3)).map(|_| inner(random)).collect()),
            4 => return Predicate::Not(Box::new(inner(random))),
            5 if type_name == "Patient" => {
                let source = *random.pick(&["Observation", "RiskAssessment"]);
                let code = *random.pick(&["patient", "subject"]);
                let inner = Box::new(predicate(random, source, depth - 1));
                return Predicate::Has {
                    source: type_of(source),
                    param: param(source, code),
                    inner,
                };
            }
            5 | 6 if type_name != "Patient" => {
                let code = *random.pick(&["patient", "subject"]);
                let inner = Box::new(predicate(random, "Patient", depth - 1));
                return Predicate::Chain {
                    param: param(type_name, code),
                    target: type_of("Patient"),
                    inner,
                };
            }
            _ => {}
        }
    }
    leaf(random, type_name)
}

fn leaf(random: &mut Random, type_name: &str) -> Predicate {
    match random.below(30) {
        0 => return Predicate::Everything,
        1 => return Predicate::Nothing,
        2 => {
            return Predicate::Id(
                (0..3)
                    .map(|_| key("Patient", &format!("P{}", random.below(20))).id)
                    .collect(),
            );
        }
        3 => {
            let start = 1_700_000_000_000_000 + random.below(300) as i64 * 1_000_000;
            return Predicate::LastUpdated(DateTest {
                comparison: comparison(random),
                start,
                end: start + 50_000_000,
            });
        }
        4 | 5 if type_name != "Patient" => {
            let keys = (0..1 + random.below(2))
                .map(|_| key("Patient", &format!("P{}", random.below(PATIENTS))))
                .collect();
            return Predicate::Value {
                param: param(type_name, "patient"),
                test: ValueTest::Reference(ReferenceTest::Local(keys)),
            };
        }
        _ => {}
    }
    let own: Vec<(&str, Kind)> = PARAMS
        .iter()
        .filter(|r| r.0 == type_name)
        .map(|r| (r.1, r.2))
        .collect();
    let derived = DERIVED
        .iter()
        .filter(|r| r.0 == type_name)
        .map(|r| (r.1, r.2));
    let all: Vec<_> = own.into_iter().chain(derived).collect();
    let (code, kind) = *random.pick(&all);
    let param = param(type_name, code);
    if random.chance(10) {
        return Predicate::Present(param);
    }
    let second = match kind {
        Kind::CodeQuantity => ValueTest::Quantity(quantity_test(random)),
        Kind::CodeDate => ValueTest::Date(date_test(random)),
        Kind::CodeString => ValueTest::String(string_test(random)),
        Kind::CodeToken => part_token(random),
        _ => {
            return Predicate::Value {
                param,
                test: value_test(random, kind),
            };
        }
    };
    Predicate::Composite {
        param,
        tests: vec![part_token(random), second],
    }
}

/// An order for a type.
pub(crate) fn sort(random: &mut Random, type_name: &str) -> Vec<SortKeySpec> {
    let mut keys = Vec::new();
    for _ in 0..*random.pick(&[0, 0, 1, 1, 1, 2, 3]) {
        let sortable: Vec<_> = PARAMS
            .iter()
            .filter(|r| {
                r.0 == type_name
                    && matches!(
                        r.2,
                        Kind::Date
                            | Kind::Number
                            | Kind::Quantity
                            | Kind::String
                            | Kind::Token
                            | Kind::Uri
                    )
            })
            .map(|r| SortBy::Param(param(r.0, r.1)))
            .chain([SortBy::Id, SortBy::LastUpdated])
            .collect();
        let direction = if random.chance(50) {
            Direction::Descending
        } else {
            Direction::Ascending
        };
        let by = if type_name == "Observation" && random.chance(40) {
            SortBy::Param(param("Observation", "date"))
        } else {
            random.pick(&sortable).clone()
        };
        keys.push(SortKeySpec { by, direction });
    }
    keys
}
