//! Checks a resource against the profiles it claims or is asked for.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html>. Left out: whether the targets of references conform to a profile;
//! their types are checked where the reference tells them.

use std::cell::Cell;

use conformance::Definitions;

use super::discriminator::slice_of;
use super::facts::{has_pattern, target_type};
use super::{BindingRule, Node, Profile, Strength, TypeRule};
use crate::fhirpath::eval::{Element, Environment, EvalError, Knowledge, verdict};
use crate::ids::Instant;
use crate::issue::{ErrorKind, Issue, Severity};
use crate::terminology::Catalogue;
use crate::validate::place::Place;
use crate::validate::structure::ISSUES_MAX;

/// Rules asked about one resource at most; a bound keeps slices within slices finite.
const STEPS_MAX: usize = 500_000;

/// Deepest nesting of profiles that name profiles.
const PROFILE_DEPTH_MAX: usize = 20;

pub(super) const STRUCTURE_URL: &str = "http://hl7.org/fhir/StructureDefinition/";

/// One way through a resource along one profile.
pub(super) struct Walk<'a> {
    pub(super) catalogue: &'a Catalogue,
    /// `%resource`
    pub(super) root: Element<'a>,
    /// `%rootResource`, for a contained resource.
    pub(super) container: Option<Element<'a>>,
    pub(super) now: Option<Instant>,
    /// Work done, over all profiles of one request.
    pub(super) steps: &'a Cell<usize>,
    /// Its URL, for messages.
    pub(super) profile: &'a str,
    pub(super) depth: usize,
    pub(super) issues: Vec<Issue>,
}

impl<'a> Walk<'a> {
    pub(super) fn root(&self) -> Element<'a> {
        self.root
    }

    pub(super) fn environment(&self) -> Environment<'a> {
        Environment {
            now: self.now,
            knowledge: Some(self.catalogue),
            root_resource: self.container,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.issues
            .iter()
            .all(|issue| issue.severity < Severity::Error)
    }

    /// Whether a value keeps these rules; nothing is reported.
    pub(super) fn fits(&self, rules: &Node, value: Element<'a>) -> bool {
        let mut walk = self.quiet(self.root);
        walk.node(rules, value, &Place::root(""));
        walk.is_clean()
    }

    fn quiet(&self, root: Element<'a>) -> Walk<'a> {
        Walk {
            root,
            issues: Vec::new(),
            depth: self.depth + 1,
            ..*self
        }
    }

    fn report(&mut self, severity: Severity, kind: ErrorKind, place: &Place<'_>, text: &str) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue {
                severity,
                kind,
                diagnostics: format!("{text} (profile {})", self.profile),
                expression: Some(place.path()),
            });
        }
    }

    fn error(&mut self, place: &Place<'_>, text: &str) {
        self.report(Severity::Error, ErrorKind::PROFILE, place, text);
    }

    /// Counts the work; false when it is enough, which is said once.
    fn goes_on(&mut self, place: &Place<'_>) -> bool {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps == STEPS_MAX {
            let text =
                "the profile takes too many steps on this resource; the rest was not checked";
            self.report(Severity::Error, ErrorKind::TOO_COSTLY, place, text);
        }
        steps < STEPS_MAX && self.depth <= PROFILE_DEPTH_MAX
    }

    pub(super) fn node(&mut self, node: &Node, element: Element<'a>, place: &Place<'_>) {
        if !self.goes_on(place) {
            return;
        }
        if let Some(fixed) = &node.fixed
            && !element.value.same_as(fixed.0.root())
        {
            self.error(place, "the value must be the one the profile fixes");
        }
        if let Some(pattern) = &node.pattern
            && !has_pattern(element.value, pattern.0.root())
        {
            self.error(
                place,
                "the value must hold what the profile's pattern holds",
            );
        }
        if let Some(longest) = node.length_max
            && element
                .value
                .as_str()
                .is_some_and(|text| text.chars().count() > longest)
        {
            self.error(
                place,
                &format!("the value must have at most {longest} characters"),
            );
        }
        if let Some(binding) = &node.binding {
            self.binding(binding, element, place);
        }
        if !node.types.is_empty() {
            self.types(&node.types, element, place);
        }
        self.constraints(node, element, place);
        for child in &node.children {
            self.child(child, element, place);
        }
    }

    fn constraints(&mut self, node: &Node, element: Element<'a>, place: &Place<'_>) {
        for constraint in &node.constraints {
            let Some(expression) = &constraint.expression else {
                continue;
            };
            match verdict(expression, element, self.root, self.environment()) {
                Ok(Some(true)) => {}
                Ok(_) => {
                    let text = format!("{}: {}", constraint.key, constraint.human);
                    self.report(constraint.severity, ErrorKind::INVARIANT, place, &text);
                }
                Err(error) => {
                    let text = format!("{} was not checked: {error}", constraint.key);
                    self.report(unchecked(&error), ErrorKind::INVARIANT, place, &text);
                }
            }
        }
    }

    fn child(&mut self, child: &Node, element: Element<'a>, place: &Place<'_>) {
        let name = child.base_name();
        let values = element.members(name);
        let own = place.member(name);
        self.cardinality(child, values.len(), &own, "");
        if child.slices.is_empty() {
            for (value, index) in values {
                self.node(child, value, &at(own, index));
            }
            return;
        }
        let mut counts = vec![0; child.slices.len()];
        let is_closed = child
            .slicing
            .as_ref()
            .is_some_and(|slicing| slicing.is_closed);
        for (value, index) in values {
            let place = at(own, index);
            self.node(child, value, &place);
            match slice_of(self, child, value) {
                Some(slice) => {
                    if let Some(count) = counts.get_mut(slice) {
                        *count += 1;
                    }
                    if let Some(slice) = child.slices.get(slice) {
                        self.node(&slice.node, value, &place);
                    }
                }
                None if is_closed => self.error(
                    &place,
                    "the profile allows no value that is in none of its slices",
                ),
                None => {}
            }
        }
        for (slice, count) in child.slices.iter().zip(counts) {
            self.cardinality(&slice.node, count, &own, &slice.name);
        }
    }

    fn cardinality(&mut self, node: &Node, count: usize, place: &Place<'_>, slice: &str) {
        let of = if slice.is_empty() {
            String::new()
        } else {
            format!(" of the slice `{slice}`")
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Some(min) = node.min.filter(|min| count < *min) {
            let text = format!(
                "at least {min} value{}{of} must be there, here are {count}",
                plural(min)
            );
            self.report(Severity::Error, ErrorKind::REQUIRED_ELEMENT, place, &text);
        }
        if let Some(Some(max)) = node.max
            && count > max
        {
            let text = format!(
                "at most {max} value{}{of} may be there, here are {count}",
                plural(max)
            );
            self.error(place, &text);
        }
    }

    fn types(&mut self, types: &[TypeRule], element: Element<'a>, place: &Place<'_>) {
        let matching: Vec<&TypeRule> = types
            .iter()
            .filter(|rule| is_of(&rule.code, element.type_path))
            .collect();
        if matching.is_empty() {
            let names: Vec<&str> = types.iter().map(|rule| rule.code.as_str()).collect();
            return self.error(
                place,
                &format!("the type must be one of {}", names.join(", ")),
            );
        }
        if element.type_path == "Reference" {
            self.targets(&matching, element, place);
        }
        if matching.iter().any(|rule| rule.profiles.is_empty()) {
            return;
        }
        let urls: Vec<&String> = matching.iter().flat_map(|rule| &rule.profiles).collect();
        if let [only] = urls[..] {
            return self.nested(only, element, place);
        }
        let fits = urls.iter().any(|url| {
            let mut quiet = self.quiet(self.root);
            quiet.nested(url, element, place);
            quiet.is_clean()
        });
        if !fits {
            let text = format!(
                "none of the profiles is kept that are allowed here ({} of them)",
                urls.len()
            );
            self.error(place, &text);
        }
    }

    /// A value held to a profile of its own. One that is not known is taken as kept.
    fn nested(&mut self, url: &str, element: Element<'a>, place: &Place<'_>) {
        if url == "http://hl7.org/fhir/StructureDefinition/SimpleQuantity" {
            if element.value.get("comparator").is_some() {
                self.error(
                    &place.member("comparator"),
                    "a SimpleQuantity has no comparator",
                );
            }
            return;
        }
        let Some(profile): Option<std::sync::Arc<Profile>> = self.catalogue.profile(url) else {
            return;
        };
        let is_resource = Definitions::r4().resource_type(element.type_path).is_some();
        let mut walk = self.quiet(if is_resource { element } else { self.root });
        walk.node(&profile.root, element, place);
        for issue in walk.issues {
            if self.issues.len() < ISSUES_MAX {
                self.issues.push(issue);
            }
        }
    }

    fn targets(&mut self, rules: &[&TypeRule], element: Element<'a>, place: &Place<'_>) {
        if rules.iter().any(|rule| rule.targets.is_empty()) {
            return;
        }
        let Some(name) = target_type(element.value, self.container.unwrap_or(self.root).value)
        else {
            return;
        };
        let is_target = |url: &String| match url.strip_prefix(STRUCTURE_URL) {
            Some("Resource") => true,
            Some(local) if Definitions::r4().resource_type(local).is_some() => local == name,
            // A profile: its type must be the target's; an unknown one allows it.
            _ => self
                .catalogue
                .profile(url)
                .is_none_or(|profile| profile.type_name == name),
        };
        if !rules.iter().flat_map(|rule| &rule.targets).any(is_target) {
            let text = format!("the reference must not lead to a {name}");
            self.error(place, &text);
        }
    }

    fn binding(&mut self, binding: &BindingRule, element: Element<'a>, place: &Place<'_>) {
        // Only what has a code can be bound (eld-11); of a choice the other types are not meant.
        let is_without_code = matches!(
            element.type_path,
            "SampledData" | "Period" | "Range" | "Ratio" | "Attachment"
        );
        if is_without_code
            || self.catalogue.member_of(element.value, &binding.value_set) != Some(false)
        {
            return;
        }
        let text = format!("no code is from the value set {}", binding.value_set);
        let severity = match binding.strength {
            Strength::Required => Severity::Error,
            Strength::Extensible => Severity::Warning,
        };
        self.report(severity, ErrorKind::BAD_CODE, place, &text);
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A rule that cannot be computed breaks nothing, but saying nothing would claim too much.
fn unchecked(error: &EvalError) -> Severity {
    match error {
        EvalError::TooMuchWork => Severity::Error,
        _ => Severity::Information,
    }
}

fn at(place: Place<'_>, index: Option<usize>) -> Place<'_> {
    match index {
        Some(index) => place.item(index),
        None => place,
    }
}

/// Whether a type rule allows a value of this type.
fn is_of(code: &str, type_path: &str) -> bool {
    code == type_path
        || code.starts_with("http://hl7.org/fhirpath/")
        || matches!(code, "BackboneElement" | "Element") && type_path.contains('.')
        || matches!(code, "Resource" | "DomainResource")
        || crate::fhirpath::compile::is_specialisation(type_path, code)
        // The definitions call an id a string.
        || matches!((code, type_path), ("string", "id") | ("id", "string"))
}
