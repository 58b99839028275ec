//! What a run starts from: the conformance cases, HL7's FHIRPath tests, the messages in the tests of the mappings.
//!
//! All of it is in the repository already, so there is no corpus to keep.

use fhir_core::json::{Document, Value};
use fhir_core::xml;
use toml::{Table, Value as Toml};

const CASES: [&str; 10] = [
    include_str!("../../cases/datatypes.toml"),
    include_str!("../../cases/http.toml"),
    include_str!("../../cases/http_more.toml"),
    include_str!("../../cases/operations.toml"),
    include_str!("../../cases/patch.toml"),
    include_str!("../../cases/search.toml"),
    include_str!("../../cases/search_types.toml"),
    include_str!("../../cases/terminology.toml"),
    include_str!("../../cases/transaction.toml"),
    include_str!("../../cases/validate.toml"),
];
const EXPRESSIONS: &str = include_str!("../../fhirpath/r4-tests.json");
const EXPRESSIONS_OF_SEARCH: &str = include_str!("../../generated/search_params.tsv");
const INVARIANTS: &str = include_str!("../../generated/invariants.tsv");
const RESOURCES: [&str; 2] = [
    include_str!("../../fhirpath/inputs/patient-container-example.json"),
    include_str!("../../fhirpath/inputs/appointment-examplereq.json"),
];
const RESOURCES_IN_XML: [&str; 6] = [
    include_str!("../../fhirpath/inputs/codesystem-example.xml"),
    include_str!("../../fhirpath/inputs/observation-example.xml"),
    include_str!("../../fhirpath/inputs/parameters-example-types.xml"),
    include_str!("../../fhirpath/inputs/patient-example.xml"),
    include_str!("../../fhirpath/inputs/questionnaire-example.xml"),
    include_str!("../../fhirpath/inputs/valueset-example-expansion.xml"),
];
const MAPPINGS: [&str; 10] = [
    include_str!("../../../mappings/hl7v2/adt-merge.yaml"),
    include_str!("../../../mappings/hl7v2/adt-visit.yaml"),
    include_str!("../../../mappings/hl7v2/dft-charge.yaml"),
    include_str!("../../../mappings/hl7v2/mdm-document.yaml"),
    include_str!("../../../mappings/hl7v2/orm-order.yaml"),
    include_str!("../../../mappings/hl7v2/oru-result.yaml"),
    include_str!("../../../mappings/hl7v2/ppr-problem.yaml"),
    include_str!("../../../mappings/hl7v2/rde-medication.yaml"),
    include_str!("../../../mappings/hl7v2/siu-appointment.yaml"),
    include_str!("../../../mappings/hl7v2/vxu-immunization.yaml"),
];

/// The seeds of a target, each once, in a fixed order.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = match target {
        "search" => searches(),
        "fhirpath" => expressions(),
        "json" => bodies(),
        "xml" => in_xml(),
        "patch" => patches(),
        "hl7v2" => messages(),
        _ => Vec::new(),
    };
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Words that mean something to a target.
pub fn words(target: &str) -> &'static [&'static str] {
    match target {
        "search" => &[
            "&",
            "=",
            ":",
            ".",
            ",",
            "|",
            "$",
            "\\",
            "%2C",
            "%5C",
            "%7C",
            "%24",
            "%00",
            "+",
            ":missing",
            ":not",
            ":exact",
            ":contains",
            ":text",
            ":in",
            ":above",
            ":below",
            ":identifier",
            ":of-type",
            ":Patient",
            ":iterate",
            "_has:",
            "_include=",
            "_revinclude=",
            "_sort=",
            "_count=",
            "_total=",
            "_summary=",
            "_elements=",
            "_filter=",
            "_type=",
            "_id=",
            "_lastUpdated=",
            "_tag=",
            "_list=",
            "_text=",
            "_content=",
            "eq",
            "ne",
            "gt",
            "lt",
            "ge",
            "le",
            "sa",
            "eb",
            "ap",
            "1e400",
            "-0.00",
            "5.40",
            "99999999999999999999",
            "9999-12-31",
            "0001-01-01",
            "T24:00:00Z",
            "+14:00",
            "http://own.example/fhir/",
            "Patient/1/_history/2",
            " and ",
            " or ",
            "not(",
            "(",
            ")",
            "*",
        ],
        "fhirpath" => &[
            ".",
            "(",
            ")",
            "[",
            "]",
            "{}",
            "'",
            "`",
            "\\u0041",
            "$this",
            "$index",
            "$total",
            "%resource",
            "%context",
            " and ",
            " or ",
            " implies ",
            " div ",
            " mod ",
            " | ",
            " in ",
            " is ",
            " as ",
            "@2020-01-01T10:00:00.000+14:00",
            "@T10:00",
            "1e9",
            "99999999999999999999999.5",
            " days",
            " 'mg'",
            "where(",
            "repeat(",
            "descendants()",
            "children()",
            "aggregate(",
            "resolve()",
            "ofType(",
            "substring(",
            "replaceMatches(",
            "matches(",
            "iif(",
            "exists()",
            "combine(",
            "power(",
            "round(",
            "toQuantity()",
            "toDateTime()",
            "//",
            "/*",
            "*/",
            "-",
            "~",
            "!~",
        ],
        "json" => &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\u0000",
            "\\ud800",
            "\\udc00",
            "null",
            "true",
            "1e400",
            "-0",
            "0.00",
            "1E-9999",
            "12345678901234567890.123456789",
            "\"resourceType\":\"Patient\"",
            "\"contained\":[",
            "\"_birthDate\":",
            "\"extension\":[{\"url\":\"a\",",
            "\"valueDecimal\":1.50",
            "\"id\":\"\"",
            "\"div\":\"<div",
            "\u{feff}",
            "\"\"",
        ],
        "xml" => &[
            "<",
            "/>",
            "</",
            ">",
            "\"",
            " value=\"",
            " id=\"",
            "&lt;",
            "&#0;",
            "&#x10FFFF;",
            "&amp;",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<?xml?>",
            "<!DOCTYPE",
            " xmlns=\"http://hl7.org/fhir\"",
            "<extension url=\"a\">",
            "<contained>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">",
            "<text>",
            " xml:lang=\"",
            "\u{85}",
            "\t",
            "\r\n",
        ],
        "patch" => &[
            "{\"op\":\"add\",\"path\":\"/",
            "{\"op\":\"remove\",\"path\":\"",
            "{\"op\":\"copy\",\"from\":\"",
            "\"move\"",
            "\"test\"",
            "\"value\":",
            "/-",
            "/0",
            "~0",
            "~1",
            "~",
            "valueCode",
            "valueString",
            "valueInteger",
            "\"part\":[",
            "\"name\":\"path\"",
            "\"name\":\"index\"",
            "\"name\":\"value\"",
            "\"insert\"",
            "\"delete\"",
            "\"replace\"",
            "Patient.name[0]",
            "Patient.contact.where(true)",
            "-1",
            "4294967296",
        ],
        _ => &[
            "\r",
            "\n",
            "|",
            "^",
            "~",
            "\\",
            "&",
            "#",
            "\"\"",
            "\\X0D\\",
            "\\.br\\",
            "\\H\\",
            "MSH|^~\\&|",
            "PID|",
            "OBX|",
            "NTE|",
            "\u{b}",
            "\u{1c}\r",
            "\u{feff}",
            "8859/1",
            "UNICODE UTF-16",
            "ISO IR87",
            "A40",
            "20240230",
            "+0000",
            "\rZ1|",
        ],
    }
}

/// The steps of all cases, set-up included.
fn steps() -> Vec<Table> {
    let mut steps = Vec::new();
    for text in CASES {
        let Ok(file) = text.parse::<Table>() else {
            continue;
        };
        for key in ["setup", "case"] {
            for case in tables(&file, key) {
                let inner: Vec<Table> = tables(case, "step").cloned().collect();
                steps.push(case.clone());
                steps.extend(inner);
            }
        }
    }
    steps
}

fn tables<'t>(table: &'t Table, key: &str) -> impl Iterator<Item = &'t Table> {
    let items = table.get(key).and_then(Toml::as_array);
    items.into_iter().flatten().filter_map(Toml::as_table)
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table.get(key).and_then(Toml::as_str).unwrap_or_default()
}

fn searches() -> Vec<Vec<u8>> {
    let requests = steps();
    let urls = requests
        .iter()
        .filter_map(|step| text(step, "request").split_once(' '));
    urls.filter(|(_, url)| url.contains('?'))
        .map(|(_, url)| url.trim_start_matches('/').as_bytes().to_vec())
        .collect()
}

fn expressions() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    if let Ok(value) = Value::parse(EXPRESSIONS.as_bytes()) {
        strings_under(&value, "expression", &mut found);
    }
    // Every tenth of the expressions of the definitions: they repeat one another.
    for table in [EXPRESSIONS_OF_SEARCH, INVARIANTS] {
        let cells = table.lines().step_by(10).flat_map(|line| line.split('\t'));
        found.extend(
            cells
                .filter(|cell| cell.contains('.') && !cell.contains("//"))
                .map(str::to_owned),
        );
    }
    found.into_iter().map(String::into_bytes).collect()
}

fn strings_under(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| strings_under(item, name, found)),
        Value::Object(map) => {
            for (key, value) in map.iter() {
                match value {
                    Value::String(text) if key == name => found.push(text.to_string()),
                    other => strings_under(other, name, found),
                }
            }
        }
        _ => {}
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let requests = steps();
    let of_cases = requests
        .iter()
        .map(|step| text(step, "body"))
        .filter(|body| body.starts_with('{'));
    of_cases
        .chain(RESOURCES)
        .map(|body| body.replace("${n}", "1").into_bytes())
        .collect()
}

fn in_xml() -> Vec<Vec<u8>> {
    let requests = steps();
    let of_cases = requests
        .iter()
        .map(|step| text(step, "body"))
        .filter(|body| body.starts_with('<'));
    let mut found: Vec<Vec<u8>> = of_cases
        .chain(RESOURCES_IN_XML)
        .map(|body| body.as_bytes().to_vec())
        .collect();
    for body in bodies() {
        let mut out = Vec::new();
        if let Ok(document) = Document::parse(&body)
            && xml::write(document.root(), &mut out).is_ok()
        {
            found.push(out);
        }
    }
    found
}

/// Each patch of the cases after each of the two resources before it.
fn patches() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut resource = String::new();
    for step in steps() {
        let body = text(&step, "body").replace("${n}", "1").replace('\n', " ");
        if text(&step, "request").starts_with("PUT") {
            resource = body;
        } else if text(&step, "request").starts_with("PATCH") {
            found.push(format!("{resource}\n{body}").into_bytes());
        }
    }
    found
}

/// The messages in the tests of the mapping files: runs of lines that start with a segment's name.
fn messages() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for file in MAPPINGS {
        let mut is_inside = false;
        for line in file.lines().map(str::trim) {
            let is_segment = line.as_bytes().get(3) == Some(&b'|');
            if line.starts_with("MSH|") {
                found.push(Vec::new());
                is_inside = true;
            }
            is_inside &= is_segment;
            if let (true, Some(message)) = (is_inside, found.last_mut()) {
                message.extend_from_slice(line.as_bytes());
                message.push(b'\r');
            }
        }
    }
    found
}
