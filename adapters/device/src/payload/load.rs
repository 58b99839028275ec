//! Loads payload mappings: everything is checked, and the tests a file carries must come true, before it is used.
//!
//! Left out on purpose: YAML itself; the mapping library reads it.

use mappings::yaml::{self, Key, Node};
use mappings::{LoadError, LoadErrors};

use super::condition::Condition;
use super::expression::Expression;
use super::path::Path;
use super::{
    ClockForm, Fields, Input, Makes, Outcome, PayloadMapping, Rule, TestCase, Value, ZonePolicy,
};
use crate::measure;
use crate::measurement::Keyed;

macro_rules! files {
    ($($name:literal,)*) => {
        /// The payload mappings this version ships: file and text.
        pub const EMBEDDED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../mappings/", $name))),)*];
    };
}

files! {
    "dexcom-share.yaml",
    "dexcom-v3.yaml",
    "fitbit.yaml",
    "garmin.yaml",
    "gatt.yaml",
    "generic-json.yaml",
    "google-fit.yaml",
    "health-connect.yaml",
    "healthkit.yaml",
    "healthkit-export.yaml",
    "ihealth.yaml",
    "open-mhealth.yaml",
    "oura.yaml",
    "polar.yaml",
    "withings.yaml",
}

/// Loads all shipped mappings.
///
/// # Errors
/// None, unless the build is broken: a test does the same.
pub fn embedded() -> Result<Vec<PayloadMapping>, LoadErrors> {
    EMBEDDED
        .iter()
        .map(|(file, text)| load(file, text))
        .collect()
}

/// Loads one mapping and runs its tests.
///
/// # Errors
/// Every fault with file and line.
pub fn load(file: &str, text: &str) -> Result<PayloadMapping, LoadErrors> {
    let node = yaml::parse(file, text)?;
    let mut loader = Loader {
        file,
        errors: Vec::new(),
    };
    let mapping = loader.mapping(&node);
    if loader.errors.is_empty() {
        loader.self_test(&mapping);
    }
    if loader.errors.is_empty() {
        Ok(mapping)
    } else {
        Err(LoadErrors(loader.errors))
    }
}

struct Loader<'a> {
    file: &'a str,
    errors: Vec<LoadError>,
}

impl Loader<'_> {
    fn error(&mut self, line: usize, message: impl Into<String>) {
        self.errors.push(LoadError {
            file: self.file.to_owned(),
            line,
            message: message.into(),
        });
    }

    fn mapping(&mut self, node: &Node) -> PayloadMapping {
        let mut mapping = PayloadMapping {
            id: String::new(),
            version: String::new(),
            input: Input::Json,
            zone: ZonePolicy::Reject,
            rules: Vec::new(),
            tests: Vec::new(),
        };
        let mut defaults = Fields::default();
        for (key, value) in node.map().unwrap_or_default() {
            match key.text.as_str() {
                "payload" => mapping.id = self.text(value),
                "version" => mapping.version = self.text(value),
                "comment" | "rules" => {}
                "input" => mapping.input = self.word(value, &INPUTS).unwrap_or(Input::Json),
                "zone" => mapping.zone = self.word(value, &ZONES).unwrap_or(ZonePolicy::Reject),
                "tests" => mapping.tests = value.each().iter().map(|t| self.test(t)).collect(),
                _ => self.field(key, value, &mut defaults),
            }
        }
        if mapping.id.is_empty() || mapping.version.is_empty() {
            self.error(
                node.line,
                "a payload mapping starts with `payload: ID` and `version: N`",
            );
        }
        let rules = node.get("rules").map(Node::each).unwrap_or_default();
        mapping.rules = rules
            .iter()
            .flat_map(|rule| self.rule(rule, &defaults))
            .collect();
        if rules.is_empty() {
            self.error(node.line, "`rules` is missing");
        }
        if mapping.tests.is_empty() {
            self.error(
                node.line,
                "`tests` is missing: a mapping shows what it does",
            );
        }
        mapping
    }

    /// A rule for each place that `each` lists.
    fn rule(&mut self, node: &Node, defaults: &Fields) -> Vec<Rule> {
        let (mut name, mut each, mut when) =
            (String::new(), Vec::from_iter(Path::parse("$")), None);
        let (mut makes, mut values, mut unit) = (None, Vec::new(), None);
        let mut fields = defaults.clone();
        for (key, value) in node.map().unwrap_or_default() {
            match key.text.as_str() {
                "measurement" => name = self.text(value),
                "drop" => {
                    name = "drop".to_owned();
                    makes = Some(Makes::Nothing(self.text(value)));
                }
                "delete" => {
                    name = "delete".to_owned();
                    fields.record = self.expression(value);
                    makes = Some(Makes::Deletion);
                }
                "each" => {
                    each = value
                        .each()
                        .iter()
                        .filter_map(|path| self.parsed(path, Path::parse))
                        .collect()
                }
                "when" => when = self.parsed(value, Condition::parse),
                "value" => values.push((String::new(), self.expression(value), value.line)),
                "values" => {
                    for (component, value) in value.map().unwrap_or_default() {
                        self.component(component, &name);
                        values.push((component.text.clone(), self.expression(value), value.line));
                    }
                }
                "unit" => unit = self.unit(value),
                _ => self.field(key, value, &mut fields),
            }
        }
        if let Some(makes) = makes {
            return rules_at(
                each,
                &Rule {
                    name,
                    each: None,
                    when,
                    makes,
                    fields,
                },
            );
        }
        if !measure::is_known(&name) {
            self.error(
                node.line,
                format!("there is no measure `{name}`; `measures.tsv` lists them"),
            );
        }
        let (Some(unit), Some(_), false) = (unit, &fields.time, values.is_empty()) else {
            self.error(
                node.line,
                "a rule needs `value` or `values`, `unit` and `time`",
            );
            return Vec::new();
        };
        let values = values.into_iter().filter_map(|(component, value, _)| {
            Some(Value {
                component,
                value: value?,
                unit: unit.clone(),
            })
        });
        let makes = Makes::Measurement(values.collect());
        rules_at(
            each,
            &Rule {
                name,
                each: None,
                when,
                makes,
                fields,
            },
        )
    }

    fn component(&mut self, key: &Key, panel: &str) {
        if !measure::measures()
            .iter()
            .any(|m| m.name == key.text && m.part_of == panel)
        {
            self.error(
                key.line,
                format!("`{panel}` has no component `{}`", key.text),
            );
        }
    }

    fn field(&mut self, key: &Key, value: &Node, fields: &mut Fields) {
        match key.text.as_str() {
            "clock" => fields.clock = self.word(value, &CLOCKS),
            "time" => fields.time = self.expression(value),
            "end" => fields.end = self.expression(value),
            "minutes" => fields.minutes = self.expression(value),
            "offset" => fields.offset = self.expression(value),
            "offset-seconds" => fields.offset_seconds = self.expression(value),
            "offset-hours" => fields.offset_hours = self.expression(value),
            "zone-name" => fields.zone_name = self.expression(value),
            "device" => fields.device = self.expression(value),
            "user" => fields.user = self.expression(value),
            "record" => fields.record = self.expression(value),
            "keyed" => fields.keyed = self.word(value, &KEYED),
            "revision" => fields.revision = self.expression(value),
            "note" => fields.note = self.expression(value),
            "manual" => fields.manual = self.parsed(value, Condition::parse),
            other => self.error(
                key.line,
                format!("there is no key `{other}`; the README lists them"),
            ),
        }
    }

    /// A constant unit must be UCUM as the table of units knows it.
    fn unit(&mut self, node: &Node) -> Option<Expression> {
        let text = self.text(node);
        if !text.starts_with('=') && measure::ucum(&text) != Some(text.as_str()) {
            self.error(node.line, format!("`{text}` is no UCUM unit of a measure"));
        }
        self.expression(node)
    }

    fn test(&mut self, node: &Node) -> TestCase {
        let text = |key: &str| {
            node.get(key)
                .and_then(Node::text)
                .unwrap_or_default()
                .to_owned()
        };
        let lines = node.get("out").map(Node::each).unwrap_or_default();
        let output = lines
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect();
        TestCase {
            name: text("name"),
            line: node.line,
            input: text("in"),
            output,
        }
    }

    fn self_test(&mut self, mapping: &PayloadMapping) {
        for test in &mapping.tests {
            let items = crate::split::items(mapping.input, test.input.as_bytes());
            let items = items.into_iter().flat_map(|item| match item.content {
                Ok(document) => mapping
                    .read(&document)
                    .iter()
                    .map(|read| shown(&read.outcome))
                    .collect(),
                Err(fault) => vec![format!("faulty: {fault}")],
            });
            let got: Vec<String> = items.collect();
            if got != test.output {
                let message = format!(
                    "test `{}` gave\n{}\nnot\n{}",
                    test.name,
                    got.join("\n"),
                    test.output.join("\n")
                );
                self.error(test.line, message);
            }
        }
    }

    fn expression(&mut self, node: &Node) -> Option<Expression> {
        self.parsed(node, Expression::parse)
    }

    fn parsed<T>(&mut self, node: &Node, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(node.text().unwrap_or_default()) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                self.error(node.line, message);
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let text = node.text().unwrap_or_default();
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(node.line, format!("`{text}` is none of {}", all.join(", ")));
        }
        found
    }

    fn text(&mut self, node: &Node) -> String {
        match node.text() {
            Some(text) => text.to_owned(),
            None => {
                self.error(node.line, "a text is expected here");
                String::new()
            }
        }
    }
}

const INPUTS: [(&str, Input); 4] = [
    ("json", Input::Json),
    ("gatt", Input::Gatt),
    ("csv", Input::Csv),
    ("xml", Input::Xml),
];
const ZONES: [(&str, ZonePolicy); 4] = [
    ("payload", ZonePolicy::Payload),
    ("device", ZonePolicy::Device),
    ("patient", ZonePolicy::Patient),
    ("reject", ZonePolicy::Reject),
];
const CLOCKS: [(&str, ClockForm); 5] = [
    ("iso", ClockForm::Iso),
    ("epoch-seconds", ClockForm::Epoch(0)),
    ("epoch-millis", ClockForm::Epoch(-3)),
    ("epoch-nanos", ClockForm::Epoch(-9)),
    ("wall-epoch-seconds", ClockForm::WallEpoch),
];
const KEYED: [(&str, Keyed); 2] = [("record", Keyed::Record), ("instant", Keyed::Instant)];

fn rules_at(each: Vec<Path>, rule: &Rule) -> Vec<Rule> {
    each.into_iter()
        .map(|path| Rule {
            each: Some(path),
            ..rule.clone()
        })
        .collect()
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured(measurement) => measurement.to_string(),
        Outcome::Dropped(reason) => format!("dropped: {reason}"),
        Outcome::Deleted(record) => format!("deleted: {record}"),
        Outcome::Faulty {
            expression,
            message,
        } => format!("faulty: {expression}: {message}"),
    }
}

/// One item, as the tests of other modules want it.
#[cfg(test)]
pub(crate) fn read_all(mapping: &PayloadMapping, json: &str) -> Vec<String> {
    let document = fhir_core::json::Document::parse(json.as_bytes()).expect("json");
    mapping
        .read(&document)
        .iter()
        .map(|read| shown(&read.outcome))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-001, SRS-028, RC-001, RC-013
    #[test]
    fn shipped_mappings_load_and_their_tests_come_true() {
        let mut failures = Vec::new();
        for (file, text) in EMBEDDED {
            if let Err(errors) = load(file, text) {
                failures.push(errors.to_string());
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        let good = "payload: x\nversion: 1\ntime: =t\nrules:\n- measurement: heart-rate\n  value: =v\n  unit: /min\ntests:\n- name: n\n  in: '{\"v\":1,\"t\":\"2026-03-01T09:00Z\"}'\n  out: [heart-rate 1 /min at 2026-03-01T09:00:00+00:00]\n";
        assert_eq!(load("x", good).err(), None);
        for (from, to, line, part) in [
            (
                "heart-rate\n  value",
                "heart-beat\n  value",
                5,
                "no measure `heart-beat`",
            ),
            ("unit: /min", "unit: bpm", 7, "no UCUM unit"),
            (
                "value: =v",
                "value: =v | round 2",
                6,
                "no converter `round`",
            ),
            ("time: =t", "tme: =t", 3, "no key `tme`"),
            (
                "value: =v",
                "values: {systolic: =v}",
                6,
                "no component `systolic`",
            ),
            (
                "heart-rate 1 /min at",
                "heart-rate 2 /min at",
                9,
                "test `n` gave",
            ),
        ] {
            let error = load("x.yaml", &good.replace(from, to)).expect_err(to);
            let first = error.0.first().expect("one");
            assert_eq!(
                (first.line, first.message.contains(part)),
                (line, true),
                "{error}"
            );
        }
    }

    #[test]
    fn one_bad_place_leaves_the_others() {
        let mapping = load("x", include_str!("../../mappings/generic-json.yaml")).expect("loads");
        let got = read_all(
            &mapping,
            r#"{"deviceId":"d1","time":"2026-03-01T09:00:00Z","heartRate":"x","steps":3}"#,
        );
        assert_eq!(
            got.first().map(String::as_str),
            Some(
                "faulty: =heartRate ?? heartrate ?? heart_rate ?? hr: not a number of up to 34 digits"
            )
        );
    }
}
