//! Runs the tests that mapping files carry: what stands in `in` must become what stands in `out`.
//!
//! Left out on purpose: ids in `out`. A test that does not name an id does not ask for one.

use fhir_core::json::{Document, Value};

use crate::context::Context;
use crate::error::LoadError;
use crate::identity::Identity;
use crate::language::{MessageMapping, TestCase, TypeTemplate};
use crate::library::Catalog;
use crate::output::{MapIssue, Output};
use crate::path::Notation;
use crate::sample;
use crate::scope::Scope;
use crate::source::{SegmentId, SourceTree};

/// Runs all tests; gives what failed.
pub(crate) fn run_all(catalog: &Catalog) -> Vec<LoadError> {
    let mut failures = Vec::new();
    for template in catalog.templates() {
        for case in &template.tests {
            failures.extend(
                run_template(catalog, template, case)
                    .err()
                    .map(|m| failure(&template.file, case, &m)),
            );
        }
    }
    for mapping in catalog.mappings() {
        for case in &mapping.tests {
            failures.extend(
                run_mapping(catalog, mapping, case)
                    .err()
                    .map(|m| failure(&mapping.file, case, &m)),
            );
        }
    }
    failures
}

fn failure(file: &str, case: &TestCase, message: &str) -> LoadError {
    LoadError::at(file, case.line, format!("test `{}`: {message}", case.name))
}

fn context(case: &TestCase) -> Result<Context, String> {
    let mut context = Context::default();
    for (name, value) in &case.settings {
        context.set(name, value)?;
    }
    Ok(context)
}

fn run_template(catalog: &Catalog, template: &TypeTemplate, case: &TestCase) -> Result<(), String> {
    let context = context(case)?;
    let segment = SegmentId::parse(&template.source);
    let starts = |line: &str| {
        line.trim_start()
            .starts_with(&format!("{}|", template.source))
    };
    let is_segment = segment.is_some() && case.input.lines().any(starts);
    let tree = if is_segment {
        sample::segments(&case.input)?
    } else {
        sample::field(&case.input)?
    };
    let source = SourceTree::Hl7v2(tree);
    let scope = Scope::new(&source);
    let id = segment
        .filter(|_| is_segment)
        .or_else(|| SegmentId::parse("ZZZ"));
    let index = id
        .and_then(|id| scope.segments_everywhere(id).last().copied())
        .ok_or("the segment is missing")?;
    let mut place = scope.segment_place(index);
    if !is_segment && let Ok(path) = crate::path::Path::parse("ZZZ-1", Notation::Hl7v2) {
        place = scope
            .one(&place, &path)
            .map(|(at, _)| at)
            .ok_or("`in` is empty")?;
    }
    let (value, issues) = crate::engine::run_template(catalog, template, &source, &place, &context);
    compare(value.as_slice(), case)?;
    compare_issues(&issues, case)
}

fn run_mapping(catalog: &Catalog, mapping: &MessageMapping, case: &TestCase) -> Result<(), String> {
    let context = context(case)?;
    let source = match mapping.input {
        Notation::Hl7v2 => SourceTree::Hl7v2(sample::segments(&case.input)?),
        Notation::Json => SourceTree::Json(
            Document::parse(case.input.as_bytes()).map_err(|e| format!("`in` is not JSON: {e}"))?,
        ),
    };
    let output =
        crate::engine::run(catalog, mapping, &source, &context).map_err(|e| e.to_string())?;
    let values: Vec<Value> = output.resources.iter().map(|r| r.value.clone()).collect();
    compare(&values, case)?;
    compare_issues(&output.issues, case)?;
    compare_actions(&output, case)?;
    if let Some(expected) = &case.unread {
        let unread: Vec<String> = output
            .used
            .unread(&source)
            .iter()
            .map(ToString::to_string)
            .collect();
        if !unread
            .iter()
            .map(String::as_str)
            .eq(expected.iter().map(|e| &**e))
        {
            return Err(format!("unread: {unread:?}"));
        }
    }
    Ok(())
}

fn compare_issues(issues: &[MapIssue], case: &TestCase) -> Result<(), String> {
    let Some(expected) = &case.issues else {
        return Ok(());
    };
    let found: Vec<&str> = issues.iter().map(|i| i.code.id()).collect();
    if found.iter().copied().eq(expected.iter().map(|e| &**e)) {
        Ok(())
    } else {
        let found: Vec<String> = issues.iter().map(ToString::to_string).collect();
        Err(format!("issues: {found:#?}"))
    }
}

/// Actions in the words of tests: `merge Patient[1] into Patient[0]`. What is no resource of the message is named by type.
fn compare_actions(output: &Output, case: &TestCase) -> Result<(), String> {
    let Some(expected) = &case.actions else {
        return Ok(());
    };
    let name = |identity: &Identity| {
        let index = output
            .resources
            .iter()
            .position(|r| r.identity.id == identity.id);
        match index {
            Some(index) => format!("{}[{index}]", identity.resource_type),
            None => identity.resource_type.to_string(),
        }
    };
    let words = output.actions.iter().map(|action| {
        let mut words = action.kind.as_str().to_owned();
        for (word, identity) in [("", &action.what), ("from ", &action.from)] {
            if let Some(identity) = identity {
                let word = if action.what.is_some() { word } else { "" };
                words.push_str(&format!(" {word}{}", name(identity)));
            }
        }
        format!("{words} into {}", name(&action.into))
    });
    let found: Vec<String> = words.collect();
    if found
        .iter()
        .map(String::as_str)
        .eq(expected.iter().map(|e| &**e))
    {
        Ok(())
    } else {
        Err(format!("actions: {found:?}"))
    }
}

fn compare(values: &[Value], case: &TestCase) -> Result<(), String> {
    if values.len() != case.output.len() {
        let all: Vec<String> = values.iter().map(ToString::to_string).collect();
        return Err(format!(
            "{} instead of {} values: {}",
            values.len(),
            case.output.len(),
            all.join("\n")
        ));
    }
    for (value, expected) in values.iter().zip(&case.output) {
        let mut value = value.clone();
        if expected.get("id").is_none()
            && let Some(members) = value.as_object_mut()
        {
            members.remove("id");
        }
        difference(&value, expected, "").map_or(Ok(()), |d| Err(format!("{d}\nwhole: {value}")))?;
    }
    Ok(())
}

/// Where two values differ first; the order of members does not count.
fn difference(value: &Value, expected: &Value, path: &str) -> Option<String> {
    match (value, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = b.iter().find(|(name, _)| a.get(name).is_none());
            if let Some((name, _)) = missing {
                return Some(format!("{path}.{name} is missing"));
            }
            a.iter().find_map(|(name, member)| match b.get(name) {
                None => Some(format!("{path}.{name} is unexpected: {member}")),
                Some(other) => difference(member, other, &format!("{path}.{name}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]")))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path} is {a} instead of {b}")),
    }
}
