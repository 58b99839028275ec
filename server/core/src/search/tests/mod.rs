//! <https://hl7.org/fhir/R4/search.html>, section by section.

mod comparisons;
mod examples;
mod hostile;
mod queries;
mod refusals;
mod scopes;

use conformance::{Definitions, ParamId, ResourceTypeId};

use super::limits::Limits;
use super::predicate::{
    Comparison, DateTest, Predicate, RangeTest, ReferenceTest, StringTest, TokenTest, UnitTest,
    UriTest, ValueTest,
};
use super::query::{Context, Handling, SearchRequest, parse};
use super::query_string;
use crate::datatype::date::Zone;
use crate::datatype::decimal::SortKey;
use crate::ids::Instant;
use crate::issue::Problem;

fn context() -> Context<'static> {
    Context {
        base_urls: &["http://own/fhir"],
        now: Instant(1_700_000_000_000_000),
        zone: Zone::UTC,
        limits: Limits::default(),
        codes: &crate::search::codes::Required,
        custom: crate::search::custom::CustomParams::none(),
    }
}

fn named(type_name: &str) -> ResourceTypeId {
    Definitions::r4().resource_type(type_name).expect(type_name)
}

/// The condition of parameters.
pub(super) fn predicate_of(type_name: &str, params: &[(&str, &str)]) -> Predicate {
    parsed(type_name, params)
        .unwrap_or_else(|problem| panic!("{params:?}: {problem}"))
        .predicate
}

/// The text of the refusal.
pub(super) fn refusal_of(type_name: &str, params: &[(&str, &str)]) -> String {
    parsed(type_name, params).expect_err("refused").to_string()
}

fn parsed(type_name: &str, params: &[(&str, &str)]) -> Result<SearchRequest, Problem> {
    let params: Vec<_> = params
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    parse(named(type_name), &params, Handling::Strict, &context())
}

/// Parses `Type?query`, written as in a URL.
fn search(url: &str, handling: Handling) -> Result<SearchRequest, Problem> {
    let (type_name, query) = url.split_once('?').expect("Type?query");
    parse(
        named(type_name),
        &query_string::decode(query).unwrap(),
        handling,
        &context(),
    )
}

fn predicate(url: &str) -> Predicate {
    search(url, Handling::Strict)
        .unwrap_or_else(|problem| panic!("{url}: {problem}"))
        .predicate
}

/// A predicate in a short notation that tests can state.
fn show(predicate: &Predicate) -> String {
    let list = |items: &[Predicate], between: &str| {
        items.iter().map(show).collect::<Vec<_>>().join(between)
    };
    match predicate {
        Predicate::Everything => "everything".into(),
        Predicate::Words { place, any_of } => format!("{place:?} {any_of:?}"),
        Predicate::Nothing => "nothing".into(),
        Predicate::And(items) => format!("({})", list(items, " & ")),
        Predicate::Or(items) => format!("({})", list(items, " | ")),
        Predicate::Not(inner) => format!("!{}", show(inner)),
        Predicate::Id(ids) => format!(
            "id {}",
            ids.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        ),
        Predicate::LastUpdated(test) => format!("updated {}", show_date(test)),
        Predicate::Value { param, test } => format!("{} {}", code(*param), show_test(test)),
        Predicate::Composite { param, tests } => {
            format!(
                "{} [{}]",
                code(*param),
                tests.iter().map(show_test).collect::<Vec<_>>().join(", ")
            )
        }
        Predicate::Present(param) => format!("has {}", code(*param)),
        Predicate::Chain {
            param,
            target,
            inner,
        } => format!("{}->{}({})", code(*param), target.name(), show(inner)),
        Predicate::Has {
            source,
            param,
            inner,
        } => format!("<-{}.{}({})", source.name(), code(*param), show(inner)),
    }
}

fn code(param: ParamId) -> &'static str {
    Definitions::r4().search_param_by_id(param).unwrap().code
}

fn show_test(test: &ValueTest) -> String {
    match test {
        ValueTest::Token(test) => show_token(test),
        ValueTest::String(StringTest::StartsWith(text)) => format!("'{text}'.."),
        ValueTest::String(StringTest::Contains(text)) => format!("..'{text}'.."),
        ValueTest::String(StringTest::Exact(text)) => format!("'{text}'"),
        ValueTest::String(StringTest::Equals(text)) => format!("='{text}'"),
        ValueTest::String(StringTest::EndsWith(text)) => format!("..'{text}'"),
        ValueTest::Date(test) => show_date(test),
        ValueTest::Number(test) => show_range(test),
        ValueTest::Quantity(test) => {
            let unit = match &test.unit {
                UnitTest::Any => String::new(),
                UnitTest::CodeOrUnit(unit) => format!(" ?{unit}"),
                UnitTest::SystemCode(system, code) => format!(" {system}|{code}"),
                UnitTest::System(system) => format!(" {system}|"),
            };
            format!("{}{unit}", show_range(&test.range))
        }
        ValueTest::Reference(ReferenceTest::Local(keys)) => keys
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
        ValueTest::Reference(ReferenceTest::Url(url)) => format!("<{url}>"),
        ValueTest::Reference(ReferenceTest::Identifier(test)) => {
            format!("identifier {}", show_token(test))
        }
        ValueTest::Reference(ReferenceTest::OfType(resource_type)) => {
            format!("any {}", resource_type.name())
        }
        ValueTest::Uri(UriTest::Exact(uri)) => format!("<{uri}>"),
        ValueTest::Uri(UriTest::Below(uri)) => format!("<{uri}..>"),
        ValueTest::Uri(UriTest::Above(uri)) => format!("<..{uri}>"),
        ValueTest::Near {
            latitude_e7,
            longitude_e7,
            distance_m,
        } => format!("{latitude_e7} {longitude_e7} {distance_m}m"),
    }
}

fn show_token(test: &TokenTest) -> String {
    match test {
        TokenTest::Code(code) => format!("{code:?}"),
        TokenTest::SystemCode(system, code) => format!("{system}|{code}"),
        TokenTest::NoSystemCode(code) => format!("none|{code}"),
        TokenTest::System(system) => format!("{system}|*"),
        TokenTest::Text(text) => format!("text '{text}'"),
        TokenTest::OfType {
            system,
            code,
            value,
        } => format!("type {system}|{code} {value}"),
    }
}

fn sign(comparison: Comparison) -> &'static str {
    let found = super::value::PREFIXES
        .iter()
        .find(|(_, known)| *known == comparison);
    found.expect("every comparison has a prefix").0
}

/// Seconds since 1970 as whole days and the rest, for readable expectations.
fn show_date(test: &DateTest) -> String {
    format!(
        "{} {}..{}",
        sign(test.comparison),
        Instant(test.start).to_fhir(),
        Instant(test.end).to_fhir()
    )
    .replace(":00.000000Z", "Z")
}

fn show_range(test: &RangeTest) -> String {
    let number = |key: &SortKey| key.to_decimal().expect("a number").to_string();
    if test.low == test.high {
        return format!("{}{}", sign(test.comparison), number(&test.low));
    }
    format!(
        "{}[{},{})",
        sign(test.comparison),
        number(&test.low),
        number(&test.high)
    )
}
