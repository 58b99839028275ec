//! Rules for Patient: identifiers that name a person, each name and number once.
//!
//! Spec: <https://hl7.org/fhir/R4/patient.html>.
//! Leaves out vendor extensions: they stay, because sex for clinical use and pronouns are among them.

use std::collections::BTreeSet;

use fhir_core::json::Value;

use super::{Context, items_mut, member_mut, retain, string};
use crate::time;

pub(super) fn apply(resource: &mut Value, context: &mut Context<'_>) {
    identifiers(resource, context);
    names(resource, context);
    telecoms(resource, context);
    addresses(resource, context);
    let links = resource.get("link").and_then(Value::as_array);
    let replaced = links
        .unwrap_or_default()
        .iter()
        .any(|link| string(link, "type") == Some("replaced-by"));
    if replaced {
        context.note("merged");
    }
}

fn identifiers(resource: &mut Value, context: &mut Context<'_>) {
    let technical = &context.tenant.rules.technical_identifier_types;
    let gone = retain(resource, "identifier", |one| {
        let text = one.get("type").and_then(|kind| string(kind, "text"));
        !text.is_some_and(|text| technical.contains(text))
    });
    if gone > 0 {
        context.note("technical-identifier-dropped");
    }
    // Without a system an identifier could be taken for somebody else's; it stays in the raw page.
    if retain(resource, "identifier", |one| {
        string(one, "system").is_some()
    }) > 0
    {
        context.note("identifier-without-system-dropped");
    }
    for one in items_mut(resource, "identifier") {
        if let Some(Value::String(value)) = member_mut(one, "value")
            && value.trim() != value.as_str()
        {
            *value = value.trim().to_owned();
            context.note("identifier-trimmed");
        }
        expired(one, context);
    }
    let mut seen = BTreeSet::new();
    let gone = retain(resource, "identifier", |one| {
        let (Some(system), Some(value)) = (string(one, "system"), string(one, "value")) else {
            return true;
        };
        seen.insert((system.to_owned(), value.to_owned()))
    });
    if gone > 0 {
        context.note("identifier-duplicate-dropped");
    }
}

/// An identifier whose period has ended must not match anybody today.
fn expired(one: &mut Value, context: &mut Context<'_>) {
    let end = one
        .get("period")
        .and_then(|period| string(period, "end"))
        .and_then(time::parse_fhir);
    if end.is_some_and(|end| end < context.now)
        && string(one, "use") != Some("old")
        && let Some(members) = one.as_object_mut()
    {
        members.insert("use", "old".into());
        context.note("identifier-expired");
    }
}

/// The same name as `official` and as `usual` is one name.
fn names(resource: &mut Value, context: &mut Context<'_>) {
    let mut seen = BTreeSet::new();
    let gone = retain(resource, "name", |name| {
        if string(name, "use") == Some("old") {
            return true;
        }
        let mut bare = name.clone();
        if let Some(members) = bare.as_object_mut() {
            members.remove("use");
            members.remove("id");
        }
        seen.insert(bare.to_bytes())
    });
    if gone > 0 {
        context.note("name-duplicate-dropped");
    }
}

fn telecoms(resource: &mut Value, context: &mut Context<'_>) {
    let mut seen = BTreeSet::new();
    let gone = retain(resource, "telecom", |one| {
        let text = |name: &str| string(one, name).unwrap_or_default().to_owned();
        let value = text("value");
        let digits: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
        let key = match text("system").as_str() {
            // The last ten digits tell a number apart from its spellings with country code and brackets.
            "phone" | "sms" | "fax" if digits.len() >= 10 => {
                digits.iter().rev().take(10).collect::<String>()
            }
            _ => value,
        };
        seen.insert((text("system"), key, text("use")))
    });
    if gone > 0 {
        context.note("telecom-duplicate-dropped");
    }
}

fn addresses(resource: &mut Value, context: &mut Context<'_>) {
    for address in items_mut(resource, "address") {
        if let Some(Value::String(text)) = member_mut(address, "text")
            && text.contains('\r')
        {
            *text = text.replace("\r\n", "\n");
            context.note("crlf-normalised");
        }
    }
}
