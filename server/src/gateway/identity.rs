//! Decides which stored record a message speaks of when it names it by several identifiers.
//!
//! All identifiers lead to one record: it is meant, and the new ones are noted. They lead to two: nobody guesses, the
//! message waits for a person. One is known but the record's own number contradicts the message: a record of its own is
//! made and a person is asked whether the two are one.

use adapters::{Issue, Severity};
use fhir_core::ids::ResourceKey;
use fhir_core::issue::Problem;
use fhir_core::json::Value;
use fhir_store::{Alias, AliasKind, NewReview};
use mappings::Produced;

use super::desk::Desk;
use super::known::{Known, key};

/// What was decided.
pub enum Decision {
    /// This record is meant.
    Record(ResourceKey),
    /// A person must decide; the message waits.
    Ask(NewReview),
}

/// Which record a produced resource belongs to. `chosen`: what a person has decided.
///
/// # Errors
/// What reading answers
pub async fn decide(
    desk: &mut Desk<'_>,
    known: &mut Known,
    produced: &Produced,
    chosen: Option<&ResourceKey>,
    reviews: &mut Vec<NewReview>,
    issues: &mut Vec<Issue>,
) -> Result<Decision, Problem> {
    let own = key(&produced.identity)?;
    let record = known.record(&own);
    if produced.aliases.is_empty() {
        return Ok(Decision::Record(record));
    }
    let mut found: Vec<ResourceKey> = Vec::new();
    let mut unknown = Vec::new();
    for alias in &produced.aliases {
        let alias = key(alias)?;
        if alias == own {
            continue;
        }
        let is_known = known.alias(&alias).is_some() || desk.open(&alias).await?.is_stored();
        if is_known {
            let meant = known.meant(&alias);
            if !found.contains(&meant) {
                found.push(meant);
            }
        } else {
            unknown.push(alias);
        }
    }
    let is_stored = known.alias(&own).is_some() || desk.open(&record).await?.value.is_some();
    if is_stored {
        let meant = known.meant(&record);
        found.retain(|other| *other != meant);
        if found.is_empty() {
            note(known, unknown, &record);
            return Ok(Decision::Record(record));
        }
        found.insert(0, meant);
    }
    match (found.as_slice(), is_stored) {
        ([], _) => {
            note(known, unknown, &record);
            Ok(Decision::Record(record))
        }
        ([one], false) => {
            let one = one.clone();
            if contradicts(&produced.value, desk.open(&one).await?.value.as_ref()) {
                possible_duplicate(&record, &one, reviews, issues);
                return Ok(Decision::Record(record));
            }
            unknown.push(own);
            note(known, unknown, &one);
            Ok(Decision::Record(one))
        }
        _ => Ok(conflict(found, chosen)),
    }
}

fn conflict(found: Vec<ResourceKey>, chosen: Option<&ResourceKey>) -> Decision {
    if let Some(chosen) = chosen.filter(|chosen| found.contains(chosen)) {
        return Decision::Record(chosen.clone());
    }
    Decision::Ask(NewReview {
        kind: "identity-conflict",
        text: "the message's identifiers belong to different stored records; choose the one that is meant, or have \
               them merged at the source and then replay"
            .to_owned(),
        subjects: found,
    })
}

fn possible_duplicate(
    record: &ResourceKey,
    other: &ResourceKey,
    reviews: &mut Vec<NewReview>,
    issues: &mut Vec<Issue>,
) {
    let text = "an identifier belongs to another stored record whose own number differs; a record of its own was made, \
                and a review asks whether the two are one";
    issues.push(Issue::new(Severity::Warning, "possible-duplicate", text));
    reviews.push(NewReview {
        kind: "possible-duplicate",
        subjects: vec![record.clone(), other.clone()],
        text: "two records share an identifier, and each has a number of its own; they may be one"
            .to_owned(),
    });
}

/// Identifiers that lead to a record from now on.
fn note(known: &mut Known, identifiers: Vec<ResourceKey>, record: &ResourceKey) {
    for from in identifiers {
        if from != *record && known.alias(&from).is_none() {
            known.add(Alias {
                from,
                into: record.clone(),
                kind: AliasKind::Identifier,
                revision: None,
                pending: false,
            });
        }
    }
}

/// True when both have an identifier of one system and type, and no such value is the same.
fn contradicts(given: &Value, stored: Option<&Value>) -> bool {
    let Some(stored) = stored else {
        return false;
    };
    let (given, stored) = (identifiers(given), identifiers(stored));
    given.iter().any(|(kind, _)| {
        let of_kind = |list: &[(String, String)]| -> Vec<String> {
            let same = list.iter().filter(|(other, _)| other == kind);
            same.map(|(_, value)| value.clone()).collect()
        };
        let (here, there) = (of_kind(&given), of_kind(&stored));
        !there.is_empty() && !here.iter().any(|value| there.contains(value))
    })
}

/// System with type, and value, of each identifier.
fn identifiers(value: &Value) -> Vec<(String, String)> {
    let items = value.get("identifier").and_then(Value::as_array);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let read = |item: &Value| {
        let codings = item.get("type").and_then(|t| t.get("coding"));
        let first = codings.and_then(Value::as_array).and_then(<[_]>::first);
        let code = text(first.and_then(|coding| coding.get("code")));
        let value = text(item.get("value"));
        let system = text(item.get("system"));
        (!value.is_empty()).then(|| (format!("{system} {code}"), value))
    };
    items.unwrap_or_default().iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-142, RC-142
    #[test]
    fn other_numbers_of_one_kind_contradict() {
        let patient = |identifiers: &str| {
            let text = format!(r#"{{"resourceType":"Patient","identifier":[{identifiers}]}}"#);
            Value::parse(text.as_bytes()).unwrap()
        };
        let mr = |value: &str| {
            format!(
                r#"{{"type":{{"coding":[{{"code":"MR"}}]}},"system":"urn:a","value":"{value}"}}"#
            )
        };
        let ss = r#"{"type":{"coding":[{"code":"SS"}]},"value":"9"}"#.to_owned();
        for (given, stored, expected) in [
            (mr("1"), mr("2"), true),
            (mr("1"), format!("{},{}", mr("2"), mr("1")), false),
            (mr("1"), ss.clone(), false),
            (
                format!("{},{ss}", mr("1")),
                format!("{},{ss}", mr("2")),
                true,
            ),
        ] {
            let (given, stored) = (patient(&given), patient(&stored));
            assert_eq!(
                contradicts(&given, Some(&stored)),
                expected,
                "{given} {stored}"
            );
        }
    }
}
