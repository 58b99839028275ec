//! What the terminology operations share, and those on code systems.
//!
//! Spec: <https://hl7.org/fhir/R4/terminology-service.html>, <https://hl7.org/fhir/R4/codesystem-operations.html>. Left
//! out: `displayLanguage`, `date` and versions of code systems (refused), `$find-matches`.

use std::sync::Arc;

use fhir_core::access::Act;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_core::terminology::{Catalogue, CodeSystem, TerminologyError};

use super::input::{Code, Input, answer, parameter};
use crate::http::call::Call;
use crate::interactions::{Answer, deleted, not_found};

/// What an error of terminology means to a client.
pub(super) fn problem(error: &TerminologyError) -> Problem {
    let kind = match error {
        TerminologyError::UnknownValueSet(_)
        | TerminologyError::UnknownCodeSystem(_)
        | TerminologyError::UnknownCode => ErrorKind::NOT_LOADED,
        TerminologyError::Unsupported(_) | TerminologyError::TooDeep => ErrorKind::NOT_EXPANDABLE,
        TerminologyError::TooManyCodes => ErrorKind::TOO_COSTLY,
    };
    Problem::new(kind, error.to_string())
}

/// The definitions in force.
pub(super) async fn catalogue(call: &Call) -> Result<Arc<Catalogue>, Problem> {
    call.server.definitions.fresh(&call.server.store).await
}

/// The stored resource that the URL of an operation on an instance names.
pub(super) async fn instance(call: &Call) -> Result<Option<Document>, Problem> {
    if call.request().match_info().get("id").is_none() {
        return Ok(None);
    }
    let key = call.key()?;
    call.access.permit(Act::Read, key.resource_type)?;
    let stored = call
        .server
        .current(&key)
        .await?
        .ok_or_else(|| not_found(&key))?;
    if stored.deleted {
        return Err(deleted(&key));
    }
    let document = Document::parse(&stored.json).map_err(|_| {
        Problem::new(
            ErrorKind::INTERNAL,
            "the stored resource cannot be read; the server's log has more",
        )
    })?;
    Ok(Some(document))
}

/// The code system meant: of the instance, else of a code's system.
async fn system(
    call: &Call,
    known: &Catalogue,
    url: Option<&str>,
) -> Result<Arc<CodeSystem>, Problem> {
    if let Some(document) = instance(call).await? {
        return Ok(Arc::new(CodeSystem::of(document.root())));
    }
    let url = url.ok_or_else(|| {
        let text = "the code system is needed: `system`, `url`, or the `system` of a coding";
        Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("system")
    })?;
    known
        .code_system(url)
        .ok_or_else(|| problem(&TerminologyError::UnknownCodeSystem(url.to_owned())))
}

/// `CodeSystem/$lookup`: what is said of a code.
///
/// # Errors
/// `not-loaded` for a system or code that is not known
pub async fn lookup(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&["code", "system", "coding", "property"])?;
    let known = catalogue(&call).await?;
    let codes = input.codes("system")?;
    let code = only_one(&codes)?;
    let system = system(&call, &known, code.system.as_deref()).await?;
    let concept = system
        .concept(&code.code)
        .ok_or_else(|| problem(&TerminologyError::UnknownCode))?;
    let mut out = vec![parameter(
        "name",
        "valueString",
        system.name.clone().unwrap_or_else(|| system.url.clone()),
    )];
    if let Some(version) = &system.version {
        out.push(parameter("version", "valueString", version.clone()));
    }
    let display = concept
        .display
        .clone()
        .unwrap_or_else(|| concept.code.clone());
    out.push(parameter("display", "valueString", display));
    let wanted = input.texts("property");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let mut properties = Vec::new();
    if let Some(definition) = &concept.definition {
        properties.push(("definition", "valueString", definition.clone()));
    }
    for parent in system.parents(&concept.code) {
        properties.push(("parent", "valueCode", parent.clone()));
    }
    for child in system.children(&concept.code) {
        properties.push(("child", "valueCode", child));
    }
    for (name, value) in &concept.properties {
        if !matches!(name.as_str(), "parent" | "child") {
            properties.push((name.as_str(), "valueString", value.clone()));
        }
    }
    for (name, member, value) in properties.into_iter().filter(|(name, ..)| is_wanted(name)) {
        let parts = vec![
            parameter("code", "valueCode", name),
            parameter("value", member, value),
        ];
        out.push(Value::object([
            ("name", Value::from("property")),
            ("part", Value::Array(parts)),
        ]));
    }
    Ok(answer(out))
}

fn only_one(codes: &[Code]) -> Result<&Code, Problem> {
    match codes {
        [code] => Ok(code),
        _ => Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, "one code is expected").at("code")),
    }
}

/// `CodeSystem/$validate-code`: whether a code is in the code system.
///
/// # Errors
/// `not-loaded` for a system that is not known, or not completely
pub async fn validate_code(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&[
        "url",
        "codeSystem",
        "code",
        "display",
        "coding",
        "codeableConcept",
    ])?;
    let known = catalogue(&call).await?;
    let codes = input.codes("url")?;
    let given = input.values("codeSystem", "resource").into_iter().next();
    let mut fault = None;
    for code in &codes {
        let url = match input.text("url")? {
            Some(url) => Some(url),
            None => code.system.clone(),
        };
        let system = match given {
            Some(root) => Arc::new(CodeSystem::of(root)),
            None => system(&call, &known, url.as_deref()).await?,
        };
        if code.system.as_ref().is_some_and(|own| *own != system.url) {
            fault = Some("the coding is of another code system".to_owned());
            continue;
        }
        match system.concept(&code.code) {
            Some(concept) => return Ok(verdict(code, concept.display.clone())),
            None if system.is_complete => {
                fault = Some("the code system has no such code".to_owned());
            }
            None => {
                return Err(problem(&TerminologyError::UnknownCodeSystem(
                    system.url.clone(),
                )));
            }
        }
    }
    Ok(answer(vec![
        parameter("result", "valueBoolean", false),
        parameter("message", "valueString", fault.unwrap_or_default()),
    ]))
}

/// The answer for a code that is there: a wrong display is a fault, too.
pub(super) fn verdict(code: &Code, display: Option<String>) -> Answer {
    let is_right = match (&code.display, &display) {
        (Some(said), Some(known)) => said.to_lowercase() == known.to_lowercase(),
        _ => true,
    };
    let mut out = vec![parameter("result", "valueBoolean", is_right)];
    if !is_right {
        let text = "the code is there, but its display is another one";
        out.push(parameter("message", "valueString", text));
    }
    if let Some(display) = display {
        out.push(parameter("display", "valueString", display));
    }
    answer(out)
}

/// `CodeSystem/$subsumes`: which of two codes stands above the other.
///
/// # Errors
/// `not-loaded`, `bad-parameter-value`
pub async fn subsumes(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&["codeA", "codeB", "system", "codingA", "codingB"])?;
    let known = catalogue(&call).await?;
    let code = |plain: &str, coded: &str| -> Result<(Option<String>, String), Problem> {
        let coding = input
            .values(coded, "valueCoding")
            .into_iter()
            .next()
            .and_then(Code::read);
        Ok(match coding {
            Some(coding) => (coding.system, coding.code),
            None => (input.text("system")?, input.required(plain)?),
        })
    };
    let ((system_a, a), (system_b, b)) = (code("codeA", "codingA")?, code("codeB", "codingB")?);
    if system_a != system_b {
        let text = "both codes must be of one code system";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("codingB"));
    }
    let system = system(&call, &known, system_a.as_deref()).await?;
    let unknown = || problem(&TerminologyError::UnknownCode);
    let above = system.subsumes(&a, &b).ok_or_else(unknown)?;
    let below = system.subsumes(&b, &a).ok_or_else(unknown)?;
    let outcome = match (above, below) {
        (true, true) => "equivalent",
        (true, false) => "subsumes",
        (false, true) => "subsumed-by",
        (false, false) => "not-subsumed",
    };
    Ok(answer(vec![parameter("outcome", "valueCode", outcome)]))
}
