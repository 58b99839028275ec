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
    let rules = rules_at(slice, &by.path);
    if rules.is_empty() {
        // The slice says nothing there: it takes whatever has a value.
        return by.kind != DiscriminatorKind::Exists && !values.is_empty();
    }
    rules.iter().any(|rules| match by.kind {
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
    })
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

/// What the slice demands at the discriminator's path: where slices lie on the way, what they demand, one of which
/// must fit; else what the elements themselves demand.
fn rules_at<'n>(slice: &'n Node, path: &str) -> Vec<&'n Node> {
    let (mut plain, mut sliced): (Vec<&Node>, Vec<&Node>) = (vec![slice], Vec::new());
    for step in path.split('.') {
        let step = step.trim();
        if step == "$this" || step.starts_with("ofType(") || step == "resolve()" {
            continue;
        }
        let url = step
            .strip_prefix("extension(")
            .and_then(|s| s.strip_suffix(')'));
        let (name, url) = match url {
            Some(url) => ("extension", Some(url.trim_matches('\''))),
            None => (step, None),
        };
        let children = |nodes: &[&'n Node]| -> Vec<&'n Node> {
            nodes.iter().filter_map(|node| node.child(name)).collect()
        };
        let inner = |nodes: &[&'n Node]| -> Vec<&'n Node> {
            let slices = nodes
                .iter()
                .flat_map(|node| &node.slices)
                .map(|slice| &slice.node);
            let is_it = |node: &&Node| {
                let mut profiles = node.types.iter().flat_map(|t| &t.profiles);
                url.is_none_or(|url| profiles.any(|profile| profile == url))
            };
            slices.filter(is_it).collect()
        };
        let (from_plain, from_sliced) = (children(&plain), children(&sliced));
        sliced = inner(&from_plain);
        sliced.extend(inner(&from_sliced));
        sliced.extend(from_sliced);
        plain = if url.is_some() {
            Vec::new()
        } else {
            from_plain
        };
    }
    if sliced.is_empty() { plain } else { sliced }
}
