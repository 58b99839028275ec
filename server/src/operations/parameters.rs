//! What an operation is asked: parameters of the URL, of a form, or of a Parameters resource in the body.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html#executing>

use actix_web::http::header;
use fhir_core::body::resource_type_name;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value, ValueRef};

use crate::http::call::Call;

/// Names and simple values, in their order; `_format` and `_pretty` left out.
///
/// # Errors
/// `bad-parameter-value` for a parameter with a value that is not simple; those of reading a body
pub async fn simple(call: &mut Call) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters = call.query()?;
    if call.request().method() == "POST" {
        let content_type = call.header(header::CONTENT_TYPE).unwrap_or_default();
        if content_type.starts_with("application/x-www-form-urlencoded") {
            parameters.extend(call.form().await?);
        } else {
            let document = call.json().await?;
            for parameter in list(document.root())? {
                let name = name_of(parameter);
                let value = parameter
                    .members()
                    .find(|(key, _)| key.starts_with("value"))
                    .and_then(|(_, value)| value.primitive_text());
                let value = value.ok_or_else(|| {
                    let text = "a parameter of this operation has a simple value";
                    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name.as_str())
                })?;
                parameters.push((name, value.into_owned()));
            }
        }
    }
    parameters.retain(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty"));
    Ok(parameters)
}

/// The parameters of a Parameters resource.
///
/// # Errors
/// `bad-parameter-value` when it is another resource
pub fn list(root: ValueRef<'_>) -> Result<Vec<ValueRef<'_>>, Problem> {
    if resource_type_name(root).as_deref() != Some("Parameters") {
        let text = "this operation takes a Parameters resource";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text));
    }
    Ok(root
        .get("parameter")
        .into_iter()
        .flat_map(ValueRef::items)
        .collect())
}

/// The name of a parameter.
pub fn name_of(parameter: ValueRef<'_>) -> String {
    let name = parameter.get("name").and_then(ValueRef::as_str);
    name.map_or_else(String::new, |name| name.into_owned())
}

/// A parameter the operation does not have.
pub fn unknown(name: &str, known: &str) -> Problem {
    let text = format!("this operation takes {known}; remove the parameter");
    Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name)
}

/// A parameter whose value cannot be read.
pub fn bad(name: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, format!("`{name}` {text}")).at(name)
}

/// A Parameters resource to answer with.
pub fn answer(parameters: Vec<Value>) -> Vec<u8> {
    let mut members = vec![("resourceType", Value::from("Parameters"))];
    if !parameters.is_empty() {
        members.push(("parameter", Value::Array(parameters)));
    }
    Value::object(members).to_bytes()
}

/// One parameter with a value: `("name", "valueString", value)`.
pub fn one(name: &str, kind: &'static str, value: Value) -> Value {
    Value::object([("name", Value::from(name)), (kind, value)])
}

/// A stored resource, which was valid when it was written.
///
/// # Errors
/// `internal`
pub fn stored(json: &[u8]) -> Result<Document, Problem> {
    Document::parse(json).map_err(|_| {
        Problem::new(
            ErrorKind::INTERNAL,
            "the stored resource cannot be read; the server's log has more",
        )
    })
}
