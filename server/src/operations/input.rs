//! The parameters of an operation, from the URL or from a Parameters resource.
//!
//! Spec: <https://hl7.org/fhir/R4/operations.html#request>. Left out: parts of parameters, which no operation here takes.

use actix_web::http::Method;
use fhir_core::body::resource_type_name;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value, ValueRef};

use crate::http::call::Call;
use crate::interactions::Answer;

/// What an operation was called with.
pub struct Input {
    query: Vec<(String, String)>,
    body: Option<Document>,
}

impl Input {
    /// Reads the query and, of a POST, the body.
    ///
    /// # Errors
    /// `bad-json` and its kin; `too-costly`
    pub async fn read(call: &mut Call) -> Result<Self, Problem> {
        let is_post = *call.request().method() == Method::POST;
        let mut query = call.query()?;
        query.retain(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty"));
        let body = if is_post {
            Some(call.json().await?)
        } else {
            None
        };
        Ok(Self { query, body })
    }

    fn is_parameters(&self) -> bool {
        let body = self.body.as_ref().map(Document::root);
        body.and_then(resource_type_name).as_deref() == Some("Parameters")
    }

    fn parts(&self) -> impl Iterator<Item = ValueRef<'_>> {
        let body = self.body.as_ref().filter(|_| self.is_parameters());
        let list = body.and_then(|body| body.root().get("parameter"));
        list.into_iter().flat_map(ValueRef::items)
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = ValueRef<'a>> {
        self.parts().filter(move |part| {
            part.get("name")
                .and_then(ValueRef::as_str)
                .is_some_and(|own| own == name)
        })
    }

    /// Refuses parameters that the operation does not have.
    ///
    /// # Errors
    /// `unknown-parameter`
    pub fn only(&self, allowed: &[&str]) -> Result<(), Problem> {
        let of_body = self.parts().map(|part| {
            part.get("name")
                .and_then(ValueRef::as_str)
                .unwrap_or_default()
                .into_owned()
        });
        let mut names = self
            .query
            .iter()
            .map(|(name, _)| name.clone())
            .chain(of_body);
        match names.find(|name| !allowed.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let text = format!("the operation takes: {}", allowed.join(", "));
                Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name))
            }
        }
    }

    /// The values of a primitive parameter, as text.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let of_query = self
            .query
            .iter()
            .filter(|(own, _)| own == name)
            .map(|(_, v)| v.clone());
        let of_body = self.named(name).filter_map(|part| {
            let (_, value) = part
                .members()
                .find(|(member, _)| member.starts_with("value"))?;
            value.primitive_text().map(|text| text.into_owned())
        });
        of_query.chain(of_body).collect()
    }

    /// The value of a primitive parameter that comes once at most.
    ///
    /// # Errors
    /// `bad-parameter-value` for a second one
    pub fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = self.texts(name).into_iter();
        let first = found.next();
        if found.next().is_some() {
            let text = format!("`{name}` comes once at most");
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name));
        }
        Ok(first.filter(|text| !text.is_empty()))
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn required(&self, name: &str) -> Result<String, Problem> {
        self.text(name)?.ok_or_else(|| {
            let text = format!("the parameter `{name}` is needed");
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name)
        })
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn number(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let text = format!("`{name}` is a whole number that is not negative");
            Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name)
        })
    }

    /// A value of a complex type, such as `valueCoding`; in a query the parameter does not exist.
    pub fn values(&self, name: &str, member: &str) -> Vec<ValueRef<'_>> {
        let found = self.parts().filter(|part| {
            part.get("name")
                .and_then(ValueRef::as_str)
                .is_some_and(|own| own == name)
        });
        found.filter_map(|part| part.get(member)).collect()
    }

    /// A resource given as a parameter, or as the whole body where that is no Parameters resource.
    pub fn resource(&self, name: &str) -> Option<ValueRef<'_>> {
        if let Some(body) = self.body.as_ref().filter(|_| !self.is_parameters()) {
            return Some(body.root());
        }
        self.values(name, "resource").into_iter().next()
    }

    /// The whole body, whatever it is.
    pub fn whole(&self) -> Option<ValueRef<'_>> {
        self.body.as_ref().map(Document::root)
    }

    /// The codes asked about: `code` with `system`, `coding`, the codings of `codeableConcept`.
    ///
    /// # Errors
    /// `bad-parameter-value` when there is none
    pub fn codes(&self, system_name: &str) -> Result<Vec<Code>, Problem> {
        let mut codes = Vec::new();
        if let Some(code) = self.text("code")? {
            codes.push(Code {
                system: self.text(system_name)?,
                code,
                display: self.text("display")?,
            });
        }
        codes.extend(
            self.values("coding", "valueCoding")
                .into_iter()
                .filter_map(Code::read),
        );
        for concept in self.values("codeableConcept", "valueCodeableConcept") {
            let codings = concept.get("coding").into_iter().flat_map(ValueRef::items);
            codes.extend(codings.filter_map(Code::read));
        }
        if codes.is_empty() {
            let text = "a `code`, a `coding` or a `codeableConcept` is needed";
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("code"));
        }
        Ok(codes)
    }
}

/// A code asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Its system, if one was said.
    pub system: Option<String>,
    /// The code.
    pub code: String,
    /// What the caller takes its display to be.
    pub display: Option<String>,
}

impl Code {
    /// A Coding; `None` without a code.
    pub fn read(coding: ValueRef<'_>) -> Option<Self> {
        let text = |name| {
            coding
                .get(name)
                .and_then(ValueRef::as_str)
                .map(|t| t.into_owned())
        };
        Some(Self {
            system: text("system"),
            code: text("code")?,
            display: text("display"),
        })
    }
}

/// A parameter of an answer.
pub fn parameter(name: &str, member: &str, value: impl Into<Value>) -> Value {
    Value::object([("name", Value::from(name)), (member, value.into())])
}

/// A Parameters resource as the answer.
pub fn answer(parameters: Vec<Value>) -> Answer {
    let mut members = vec![("resourceType", Value::from("Parameters"))];
    if !parameters.is_empty() {
        members.push(("parameter", Value::Array(parameters)));
    }
    Answer::ok(Value::object(members).to_bytes())
}
