//! Which profiles a resource is held to: those it claims, those it is asked for.
//!
//! Spec: <https://hl7.org/fhir/R4/resource.html#Meta>. Left out: profiles that a server demands; its settings do that.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use conformance::Definitions;

use super::check::{STRUCTURE_URL, Walk};
use crate::fhirpath::eval::Element;
use crate::ids::Instant;
use crate::issue::{ErrorKind, Issue, Severity};
use crate::json::ValueRef;
use crate::terminology::Catalogue;
use crate::validate::place::Place;
use crate::validate::structure::ISSUES_MAX;

/// Profiles of one resource at most: those claimed and those asked for.
pub const PROFILES_MAX: usize = 50;

/// What a profile found, and which profile it was: settings may judge profiles differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The profile, as the resource claims it or as it was asked for.
    pub profile: Arc<str>,
    /// What it found.
    pub issue: Issue,
}

/// What is wrong with a resource by the profiles in its `meta.profile` and by `asked` ones. Resources inside it (contained,
/// entries, parameters) are held to what they claim themselves.
pub fn check_claims(
    catalogue: &Catalogue,
    resource: ValueRef<'_>,
    asked: &[String],
    now: Option<Instant>,
) -> Vec<Found> {
    let steps = Cell::new(0);
    let mut found = Vec::new();
    let element = Element::resource(resource);
    let claims = Claims {
        catalogue,
        now,
        steps: &steps,
    };
    claims.check(
        element,
        None,
        asked,
        &Place::root(element.type_path),
        &mut found,
    );
    found.truncate(ISSUES_MAX);
    found
}

/// Whether an element conforms to a profile; `None` when the profile is not known.
pub fn conforms(catalogue: &Catalogue, element: Element<'_>, profile: &str) -> Option<bool> {
    let profile = catalogue.profile(profile)?;
    let steps = Cell::new(0);
    let mut walk = Walk {
        catalogue,
        root: element,
        container: None,
        now: None,
        steps: &steps,
        profile: &profile.url,
        depth: 0,
        issues: Vec::new(),
    };
    if element.type_path != profile.type_name {
        return Some(false);
    }
    walk.node(&profile.root, element, &Place::root(element.type_path));
    Some(walk.is_clean())
}

struct Claims<'a> {
    catalogue: &'a Catalogue,
    now: Option<Instant>,
    steps: &'a Cell<usize>,
}

impl<'a> Claims<'a> {
    fn check(
        &self,
        resource: Element<'a>,
        container: Option<Element<'a>>,
        asked: &[String],
        place: &Place<'_>,
        found: &mut Vec<Found>,
    ) {
        let meta = resource
            .value
            .get("meta")
            .and_then(|meta| meta.get("profile"));
        let claimed = meta.into_iter().flat_map(ValueRef::items);
        let claimed = claimed.filter_map(|url| url.as_str().map(|u| u.into_owned()));
        let urls: BTreeSet<String> = asked
            .iter()
            .cloned()
            .chain(claimed)
            .take(PROFILES_MAX)
            .collect();
        for url in &urls {
            let issues = self.one(url, resource, container, place);
            let profile: Arc<str> = url.as_str().into();
            found.extend(issues.into_iter().map(|issue| Found {
                profile: Arc::clone(&profile),
                issue,
            }));
        }
        for (name, inner) in [
            ("contained", None),
            ("entry", Some("resource")),
            ("parameter", Some("resource")),
        ] {
            let is_own = match inner {
                None => true,
                Some(_) => matches!(resource.type_path, "Bundle" | "Parameters"),
            };
            let list = resource.value.get(name).filter(|_| is_own);
            for (index, item) in list.into_iter().flat_map(ValueRef::items).enumerate() {
                let outer = place.member(name).item(index);
                match inner {
                    None => self.check(Element::resource(item), Some(resource), &[], &outer, found),
                    Some(inner) => {
                        if let Some(value) = item.get(inner) {
                            let at = outer.member(inner);
                            self.check(Element::resource(value), None, &[], &at, found);
                        }
                    }
                }
            }
        }
    }

    fn one(
        &self,
        url: &str,
        resource: Element<'a>,
        container: Option<Element<'a>>,
        place: &Place<'_>,
    ) -> Vec<Issue> {
        let issue = |severity, kind, text: String| Issue {
            severity,
            kind,
            diagnostics: text,
            expression: Some(place.path()),
        };
        let core = url
            .split('|')
            .next()
            .and_then(|url| url.strip_prefix(STRUCTURE_URL));
        if let Some(name) = core.filter(|name| Definitions::r4().type_kind(name).is_some()) {
            if crate::fhirpath::compile::is_type_or_base(resource.type_path, name) {
                return Vec::new();
            }
            let text = format!("the profile {url} is of another type");
            return vec![issue(Severity::Error, ErrorKind::PROFILE, text)];
        }
        let Some(profile) = self.catalogue.profile(url) else {
            let text =
                format!("the profile {url} is not loaded, so whether it is kept was not checked");
            return vec![issue(Severity::Warning, ErrorKind::NOT_LOADED, text)];
        };
        if profile.type_name != resource.type_path {
            let text = format!(
                "the profile {url} constrains `{}`, not this type",
                profile.type_name
            );
            return vec![issue(Severity::Error, ErrorKind::PROFILE, text)];
        }
        let mut walk = Walk {
            catalogue: self.catalogue,
            root: resource,
            container,
            now: self.now,
            steps: self.steps,
            profile: url,
            depth: 0,
            issues: Vec::new(),
        };
        walk.node(&profile.root, resource, place);
        walk.issues
    }
}
