//! Rows: a filter and the condition it stands for, or the words of its refusal.

use super::{Filter, parse};
use crate::search::tests::{predicate_of, refusal_of};

#[test]
fn filters_mean_what_the_parameters_mean() {
    for (filter, query) in [
        (r#"gender eq male"#, "gender=male"),
        (r#"name co "pet""#, "name:contains=pet"),
        (r#"name sw "pet""#, "name=pet"),
        (r#"birthdate ge 1970-01-01"#, "birthdate=ge1970-01-01"),
        (r#"birthdate ap 1970"#, "birthdate=ap1970"),
        (r#"identifier eq urn:x|7"#, "identifier=urn:x|7"),
        (
            r#"organization re Organization/4"#,
            "organization=Organization/4",
        ),
        (
            r#"organization eq Organization/4"#,
            "organization=Organization/4",
        ),
        (r#"organization.name sw "a""#, "organization.name=a"),
        (
            r#"general-practitioner:Practitioner.name sw "a""#,
            "general-practitioner:Practitioner.name=a",
        ),
        (r#"gender pr true"#, "gender:missing=false"),
        (r#"gender pr false"#, "gender:missing=true"),
        (r#"gender ne male"#, "gender:not=male"),
        (r#"_id eq 7"#, "_id=7"),
        (
            r#"gender in http://hl7.org/fhir/ValueSet/administrative-gender"#,
            "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
        ),
        (r#"not (gender eq male)"#, "gender:not=male"),
    ] {
        let filtered = predicate_of("Patient", &[("_filter", filter)]);
        let (name, value) = query.split_once('=').unwrap();
        assert_eq!(
            filtered,
            predicate_of("Patient", &[(name, value)]),
            "{filter}"
        );
    }
}

/// "evaluated left to right, with no precedence between and and or"
#[test]
fn and_and_or_are_taken_from_left_to_right() {
    let shape = |text: &str| {
        fn show(filter: &Filter) -> String {
            match filter {
                Filter::And(a, b) => format!("({} and {})", show(a), show(b)),
                Filter::Or(a, b) => format!("({} or {})", show(a), show(b)),
                Filter::Not(inner) => format!("not {}", show(inner)),
                Filter::Compare { path, value, .. } => format!("{}={value}", path[0].name),
            }
        }
        show(&parse(text).unwrap())
    };
    assert_eq!(
        shape("a eq 1 or b eq 2 and c eq 3"),
        "((a=1 or b=2) and c=3)"
    );
    assert_eq!(
        shape("a eq 1 or (b eq 2 and c eq 3)"),
        "(a=1 or (b=2 and c=3))"
    );
    assert_eq!(
        shape("not (a eq 1) and b eq \"x y\""),
        "(not a=1 and b=x y)"
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (filter, words) in [
        ("gender", "an operator is expected"),
        ("gender eq", "a value"),
        ("gender is male", "an operator is expected"),
        ("gender eq male or", "name of a search parameter"),
        ("(gender eq male", "`)` is expected"),
        ("gender eq male)", "`and`, `or` or the end"),
        ("not gender eq male", "`(` is expected"),
        ("name eq \"x", "no end"),
        ("gender gt male", "cannot be applied to a token"),
        ("gender pr maybe", "`true` or `false`"),
        ("nonsense eq 1", "no search parameter `nonsense`"),
        ("gender.name eq 1", "only references can be chained"),
        ("organization[name eq \"x\"] eq 1", "behind `]`"),
        ("gender in http://example.org/vs", "not loaded"),
        (&"(".repeat(40), "nested"),
    ] {
        let text = refusal_of("Patient", &[("_filter", filter)]);
        assert!(text.contains(words), "{filter}: {text}");
    }
}
