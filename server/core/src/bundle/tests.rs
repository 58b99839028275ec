//! <https://hl7.org/fhir/R4/http.html#transaction> and <https://hl7.org/fhir/R4/bundle.html#references>, rule by rule.

use super::*;
use crate::json::Document;

const CONTEXT: PlanContext<'_> = PlanContext {
    base_urls: &["http://own/fhir"],
    entries_max: 100,
};

fn with_plan<T>(kind: &str, entries: &str, then: impl FnOnce(Result<Plan<'_>, Problem>) -> T) -> T {
    let text = format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#);
    let document = Document::parse(text.as_bytes()).expect("a JSON text");
    let mut count = 0;
    let mut ids = || {
        count += 1;
        ResourceId::parse(&format!("new{count}")).unwrap()
    };
    then(plan(document.root(), &CONTEXT, &mut ids))
}

fn key(text: &str) -> ResourceKey {
    ResourceKey::parse(text).unwrap()
}

fn content(plan: &Plan<'_>, index: usize) -> String {
    String::from_utf8(plan.content(index).unwrap()).unwrap()
}

/// "the server SHALL process interactions in this order: DELETE, POST, PUT or PATCH, GET or HEAD"
/// Verifies: SRS-008, RC-008
#[test]
fn entries_are_processed_in_the_order_of_the_specification() {
    let entries = r#"
        {"request":{"method":"GET","url":"Patient?name=a"}},
        {"resource":{"resourceType":"Patient","id":"1"},"request":{"method":"PUT","url":"Patient/1"}},
        {"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},
        {"request":{"method":"DELETE","url":"Patient/2"}},
        {"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"/Patient"}}"#;
    with_plan("transaction", entries, |plan| {
        assert_eq!(plan.unwrap().order, [3, 2, 4, 1, 0])
    });
}

/// "the server SHALL … replace all matching links in the bundle, whether they are found in the resource ids, resource references, elements of type
/// uri, url, oid, uuid, and <a href="" & <img src="" in the narrative"
/// Verifies: SRS-001, SRS-008, RC-001, RC-008
#[test]
fn links_between_entries_get_the_new_ids() {
    let entries = r#"
        {"fullUrl":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}},
        {"fullUrl":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000002","resource":{ "resourceType":"Observation",
          "text":{"status":"generated","div":"<div><a href=\"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001\">urn:uuid:aaaaaaaa-0000-4000-8000-000000000001</a></div>"},
          "identifier":[{"value":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"}],
          "extension":[{"url":"http://x/e","valueUri":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"},
                       {"url":"http://x/e","valueCanonical":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"},
                       {"url":"http://x/e","valueString":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"}],
          "_status":{"extension":[{"url":"http://x/e","valueReference":{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"}}]},
          "contained":[{"resourceType":"Specimen","subject":{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"}}],
          "subject":{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"},
          "focus":[{"reference":"Patient/7"},{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000009"}],
          "valueQuantity":{"value":2.50}},"request":{"method":"POST","url":"Observation"}}"#;
    with_plan("transaction", entries, |plan| {
        let text = content(&plan.unwrap(), 1);
        for expected in [
            r#"<a href=\"Patient/new1\">urn:uuid:"#,
            r#""identifier":[{"value":"urn:uuid:"#,
            r#""valueUri":"Patient/new1""#,
            r#""valueCanonical":"urn:uuid:"#,
            r#""valueString":"urn:uuid:"#,
            r#""valueReference":{"reference":"Patient/new1"}"#,
            r#""resourceType":"Specimen","subject":{"reference":"Patient/new1"}"#,
            r#""subject":{"reference":"Patient/new1"}"#,
            r#"{"reference":"Patient/7"},{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000009"}"#,
            r#""value":2.50"#,
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        Document::parse(text.as_bytes()).expect("valid JSON");
    });
}

/// "If the reference is … relative …: if the fullUrl of the entry is a RESTful URL …, append the reference to its root"
#[test]
fn relative_references_belong_to_the_server_of_their_entry() {
    let entries = r#"
        {"fullUrl":"http://there/fhir/Patient/1","resource":{"resourceType":"Patient","id":"1"},"request":{"method":"POST","url":"Patient"}},
        {"fullUrl":"http://there/fhir/Condition/1","resource":{"resourceType":"Condition","subject":{"reference":"Patient/1"}},"request":{"method":"POST","url":"Condition"}},
        {"fullUrl":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000002","resource":{"resourceType":"Condition","subject":{"reference":"Patient/1"}},"request":{"method":"POST","url":"Condition"}},
        {"resource":{"resourceType":"Condition","subject":{"reference":"http://there/fhir/Patient/1"}},"request":{"method":"POST","url":"Condition"}}"#;
    with_plan("transaction", entries, |plan| {
        let plan = plan.unwrap();
        assert!(content(&plan, 1).contains(r#""Patient/new1""#));
        assert!(
            content(&plan, 2).contains(r#""Patient/1""#),
            "this entry is not of that server"
        );
        assert!(content(&plan, 3).contains(r#""Patient/new1""#));
    });
}

/// Conditional create: "One Match: … the server ignores the post"; references then lead to what was found.
#[test]
fn what_a_condition_finds_takes_the_place_of_the_new_resource() {
    let entries = r#"
        {"fullUrl":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=urn:s%7C1"}},
        {"resource":{"resourceType":"Condition","subject":{"reference":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"},
          "recorder":{"reference":"Practitioner?identifier=s|9"},"asserter":{"reference":"Practitioner?identifier=s|9"}},"request":{"method":"POST","url":"Condition"}},
        {"resource":{"resourceType":"Patient","id":"7"},"request":{"method":"PUT","url":"Patient/7","ifMatch":"W/\"2\""}}"#;
    with_plan("transaction", entries, |plan| {
        let mut plan = plan.unwrap();
        let Action::Create {
            if_none_exist: Some(condition),
            ..
        } = &plan.entries[0].action
        else {
            panic!("a conditional create")
        };
        assert_eq!(
            condition,
            &[("identifier".to_owned(), "urn:s|1".to_owned())]
        );
        let references = plan.conditional_references().unwrap();
        assert_eq!(references.len(), 1);
        assert_eq!(
            (references[0].text.as_str(), references[0].index),
            ("Practitioner?identifier=s|9", 1)
        );
        assert_eq!(
            references[0].params,
            [("identifier".to_owned(), "s|9".to_owned())]
        );
        plan.resolve_reference("Practitioner?identifier=s|9", key("Practitioner/p"));
        plan.resolve_entry(0, key("Patient/old"));
        plan.refuse_duplicates().unwrap();
        let text = content(&plan, 1);
        assert!(
            text.contains(r#""subject":{"reference":"Patient/old"}"#),
            "{text}"
        );
        assert_eq!(
            text.matches(r#"{"reference":"Practitioner/p"}"#).count(),
            2,
            "{text}"
        );
        // "any resource identities (including resolved identities …) overlap"
        plan.resolve_entry(0, key("Patient/7"));
        assert_eq!(
            plan.refuse_duplicates().unwrap_err().kind(),
            ErrorKind::DUPLICATE_ENTRY
        );
    });
}

/// Verifies: SRS-008, RC-008
#[test]
fn wrong_entries_are_refused_with_their_place() {
    let patient = r#""resource":{"resourceType":"Patient","id":"1"}"#;
    for (entry, place) in [
        ("{}".to_owned(), "request.method"),
        (r#"{"request":{"method":"GET"}}"#.to_owned(), "request.url"),
        (
            r#"{"request":{"method":"get","url":"Patient"}}"#.to_owned(),
            "request.method",
        ),
        (
            r#"{"request":{"method":"POST","url":"Patient"}}"#.to_owned(),
            "resource",
        ),
        (
            format!(
                r#"{{"fullUrl":"http://x/fhir/Patient/2",{patient},"request":{{"method":"PUT","url":"Patient/1"}}}}"#
            ),
            "fullUrl",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"POST","url":"Observation"}}}}"#),
            "resource",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"POST","url":"Nothing"}}}}"#),
            "request.url",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"POST","url":"Patient/1"}}}}"#),
            "request.url",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"POST","url":"Patient/$match"}}}}"#),
            "request.url",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"PUT","url":"Patient/2"}}}}"#),
            "resource.id",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"PUT","url":"Patient"}}}}"#),
            "request.url",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"PUT","url":"Patient?"}}}}"#),
            "request",
        ),
        (
            format!(
                r#"{{{patient},"request":{{"method":"PUT","url":"Patient/1","ifMatch":"x"}}}}"#
            ),
            "request.ifMatch",
        ),
        (
            format!(
                r#"{{{patient},"request":{{"method":"PUT","url":"Patient/1","ifNoneExist":"a=b"}}}}"#
            ),
            "request.ifNoneExist",
        ),
        (
            format!(
                r#"{{{patient},"request":{{"method":"PUT","url":"http://other/fhir/Patient/1"}}}}"#
            ),
            "request.url",
        ),
        (
            format!(r#"{{{patient},"request":{{"method":"PATCH","url":"Patient/1"}}}}"#),
            "resource",
        ),
        (
            r#"{"request":{"method":"DELETE","url":"Patient"}}"#.to_owned(),
            "request.url",
        ),
        (
            r#"{"request":{"method":"DELETE","url":"Patient/a_b"}}"#.to_owned(),
            "request.url",
        ),
        (
            r#"{"request":{"method":"GET","url":"Patient/1","ifModifiedSince":"2020"}}"#.to_owned(),
            "request.ifModifiedSince",
        ),
    ] {
        with_plan(
            "transaction",
            &format!(r#"{{"request":{{"method":"GET","url":"metadata"}}}},{entry}"#),
            |plan| {
                let problem = plan.expect_err(&entry);
                assert_eq!(problem.kind(), ErrorKind::BAD_ENTRY, "{entry}");
                let expected = format!("Bundle.entry[1].{place}");
                assert_eq!(
                    problem.issues[0].expression.as_deref(),
                    Some(expected.as_str()),
                    "{entry}"
                );
            },
        );
        // In a batch the other entries go on.
        with_plan(
            "batch",
            &format!(r#"{{"request":{{"method":"GET","url":"metadata"}}}},{entry}"#),
            |plan| {
                let plan = plan.unwrap();
                assert!(
                    matches!(plan.entries[1].action, Action::Refused(_)),
                    "{entry}"
                );
                assert!(matches!(plan.entries[0].action, Action::Get { .. }));
            },
        );
    }
}

/// "If any resource identities … overlap …, then the transaction SHALL fail"
/// Verifies: SRS-008, RC-008
#[test]
fn the_same_resource_twice_fails_a_transaction() {
    let put = r#"{"resource":{"resourceType":"Patient","id":"1"},"request":{"method":"PUT","url":"Patient/1"}}"#;
    let delete = r#"{"request":{"method":"DELETE","url":"http://own/fhir/Patient/1"}}"#;
    let named = r#"{"fullUrl":"urn:uuid:aaaaaaaa-0000-4000-8000-000000000001","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}"#;
    let conditional = r#"{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=a"}}"#;
    for (first, second) in [
        (put, put),
        (put, delete),
        (named, named),
        (conditional, conditional),
    ] {
        let entries = format!("{first},{second}");
        with_plan("transaction", &entries, |plan| {
            assert_eq!(
                plan.expect_err(&entries).kind(),
                ErrorKind::DUPLICATE_ENTRY,
                "{entries}"
            );
        });
    }
    with_plan("batch", &format!("{put},{delete}"), |plan| {
        assert!(plan.is_ok())
    });
}

#[test]
fn bundles_of_other_types_and_sizes_are_refused() {
    for text in [
        r#"{"resourceType":"Bundle","type":"searchset"}"#,
        r#"{"resourceType":"Patient"}"#,
        "[]",
    ] {
        let document = Document::parse(text.as_bytes()).unwrap();
        let refused = plan(document.root(), &CONTEXT, &mut || {
            ResourceId::parse("x").unwrap()
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BAD_ENTRY, "{text}");
    }
    let many = vec![r#"{"request":{"method":"GET","url":"metadata"}}"#; 101].join(",");
    with_plan("batch", &many, |plan| {
        assert_eq!(plan.unwrap_err().kind(), ErrorKind::TOO_LARGE)
    });
    with_plan("transaction", "", |plan| {
        assert!(plan.unwrap().entries.is_empty())
    });
}
