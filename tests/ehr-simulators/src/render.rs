//! An Observation in each vendor's shape.
//!
//! Spec: <https://hl7.org/fhir/R4/observation.html>; the shapes follow public captures.
//! Leaves out what the adapter has no rule for.

use fhir_core::json::{Number, Value};

use crate::world::{Row, What, World, instant};
use crate::{Vendor, object};

impl Row {
    /// Its LOINC code.
    pub(crate) fn loinc(&self) -> &str {
        match &self.what {
            What::Number(code, ..) => code,
            What::Pressure(..) => "85354-9",
            What::Posted(body) => loinc(body).unwrap_or_default(),
        }
    }
}

impl World {
    /// The row as the vendor serves it.
    pub fn render(&self, row: &Row, base: &str, mask: bool) -> Value {
        let category = object([(
            "coding",
            Value::Array(vec![object([
                (
                    "system",
                    "http://terminology.hl7.org/CodeSystem/observation-category".into(),
                ),
                ("code", row.category.into()),
            ])]),
        )]);
        let mut body = object([
            ("resourceType", "Observation".into()),
            ("id", row.id.as_str().into()),
        ]);
        let Some(members) = body.as_object_mut() else {
            return body;
        };
        if self.vendor == Vendor::Oracle {
            let version = match &row.what {
                What::Pressure(_, None) => "1-".to_owned(),
                What::Pressure(..) => format!("{}-1", row.version),
                What::Number(..) | What::Posted(_) => row.version.to_string(),
            };
            members.insert(
                "meta",
                object([
                    ("versionId", version.into()),
                    ("lastUpdated", instant(row.filed_s).into()),
                ]),
            );
            members.insert(
                "text",
                object([
                    ("status", "generated".into()),
                    (
                        "div",
                        "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>".into(),
                    ),
                ]),
            );
        }
        members.insert("status", row.status.into());
        members.insert("category", Value::Array(vec![category]));
        members.insert("code", self.code(row));
        members.insert(
            "subject",
            object([("reference", format!("Patient/{}", row.patient).into())]),
        );
        members.insert(
            "encounter",
            object([("reference", "Encounter/enc1".into())]),
        );
        members.insert("effectiveDateTime", instant(row.effective_s).into());
        if let What::Posted(posted) = &row.what {
            // What was measured comes back as posted; identifiers do not, and the performer is the client's own user.
            for name in ["valueQuantity", "component", "effectiveDateTime"] {
                if let Some(value) = posted.get(name) {
                    members.insert(name, value.clone());
                }
            }
            let user = object([("reference", "Practitioner/background".into())]);
            members.insert("performer", Value::Array(vec![user]));
        }
        if self.vendor == Vendor::Epic {
            members.insert("issued", instant(row.filed_s).into());
        }
        match &row.what {
            What::Number(..) if mask => {
                let coding = object([
                    (
                        "system",
                        "http://terminology.hl7.org/CodeSystem/data-absent-reason".into(),
                    ),
                    ("code", "masked".into()),
                ]);
                members.insert(
                    "dataAbsentReason",
                    object([("coding", Value::Array(vec![coding]))]),
                );
            }
            What::Number(_, _, digits, unit, ucum) => {
                members.insert("valueQuantity", quantity(digits, unit, ucum));
            }
            What::Posted(_) => {}
            What::Pressure(systolic, diastolic) => {
                let halves = [("8480-6", Some(systolic)), ("8462-4", diastolic.as_ref())];
                let components = halves.iter().map(|(code, digits)| component(code, *digits));
                members.insert("component", Value::Array(components.collect()));
            }
        }
        let _ = base;
        body
    }

    fn code(&self, row: &Row) -> Value {
        let (code, display) = match &row.what {
            What::Number(code, display, ..) => (*code, *display),
            What::Pressure(..) => ("85354-9", "BP"),
            What::Posted(body) => (loinc(body).unwrap_or_default(), "Posted"),
        };
        let loinc = object([("system", "http://loinc.org".into()), ("code", code.into())]);
        let codings = match self.vendor {
            Vendor::Epic => vec![
                object([
                    (
                        "system",
                        "urn:oid:1.2.840.114350.1.13.0.1.7.2.707679".into(),
                    ),
                    ("code", "5".into()),
                    ("display", display.into()),
                ]),
                object([
                    ("system", "urn:oid:1.2.246.537.6.96".into()),
                    ("code", code.into()),
                ]),
                loinc,
                object([
                    ("system", "http://loinc.org".into()),
                    ("code", "8716-3".into()),
                ]),
            ],
            Vendor::Oracle => vec![
                object([
                    ("system", "https://fhir.cerner.com/sim/codeSet/72".into()),
                    ("code", "703558".into()),
                    ("display", display.into()),
                    ("userSelected", Value::Bool(true)),
                ]),
                loinc,
            ],
        };
        object([("coding", Value::Array(codings)), ("text", display.into())])
    }
}

/// The LOINC code of a posted body.
pub(crate) fn loinc(body: &Value) -> Option<&str> {
    let codings = body.get("code")?.get("coding")?.as_array()?;
    let is_loinc =
        |coding: &&Value| coding.get("system").and_then(Value::as_str) == Some("http://loinc.org");
    codings.iter().find(is_loinc)?.get("code")?.as_str()
}

fn component(code: &str, digits: Option<&String>) -> Value {
    let coding = object([("system", "http://loinc.org".into()), ("code", code.into())]);
    let mut body = object([("code", object([("coding", Value::Array(vec![coding]))]))]);
    if let Some(members) = body.as_object_mut() {
        match digits {
            Some(digits) => members.insert("valueQuantity", quantity(digits, "mmHg", "mm[Hg]")),
            None => {
                let reason = object([
                    (
                        "system",
                        "http://terminology.hl7.org/CodeSystem/data-absent-reason".into(),
                    ),
                    ("code", "unknown".into()),
                ]);
                members.insert(
                    "dataAbsentReason",
                    object([("coding", Value::Array(vec![reason]))]),
                );
            }
        }
    }
    body
}

fn quantity(digits: &str, unit: &str, ucum: &str) -> Value {
    object([
        (
            "value",
            Number::parse(digits).map_or(Value::Null, Value::Number),
        ),
        ("unit", unit.into()),
        ("system", "http://unitsofmeasure.org".into()),
        ("code", ucum.into()),
    ])
}
