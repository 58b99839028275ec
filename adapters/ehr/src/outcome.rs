//! What an answer means: status, media type and OperationOutcome codes turned into one reaction.
//!
//! Spec: <https://hl7.org/fhir/R4/operationoutcome.html>; vendor codes are data in the profile.
//! Leaves out guesses: a code we do not know falls back to the FHIR issue type, then to the HTTP status.

use fhir_core::json::{Document, ValueRef};

use crate::http::Answer;
use crate::profile::{Profile, Reaction};

/// One issue of an OperationOutcome, without its diagnostics when they may hold patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What we do about it.
    pub reaction: Reaction,
    /// The vendor's code or the FHIR issue type.
    pub code: String,
    /// `Observation - Outside Record Vital Signs` and the like, for withheld data: names a kind, no patient.
    pub about: String,
}

/// All issues of an OperationOutcome; the first is often not the one that matters.
pub fn notices(outcome: ValueRef<'_>, profile: &Profile) -> Vec<Notice> {
    let issues = outcome
        .get("issue")
        .into_iter()
        .flat_map(|list| list.items());
    issues.map(|issue| notice(issue, profile)).collect()
}

fn notice(issue: ValueRef<'_>, profile: &Profile) -> Notice {
    let text = |name: &str| issue.get(name).and_then(|value| value.as_str());
    let codings = issue
        .get("details")
        .and_then(|details| details.get("coding"));
    let known = codings
        .into_iter()
        .flat_map(|list| list.items())
        .filter_map(|coding| coding.get("code")?.as_str())
        .find_map(|code| {
            let reaction = profile.codes.get(code.as_ref())?;
            Some((*reaction, code.into_owned()))
        });
    let (reaction, code) = known.unwrap_or_else(|| {
        let code = text("code").unwrap_or_default().into_owned();
        let harmless = matches!(text("severity").as_deref(), Some("information" | "warning"));
        (by_issue_type(&code, harmless), code)
    });
    let about = match reaction {
        Reaction::Withheld => kind_of_data(&text("diagnostics").unwrap_or_default()),
        _ => String::new(),
    };
    Notice {
        reaction,
        code,
        about,
    }
}

/// `Client not authorized for Observation - Outside Record Results. Search …` → `Observation - Outside Record Results`.
fn kind_of_data(diagnostics: &str) -> String {
    let after = diagnostics.split(" for ").nth(1).unwrap_or_default();
    let kind = after.split('.').next().unwrap_or_default();
    // Digits could be an identifier; a kind of data has none.
    if kind.len() > 80 || kind.bytes().any(|byte| byte.is_ascii_digit()) {
        return String::new();
    }
    kind.to_owned()
}

fn by_issue_type(code: &str, harmless: bool) -> Reaction {
    match code {
        "suppressed" | "forbidden" | "security" => Reaction::Withheld,
        "incomplete" => Reaction::Incomplete,
        _ if harmless => Reaction::Note,
        "deleted" => Reaction::Deleted,
        "not-found" => Reaction::NotFound,
        "throttled" | "transient" | "timeout" | "lock-error" | "no-store" | "exception" => {
            Reaction::Retry
        }
        _ => Reaction::Permanent,
    }
}

/// What an answer with an error status calls for.
pub fn of_error(answer: &Answer, profile: &Profile) -> Notice {
    // Only the body of a JSON answer is read: HTML, XML and empty bodies are normal here.
    let document = answer
        .is_json()
        .then(|| Document::parse(&answer.body).ok())
        .flatten();
    let found = document.as_ref().and_then(|document| {
        let all = notices(document.root(), profile);
        all.into_iter().max_by_key(|notice| notice.reaction)
    });
    let by_status = match answer.status {
        403 => Some(Reaction::Withheld),
        404 => Some(Reaction::NotFound),
        410 => Some(Reaction::Deleted),
        408 | 429 | 500 | 502 | 503 | 504 => Some(Reaction::Retry),
        _ => None,
    };
    let plain = |reaction| Notice {
        reaction,
        code: format!("status {}", answer.status),
        about: String::new(),
    };
    match (found, by_status) {
        // A vendor code says more than the status, but never turns an outage into something final.
        (_, Some(Reaction::Retry)) => plain(Reaction::Retry),
        (Some(notice), _) if profile.codes.contains_key(&notice.code) => notice,
        (_, Some(reaction)) => plain(reaction),
        (Some(notice), None) if notice.reaction > Reaction::Note => notice,
        _ => plain(Reaction::Permanent),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reaction(vendor: &str, status: u16, media_type: &str, body: &str) -> (Reaction, String) {
        let answer = Answer {
            status,
            headers: vec![("content-type".to_owned(), media_type.to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let profile = Profile::load(vendor, &toml::Table::new()).unwrap();
        let notice = of_error(&answer, &profile);
        (notice.reaction, notice.about)
    }

    fn epic(issues: &[(&str, &str)]) -> String {
        let issues: Vec<String> = issues
            .iter()
            .map(|(severity, code)| {
                format!(r#"{{"severity":"{severity}","code":"processing","details":{{"coding":[{{"code":"{code}"}}]}}}}"#)
            })
            .collect();
        format!(
            r#"{{"resourceType":"OperationOutcome","issue":[{}]}}"#,
            issues.join(",")
        )
    }

    #[test]
    fn each_refusal_has_its_reaction() {
        let json = "application/fhir+json";
        let bare = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found","details":{"text":"Not Found"}}]}"#;
        for (vendor, status, media_type, body, expected) in [
            (
                "epic",
                404,
                "text/html",
                "<html/>".to_owned(),
                Reaction::NotFound,
            ),
            (
                "epic",
                404,
                json,
                epic(&[("fatal", "59008")]),
                Reaction::NotFound,
            ),
            (
                "epic",
                400,
                json,
                epic(&[("information", "59100"), ("fatal", "59159")]),
                Reaction::Permanent,
            ),
            (
                "epic",
                400,
                json,
                epic(&[("fatal", "4113")]),
                Reaction::SessionDied,
            ),
            (
                "epic",
                301,
                json,
                epic(&[("fatal", "4107")]),
                Reaction::Merged,
            ),
            (
                "epic",
                400,
                json,
                epic(&[("fatal", "4135")]),
                Reaction::Park,
            ),
            ("epic", 403, "", String::new(), Reaction::Withheld),
            (
                "epic",
                503,
                json,
                epic(&[("fatal", "4103")]),
                Reaction::Retry,
            ),
            ("oracle", 404, json, bare.to_owned(), Reaction::NotFound),
            (
                "oracle",
                503,
                "text/html",
                "<html/>".to_owned(),
                Reaction::Retry,
            ),
            ("oracle", 429, "", String::new(), Reaction::Retry),
            ("oracle", 422, "", String::new(), Reaction::Permanent),
            ("generic", 410, "", String::new(), Reaction::Deleted),
        ] {
            assert_eq!(
                reaction(vendor, status, media_type, &body).0,
                expected,
                "{status} {body}"
            );
        }
    }

    /// Verifies: SRS-011, RC-011
    #[test]
    fn kinds_of_data_are_named_and_identifiers_are_not() {
        for (diagnostics, expected) in [
            (
                "Client not authorized for Observation - Outside Record Results. More.",
                "Observation - Outside Record Results",
            ),
            ("Client not authorized for patient 12345. More.", ""),
            ("nothing", ""),
        ] {
            assert_eq!(kind_of_data(diagnostics), expected);
        }
    }
}
