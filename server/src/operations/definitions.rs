//! The OperationDefinition of every operation, from one table that the CapabilityStatement reads too.
//!
//! Spec: <https://hl7.org/fhir/R4/operationdefinition.html>. Served by `GET [base]/OperationDefinition/[id]` unless a
//! resource with this id is stored. An operation of R4 keeps HL7's id, and names HL7's definition as its base.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::json::Value;

/// One operation.
pub struct Definition {
    /// Id of the OperationDefinition; HL7's for operations of R4.
    pub id: &'static str,
    /// Name in the URL, without `$`.
    pub code: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Types it is offered on; `Resource` for all.
    pub types: &'static [&'static str],
    /// Whether `[base]/[type]/$code` exists.
    pub on_type: bool,
    /// Whether `[base]/[type]/[id]/$code` exists.
    pub on_instance: bool,
    /// Whether R4 itself defines it.
    pub is_standard: bool,
    /// What goes in: name, least, greatest number, type.
    pub takes: &'static [(&'static str, u8, &'static str, &'static str)],
    /// What comes out.
    pub gives: &'static [(&'static str, u8, &'static str, &'static str)],
}

/// Every operation the server has. A new operation is a new row.
pub const ALL: &[Definition] = &[
    Definition {
        id: "Resource-validate",
        code: "validate",
        title: "Validate a resource",
        types: &["Resource"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("resource", 0, "1", "Resource"),
            ("mode", 0, "1", "code"),
            ("profile", 0, "*", "uri"),
        ],
        gives: &[("return", 1, "1", "OperationOutcome")],
    },
    Definition {
        id: "Patient-everything",
        code: "everything",
        title: "Everything about a patient",
        types: &["Patient"],
        on_type: false,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("_type", 0, "*", "code"),
            ("_since", 0, "1", "instant"),
            ("_count", 0, "1", "integer"),
        ],
        gives: &[("return", 1, "1", "Bundle")],
    },
    Definition {
        id: "Encounter-everything",
        code: "everything",
        title: "Everything about an encounter",
        types: &["Encounter"],
        on_type: false,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("_type", 0, "*", "code"),
            ("_since", 0, "1", "instant"),
            ("_count", 0, "1", "integer"),
        ],
        gives: &[("return", 1, "1", "Bundle")],
    },
    Definition {
        id: "Observation-stats",
        code: "stats",
        title: "Statistics over observations",
        types: &["Observation"],
        on_type: true,
        on_instance: false,
        is_standard: true,
        takes: &[
            ("subject", 1, "1", "uri"),
            ("code", 0, "*", "string"),
            ("system", 0, "1", "uri"),
            ("coding", 0, "*", "Coding"),
            ("duration", 0, "1", "decimal"),
            ("period", 0, "1", "Period"),
            ("statistic", 1, "*", "code"),
        ],
        gives: &[("statistics", 1, "*", "Observation")],
    },
    Definition {
        id: "ValueSet-expand",
        code: "expand",
        title: "The codes of a value set",
        types: &["ValueSet"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("url", 0, "1", "uri"),
            ("valueSet", 0, "1", "ValueSet"),
            ("valueSetVersion", 0, "1", "string"),
            ("filter", 0, "1", "string"),
            ("offset", 0, "1", "integer"),
            ("count", 0, "1", "integer"),
            ("activeOnly", 0, "1", "boolean"),
            ("includeDefinition", 0, "1", "boolean"),
        ],
        gives: &[("return", 1, "1", "ValueSet")],
    },
    Definition {
        id: "ValueSet-validate-code",
        code: "validate-code",
        title: "Whether a code is in a value set",
        types: &["ValueSet"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("url", 0, "1", "uri"),
            ("valueSet", 0, "1", "ValueSet"),
            ("valueSetVersion", 0, "1", "string"),
            ("code", 0, "1", "code"),
            ("system", 0, "1", "uri"),
            ("display", 0, "1", "string"),
            ("coding", 0, "1", "Coding"),
            ("codeableConcept", 0, "1", "CodeableConcept"),
        ],
        gives: &[
            ("result", 1, "1", "boolean"),
            ("message", 0, "1", "string"),
            ("display", 0, "1", "string"),
        ],
    },
    Definition {
        id: "CodeSystem-lookup",
        code: "lookup",
        title: "What is said of a code",
        types: &["CodeSystem"],
        on_type: true,
        on_instance: false,
        is_standard: true,
        takes: &[
            ("code", 0, "1", "code"),
            ("system", 0, "1", "uri"),
            ("coding", 0, "1", "Coding"),
            ("property", 0, "*", "code"),
        ],
        gives: &[
            ("name", 1, "1", "string"),
            ("version", 0, "1", "string"),
            ("display", 1, "1", "string"),
        ],
    },
    Definition {
        id: "CodeSystem-validate-code",
        code: "validate-code",
        title: "Whether a code is in a code system",
        types: &["CodeSystem"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("url", 0, "1", "uri"),
            ("codeSystem", 0, "1", "CodeSystem"),
            ("code", 0, "1", "code"),
            ("display", 0, "1", "string"),
            ("coding", 0, "1", "Coding"),
            ("codeableConcept", 0, "1", "CodeableConcept"),
        ],
        gives: &[
            ("result", 1, "1", "boolean"),
            ("message", 0, "1", "string"),
            ("display", 0, "1", "string"),
        ],
    },
    Definition {
        id: "CodeSystem-subsumes",
        code: "subsumes",
        title: "Which of two codes stands above the other",
        types: &["CodeSystem"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("codeA", 0, "1", "code"),
            ("codeB", 0, "1", "code"),
            ("system", 0, "1", "uri"),
            ("codingA", 0, "1", "Coding"),
            ("codingB", 0, "1", "Coding"),
        ],
        gives: &[("outcome", 1, "1", "code")],
    },
    Definition {
        id: "ConceptMap-translate",
        code: "translate",
        title: "Translate a code",
        types: &["ConceptMap"],
        on_type: true,
        on_instance: true,
        is_standard: true,
        takes: &[
            ("url", 0, "1", "uri"),
            ("conceptMap", 0, "1", "ConceptMap"),
            ("code", 0, "1", "code"),
            ("system", 0, "1", "uri"),
            ("source", 0, "1", "uri"),
            ("coding", 0, "1", "Coding"),
            ("codeableConcept", 0, "1", "CodeableConcept"),
            ("target", 0, "1", "uri"),
            ("targetsystem", 0, "1", "uri"),
            ("reverse", 0, "1", "boolean"),
        ],
        gives: &[("result", 1, "1", "boolean"), ("message", 0, "1", "string")],
    },
];

/// The operations of a type.
pub fn of_type(resource_type: ResourceTypeId) -> impl Iterator<Item = &'static Definition> {
    let name = resource_type.name();
    ALL.iter()
        .filter(move |d| d.types.iter().any(|t| *t == name || *t == "Resource"))
}

/// The OperationDefinition with this id.
pub fn by_id(base_url: &str, id: &str) -> Option<Value> {
    ALL.iter()
        .find(|definition| definition.id == id)
        .map(|d| d.resource(base_url))
}

impl Definition {
    /// Canonical URL of what the server follows.
    pub fn canonical(&self, base_url: &str) -> String {
        if self.is_standard {
            format!("http://hl7.org/fhir/OperationDefinition/{}", self.id)
        } else {
            format!("{base_url}/OperationDefinition/{}", self.id)
        }
    }

    /// The resource.
    pub fn resource(&self, base_url: &str) -> Value {
        let text = |text: &str| Value::from(text);
        let mut members = vec![
            ("resourceType", text("OperationDefinition")),
            ("id", text(self.id)),
            (
                "url",
                Value::from(format!("{base_url}/OperationDefinition/{}", self.id)),
            ),
            ("name", Value::from(self.id.replace('-', "_"))),
            ("title", text(self.title)),
            ("status", text("active")),
            ("kind", text("operation")),
            ("affectsState", Value::Bool(false)),
            ("code", text(self.code)),
        ];
        if self.is_standard {
            members.push(("base", Value::from(self.canonical(base_url))));
        }
        members.extend([
            (
                "resource",
                Value::Array(self.types.iter().map(|t| text(t)).collect()),
            ),
            ("system", Value::Bool(false)),
            ("type", Value::Bool(self.on_type)),
            ("instance", Value::Bool(self.on_instance)),
        ]);
        let of = |use_: &'static str, rows: &'static [(&str, u8, &str, &str)]| {
            rows.iter().map(move |(name, min, max, kind)| {
                let mut members = vec![
                    ("name", Value::from(*name)),
                    ("use", Value::from(use_)),
                    ("min", Value::from(i64::from(*min))),
                    ("max", Value::from(*max)),
                ];
                let known = Definitions::r4().type_kind(kind).is_some();
                if known {
                    members.push(("type", Value::from(*kind)));
                }
                Value::object(members)
            })
        };
        let parameters: Vec<Value> = of("in", self.takes).chain(of("out", self.gives)).collect();
        members.push(("parameter", Value::Array(parameters)));
        Value::object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir_core::json::Document;
    use fhir_core::validate::{invariants, structure};

    #[test]
    fn every_definition_is_valid() {
        let resource_type = Definitions::r4()
            .resource_type("OperationDefinition")
            .unwrap();
        for definition in ALL {
            let json = definition.resource("http://x.example/fhir").to_bytes();
            let document = Document::parse(&json).unwrap();
            assert_eq!(
                structure::check(resource_type, document.root()),
                [],
                "{}",
                definition.id
            );
            let broken = invariants::check(document.root(), None, None);
            assert_eq!(broken, [], "{}", definition.id);
        }
    }
}
