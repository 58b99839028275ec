//! Expansion of value sets, and whether a code is in one.
//!
//! Spec: <https://hl7.org/fhir/R4/valueset-operations.html>. Left out: `context`, `date`, `displayLanguage`, designations
//! and versions of code systems; these are refused.

use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Map, Value, ValueRef};
use fhir_core::terminology::{Catalogue, Coded, Kind, TerminologyError};

use super::input::{Input, answer, parameter};
use super::terminology::{catalogue, instance, problem, verdict};
use crate::http::call::Call;
use crate::interactions::Answer;

/// Codes an expansion lists without `count`; more are asked for in pages.
const CODES_MAX: usize = 10_000;

/// `ValueSet/$expand`
///
/// # Errors
/// `not-loaded`, `not-expandable`, `too-costly` without `count` for a large one
pub async fn expand(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&[
        "url",
        "valueSet",
        "valueSetVersion",
        "filter",
        "offset",
        "count",
        "activeOnly",
        "includeDefinition",
    ])?;
    let known = catalogue(&call).await?;
    let (head, codes) = expanded(&call, &input, &known).await?;
    let filter = input.text("filter")?.map(|text| text.to_lowercase());
    let is_wanted = |coded: &&Coded| {
        filter.as_ref().is_none_or(|filter| {
            let display = coded.display.as_deref().unwrap_or_default().to_lowercase();
            display.contains(filter) || coded.code.to_lowercase().contains(filter)
        })
    };
    let wanted: Vec<&Coded> = codes.iter().filter(is_wanted).collect();
    let (offset, count) = (input.number("offset")?, input.number("count")?);
    if count.is_none() && wanted.len() > CODES_MAX {
        let text = format!(
            "the value set has {} codes; ask for pages of them with `count` and `offset`",
            wanted.len()
        );
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("count"));
    }
    let page = wanted
        .iter()
        .skip(offset.unwrap_or(0))
        .take(count.unwrap_or(CODES_MAX));
    let contains: Vec<Value> = page.map(|coded| entry(coded)).collect();
    let mut expansion = Map::new();
    let now = (call.server.clock)();
    expansion.insert("timestamp", Value::from(now.to_fhir()));
    expansion.insert("total", number(wanted.len()));
    if let Some(offset) = offset {
        expansion.insert("offset", number(offset));
    }
    let mut used = Vec::new();
    if let Some(filter) = input.text("filter")? {
        used.push(parameter("filter", "valueString", filter));
    }
    if let Some(count) = count {
        used.push(Value::object([
            ("name", Value::from("count")),
            ("valueInteger", number(count)),
        ]));
    }
    if !used.is_empty() {
        expansion.insert("parameter", Value::Array(used));
    }
    if !contains.is_empty() {
        expansion.insert("contains", Value::Array(contains));
    }
    let mut value_set = head;
    value_set.insert("expansion", Value::Object(expansion));
    Ok(Answer::ok(Value::Object(value_set).to_bytes()))
}

fn number(value: usize) -> Value {
    Value::from(i64::try_from(value).unwrap_or(i64::MAX))
}

fn entry(coded: &Coded) -> Value {
    let mut members = vec![
        ("system", Value::from(coded.system.as_str())),
        ("code", Value::from(coded.code.as_str())),
    ];
    if let Some(display) = &coded.display {
        members.push(("display", Value::from(display.as_str())));
    }
    Value::object(members)
}

/// The head of the answer and all codes: of the stored instance, the value set given, or the one named by `url`.
async fn expanded(
    call: &Call,
    input: &Input,
    known: &Catalogue,
) -> Result<(Map, Vec<Coded>), Problem> {
    if let Some(document) = instance(call).await? {
        let expansion = known
            .expand_resource(document.root())
            .map_err(|e| problem(&e))?;
        return Ok((head(document.root()), expansion.codes));
    }
    if let Some(root) = input.resource("valueSet") {
        let expansion = known.expand_resource(root).map_err(|e| problem(&e))?;
        return Ok((head(root), expansion.codes));
    }
    let url = input.required("url")?;
    let canonical = match input.text("valueSetVersion")? {
        Some(version) => format!("{url}|{version}"),
        None => url,
    };
    let expansion = known.expansion(&canonical).map_err(|e| problem(&e))?;
    let document = known
        .document(Kind::ValueSet, &canonical)
        .ok_or_else(|| problem(&TerminologyError::UnknownValueSet(canonical)))?;
    Ok((head(document.root()), expansion.codes.clone()))
}

/// What identifies the value set, without its composition.
fn head(root: ValueRef<'_>) -> Map {
    let mut head = Map::new();
    head.insert("resourceType", Value::from("ValueSet"));
    for name in ["id", "url", "version", "name", "title"] {
        if let Some(value) = root.get(name) {
            head.insert(name, value.to_value());
        }
    }
    let status = root.get("status").and_then(ValueRef::as_str);
    head.insert("status", Value::from(status.as_deref().unwrap_or("active")));
    head
}

/// `ValueSet/$validate-code`
///
/// # Errors
/// `not-loaded`; `not-expandable` when what is loaded does not tell
pub async fn validate_code(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&[
        "url",
        "valueSet",
        "valueSetVersion",
        "code",
        "system",
        "display",
        "coding",
        "codeableConcept",
    ])?;
    let known = catalogue(&call).await?;
    let stored = instance(&call).await?;
    let given = stored
        .as_ref()
        .map(|d| d.root())
        .or_else(|| input.resource("valueSet"));
    let canonical = match (given, input.text("url")?) {
        (Some(_), _) => String::new(),
        (None, Some(url)) => match input.text("valueSetVersion")? {
            Some(version) => format!("{url}|{version}"),
            None => url,
        },
        (None, None) => input.required("url")?,
    };
    if given.is_none() && known.document(Kind::ValueSet, &canonical).is_none() {
        return Err(problem(&TerminologyError::UnknownValueSet(canonical)));
    }
    let mut is_open = false;
    for code in input.codes("system")? {
        let found = match given {
            Some(root) => known.is_member_of(root, code.system.as_deref(), &code.code),
            None => known.is_member(&canonical, code.system.as_deref(), &code.code),
        };
        match found {
            Some(true) => {
                let display = code
                    .system
                    .as_deref()
                    .and_then(|s| known.display(s, &code.code));
                return Ok(verdict(&code, display));
            }
            Some(false) => {}
            None => is_open = true,
        }
    }
    if is_open {
        let text = "what is loaded does not tell whether the code is in the value set";
        return Err(Problem::new(ErrorKind::NOT_EXPANDABLE, text));
    }
    Ok(answer(vec![
        parameter("result", "valueBoolean", false),
        parameter("message", "valueString", "the value set has no such code"),
    ]))
}
