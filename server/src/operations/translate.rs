//! Translating codes by concept maps.
//!
//! Spec: <https://hl7.org/fhir/R4/conceptmap-operation-translate.html>. Left out: `dependency`, `conceptMapVersion`; these
//! are refused.

use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Value, ValueRef};
use fhir_core::terminology::{Catalogue, Kind, Match, translate};

use super::input::{Input, answer, parameter};
use super::terminology::{catalogue, instance};
use crate::http::call::Call;
use crate::interactions::Answer;

/// `ConceptMap/$translate`
///
/// # Errors
/// `not-loaded`, `bad-parameter-value`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&[
        "url",
        "conceptMap",
        "code",
        "system",
        "source",
        "coding",
        "codeableConcept",
        "target",
        "targetsystem",
        "reverse",
    ])?;
    let known = catalogue(&call).await?;
    let stored = instance(&call).await?;
    let codes = input.codes("system")?;
    let target_system = input.text("targetsystem")?;
    let is_reverse = input.text("reverse")?.as_deref() == Some("true");
    let run = |map: ValueRef<'_>| -> Vec<Match> {
        let of = |code: &super::input::Code| {
            let system = code.system.as_deref().unwrap_or_default();
            translate(
                map,
                system,
                &code.code,
                target_system.as_deref(),
                is_reverse,
            )
        };
        codes.iter().flat_map(of).collect()
    };
    if let Some(code) = codes.iter().find(|code| code.system.is_none()) {
        let text = format!(
            "the `system` of the code is needed ({} characters long)",
            code.code.len()
        );
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("system"));
    }
    let found = match (&stored, input.resource("conceptMap"), input.text("url")?) {
        (Some(document), ..) => run(document.root()),
        (None, Some(map), _) => run(map),
        (None, None, Some(url)) => {
            let map = known.document(Kind::ConceptMap, &url).ok_or_else(|| {
                Problem::new(
                    ErrorKind::NOT_LOADED,
                    format!("the concept map {url} is not loaded"),
                )
            })?;
            run(map.root())
        }
        (None, None, None) => {
            let (source, target) = (input.text("source")?, input.text("target")?);
            let maps = known.urls(Kind::ConceptMap).into_iter();
            maps.filter_map(|url| known.document(Kind::ConceptMap, &url))
                .filter(|map| leads(map.root(), source.as_deref(), target.as_deref()))
                .flat_map(|map| run(map.root()))
                .collect()
        }
    };
    Ok(shown(&found, &known))
}

/// Whether a map leads from one value set to another, as far as these are asked for.
fn leads(map: ValueRef<'_>, source: Option<&str>, target: Option<&str>) -> bool {
    let is_it = |names: [&str; 2], wanted: Option<&str>| {
        wanted.is_none_or(|wanted| {
            names
                .iter()
                .any(|name| map.get(name).and_then(ValueRef::as_str).as_deref() == Some(wanted))
        })
    };
    is_it(["sourceUri", "sourceCanonical"], source)
        && is_it(["targetUri", "targetCanonical"], target)
}

fn shown(found: &[Match], known: &Catalogue) -> Answer {
    let is_match = |m: &Match| !matches!(m.equivalence.as_str(), "unmatched" | "disjoint");
    let mut out = vec![parameter(
        "result",
        "valueBoolean",
        found.iter().any(is_match),
    )];
    if found.is_empty() {
        out.push(parameter("message", "valueString", "no map has this code"));
    }
    for m in found {
        let mut parts = vec![parameter(
            "equivalence",
            "valueCode",
            m.equivalence.as_str(),
        )];
        if let Some(concept) = &m.concept {
            let mut coding = vec![("code", Value::from(concept.code.as_str()))];
            if !concept.system.is_empty() {
                coding.insert(0, ("system", Value::from(concept.system.as_str())));
            }
            let display = concept
                .display
                .clone()
                .or_else(|| known.display(&concept.system, &concept.code));
            if let Some(display) = display {
                coding.push(("display", Value::from(display)));
            }
            parts.push(parameter("concept", "valueCoding", Value::object(coding)));
        }
        if !m.source.is_empty() {
            parts.push(parameter("source", "valueUri", m.source.as_str()));
        }
        out.push(Value::object([
            ("name", Value::from("match")),
            ("part", Value::Array(parts)),
        ]));
    }
    answer(out)
}
