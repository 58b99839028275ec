//! `Type?query` as written in a URL: decoded, parsed strictly and leniently, described.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>. Promises: what a strict search obeyed, asked again, is the same search (the
//! link `self`); what is refused strictly never makes the lenient search find more than was asked; no text ends it.

use conformance::Definitions;
use fhir_core::datatype::date::Zone;
use fhir_core::ids::Instant;
use fhir_core::search::codes::Required;
use fhir_core::search::custom::CustomParams;
use fhir_core::search::limits::Limits;
use fhir_core::search::query::{Context, Handling, parse, parse_condition, parse_system};
use fhir_core::search::{describe, query_string};

/// 2026-11-25, so that `ap` means the same in every run.
const NOW: Instant = Instant(1_795_600_000_000_000);

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some((type_name, query)) = text.split_once('?') else {
        return;
    };
    let Ok(params) = query_string::decode(query) else {
        return;
    };
    let context = Context {
        base_urls: &["http://own.example/fhir"],
        now: NOW,
        zone: Zone::UTC,
        limits: Limits::default(),
        codes: &Required,
        custom: CustomParams::none(),
    };
    let Some(resource_type) = Definitions::r4().resource_type(type_name) else {
        // Every type at once costs a hundred times one; a few types show the same.
        if params.iter().any(|(key, _)| key == "_type") {
            let _ = parse_system(&params, Handling::Strict, &context);
        }
        return;
    };
    let strict = parse(resource_type, &params, Handling::Strict, &context);
    let lenient = parse(resource_type, &params, Handling::Lenient, &context);
    let _ = parse_condition(resource_type, &params, &context);
    let Ok(strict) = strict else {
        if let Ok(lenient) = lenient {
            assert!(!lenient.warnings.is_empty(), "left out without a warning");
        }
        return;
    };
    let _ = describe::predicate(&strict.predicate);
    let _ = describe::sort(&strict.sort);
    let lenient = lenient.expect("lenient refuses what strict takes");
    assert_eq!(lenient.predicate, strict.predicate, "lenient differs");
    let again = parse(resource_type, &strict.used, Handling::Strict, &context);
    let again = again.expect("what was obeyed is refused");
    assert_eq!(again.predicate, strict.predicate, "self is another search");
    assert_eq!(again.sort, strict.sort, "self is another order");
    assert_eq!(again.count, strict.count, "self is another page size");
}
