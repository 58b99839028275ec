//! Two contents of one Observation, and no revision says which is right.
//!
//! Where their values differ neither is shown: the Observation stays, says `unknown` for what they differ in, and carries
//! a mark; both values are in the history or wait in quarantine, and a replay decides. Where the values agree the content
//! that says more stands. Either way the outcome follows from the contents and never from which came first.
//! R4: <https://hl7.org/fhir/R4/observation-definitions.html#Observation.dataAbsentReason>.
//!
//! Left out on purpose: contents of two patients. Whose it is does not follow from the contents, so the stored one stays.

use fhir_core::json::{Map, Value};

use crate::decimal::Decimal;
use crate::ingest::Fate;

/// System of the marks an Observation of a device can carry.
const TAG_SYSTEM: &str = "urn:stoker:device:tag";
/// The mark of an Observation whose sender said two things.
const TAG: &str = "contradiction";
const TAG_TEXT: &str = "The device sent different values for this time";
const NOTE: &str = "Different values were received for one device, measure and time, and nothing says which is right. \
                    They are in the history and in quarantine; replaying the right one shows it.";
/// Members that hold values, or say why there is none.
const ABSENT: &str = "dataAbsentReason";

/// What two contents of one id come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled {
    /// The stored one stays, and says all the new one says.
    Stays,
    /// The values agree and the new one says more.
    Replaced,
    /// The values differ: this stands from now on, `None` when it stands already. The new value waits.
    Withheld(Option<Value>),
    /// They are of two patients: the stored one stays and the new one waits.
    OtherPatient,
}

/// Decides between two contents of one id.
pub fn settle(stored: &Value, new: &Value) -> Settled {
    if stored.get("subject") != new.get("subject") {
        return Settled::OtherPatient;
    }
    if !is_withheld(stored) && !is_withheld(new) && values_agree(stored, new) {
        return if says_more(new, stored) {
            Settled::Replaced
        } else {
            Settled::Stays
        };
    }
    let both = withheld(stored, new);
    let is_there =
        crate::meeting::without_server_parts(stored) == crate::meeting::without_server_parts(&both);
    Settled::Withheld((!is_there).then_some(both))
}

/// Whether an Observation stands for values that contradict each other.
pub fn is_withheld(resource: &Value) -> bool {
    let tags = resource
        .get("meta")
        .and_then(|meta| meta.get("tag")?.as_array());
    let is_ours = |tag: &Value| {
        let text = |name: &str| tag.get(name).and_then(Value::as_str);
        text("system") == Some(TAG_SYSTEM) && text("code") == Some(TAG)
    };
    tags.is_some_and(|tags| tags.iter().any(is_ours)) && resource.get("valueQuantity").is_none()
}

/// What a measurement becomes that says otherwise than another one of its id.
pub fn contradiction() -> Fate {
    let message = "different values of one device, measure and time, and no revision says which is right; none is shown \
                   until one is replayed"
        .to_owned();
    Fate::Quarantined {
        code: "contradiction",
        expression: None,
        message,
    }
}

fn values_agree(a: &Value, b: &Value) -> bool {
    let of = |resource: &Value| -> Vec<(String, Value)> {
        let members = resource.as_object().map(Map::iter).into_iter().flatten();
        members
            .filter(|(name, _)| is_value(name) || *name == "component")
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    };
    let (a, b) = (of(a), of(b));
    a.len() == b.len()
        && a.iter().all(|(name, value)| {
            let other = b.iter().find(|(other, _)| other == name);
            other.is_some_and(|(_, other)| agree(value, other))
        })
}

fn is_value(name: &str) -> bool {
    name == ABSENT || (name.starts_with("value") && name.len() > "value".len())
}

/// The same, numbers compared as numbers.
fn agree(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (a.number_text(), b.number_text()) {
        return match (Decimal::parse(a), Decimal::parse(b)) {
            (Some(a), Some(b)) => a.compare(b).is_eq(),
            _ => a == b,
        };
    }
    if let (Some(a), Some(b)) = (a.as_array(), b.as_array()) {
        return a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b));
    }
    if let (Some(a), Some(b)) = (a.as_object(), b.as_object()) {
        return a.len() == b.len()
            && a.iter()
                .all(|(name, value)| b.get(name).is_some_and(|other| agree(value, other)));
    }
    a == b
}

/// Longer text says more; of equal length the greater one, so that one of the two always does.
fn says_more(a: &Value, b: &Value) -> bool {
    let text = |value: &Value| crate::meeting::without_server_parts(value).to_bytes();
    let (a, b) = (text(a), text(b));
    (a.len(), a) > (b.len(), b)
}

/// What both contents say, without the values they differ in.
fn withheld(a: &Value, b: &Value) -> Value {
    let mut out = Map::new();
    let mut has_absent = false;
    let first = ["resourceType", "id"];
    for name in first {
        if let Some(value) = a.get(name) {
            out.insert(name, value.clone());
        }
    }
    out.insert("meta", marked(meta(a.get("meta"), b.get("meta"))));
    for (name, value) in a.as_object().map(Map::iter).into_iter().flatten() {
        let other = b.get(name);
        match name {
            "id" | "resourceType" | "meta" => {}
            "effectiveDateTime" => out.insert(name, value.clone()),
            "status" => out.insert("status", Value::from("preliminary")),
            "effectivePeriod" => out.insert("effectivePeriod", period(value, other)),
            "note" | "component" => {}
            name if is_value(name) => match other {
                Some(other) if name != ABSENT && agree(value, other) => {
                    out.insert(name, fuller(value, other).clone());
                }
                _ => has_absent = true,
            },
            _ if other == Some(value) => out.insert(name, value.clone()),
            _ => {}
        }
    }
    let members = b.as_object().map(Map::iter).into_iter().flatten();
    has_absent |= members
        .into_iter()
        .any(|(name, _)| is_value(name) && a.get(name).is_none());
    if has_absent {
        out.insert(ABSENT, unknown());
    }
    let parts = components(a, b);
    if !parts.is_empty() {
        out.insert("component", Value::Array(parts));
    }
    let note = Value::object([("text", Value::from(NOTE))]);
    out.insert("note", Value::Array(vec![note]));
    Value::Object(out)
}

fn fuller<'v>(a: &'v Value, b: &'v Value) -> &'v Value {
    let (x, y) = (a.to_bytes(), b.to_bytes());
    if (x.len(), x) >= (y.len(), y) { a } else { b }
}

fn unknown() -> Value {
    let coding = Value::object([
        (
            "system",
            Value::from("http://terminology.hl7.org/CodeSystem/data-absent-reason"),
        ),
        ("code", Value::from("unknown")),
    ]);
    Value::object([("coding", Value::Array(vec![coding]))])
}

/// Versions are the server's; profiles and revision stay where both have them.
fn meta(a: Option<&Value>, b: Option<&Value>) -> Value {
    let mut out = Map::new();
    for (name, value) in a
        .and_then(Value::as_object)
        .map(Map::iter)
        .into_iter()
        .flatten()
    {
        let is_server = matches!(name, "versionId" | "lastUpdated");
        if name != "tag" && !is_server && b.and_then(|b| b.get(name)) == Some(value) {
            out.insert(name, value.clone());
        }
    }
    Value::Object(out)
}

/// The beginning makes the id; the end stays where both have it.
fn period(a: &Value, b: Option<&Value>) -> Value {
    let mut value = a.clone();
    let end = |period: &Value| period.get("end").cloned();
    if b.and_then(end) != end(a)
        && let Some(map) = value.as_object_mut()
    {
        map.remove("end");
    }
    value
}

/// Parts both have, each with its value where they agree.
fn components(a: &Value, b: &Value) -> Vec<Value> {
    let of = |resource: &Value| {
        resource
            .get("component")
            .and_then(Value::as_array)
            .map(<[Value]>::to_vec)
    };
    let (a, b) = (of(a).unwrap_or_default(), of(b).unwrap_or_default());
    let both = |part: &Value| {
        let code = part.get("code")?;
        let other = b.iter().find(|other| other.get("code") == Some(code))?;
        Some(if agree(part, other) {
            fuller(part, other).clone()
        } else {
            Value::object([("code", code.clone()), (ABSENT, unknown())])
        })
    };
    a.iter().filter_map(both).collect()
}

/// Adds the mark.
fn marked(mut value: Value) -> Value {
    let tag = Value::object([
        ("system", Value::from(TAG_SYSTEM)),
        ("code", Value::from(TAG)),
        ("display", Value::from(TAG_TEXT)),
    ]);
    if let Some(map) = value.as_object_mut() {
        map.insert("tag", Value::Array(vec![tag]));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(rest: &str) -> Value {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"a","status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/p"}},"effectiveDateTime":"2026-03-01T10:00:00Z",{rest}}}"#
        );
        Value::parse(text.as_bytes()).expect("JSON")
    }

    fn stands(contents: &[&Value]) -> Value {
        let mut stored = contents[0].clone();
        for new in &contents[1..] {
            match settle(&stored, new) {
                Settled::Stays | Settled::Withheld(None) => {}
                Settled::Replaced => stored = (*new).clone(),
                Settled::Withheld(Some(value)) => stored = value,
                Settled::OtherPatient => panic!("one patient"),
            }
        }
        stored
    }

    /// Verifies: SRS-350, RC-350
    #[test]
    fn the_order_of_arrival_changes_nothing() {
        let contents = [
            observation(r#""valueQuantity":{"value":61,"unit":"/min"}"#),
            observation(
                r#""valueQuantity":{"value":62.0,"unit":"/min"},"note":[{"text":"seated"}]"#,
            ),
            observation(r#""valueQuantity":{"value":62,"unit":"/min"}"#),
            observation(r#""valueQuantity":{"value":60,"unit":"/min"}"#),
        ];
        let expected = stands(&contents.iter().collect::<Vec<_>>());
        assert!(is_withheld(&expected), "{expected}");
        assert!(
            expected.get("valueQuantity").is_none() && expected.get("dataAbsentReason").is_some()
        );
        for order in [
            [0, 1, 3, 2],
            [1, 0, 2, 3],
            [2, 1, 0, 3],
            [3, 2, 1, 0],
            [2, 3, 1, 0],
            [1, 2, 0, 3],
        ] {
            let twice: Vec<&Value> = order.iter().chain(&order).map(|n| &contents[*n]).collect();
            assert_eq!(stands(&twice), expected, "{order:?}");
        }
        // Values that are one number agree, and the content that says more stands.
        for order in [[1, 2], [2, 1]] {
            let both: Vec<&Value> = order.iter().map(|n| &contents[*n]).collect();
            assert_eq!(stands(&both), contents[1]);
        }
    }

    /// Verifies: SRS-350, RC-350
    #[test]
    fn parts_that_agree_stay() {
        let panel = |diastolic: u32| {
            observation(&format!(
                r#""component":[{{"code":{{"text":"s"}},"valueQuantity":{{"value":120}}}},{{"code":{{"text":"d"}},"valueQuantity":{{"value":{diastolic}}}}}]"#
            ))
        };
        let found = stands(&[&panel(80), &panel(81), &panel(80)]);
        let parts = found
            .get("component")
            .and_then(Value::as_array)
            .expect("parts");
        assert!(parts[0].get("valueQuantity").is_some() && parts[1].get("valueQuantity").is_none());
        assert_eq!(found, stands(&[&panel(81), &panel(80)]));
        assert_eq!(
            found.get("status").and_then(Value::as_str),
            Some("preliminary")
        );
    }

    #[test]
    fn two_patients_are_for_a_person_to_tell_apart() {
        let one = observation(r#""valueQuantity":{"value":61}"#);
        let text = String::from_utf8(one.to_bytes())
            .expect("text")
            .replace("Patient/p", "Patient/q");
        let other = Value::parse(text.as_bytes()).expect("JSON");
        assert_eq!(settle(&one, &other), Settled::OtherPatient);
    }
}
