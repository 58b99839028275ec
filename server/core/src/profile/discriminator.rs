//! Which slice a value belongs to.
//!
//! Spec: <https://hl7.org/fhir/R4/profiling.html#discriminator>

use super::check::Walk;
use super::{Discriminator, DiscriminatorKind, Node, Slice, Slicing};
use crate::fhirpath::eval::{Element, Item, evaluate_in};
use crate::fhirpath::parse;

/// The slice of a value; `None` when it is in none of them.
pub(super) fn slice_of<'a>(walk: &Walk<'a>, node: &Node, value: Element<'a>) -> Option<usize> {
    let discriminators = discriminators(node);
    let is_it = |slice: &Slice| {
        discriminators
            .iter()
            .all(|d| decides(walk, d, &slice.node, value))
    };
    node.slices.iter().position(is_it)
}

/// Those stated, or those meant: extensions are told apart by their url, choices by their type.
fn discriminators(node: &Node) -> Vec<Discriminator> {
    let one = |kind, path: &str| {
        vec![Discriminator {
            kind,
            path: path.to_owned(),
        }]
    };
    match &node.slicing {
        Some(Slicing { discriminators, .. }) if !discriminators.is_empty() => {
            discriminators.clone()
        }
        _ if matches!(node.name.as_str(), "extension" | "modifierExtension") => {
            one(DiscriminatorKind::Value, "url")
        }
        _ if node.name.ends_with("[x]") => one(DiscriminatorKind::Type, "$this"),
        // Without any the whole slice decides.
        _ => one(DiscriminatorKind::Profile, "$this"),
    }
}

fn decides<'a>(walk: &Walk<'a>, by: &Discriminator, slice: &Node, value: Element<'a>) -> bool {
    if by.path == "url" && slice.child("url").is_none_or(|url| url.fixed.is_none()) {
        let url = value.value.get("url").and_then(|u| u.as_str());
        let mut profiles = slice.types.iter().flat_map(|t| &t.profiles);
        return profiles.any(|p| Some(p.split('|').next().unwrap_or_default()) == url.as_deref());
    }
    let values = found(walk, &by.path, value);
    let Some(rules) = rules_at(slice, &by.path) else {
        // The slice says nothing there: it takes whatever has a value.
        return by.kind != DiscriminatorKind::Exists && !values.is_empty();
    };
    match by.kind {
        DiscriminatorKind::Exists => match (rules.min, rules.max) {
            (_, Some(Some(0))) => values.is_empty(),
            (Some(min), _) if min > 0 => !values.is_empty(),
            _ => true,
        },
        DiscriminatorKind::Type => values.iter().any(|value| {
            rules.types.is_empty() && slice_type(slice, value)
                || rules.types.iter().any(|t| t.code == value.type_path)
        }),
        DiscriminatorKind::Value | DiscriminatorKind::Profile => {
            values.iter().any(|value| walk.fits(rules, *value))
        }
    }
}

/// A slice named `valueQuantity` without types means its name.
fn slice_type(slice: &Node, value: &Element<'_>) -> bool {
    let base = slice.base_name();
    slice.slices.is_empty()
        && base
            .to_lowercase()
            .ends_with(&value.type_path.to_lowercase())
}

fn found<'a>(walk: &Walk<'a>, path: &str, value: Element<'a>) -> Vec<Element<'a>> {
    if path == "$this" {
        return vec![value];
    }
    let Ok(expression) = parse(path) else {
        return Vec::new();
    };
    let items = evaluate_in(&expression, value, walk.root(), walk.environment());
    let elements = items
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| match item {
            Item::Element(element) => Some(element),
            _ => None,
        });
    elements.collect()
}

/// What the slice demands at the discriminator's path.
fn rules_at<'n>(slice: &'n Node, path: &str) -> Option<&'n Node> {
    let mut node = slice;
    for step in path.split('.') {
        let step = step.trim();
        if step == "$this" || step.starts_with("ofType(") || step == "resolve()" {
            continue;
        }
        if let Some(url) = step
            .strip_prefix("extension(")
            .and_then(|s| s.strip_suffix(')'))
        {
            let url = url.trim_matches('\'');
            let extensions = node.child("extension")?;
            let is_it = |slice: &&Slice| {
                slice
                    .node
                    .types
                    .iter()
                    .flat_map(|t| &t.profiles)
                    .any(|p| p == url)
            };
            node = &extensions.slices.iter().find(is_it)?.node;
            continue;
        }
        node = node.child(step)?;
    }
    Some(node)
}
