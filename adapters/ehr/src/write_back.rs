//! Writing one Observation of ours to an EHR: off unless the tenant allows its code, sent once, never sent blindly again.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#create>; neither vendor knows a key that makes a repeated create harmless, so
//! an answer that got lost leaves the question open until somebody has looked.
//! Leaves out changing and deleting at the EHR: corrections are made there.

use std::collections::BTreeSet;

use fhir_core::json::Value;

use crate::EhrError;
use crate::auth::discovery::under;
use crate::http::{Method, NO_CONNECTION, Request};
use crate::normalise::{TENANT_SYSTEM, code::loinc_codes, string};
use crate::outcome::of_error;
use crate::page;
use crate::polite::Got;
use crate::run::Run;
use crate::tenant::Tenant;
use crate::time;

/// System of the identifier by which we find our Observation again.
pub const OWN_SYSTEM: &str = "urn:stoker:observation";
/// Members that are sent as they are. What is not here names things of ours, or what the EHR sets itself.
const SENT_MEMBERS: [&str; 19] = [
    "category",
    "code",
    "effectiveDateTime",
    "effectivePeriod",
    "effectiveInstant",
    "valueQuantity",
    "valueCodeableConcept",
    "valueString",
    "valueBoolean",
    "valueInteger",
    "valueDateTime",
    "valueTime",
    "dataAbsentReason",
    "interpretation",
    "note",
    "bodySite",
    "method",
    "referenceRange",
    "component",
];
/// Members that are ours, and whose absence at the EHR loses nothing.
const OWN_MEMBERS: [&str; 6] = ["resourceType", "id", "meta", "text", "status", "subject"];

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is there; its id, when the EHR told.
    Written(Option<String>),
    /// The EHR said no; nothing was stored there.
    Refused(String),
    /// It was not sent, or the EHR said that it did nothing yet.
    NotSent(String),
    /// Nobody knows whether it arrived.
    Unknown(String),
}

/// What a look at the EHR found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The row that carries our identifier.
    Ours(String),
    /// So many rows with the same code, time and value; they may be somebody else's.
    Alike(usize),
    /// Nothing like it.
    Nothing,
}

/// An Observation as it would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The body.
    pub body: Value,
    /// Members of ours that are not sent.
    pub left_out: Vec<String>,
}

/// Makes the body for the EHR.
///
/// # Errors
/// Why this Observation must not be written; names elements and codes, no values.
pub fn letter(tenant: &Tenant, observation: &Value, patient: &str) -> Result<Letter, String> {
    let allowed = tenant.write_back.as_ref();
    let allowed = allowed.ok_or("the tenant has no `[write_back]`: nothing is written to it")?;
    let id = string(observation, "id").ok_or("`Observation.id` is missing")?;
    for forbidden in ["modifierExtension", "implicitRules", "contained"] {
        if observation.get(forbidden).is_some() {
            return Err(format!(
                "`Observation.{forbidden}` cannot be written to an EHR"
            ));
        }
    }
    if is_copy(observation) {
        return Err("the Observation came from an EHR itself".to_owned());
    }
    let status = string(observation, "status").unwrap_or_default();
    if !matches!(status, "final" | "amended" | "corrected") {
        return Err("`Observation.status` must be `final`, `amended` or `corrected`".to_owned());
    }
    check_codes(observation, &allowed.loinc)?;
    let mut members = vec![
        ("resourceType", Value::from("Observation")),
        (
            "identifier",
            Value::Array(vec![Value::object([
                ("system", Value::from(OWN_SYSTEM)),
                ("value", id.into()),
            ])]),
        ),
        ("status", status.into()),
        (
            "subject",
            Value::object([("reference", Value::from(format!("Patient/{patient}")))]),
        ),
    ];
    for name in SENT_MEMBERS {
        members.extend(observation.get(name).map(|value| (name, value.clone())));
    }
    if let Some(performer) = &allowed.performer {
        let performer = Value::object([("reference", Value::from(performer.as_str()))]);
        members.push(("performer", Value::Array(vec![performer])));
    }
    let all = observation
        .as_object()
        .into_iter()
        .flat_map(|all| all.iter());
    let left_out = all
        .map(|(name, _)| name)
        .filter(|name| !SENT_MEMBERS.contains(name) && !OWN_MEMBERS.contains(name))
        .map(str::to_owned);
    Ok(Letter {
        left_out: left_out.collect(),
        body: Value::object(members),
    })
}

/// The Observation is a tenant's copy.
pub fn is_copy(observation: &Value) -> bool {
    let tags = observation.get("meta").and_then(|meta| meta.get("tag"));
    let tags = tags.and_then(Value::as_array).unwrap_or_default();
    tags.iter()
        .any(|tag| string(tag, "system") == Some(TENANT_SYSTEM))
}

/// Every code that says what was measured is on the list, and there is one.
fn check_codes(observation: &Value, allowed: &BTreeSet<String>) -> Result<(), String> {
    let components = observation.get("component").and_then(Value::as_array);
    let mut elements = vec![("Observation.code", observation)];
    elements.extend(
        components
            .unwrap_or_default()
            .iter()
            .map(|component| ("Observation.component.code", component)),
    );
    for (place, element) in elements {
        let codes = element.get("code").map(loinc_codes).unwrap_or_default();
        if codes.is_empty() {
            return Err(format!("`{place}` has no LOINC code"));
        }
        if let Some(code) = codes.difference(allowed).next() {
            return Err(format!(
                "`{place}`: LOINC {code} is not in `write_back.loinc`"
            ));
        }
    }
    Ok(())
}

impl Run {
    /// Sends the Observation, once.
    ///
    /// # Errors
    /// What kept it from being sent: our limits, no token, no scope.
    pub async fn send(&self, letter: &Letter) -> Result<Sent, EhrError> {
        let token = self.polite.tokens().token().await?;
        if !token.granted.may_create("Observation") {
            return Err(EhrError::Withheld(
                "no granted scope allows to create an Observation (`system/Observation.c`)"
                    .to_owned(),
            ));
        }
        let mut request = Request::get(under(&self.tenant.fhir_base, "Observation")?)
            .header("accept", &self.tenant.profile.accept)
            .header("content-type", "application/fhir+json");
        request.method = Method::POST;
        request.body = letter.body.to_bytes();
        let answer = match self.polite.once(&request).await {
            Ok(answer) => answer,
            Err(EhrError::Connection(why)) if why == NO_CONNECTION => {
                return Ok(Sent::NotSent(why));
            }
            Err(EhrError::Connection(why)) => return Ok(Sent::Unknown(why)),
            Err(EhrError::Answer(why)) => return Ok(Sent::Unknown(why)),
            Err(error) => return Err(error),
        };
        let status = answer.status;
        Ok(match status {
            200 | 201 => {
                let place = answer.header("location").unwrap_or_default();
                Sent::Written(id_of(place))
            }
            429 => Sent::NotSent("the EHR asks to wait (status 429)".to_owned()),
            408 => Sent::Unknown("status 408".to_owned()),
            400..=499 => {
                let notice = of_error(&answer, &self.tenant.profile);
                Sent::Refused(format!("{} (status {status})", notice.code))
            }
            _ => Sent::Unknown(format!("status {status}")),
        })
    }

    /// Looks for an Observation that may have arrived.
    ///
    /// # Errors
    /// What kept us from looking.
    pub async fn look_for(&self, letter: &Letter) -> Result<Found, EhrError> {
        let body = &letter.body;
        let subject = body.get("subject").and_then(|s| string(s, "reference"));
        let patient = subject.and_then(|text| text.strip_prefix("Patient/"));
        let codes = body.get("code").map(loinc_codes).unwrap_or_default();
        let (Some(patient), Some(code)) = (patient, codes.first()) else {
            return Ok(Found::Nothing);
        };
        let mut url = under(&self.tenant.fhir_base, "Observation")?;
        url.query_pairs_mut()
            .append_pair("patient", patient)
            .append_pair("code", &format!("http://loinc.org|{code}"))
            .append_pair("_count", &self.tenant.profile.page_size.to_string());
        let own = body.get("identifier").and_then(Value::as_array);
        let own = own.and_then(<[Value]>::first);
        let mut alike = 0;
        for _ in 0..LOOK_PAGES_MAX {
            let answer = match self.polite.get(&url).await? {
                Got::Answer(answer) => answer,
                Got::Refused(notice, _) => return Err(EhrError::Withheld(notice.code)),
            };
            let page = page::read(&answer, &url, &self.tenant.profile)?;
            for span in &page.resources {
                let text = page.text.as_str().get(span.clone()).unwrap_or_default();
                let Ok(row) = Value::parse(text.as_bytes()) else {
                    continue;
                };
                if own.is_some_and(|own| carries(&row, own)) {
                    return Ok(Found::Ours(
                        string(&row, "id").unwrap_or_default().to_owned(),
                    ));
                }
                alike += usize::from(is_alike(&row, body));
            }
            match page.next.and_then(|next| reqwest::Url::parse(&next).ok()) {
                Some(next) => url = next,
                None if alike > 0 => return Ok(Found::Alike(alike)),
                None => return Ok(Found::Nothing),
            }
        }
        Err(EhrError::Answer("too many rows to look through".to_owned()))
    }
}

/// Pages looked through for one Observation.
const LOOK_PAGES_MAX: usize = 50;

fn id_of(location: &str) -> Option<String> {
    let after = location.split("/Observation/").nth(1)?;
    let id = after.split('/').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

fn carries(row: &Value, own: &Value) -> bool {
    let all = row.get("identifier").and_then(Value::as_array);
    all.unwrap_or_default().iter().any(|one| {
        string(one, "system") == string(own, "system")
            && string(one, "value") == string(own, "value")
    })
}

/// The same moment and the same digits; the code was asked for.
fn is_alike(row: &Value, body: &Value) -> bool {
    let when = |value: &Value| string(value, "effectiveDateTime").and_then(time::parse_fhir);
    when(row) == when(body) && digits(row) == digits(body)
}

/// The digits of the value and of each component's.
fn digits(value: &Value) -> Vec<String> {
    let components = value.get("component").and_then(Value::as_array);
    let all = std::iter::once(value).chain(components.unwrap_or_default());
    all.filter_map(|one| one.get("valueQuantity")?.get("value")?.number_text())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(extra: &str) -> Tenant {
        Tenant::parse(&format!(
            "tenant = \"t\"\nvendor = \"generic\"\nfhir_base = \"https://ehr.example.org/r4\"\n\
             types = [\"Patient\", \"Observation\"]\nauth = {{ method = \"none\" }}\n{extra}"
        ))
        .unwrap()
    }

    fn rate() -> Value {
        Value::parse(
            br#"{"resourceType":"Observation","id":"o1","status":"final","device":{"reference":"Device/d"},
                "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
                "subject":{"reference":"Patient/local"},"effectiveDateTime":"2026-05-04T08:00:00Z",
                "valueQuantity":{"value":72.0,"unit":"/min"}}"#,
        )
        .unwrap()
    }

    fn with(name: &str, json: &str) -> Value {
        let mut value = rate();
        let members = value.as_object_mut().unwrap();
        members.insert(name, Value::parse(json.as_bytes()).unwrap());
        value
    }

    /// Verifies: SRS-360, RC-360
    #[test]
    fn only_what_the_tenant_allows_is_written() {
        let on = tenant("[write_back]\nloinc = [\"8867-4\"]");
        let off = tenant("");
        let copy = r#"{"tag":[{"system":"urn:stoker:ehr-tenant","code":"t"}]}"#;
        let other = r#"{"coding":[{"system":"http://loinc.org","code":"8310-5"}]}"#;
        let panel = r#"[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]}}]"#;
        for (tenant, observation, needle) in [
            (&off, rate(), "no `[write_back]`"),
            (&on, with("code", other), "8310-5 is not in"),
            (&on, with("code", r#"{"text":"pulse"}"#), "no LOINC code"),
            (
                &on,
                with("component", panel),
                "component.code`: LOINC 8480-6",
            ),
            (&on, with("status", "\"preliminary\""), "status"),
            (&on, with("meta", copy), "came from an EHR"),
            (&on, with("modifierExtension", "[{}]"), "modifierExtension"),
        ] {
            let error = letter(tenant, &observation, "p1").unwrap_err();
            assert!(error.contains(needle), "{needle}: {error}");
        }
    }

    /// Verifies: SRS-360
    #[test]
    fn the_body_keeps_digits_and_names_what_it_leaves_out() {
        let on = tenant("[write_back]\nloinc = [\"8867-4\"]\nperformer = \"Practitioner/9\"");
        let made = letter(&on, &rate(), "p1").unwrap();
        let text = made.body.to_string();
        assert!(text.contains("\"value\":72.0,"), "{text}");
        assert!(text.contains("Patient/p1") && !text.contains("local"));
        assert!(text.contains("Practitioner/9") && text.contains(OWN_SYSTEM));
        assert_eq!(made.left_out, ["device"]);
    }

    #[test]
    fn the_id_is_in_the_location() {
        for (location, id) in [
            ("https://ehr.example.org/r4/Observation/VS-1", Some("VS-1")),
            ("Observation/x", None),
            (
                "https://ehr.example.org/r4/Observation/a/_history/1",
                Some("a"),
            ),
            ("", None),
        ] {
            assert_eq!(id_of(location).as_deref(), id);
        }
    }
}
