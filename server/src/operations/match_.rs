//! Which patients could be the one described.
//!
//! Spec: <https://hl7.org/fhir/R4/patient-operation-match.html>. Deterministic: the same data and question give the same scores.
//! Nothing is ever linked or merged here; that is for people to decide. Left out: spelling variants and phonetics.

mod score;

use conformance::{Definitions, ResourceTypeId};
use fhir_core::access::Act;
use fhir_core::body::resource_type_name;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Value, ValueRef};
use fhir_core::search::compartment;
use fhir_core::search::predicate::Predicate;
use fhir_store::{Only, SearchQuery, Stored, TotalMode};

use super::parameters::{self, bad};
use crate::app::store_problem;
use crate::audit;
use crate::http::call::Call;
use crate::interaction::Interaction;
use crate::interactions::Answer;
use crate::search;
use score::{Grade, Person, Score};

/// Candidates looked at for one question; more share a name and a day of birth only in made-up data.
const CANDIDATES_MAX: usize = 2_000;

/// Matches answered when `count` says nothing.
const COUNT_DEFAULT: usize = 20;

/// Extension that carries the grade of a match.
const GRADE_URL: &str = "http://hl7.org/fhir/StructureDefinition/match-grade";

struct Asked {
    patient: Value,
    certain_only: bool,
    count: usize,
}

/// `POST [base]/Patient/$match`
///
/// # Errors
/// `no-route` for other types; `bad-parameter-value` for a patient without anything to match by; `too-costly`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let resource_type = call.resource_type()?;
    if resource_type.name() != "Patient" {
        let text = "`$match` exists for Patient";
        return Err(Problem::new(ErrorKind::NO_ROUTE, text));
    }
    call.access.permit(Act::Search, resource_type)?;
    let body = call.json().await?;
    let asked = read(body.root())?;
    let person = Person::of(&asked.patient);
    let candidates = candidates(&call, resource_type, &person).await?;
    let mut matches: Vec<(Score, Stored)> = Vec::new();
    for stored in candidates {
        let document = parameters::stored(&stored.json)?;
        let score = person.compare(&Person::of(&document.root().to_value()));
        let is_wanted = match score.grade {
            Grade::CertainlyNot => false,
            Grade::Certain => true,
            Grade::Probable | Grade::Possible => !asked.certain_only,
        };
        if is_wanted {
            matches.push((score, stored));
        }
    }
    matches.sort_by(|(a, x), (b, y)| b.hundredths.cmp(&a.hundredths).then(x.key.cmp(&y.key)));
    if asked.certain_only && matches.len() > 1 {
        // "If there are multiple matches, none is certain."
        matches.clear();
    }
    matches.truncate(asked.count);
    for (_, stored) in &matches {
        let key = Some((stored.key.clone(), Some(stored.version)));
        let server = &call.server;
        server.reads.push(audit::record(
            &call.access,
            Interaction::Operation,
            'E',
            key,
        ));
    }
    Ok(Answer::ok(bundle(&call.server.base_url, &matches)))
}

fn read(root: ValueRef<'_>) -> Result<Asked, Problem> {
    let mut asked = Asked {
        patient: Value::Null,
        certain_only: false,
        count: COUNT_DEFAULT,
    };
    if resource_type_name(root).as_deref() == Some("Patient") {
        asked.patient = root.to_value();
        return Ok(asked);
    }
    for parameter in parameters::list(root)? {
        match parameters::name_of(parameter).as_str() {
            "resource" => {
                asked.patient = parameter
                    .get("resource")
                    .map(ValueRef::to_value)
                    .unwrap_or(Value::Null);
            }
            "onlyCertainMatches" => {
                let value = parameter.get("valueBoolean").and_then(ValueRef::as_bool);
                asked.certain_only =
                    value.ok_or_else(|| bad("onlyCertainMatches", "is a boolean"))?;
            }
            "count" => {
                let text = parameter
                    .get("valueInteger")
                    .and_then(ValueRef::number_text);
                let count = text.and_then(|text| text.parse().ok()).filter(|c| *c > 0);
                asked.count = count.ok_or_else(|| bad("count", "is a whole number above 0"))?;
            }
            other => {
                return Err(parameters::unknown(
                    other,
                    "`resource`, `onlyCertainMatches` and `count`",
                ));
            }
        }
    }
    match asked.patient.get("resourceType").and_then(Value::as_str) {
        Some("Patient") => Ok(asked),
        _ => Err(bad("resource", "is a Patient")),
    }
}

/// Patients that share an identifier, or a name and the day of birth, or family and given name.
async fn candidates(
    call: &Call,
    resource_type: ResourceTypeId,
    person: &Person,
) -> Result<Vec<Stored>, Problem> {
    let escape = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '\\' | ',' | '|' | '$') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    let mut any_of = Vec::new();
    let mut search = |pairs: Vec<(&str, String)>| -> Result<(), Problem> {
        let pairs: Vec<(String, String)> = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        any_of.push(search::condition_of(&call.server, resource_type, &pairs)?);
        Ok(())
    };
    for (system, value) in &person.identifiers {
        let value = match system.as_str() {
            "" => escape(value),
            system => format!("{}|{}", escape(system), escape(value)),
        };
        search(vec![("identifier", value)])?;
    }
    for family in &person.families {
        if let Some(birth_date) = &person.birth_date {
            search(vec![
                ("family", escape(family)),
                ("birthdate", birth_date.clone()),
            ])?;
        }
        for given in &person.givens {
            search(vec![("family", escape(family)), ("given", escape(given))])?;
        }
    }
    if let Some(birth_date) = &person.birth_date {
        for given in &person.givens {
            search(vec![
                ("given", escape(given)),
                ("birthdate", birth_date.clone()),
            ])?;
        }
    }
    if any_of.is_empty() {
        let text = "the patient has too little to match by: give an identifier, a full name, or a name and the birth date";
        return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at("resource"));
    }
    let predicate = compartment::narrow(&call.access, resource_type, Predicate::Or(any_of));
    debug_assert!(Definitions::r4().resource_type("Patient").is_some());
    let query = SearchQuery {
        resource_type,
        predicate,
        sort: Vec::new(),
        limit: CANDIDATES_MAX,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = call.server.store.search(query).await;
    let page = page.map_err(|e| store_problem(&e))?;
    if page.next.is_some() {
        let text = format!(
            "more than {CANDIDATES_MAX} patients share a name or identifier with this one; say more about it"
        );
        return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
    }
    Ok(page.matches)
}

/// The matches with score and grade; the resources' bytes as stored.
fn bundle(base_url: &str, matches: &[(Score, Stored)]) -> Vec<u8> {
    let mut out = format!(
        r#"{{"resourceType":"Bundle","type":"searchset","total":{}"#,
        matches.len()
    )
    .into_bytes();
    for (index, (score, stored)) in matches.iter().enumerate() {
        let lead = if index == 0 { r#","entry":["# } else { "," };
        out.extend_from_slice(lead.as_bytes());
        let head = format!(r#"{{"fullUrl":"{base_url}/{}","resource":"#, stored.key);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&stored.json);
        let tail = format!(
            r#","search":{{"extension":[{{"url":"{GRADE_URL}","valueCode":"{}"}}],"mode":"match","score":{}}}}}"#,
            score.grade.code(),
            score.decimal()
        );
        out.extend_from_slice(tail.as_bytes());
    }
    if !matches.is_empty() {
        out.push(b']');
    }
    out.push(b'}');
    out
}
