//! Search parameters that were added to the official ones.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter.html>. Left out: composite and special parameters, and parameters without an
//! expression, which are refused with the reason.

use std::collections::HashMap;
use std::sync::OnceLock;

use conformance::{Definitions, ParamId, ParamType, ResourceTypeId, SearchParam};

use crate::index::{Extractor, ParamDefinition};
use crate::json::ValueRef;

/// Longest expression, in bytes; official ones stay under 3,000.
const EXPRESSION_BYTES_MAX: usize = 10_000;

/// What a SearchParameter resource adds to one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The type.
    pub resource_type: ResourceTypeId,
    /// The name in the URL.
    pub code: String,
    /// Its canonical url.
    pub url: String,
    /// Its type.
    pub kind: ParamType,
    /// FHIRPath from the resource.
    pub expression: String,
    /// For references: the types it may lead to.
    pub targets: Vec<ResourceTypeId>,
    /// What it is for.
    pub description: String,
}

impl Definition {
    /// What makes it this definition and no other; whoever changes one of these has another parameter.
    pub fn identity(&self) -> String {
        let targets: Vec<&str> = self.targets.iter().map(|t| t.name()).collect();
        format!(
            "{}\n{}\n{}\n{}\n{}",
            self.resource_type.name(),
            self.url,
            self.kind.code(),
            self.expression,
            targets.join(",")
        )
    }

    /// As extraction needs it.
    pub fn to_param(&self, id: ParamId) -> ParamDefinition {
        ParamDefinition {
            id,
            kind: self.kind,
            expression: self.expression.clone(),
            targets: self.targets.clone(),
            components: Vec::new(),
        }
    }

    /// As searching needs it. The texts live as long as the program: definitions are few and change seldom.
    pub fn to_search_param(&self, id: ParamId) -> SearchParam {
        let keep = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        SearchParam {
            id,
            base: self.resource_type,
            code: keep(&self.code),
            url: keep(&self.url),
            kind: self.kind,
            expression: keep(&self.expression),
            targets: self.targets.clone(),
            components: Vec::new(),
            comparators: Vec::new(),
            modifiers: self.kind.modifiers(),
            multiple_or: true,
            multiple_and: true,
            description: keep(&self.description),
        }
    }
}

/// Reads a SearchParameter: one definition for each type of `base`.
///
/// # Errors
/// Why it cannot be searched by.
pub fn read(resource: ValueRef<'_>) -> Result<Vec<Definition>, String> {
    let definitions = Definitions::r4();
    let text = |name: &str| {
        let text = resource.get(name).and_then(ValueRef::as_str);
        text.map(|text| text.into_owned())
            .filter(|text| !text.is_empty())
    };
    let required = |name: &str| text(name).ok_or_else(|| format!("`{name}` is missing"));
    let (code, url) = (required("code")?, required("url")?);
    let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !code.chars().all(is_code) {
        return Err("`code` may have letters, digits, `-` and `_` only".to_owned());
    }
    let kind = ParamType::from_code(&required("type")?)
        .filter(|kind| !matches!(kind, ParamType::Composite | ParamType::Special))
        .ok_or_else(|| "`type` is composite, special or unknown".to_owned())?;
    let expression = required("expression")?;
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!(
            "`expression` is longer than {EXPRESSION_BYTES_MAX} bytes"
        ));
    }
    let types = |name: &str| -> Result<Vec<ResourceTypeId>, String> {
        let items = resource.get(name).into_iter().flat_map(ValueRef::items);
        let mut found = Vec::new();
        for item in items {
            let type_name = item.as_str().unwrap_or_default();
            match type_name.as_ref() {
                "Resource" | "DomainResource" => found.extend(definitions.concrete_types()),
                other => found.push(
                    definitions
                        .resource_type(other)
                        .ok_or_else(|| format!("`{name}` names no resource type of R4"))?,
                ),
            }
        }
        Ok(found)
    };
    let (bases, targets) = (types("base")?, types("target")?);
    let description = text("description").unwrap_or_default();
    let mut all = Vec::with_capacity(bases.len());
    for resource_type in bases {
        if definitions.search_param(resource_type, &code).is_some() {
            return Err(format!(
                "`{}` has a search parameter `{code}` of R4 already",
                resource_type.name()
            ));
        }
        let definition = Definition {
            resource_type,
            code: code.clone(),
            url: url.clone(),
            kind,
            expression: of_type(&expression, resource_type.name()),
            targets: targets.clone(),
            description: description.clone(),
        };
        Extractor::check(resource_type, definition.to_param(ParamId(u16::MAX)))
            .map_err(|error| format!("`expression` cannot be computed: {error}"))?;
        all.push(definition);
    }
    if all.is_empty() {
        return Err("`base` is missing".to_owned());
    }
    Ok(all)
}

/// The branches of an expression that begin at the type; all of it when it names no types.
fn of_type(expression: &str, type_name: &str) -> String {
    let begins = |branch: &str, name: &str| {
        let branch = branch.trim().trim_start_matches('(');
        branch
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let branches: Vec<&str> = expression.split(" | ").collect();
    let own: Vec<&str> = branches
        .iter()
        .filter(|branch| begins(branch, type_name))
        .map(|branch| branch.trim())
        .collect();
    if own.is_empty() || own.len() == branches.len() {
        expression.trim().to_owned()
    } else {
        own.join(" | ")
    }
}

/// The added parameters that can be searched by.
#[derive(Debug, Clone, Default)]
pub struct CustomParams {
    by_type: HashMap<ResourceTypeId, Vec<&'static SearchParam>>,
}

impl CustomParams {
    /// No parameter.
    pub fn none() -> &'static CustomParams {
        static NONE: OnceLock<CustomParams> = OnceLock::new();
        NONE.get_or_init(CustomParams::default)
    }

    /// Adds a parameter.
    pub fn add(&mut self, param: &'static SearchParam) {
        self.by_type.entry(param.base).or_default().push(param);
    }

    /// The parameters of a type.
    pub fn of(&self, resource_type: ResourceTypeId) -> &[&'static SearchParam] {
        self.by_type.get(&resource_type).map_or(&[], Vec::as_slice)
    }

    /// The parameter a type has under this code.
    pub fn get(&self, resource_type: ResourceTypeId, code: &str) -> Option<&'static SearchParam> {
        self.of(resource_type)
            .iter()
            .find(|param| param.code == code)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn read_text(text: &str) -> Result<Vec<Definition>, String> {
        read(Document::parse(text.as_bytes()).unwrap().root())
    }

    #[test]
    fn a_definition_is_read_for_each_of_its_types() {
        let all = read_text(
            r#"{"resourceType":"SearchParameter","url":"http://x/sp","code":"shoe","type":"string","base":["Patient","Practitioner"],"expression":"Patient.extension.where(url='http://x/shoe').value | Practitioner.name.text"}"#,
        )
        .unwrap();
        let expressions: Vec<&str> = all.iter().map(|d| d.expression.as_str()).collect();
        assert_eq!(
            expressions,
            [
                "Patient.extension.where(url='http://x/shoe').value",
                "Practitioner.name.text"
            ]
        );
        assert_ne!(all[0].identity(), all[1].identity());
    }

    #[test]
    fn what_cannot_be_searched_by_is_refused_with_the_reason() {
        for (change, words) in [
            (r#""code":"name""#, "already"),
            (r#""code":"a b""#, "letters"),
            (r#""type":"composite""#, "composite"),
            (r#""base":["Nonsense"]"#, "no resource type"),
            (r#""expression":"Patient.(""#, "cannot be computed"),
        ] {
            let (name, _) = change.split_once(':').unwrap();
            let members = [
                r#""url":"http://x/sp""#,
                r#""code":"shoe""#,
                r#""type":"string""#,
                r#""base":["Patient"]"#,
                r#""expression":"Patient.name.text""#,
            ];
            let members: Vec<&str> = members
                .iter()
                .map(|member| {
                    if member.starts_with(name) {
                        change
                    } else {
                        member
                    }
                })
                .collect();
            let text = format!("{{{}}}", members.join(","));
            let error = read_text(&text).unwrap_err();
            assert!(error.contains(words), "{change}: {error}");
        }
    }
}
