//! How alike two Patients are, as points: what a person has to look at, never a reason to link by itself.
//!
//! Spec: none; the points are ours and are told with every question.
//! Leaves out spelling distance and nicknames: they find more people and more strangers, and a person decides anyway.

use std::collections::BTreeSet;

use fhir_core::json::Value;

use crate::normalise::string;

/// One point of likeness: what agrees, and what it counts.
const BIRTH_DATE: (&str, u32) = ("birth date", 8);
const FAMILY: (&str, u32) = ("family name", 6);
const GIVEN: (&str, u32) = ("given name", 5);
const GENDER: (&str, u32) = ("gender", 1);
const TELECOM: (&str, u32) = ("phone or mail", 3);
const POSTAL_CODE: (&str, u32) = ("postal code", 2);
/// Digits at the end of a phone number that must agree; country codes are written in many ways.
const PHONE_DIGITS: usize = 9;
/// Most points two patients can have.
pub const POINTS_MAX: u32 = 25;

/// The points, and what agrees in words. A contradiction in gender or a date of death on one side only counts nothing:
/// records differ in how complete they are.
pub fn compare(left: &Value, right: &Value) -> (u32, Vec<&'static str>) {
    let same = |name: &str| {
        let value = string(left, name);
        value.is_some() && value == string(right, name)
    };
    let share = |of: fn(&Value) -> BTreeSet<String>| !of(left).is_disjoint(&of(right));
    let agreed = [
        (BIRTH_DATE, same("birthDate")),
        (FAMILY, share(families)),
        (GIVEN, share(given)),
        (GENDER, same("gender")),
        (TELECOM, share(telecoms)),
        (POSTAL_CODE, share(postal_codes)),
    ];
    let agreed = agreed.into_iter().filter(|(_, agrees)| *agrees);
    agreed.fold((0, Vec::new()), |(points, mut words), ((word, more), _)| {
        words.push(word);
        (points + more, words)
    })
}

fn list<'a>(patient: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let items = patient.get(name).and_then(Value::as_array);
    items.unwrap_or_default().iter()
}

/// Letters and digits only, in lower case: `O'Neil-Smith` and `ONEIL SMITH` are one name.
fn plain(text: &str) -> String {
    let kept = text.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

fn filled(texts: impl Iterator<Item = String>) -> BTreeSet<String> {
    texts.filter(|text| !text.is_empty()).collect()
}

fn families(patient: &Value) -> BTreeSet<String> {
    let names = list(patient, "name");
    filled(names.filter_map(|name| string(name, "family")).map(plain))
}

fn given(patient: &Value) -> BTreeSet<String> {
    let names = list(patient, "name");
    let all = names.filter_map(|name| list(name, "given").next()?.as_str());
    filled(all.map(plain))
}

fn telecoms(patient: &Value) -> BTreeSet<String> {
    let values = list(patient, "telecom").filter_map(|one| string(one, "value"));
    filled(values.map(|value| {
        if value.contains('@') {
            return value.trim().to_lowercase();
        }
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        let from = digits.len().saturating_sub(PHONE_DIGITS);
        // A short number is an extension that many share.
        digits
            .get(from..)
            .filter(|end| end.len() == PHONE_DIGITS)
            .unwrap_or_default()
            .to_owned()
    }))
}

fn postal_codes(patient: &Value) -> BTreeSet<String> {
    let all = list(patient, "address").filter_map(|one| string(one, "postalCode"));
    filled(all.map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(json: &str) -> Value {
        Value::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn points_are_given_for_what_agrees() {
        let ada = patient(
            r#"{"name":[{"family":"O'Probe","given":["Ada","M"]}],"birthDate":"1970-01-01","gender":"female",
                "telecom":[{"value":"+1 555-010-1234"}],"address":[{"postalCode":"AB1 2CD"}]}"#,
        );
        for (json, points) in [
            (ada.to_string(), POINTS_MAX),
            ("{}".to_owned(), 0),
            (r#"{"birthDate":"1970-01-02"}"#.to_owned(), 0),
            (
                r#"{"birthDate":"1970-01-01","gender":"male"}"#.to_owned(),
                8,
            ),
            (
                r#"{"name":[{"family":"OPROBE","given":["ada"]}]}"#.to_owned(),
                11,
            ),
            (r#"{"name":[{"family":"","given":[""]}]}"#.to_owned(), 0),
            (r#"{"telecom":[{"value":"(555) 0101234"}]}"#.to_owned(), 3),
            (r#"{"telecom":[{"value":"1234"}]}"#.to_owned(), 0),
        ] {
            assert_eq!(compare(&ada, &patient(&json)).0, points, "{json}");
        }
    }
}
