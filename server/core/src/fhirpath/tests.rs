//! The grammar, and what expressions give.

use super::eval::{Element, EvalError, Item, evaluate};
use super::*;
use crate::json::Document;

/// Spec: <http://hl7.org/fhirpath/N1/grammar.html>
#[test]
fn precedence_follows_the_grammar() {
    for (text, tree) in [
        ("a.b.c", "a.b.c"),
        ("a or b and c", "(a or (b and c))"),
        ("a implies b or c", "(a implies (b or c))"),
        ("a = b and c != d", "((a = b) and (c != d))"),
        ("a | b | c", "((a | b) | c)"),
        ("a as Quantity | b", "((a as Quantity) | b)"),
        ("a.b is FHIR.Patient", "(a.b is FHIR.Patient)"),
        ("1 + 2 * 3 - 4", "((1 + (2 * 3)) - 4)"),
        ("-a.b[0] + 1", "((-a.b[0]) + 1)"),
        ("a < 5 in b", "((a < 5) in b)"),
        ("a.contains('x') contains b", "(a.contains('x') contains b)"),
        ("contains.code", "contains.code"),
        (
            "a.where($this is Patient and $index > 0)",
            "a.where((($this is Patient) and ($index > 0)))",
        ),
        (
            "%resource.id = %`vs-x` & %'ext-y'",
            "(%resource.id = (%vs-x & %ext-y))",
        ),
        ("{}", "{}"),
        ("'it\\'s \\u0041 \\n'", "'it's A \n'"),
        ("4 days + 4.5 'mg'", "(4 'days' + 4.5 'mg')"),
        (
            "@2014-01-25T14:30:00.5+01:00",
            "@2014-01-25T14:30:00.5+01:00",
        ),
        ("@2014-01 = @T14:30", "(@2014-01 = @T14:30)"),
        ("5.toString()", "5.toString()"),
        ("`div`.`a b`", "div.a b"),
        ("a /* note */ . b // more", "a.b"),
        ("a.as(FHIR.Quantity)", "a.as(FHIR.Quantity)"),
        ("iif(a, b, c)", "iif(a, b, c)"),
    ] {
        assert_eq!(
            parse(text).map(|e| e.to_string()).as_deref(),
            Ok(tree),
            "{text}"
        );
    }
}

#[test]
fn bad_expressions_are_refused_with_their_place() {
    use ParseErrorKind::*;
    for (text, kind, at) in [
        ("", UnexpectedToken, 0),
        ("a.", UnexpectedToken, 2),
        ("a b", UnexpectedToken, 2),
        ("a.(b)", UnexpectedToken, 2),
        ("(a", UnexpectedToken, 2),
        ("a[", UnexpectedToken, 2),
        ("a and", UnexpectedToken, 5),
        ("and", UnexpectedToken, 0),
        ("'abc", Unterminated, 0),
        ("/* abc", Unterminated, 0),
        ("'\\x'", BadEscape, 3),
        ("a # b", UnexpectedCharacter, 2),
        ("@", UnexpectedCharacter, 1),
        ("$that", UnexpectedToken, 5),
        ("f(a,)", UnexpectedToken, 4),
    ] {
        assert_eq!(parse(text), Err(ParseError { kind, at }), "{text}");
    }
    let nested = format!("{}a{}", "(".repeat(500), ")".repeat(500));
    let chained = vec!["a"; 500].join(" or ");
    let invoked = vec!["a"; 500].join(".");
    let indexed = format!("a{}", "[0]".repeat(500));
    let mixed = format!("{}a{}", "(".repeat(60), " or b or c or d)".repeat(60));
    for text in [nested, chained, invoked, indexed, mixed] {
        assert_eq!(parse(&text).unwrap_err().kind, TooDeep);
    }
    assert_eq!(parse(&"a".repeat(9_000)).unwrap_err().kind, TooLong);
}

const PATIENT: &str = r##"{"resourceType":"Patient","id":"p","active":true,"birthDate":"1974-12-25",
    "_birthDate":{"extension":[{"url":"http://x.example/time","valueDateTime":"1974-12-25T14:35:45-05:00"}]},
    "name":[{"use":"official","family":"Muster","given":["Anna","Eva"]},{"use":"usual","given":["Anni"]}],
    "telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@x.example"}],
    "contained":[{"resourceType":"Organization","id":"o","name":"House"}],
    "managingOrganization":{"reference":"#o"},"generalPractitioner":[{"reference":"Practitioner/1"},{"type":"Organization"}],
    "multipleBirthInteger":2,"extension":[{"url":"http://x.example/e","valueQuantity":{"value":5.40,"unit":"mg","code":"mg"}}]}"##;

fn shown(text: &str) -> String {
    let document = Document::parse(PATIENT.as_bytes()).unwrap();
    let root = Element::resource(document.root());
    match evaluate(&parse(text).expect(text), root, root) {
        Err(error) => format!("{error:?}"),
        Ok(items) => {
            let item = |item: &Item<'_>| match item {
                Item::Element(e) if e.value.is_object() => e.type_path.to_owned(),
                other => other
                    .to_text()
                    .map_or_else(|| "?".to_owned(), |t| t.into_owned()),
            };
            items.iter().map(item).collect::<Vec<_>>().join(",")
        }
    }
}

/// Spec: <http://hl7.org/fhirpath/N1/#functions>
#[test]
fn expressions_are_evaluated() {
    for (text, result) in [
        ("Patient.name.given", "Anna,Eva,Anni"),
        ("name.where(use = 'official').given", "Anna,Eva"),
        ("Observation.name", ""),
        ("Resource.id", "p"),
        ("name[0].given[1]", "Eva"),
        ("name.given.first()", "Anna"),
        ("name.given.last() | name.given.skip(2)", "Anni"),
        ("name.given.count()", "3"),
        ("name.count() > 1 and active", "true"),
        ("telecom.exists(system = 'fax')", "false"),
        ("deceased.exists() and deceased != false", "false"),
        ("multipleBirth", "2"),
        ("multipleBirth is integer", "true"),
        ("multipleBirth as boolean", ""),
        ("id is string", "true"),
        ("id as string", ""),
        ("id.ofType(id)", "p"),
        (
            "(name.given | name.family) as string",
            "Anna,Eva,Anni,Muster",
        ),
        ("@T10:30 < @T10:30:00", ""),
        ("@T10:30:00 < @T10:30:00.5", "true"),
        ("1.50.toString()", "1.50"),
        ("@2015T", "2015"),
        ("@2015-02-04T14 < @2015-02-04T15", "true"),
        ("@2012-02-29 + 1 year", "2013-02-28"),
        ("@2012-01-31 - 2 months", "2011-11-30"),
        ("@2012 + 25 months", "2014"),
        ("@T23:30 + 45 minutes", "00:15"),
        ("1 'mg' + 1 'g'", "1001 'mg'"),
        ("1 'kg' + 1 's'", ""),
        ("1 year = 12 months", "true"),
        ("1 year ~ 1 'a'", "true"),
        ("id is nothing", "UnknownType(\"nothing\")"),
        ("now()", "Unsupported(\"now\")"),
        ("gender.memberOf('x')", ""),
        ("id.memberOf('x')", "Unsupported(\"memberOf\")"),
        ("slice('a', 'b')", "Unsupported(\"slice\")"),
        (
            "'a'.matches('(?=a)')",
            "Unsupported(\"this regular expression\")",
        ),
        ("name.given.upper()", "NotSingleton"),
        ("'abc'.substring(1, {})", "bc"),
        ("'a,b'.split(',').count()", "2"),
        ("5.power(2).type().name", "Integer"),
        ("gender.matches('x')", ""),
        ("multipleBirth.ofType(integer) + 1", "3"),
        ("managingOrganization.resolve().name", "House"),
        (
            "generalPractitioner.where(resolve() is Practitioner).reference",
            "Practitioner/1",
        ),
        (
            "generalPractitioner.where(resolve() is Organization).type",
            "Organization",
        ),
        ("extension('http://x.example/e').value.value", "5.40"),
        ("extension('http://x.example/e').value = 5.4 'mg'", "true"),
        (
            "birthDate.extension('http://x.example/time').value",
            "1974-12-25T14:35:45-05:00",
        ),
        ("birthDate < @1975", "true"),
        ("birthDate = @1974-12-25", "true"),
        ("birthDate = @1974", ""),
        ("birthDate > @1974", ""),
        ("@2018-03-01T10:30:00Z = @2018-03-01T11:30:00+01:00", "true"),
        ("name.all(given.exists())", "true"),
        ("name.select(family)", "Muster"),
        ("gender.empty()", "true"),
        ("gender = 'male'", ""),
        ("gender ~ {}", "true"),
        ("{} or true", "true"),
        ("{} and true", ""),
        ("false implies {}", "true"),
        ("true xor false", "true"),
        ("'a' in name.use", "false"),
        ("name.use contains 'usual'", "true"),
        ("'AbC' ~ 'aBc'", "true"),
        ("name.family & '-' & gender", "Muster-"),
        ("name.family.startsWith('Mus')", "true"),
        ("name.family.substring(1, 3)", "ust"),
        ("name.family.length()", "6"),
        ("'héllo'.indexOf('l')", "2"),
        ("'1.50'.toDecimal() = 1.5", "true"),
        ("iif(active, 'yes', 'no')", "yes"),
        ("0.1 + 0.2 = 0.3", "true"),
        ("7 div 2", "3"),
        ("7 mod 2", "1"),
        ("-7 mod 2", "-1"),
        ("1 div 0", ""),
        ("name.repeat(given).count()", "3"),
        (
            "name.given.distinct().count() = name.given.isDistinct().toInteger() + 2",
            "true",
        ),
        ("contained.ofType(Organization).name", "House"),
        ("contained.name.exists()", "true"),
        ("name.descendants().count()", "6"),
        ("name.family.matches('M.*')", "true"),
        ("name.given + 'x'", "NotSingleton"),
        ("name.given.single()", "NotSingleton"),
        ("%resource.id & %sct", "phttp://snomed.info/sct"),
        ("%unknown", "Unsupported(\"%unknown\")"),
    ] {
        assert_eq!(shown(text), result, "{text}");
    }
    let bounds = r#"{"resourceType":"Observation","component":[{"valueQuantity":{"value":60,"code":"mg"}},
        {"valueQuantity":{"value":60,"comparator":">","code":"mg"}},{"valueQuantity":{"value":60.0,"code":"mg"}}]}"#;
    let bounds = Document::parse(bounds.as_bytes()).unwrap();
    let root = Element::resource(bounds.root());
    let different = evaluate(&parse("component.value.distinct()").unwrap(), root, root);
    assert_eq!(different.unwrap().len(), 2, "60, >60");
    let long = Document::parse(
        format!(
            r#"{{"resourceType":"Basic","extension":[{}]}}"#,
            vec![r#"{"url":"a"}"#; 1_500].join(",")
        )
        .as_bytes(),
    )
    .unwrap();
    let root = Element::resource(long.root());
    let endless = parse("extension.where(%resource.extension.count() > 0)").unwrap();
    assert_eq!(
        evaluate(&endless, root, root).unwrap_err(),
        EvalError::TooMuchWork
    );
}
