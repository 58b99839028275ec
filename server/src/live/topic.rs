//! Topics: one for each resource type's changes, and those posted as the Backport guide's R4 form, a Basic resource.
//!
//! Spec: <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/components.html#subscription-topics-in-r4>; the elements are those of
//! R5's SubscriptionTopic as cross-version extensions. Left out: `fhirPathCriteria` (a topic with one is not served),
//! `eventTrigger`, `notificationShape`.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::json::ValueRef;

use super::model::{Criteria, TOPIC_PREFIX, criteria_of, extensions, value_of};

/// The code of a Basic resource that is a topic.
pub const TOPIC_CODE: &str = "SubscriptionTopic";
/// What the cross-version extensions begin with: R5's, and R4B's, which the guide's own example mixes.
const EXTENSIONS: [&str; 2] = [
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.",
    "http://hl7.org/fhir/4.3/StructureDefinition/extension-SubscriptionTopic.",
];
/// Triggers of a topic at most.
const TRIGGERS_MAX: usize = 32;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its canonical url.
    pub url: String,
    /// Any of these makes an event.
    pub triggers: Vec<Trigger>,
    /// Types and parameters a filter may use; empty for any.
    pub filters: Vec<(Option<ResourceTypeId>, String)>,
}

/// What makes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The type.
    pub resource_type: ResourceTypeId,
    /// On create, update, delete.
    pub on: [bool; 3],
    /// What the version before must meet.
    pub previous: Option<Criteria>,
    /// What the new version must meet.
    pub current: Option<Criteria>,
    /// Whether a create counts as meeting `previous`.
    pub create_passes: bool,
    /// Whether a delete counts as meeting `current`.
    pub delete_passes: bool,
    /// Whether both must hold; else one is enough.
    pub require_both: bool,
}

/// The built-in topic of a url: every change of a type.
pub fn built_in(url: &str) -> Option<Topic> {
    let name = url.strip_prefix(TOPIC_PREFIX)?;
    let resource_type = Definitions::r4().resource_type(name)?;
    let trigger = Trigger {
        resource_type,
        on: [true; 3],
        previous: None,
        current: None,
        create_passes: true,
        delete_passes: true,
        require_both: false,
    };
    Some(Topic {
        url: url.to_owned(),
        triggers: vec![trigger],
        filters: Vec::new(),
    })
}

/// Whether a Basic resource says that it is a topic.
pub fn is_topic(root: ValueRef<'_>) -> bool {
    root.get("code")
        .and_then(|code| code.get("coding"))
        .into_iter()
        .flat_map(ValueRef::items)
        .filter_map(|coding| coding.get("code").and_then(ValueRef::as_str))
        .any(|code| code == TOPIC_CODE)
}

fn of<'a>(root: ValueRef<'a>, name: &str) -> Vec<ValueRef<'a>> {
    let mut found = Vec::new();
    for prefix in EXTENSIONS {
        let url = format!("{prefix}{name}");
        found.extend(extensions(Some(root), &url));
    }
    found
}

fn part(element: ValueRef<'_>, name: &str) -> Option<String> {
    extensions(Some(element), name).find_map(value_of)
}

/// `Encounter`, or the url of its definition.
fn type_of(text: &str) -> Option<ResourceTypeId> {
    let name = text
        .strip_prefix("http://hl7.org/fhir/StructureDefinition/")
        .unwrap_or(text);
    Definitions::r4().resource_type(name)
}

/// The canonical url a resource states, whether it can be served or not.
pub fn url_of(root: ValueRef<'_>) -> Option<String> {
    of(root, "url").into_iter().find_map(value_of)
}

impl Topic {
    /// Reads a Basic resource.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub fn read(root: ValueRef<'_>) -> Result<Self, String> {
        let url = url_of(root).ok_or("the topic has no `SubscriptionTopic.url`")?;
        let triggers = of(root, "resourceTrigger")
            .into_iter()
            .map(read_trigger)
            .collect::<Result<Vec<_>, _>>()?;
        if triggers.is_empty() || triggers.len() > TRIGGERS_MAX {
            return Err(format!(
                "a topic has 1 to {TRIGGERS_MAX} `resourceTrigger`s here"
            ));
        }
        let filters = of(root, "canFilterBy").into_iter().filter_map(|filter| {
            let parameter = part(filter, "filterParameter")?;
            Some((
                part(filter, "resource").and_then(|t| type_of(&t)),
                parameter,
            ))
        });
        Ok(Self {
            url,
            triggers,
            filters: filters.collect(),
        })
    }
}

fn read_trigger(element: ValueRef<'_>) -> Result<Trigger, String> {
    if part(element, "fhirPathCriteria").is_some() {
        return Err(
            "`fhirPathCriteria` are not evaluated here; state the trigger with `queryCriteria`"
                .to_owned(),
        );
    }
    let resource_type = part(element, "resource")
        .and_then(|text| type_of(&text))
        .ok_or("a `resourceTrigger` names an R4 resource type")?;
    let names: Vec<String> = extensions(Some(element), "supportedInteraction")
        .filter_map(value_of)
        .collect();
    let on = ["create", "update", "delete"]
        .map(|name| names.is_empty() || names.iter().any(|found| found == name));
    let query = extensions(Some(element), "queryCriteria").next();
    let text = |name: &str| query.and_then(|query| part(query, name));
    let criteria = |name: &str| {
        text(name)
            .map(|query| {
                let type_name = resource_type.name();
                let whole = if query.starts_with(&format!("{type_name}?")) {
                    query
                } else {
                    format!("{type_name}?{query}")
                };
                // The guide's example writes `status:not=finished`.
                criteria_of(&whole, name).map_err(|problem| problem.to_string())
            })
            .transpose()
    };
    let passes = |name: &str| text(name).is_none_or(|code| code == "test-passes");
    Ok(Trigger {
        resource_type,
        on,
        previous: criteria("previous")?,
        current: criteria("current")?,
        create_passes: passes("resultForCreate"),
        delete_passes: passes("resultForDelete"),
        require_both: text("requireBoth").is_some_and(|text| text == "true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir_core::json::Document;

    /// Verifies: SRS-341
    #[test]
    fn a_posted_topic_is_read_and_what_cannot_be_served_is_told() {
        let basic = |inside: &str| {
            format!(
                r#"{{"resourceType":"Basic","code":{{"coding":[{{"code":"SubscriptionTopic"}}]}},"extension":[
                {{"url":"http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic.url","valueUri":"http://example.org/t"}},
                {{"url":"http://hl7.org/fhir/4.3/StructureDefinition/extension-SubscriptionTopic.resourceTrigger","extension":[
                {{"url":"resource","valueUri":"http://hl7.org/fhir/StructureDefinition/Encounter"}}{inside}]}}]}}"#
            )
        };
        let read = |text: &str| Topic::read(Document::parse(text.as_bytes()).unwrap().root());
        let topic = read(&basic(
            r#",{"url":"supportedInteraction","valueCode":"update"},{"url":"queryCriteria","extension":[
            {"url":"previous","valueString":"status:not=finished"},{"url":"resultForCreate","valueCode":"test-fails"},
            {"url":"current","valueString":"status=finished"},{"url":"requireBoth","valueBoolean":true}]}"#,
        ))
        .unwrap();
        assert_eq!(topic.url, "http://example.org/t");
        let trigger = &topic.triggers[0];
        assert_eq!(trigger.on, [false, true, false]);
        assert!(trigger.require_both && !trigger.create_passes && trigger.delete_passes);
        assert_eq!(
            trigger.current.as_ref().unwrap().parameters,
            [("status".to_owned(), "finished".to_owned())]
        );
        let path = r#",{"url":"fhirPathCriteria","valueString":"true"}"#;
        assert!(read(&basic(path)).unwrap_err().contains("fhirPathCriteria"));
        assert!(built_in("urn:stoker:SubscriptionTopic:Patient").is_some());
        assert!(built_in("urn:stoker:SubscriptionTopic:Nothing").is_none());
    }
}
