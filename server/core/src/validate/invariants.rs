//! The invariants of the R4 definitions, and the types that references may lead to.
//!
//! Spec: <https://hl7.org/fhir/R4/validation.html> ("Invariants"). Left out: best-practice recommendations such as dom-6,
//! unless asked for, and the rules that the structure's check already enforces on every element (`ele-1`, `ref-1`).

use std::collections::HashMap;
use std::sync::OnceLock;

use conformance::Definitions;
use conformance::artifacts::{self, Invariant};

use super::narrative;
use super::place::Place;
use super::shape::{Content, Name, Shape};
use super::structure::ISSUES_MAX;
use crate::body::resource_type_name;
use crate::fhirpath::eval::{Element, Environment, EvalError, Knowledge, verdict};
use crate::fhirpath::{Expression, parse};
use crate::ids::Instant;
use crate::issue::{ErrorKind, Issue, Severity};
use crate::json::{Kind, ValueRef};
use crate::profile::target_type;

/// An invariant ready to ask.
struct Ready {
    invariant: Invariant,
    expression: Expression,
}

/// Keys that are enforced elsewhere or by hand, because an expression over each element would cost too much.
const BY_HAND: &[&str] = &[
    "ele-1", "ext-1", "ref-1", "txt-1", "txt-2", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6",
];

/// Expressions of R4 that do not say what their text says, with the reason. The text is not checked.
const NOT_ASKED: &[(&str, &str)] = &[(
    "que-7",
    "asks `answer is Boolean` of a FHIR boolean, which no R4 questionnaire can meet",
)];

fn ready() -> &'static HashMap<&'static str, Vec<Ready>> {
    static READY: OnceLock<HashMap<&'static str, Vec<Ready>>> = OnceLock::new();
    READY.get_or_init(|| {
        let mut ready: HashMap<&'static str, Vec<Ready>> = HashMap::new();
        for invariant in artifacts::invariants() {
            let is_asked = !BY_HAND.contains(&invariant.key)
                && !NOT_ASKED.iter().any(|(key, _)| *key == invariant.key);
            if let (true, Ok(expression)) = (is_asked, parse(invariant.expression)) {
                ready.entry(invariant.path).or_default().push(Ready {
                    invariant,
                    expression,
                });
            }
        }
        ready
    })
}

/// Whether a key is one of R4's own.
pub(crate) fn is_known(key: &str) -> bool {
    static KEYS: OnceLock<std::collections::HashSet<&'static str>> = OnceLock::new();
    KEYS.get_or_init(|| artifacts::invariants().map(|i| i.key).collect())
        .contains(key)
}

/// Every invariant of R4 that the resource breaks. The structure must have been checked before.
pub fn check(
    resource: ValueRef<'_>,
    knowledge: Option<&dyn Knowledge>,
    now: Option<Instant>,
) -> Vec<Issue> {
    let element = Element::resource(resource);
    let mut walk = Walk {
        root: element,
        container: None,
        knowledge,
        now,
        issues: Vec::new(),
    };
    walk.resource(resource, &Place::root(element.type_path));
    walk.issues
}

struct Walk<'a> {
    /// `%resource`
    root: Element<'a>,
    /// `%rootResource` inside a contained resource.
    container: Option<Element<'a>>,
    knowledge: Option<&'a dyn Knowledge>,
    now: Option<Instant>,
    issues: Vec<Issue>,
}

impl<'a> Walk<'a> {
    fn report(&mut self, severity: Severity, place: &Place<'_>, text: String) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue {
                severity,
                kind: ErrorKind::INVARIANT,
                diagnostics: text,
                expression: Some(place.path()),
            });
        }
    }

    fn resource(&mut self, value: ValueRef<'a>, place: &Place<'_>) {
        let Some(shape) = resource_type_name(value).and_then(|name| Shape::of(&name)) else {
            return;
        };
        self.ask_all("Resource", Element::resource(value), place);
        if value.get("contained").is_some() {
            self.contained(value, place);
        }
        let element = Element::resource(value);
        self.object(shape, element, place);
    }

    fn object(&mut self, shape: &'static Shape, element: Element<'a>, place: &Place<'_>) {
        self.ask_all(shape.path, element, place);
        match shape.path {
            "Extension" => self.extension(element.value, place),
            "Narrative" => self.narrative(element.value, place),
            _ => {}
        }
        let mut hint = 0;
        for (json_name, value) in element.value.members() {
            if self.issues.len() >= ISSUES_MAX {
                return;
            }
            if json_name.starts_with('_') || json_name == "resourceType" {
                continue;
            }
            let Some(name) = shape.name(&json_name, &mut hint) else {
                continue;
            };
            let Some(member) = shape.members.get(name.member) else {
                continue;
            };
            let own = place.member(member.element.base_name());
            if value.kind() == Kind::Array {
                for (index, item) in value.items().enumerate() {
                    self.value(name, member.element, item, &own.item(index));
                }
            } else {
                self.value(name, member.element, value, &own);
            }
        }
    }

    fn value(
        &mut self,
        name: &'static Name,
        definition: &'static conformance::Element,
        value: ValueRef<'a>,
        place: &Place<'_>,
    ) {
        let type_path = match &name.content {
            Content::Resource if &*name.text == "contained" => {
                let (outer_root, outer) = (self.root, self.container);
                self.container = outer.or(Some(outer_root));
                self.root = Element::resource(value);
                self.resource(value, place);
                (self.root, self.container) = (outer_root, outer);
                return;
            }
            Content::Resource => {
                let (outer_root, outer) = (self.root, self.container.take());
                self.root = Element::resource(value);
                self.resource(value, place);
                (self.root, self.container) = (outer_root, outer);
                return;
            }
            Content::Primitive(..) => name.type_code,
            Content::Complex(path, ..) => path,
        };
        let element = Element {
            value,
            sibling: None,
            type_path,
        };
        // A backbone element is asked by its own path, below.
        if definition_path(definition) != type_path && self.has_own(definition) {
            self.ask_all(definition_path(definition), element, place);
        }
        if let Some(shape) = name.content.shape() {
            if type_path == "Reference" {
                self.target(name, definition, value, place);
            }
            self.object(shape, element, place);
        }
    }

    fn has_own(&self, definition: &'static conformance::Element) -> bool {
        ready().contains_key(definition_path(definition))
    }

    fn ask_all(&mut self, path: &str, element: Element<'a>, place: &Place<'_>) {
        let Some(all) = ready().get(path) else { return };
        for Ready {
            invariant,
            expression,
        } in all.iter().filter(|r| !r.invariant.is_best_practice)
        {
            let environment = Environment {
                now: self.now,
                knowledge: self.knowledge,
                root_resource: self.container,
            };
            match verdict(expression, element, self.root, environment) {
                Ok(Some(false)) => {
                    let severity = if invariant.is_error {
                        Severity::Error
                    } else {
                        Severity::Warning
                    };
                    let text = format!("{}: {}", invariant.key, invariant.human);
                    self.report(severity, place, text);
                }
                Err(EvalError::TooMuchWork) => {
                    let text = format!("{} takes too many steps on this resource", invariant.key);
                    self.report(Severity::Error, place, text);
                }
                // Nothing is not false: rules about what is not there do not apply. What needs terminology that is not
                // loaded is left open.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// ext-1: "Must have either extensions or value[x], not both".
    fn extension(&mut self, value: ValueRef<'_>, place: &Place<'_>) {
        let has_value = value
            .members()
            .any(|(name, _)| name.starts_with("value") || name.starts_with("_value"));
        if has_value == value.get("extension").is_some() {
            let text =
                "ext-1: an extension has either a value or extensions, not both and not neither";
            self.report(Severity::Error, place, text.to_owned());
        }
    }

    fn narrative(&mut self, value: ValueRef<'_>, place: &Place<'_>) {
        let Some(div) = value.get("div").and_then(ValueRef::as_str) else {
            return;
        };
        let place = place.member("div");
        if !narrative::is_safe(&div) {
            let text = "txt-1: only harmless XHTML is allowed: no scripts, forms, events or external content";
            self.report(Severity::Error, &place, text.to_owned());
        } else if !narrative::has_content(&div) {
            // Deviation: a warning, since HL7's own examples have empty narratives.
            let text = "txt-2: the narrative is empty".to_owned();
            self.report(Severity::Warning, &place, text);
        }
    }

    /// dom-3 to dom-5: what a contained resource may have, and that something refers to it.
    fn contained(&mut self, container: ValueRef<'a>, place: &Place<'_>) {
        let list: Vec<ValueRef<'a>> = container
            .get("contained")
            .into_iter()
            .flat_map(ValueRef::items)
            .collect();
        let mut targets = std::collections::HashSet::new();
        local_targets(container, &mut targets, false);
        for (index, contained) in list.into_iter().enumerate() {
            let place = place.member("contained").item(index);
            let meta = |name| {
                contained
                    .get("meta")
                    .and_then(|meta| meta.get(name))
                    .is_some()
            };
            if meta("versionId") || meta("lastUpdated") {
                let text =
                    "dom-4: a contained resource has no `meta.versionId` and no `meta.lastUpdated`";
                self.report(Severity::Error, &place, text.to_owned());
            }
            if meta("security") {
                let text = "dom-5: a contained resource has no security label of its own";
                self.report(Severity::Error, &place, text.to_owned());
            }
            let id = contained
                .get("id")
                .and_then(ValueRef::as_str)
                .unwrap_or_default();
            let mut own = std::collections::HashSet::new();
            local_targets(contained, &mut own, true);
            if !targets.contains(id.as_ref()) && !own.contains("") {
                let text = "dom-3: nothing in the resource refers to this contained resource, and it does not refer to its container";
                self.report(Severity::Error, &place, text.to_owned());
            }
        }
    }

    fn target(
        &mut self,
        name: &'static Name,
        definition: &'static conformance::Element,
        value: ValueRef<'a>,
        place: &Place<'_>,
    ) {
        let kind = definition
            .types
            .iter()
            .find(|kind| kind.code == name.type_code);
        let targets = kind
            .map(|kind| kind.target_types.as_slice())
            .unwrap_or_default();
        if targets.is_empty() || targets.contains(&"Resource") {
            return;
        }
        let container = self.container.unwrap_or(self.root).value;
        let Some(target) = target_type(value, container) else {
            return;
        };
        let is_known = Definitions::r4().resource_type(&target).is_some();
        if is_known && !targets.contains(&target.as_str()) {
            // Deviation: a warning, since HL7's own examples refer to types that their elements do not list.
            let text = format!(
                "the reference leads to a {target}; allowed are: {}",
                targets.join(", ")
            );
            self.report(Severity::Warning, place, text);
        }
    }
}

/// The definition's path: a parent's path is part of it, since the table lists the elements of each type by path.
fn definition_path(definition: &'static conformance::Element) -> &'static str {
    definition.path
}

/// Ids behind `#` in references, canonicals and uris of a value; the empty one means the container.
fn local_targets<'a>(
    value: ValueRef<'a>,
    found: &mut std::collections::HashSet<std::borrow::Cow<'a, str>>,
    only_container: bool,
) {
    match value.kind() {
        Kind::Object => value
            .members()
            .for_each(|(_, v)| local_targets(v, found, only_container)),
        Kind::Array => value
            .items()
            .for_each(|v| local_targets(v, found, only_container)),
        Kind::String | Kind::EscapedString => {
            if let Some(text) = value.as_str()
                && let Some(id) = text.strip_prefix('#')
                && (id.is_empty() || !only_container)
            {
                found.insert(std::borrow::Cow::Owned(id.to_owned()));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;
    use crate::terminology::Catalogue;

    fn broken(json: &str) -> Vec<String> {
        let document = Document::parse(json.as_bytes()).unwrap();
        let catalogue = Catalogue::default();
        let found = check(document.root(), Some(&catalogue), None);
        found
            .iter()
            .map(|i| {
                let key = i.diagnostics.split(':').next().unwrap_or_default();
                format!("{key} {}", i.expression.as_deref().unwrap_or_default())
            })
            .collect()
    }

    /// Verifies: SRS-181, RC-181
    #[test]
    fn broken_invariants_are_named_with_their_place() {
        for (json, expected) in [
            (
                r#"{"resourceType":"Patient","contact":[{"gender":"male"}]}"#,
                "pat-1 Patient.contact[0]",
            ),
            (
                r#"{"resourceType":"Observation","status":"final","code":{"text":"a"},"dataAbsentReason":{"text":"b"},"valueString":"c"}"#,
                "obs-6 Observation",
            ),
            (
                r#"{"resourceType":"Observation","status":"final","code":{"text":"a"},"valueQuantity":{"value":1,"code":"mg"}}"#,
                "qty-3 Observation.value",
            ),
            (
                r#"{"resourceType":"Observation","status":"final","code":{"text":"a"},"effectivePeriod":{"start":"2020-02-02","end":"2020-01-01"}}"#,
                "per-1 Observation.effective",
            ),
            (
                r#"{"resourceType":"Observation","status":"final","code":{"text":"a"},"referenceRange":[{"age":{"low":{"value":1}}}]}"#,
                "obs-3 Observation.referenceRange[0]",
            ),
            (
                r#"{"resourceType":"Patient","extension":[{"url":"http://x.example/a"}]}"#,
                "ext-1 Patient.extension[0]",
            ),
            (
                r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div><script>a</script></div>"}}"#,
                "txt-1 Patient.text.div",
            ),
            (
                r#"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"a"}]}"#,
                "dom-3 Patient.contained[0]",
            ),
            (
                r##"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","meta":{"versionId":"1"},"name":"a"}],"managingOrganization":{"reference":"#o"}}"##,
                "dom-4 Patient.contained[0]",
            ),
            (
                r#"{"resourceType":"Patient","managingOrganization":{"reference":"Patient/1"}}"#,
                "the reference leads to a Patient; allowed are Patient.managingOrganization",
            ),
            (
                r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient","contact":[{"gender":"male"}]}}]}"#,
                "pat-1 Bundle.entry[0].resource.contact[0]",
            ),
            (
                r#"{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"a","type":"group"},{"linkId":"a","type":"group"}]}"#,
                "que-2 Questionnaire",
            ),
        ] {
            assert!(
                broken(json).iter().any(|b| b == expected),
                "{expected}: {:?}",
                broken(json)
            );
        }
    }

    #[test]
    fn what_keeps_them_is_left_alone() {
        for json in [
            r#"{"resourceType":"Patient","contact":[{"name":{"text":"a"}}]}"#,
            r##"{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"a"}],"managingOrganization":{"reference":"#o"}}"##,
            r#"{"resourceType":"Observation","status":"final","code":{"text":"a"},"effectivePeriod":{"start":"2020-01","end":"2020-01-01"},
                "valueQuantity":{"value":1,"system":"http://unitsofmeasure.org","code":"mg"}}"#,
        ] {
            assert!(broken(json).is_empty(), "{:?}", broken(json));
        }
    }

    #[test]
    fn every_invariant_can_be_read() {
        for invariant in artifacts::invariants() {
            assert!(parse(invariant.expression).is_ok(), "{}", invariant.key);
        }
    }
}
