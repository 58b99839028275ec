//! Translating a code by a concept map.
//!
//! Spec: <https://hl7.org/fhir/R4/conceptmap.html>, <https://hl7.org/fhir/R4/conceptmap-operation-translate.html>. Left
//! out: `dependsOn` and `product`: a target with them is offered with its map named, the dependency is the caller's to check.

use crate::json::ValueRef;

use super::Coded;
use super::code_system::text_of;

/// What a code is mapped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// How close, from the R4 codes (`equivalent`, `wider` …).
    pub equivalence: String,
    /// The target; `None` where the map says there is none (`unmatched`).
    pub concept: Option<Coded>,
    /// Canonical URL of the map.
    pub source: String,
}

/// Every mapping of a code in one map; with `is_reverse` from target to source.
pub fn translate(
    map: ValueRef<'_>,
    system: &str,
    code: &str,
    target_system: Option<&str>,
    is_reverse: bool,
) -> Vec<Match> {
    let source = text_of(map, "url").unwrap_or_default();
    let mut found = Vec::new();
    for group in map.get("group").into_iter().flat_map(ValueRef::items) {
        let (from, to) = (text_of(group, "source"), text_of(group, "target"));
        let (from, to) = if is_reverse { (to, from) } else { (from, to) };
        if from.as_deref().is_some_and(|from| from != system)
            || target_system.is_some_and(|wanted| to.as_deref() != Some(wanted))
        {
            continue;
        }
        let to = to.unwrap_or_default();
        let before = found.len();
        for element in group.get("element").into_iter().flat_map(ValueRef::items) {
            let own = text_of(element, "code").unwrap_or_default();
            for target in element.get("target").into_iter().flat_map(ValueRef::items) {
                let other = text_of(target, "code");
                let equivalence = text_of(target, "equivalence").unwrap_or_default();
                let (is_it, concept, display) = if is_reverse {
                    (
                        other.as_deref() == Some(code),
                        Some(own.clone()),
                        text_of(element, "display"),
                    )
                } else {
                    (own == code, other, text_of(target, "display"))
                };
                if is_it {
                    let system = to.clone();
                    found.push(Match {
                        equivalence,
                        concept: concept.map(|code| Coded {
                            system,
                            code,
                            display,
                        }),
                        source: source.clone(),
                    });
                }
            }
        }
        if found.len() == before && !is_reverse {
            found.extend(unmapped(group, code, &to, &source));
        }
    }
    found
}

/// "What to do when there is no mapping": the code itself, or one fixed code.
fn unmapped(group: ValueRef<'_>, code: &str, to: &str, source: &str) -> Option<Match> {
    let unmapped = group.get("unmapped")?;
    let (code, display) = match text_of(unmapped, "mode")?.as_str() {
        "provided" => (code.to_owned(), None),
        "fixed" => (text_of(unmapped, "code")?, text_of(unmapped, "display")),
        _ => return None,
    };
    Some(Match {
        equivalence: "inexact".to_owned(),
        concept: Some(Coded {
            system: to.to_owned(),
            code,
            display,
        }),
        source: source.to_owned(),
    })
}
