//! The operations of this server as a table: for the CapabilityStatement, and served as OperationDefinitions.
//!
//! Spec: <https://hl7.org/fhir/R4/operationdefinition.html>. An operation that FHIR defines keeps FHIR's canonical url; its
//! definition here lists the parameters that this server takes.

use fhir_core::ids::ResourceKey;
use fhir_core::json::{Number, Value};

/// A parameter: name, direction, whether required, type, what it is for.
pub type ParameterRow = (&'static str, &'static str, bool, &'static str, &'static str);

/// An operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationRow {
    /// The logical id of its OperationDefinition.
    pub id: &'static str,
    /// The name behind the `$`.
    pub code: &'static str,
    /// Who defines it: FHIR's own canonical urls begin with this.
    pub base: &'static str,
    /// What it does.
    pub title: &'static str,
    /// The types it exists for; empty for every type.
    pub types: &'static [&'static str],
    /// At the base, at a type, at a resource.
    pub levels: (bool, bool, bool),
    /// Whether it changes resources.
    pub affects_state: bool,
    /// Its parameters.
    pub parameters: &'static [ParameterRow],
}

const FHIR: &str = "http://hl7.org/fhir/OperationDefinition";
const BULK: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition";
const OWN: &str = "urn:stoker:OperationDefinition";

const SYSTEM: (bool, bool, bool) = (true, false, false);
const TYPE: (bool, bool, bool) = (false, true, false);
const INSTANCE: (bool, bool, bool) = (false, false, true);
const TYPE_AND_INSTANCE: (bool, bool, bool) = (false, true, true);

const EXPORT: &[ParameterRow] = &[
    (
        "_type",
        "in",
        false,
        "string",
        "Types to export, separated by commas",
    ),
    ("_since", "in", false, "instant", "Only what changed since"),
    (
        "_outputFormat",
        "in",
        false,
        "string",
        "application/fhir+ndjson",
    ),
];
const META: &[ParameterRow] = &[
    (
        "meta",
        "in",
        true,
        "Meta",
        "Profiles, tags and security labels",
    ),
    ("return", "out", true, "Meta", "What the resource has now"),
];
const EVERYTHING: &[ParameterRow] = &[
    ("_since", "in", false, "instant", "Only what changed since"),
    ("_type", "in", false, "code", "Only these types"),
    ("_count", "in", false, "integer", "Resources on a page"),
    ("return", "out", true, "Bundle", "The resources"),
];

/// All of them.
pub static OPERATIONS: &[OperationRow] = &[
    row(
        "backport-subscription-status",
        "status",
        BACKPORT,
        "How subscriptions stand",
        &["Subscription"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("id", "in", false, "id", "These only, at the type"),
            (
                "status",
                "in",
                false,
                "code",
                "Those with this status only, at the type",
            ),
            ("return", "out", true, "Bundle", "A status for each"),
        ],
    ),
    row(
        "backport-subscription-events",
        "events",
        BACKPORT,
        "Events of a subscription again",
        &["Subscription"],
        INSTANCE,
        false,
        &[
            (
                "eventsSinceNumber",
                "in",
                false,
                "string",
                "The first event wanted",
            ),
            (
                "eventsUntilNumber",
                "in",
                false,
                "string",
                "The last event wanted",
            ),
            (
                "content",
                "in",
                false,
                "code",
                "empty, id-only or full-resource",
            ),
            ("return", "out", true, "Bundle", "A notification with them"),
        ],
    ),
    row(
        "backport-subscription-get-ws-binding-token",
        "get-ws-binding-token",
        BACKPORT,
        "A token to bind a websocket to subscriptions",
        &["Subscription"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("id", "in", false, "id", "Which subscriptions, at the type"),
            ("token", "out", true, "string", "What to bind with"),
            (
                "expiration",
                "out",
                true,
                "dateTime",
                "Until when it is good",
            ),
            (
                "subscription",
                "out",
                false,
                "string",
                "What it is good for",
            ),
            (
                "websocket-url",
                "out",
                true,
                "url",
                "Where to open the websocket",
            ),
        ],
    ),
    row(
        "Resource-validate",
        "validate",
        FHIR,
        "Could this resource be stored?",
        &[],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("resource", "in", false, "Resource", "What is looked at"),
            (
                "mode",
                "in",
                false,
                "code",
                "create, update, delete or profile",
            ),
            ("profile", "in", false, "uri", "Profiles it is held to"),
            ("return", "out", true, "OperationOutcome", "What was found"),
        ],
    ),
    row(
        "Patient-everything",
        "everything",
        FHIR,
        "All that belongs to a patient",
        &["Patient"],
        INSTANCE,
        false,
        EVERYTHING,
    ),
    row(
        "Encounter-everything",
        "everything",
        FHIR,
        "All that belongs to an encounter",
        &["Encounter"],
        INSTANCE,
        false,
        EVERYTHING,
    ),
    row(
        "Observation-lastn",
        "lastn",
        FHIR,
        "The latest observations of each kind",
        &["Observation"],
        TYPE,
        false,
        &[
            (
                "max",
                "in",
                false,
                "positiveInt",
                "Observations of each kind, 1 when not given",
            ),
            (
                "return",
                "out",
                true,
                "Bundle",
                "The observations, kind by kind, latest first",
            ),
        ],
    ),
    row(
        "Patient-match",
        "match",
        FHIR,
        "Which patients could this be?",
        &["Patient"],
        TYPE,
        false,
        &[
            ("resource", "in", true, "Patient", "What is known"),
            (
                "onlyCertainMatches",
                "in",
                false,
                "boolean",
                "Only a match beyond doubt",
            ),
            ("count", "in", false, "integer", "Matches at most"),
            (
                "return",
                "out",
                true,
                "Bundle",
                "Patients with score and grade",
            ),
        ],
    ),
    row(
        "Resource-convert",
        "convert",
        FHIR,
        "What Bundle does this HL7 v2 message become?",
        &[],
        SYSTEM,
        false,
        &[
            ("feed", "in", false, "string", "The feed that would read it"),
            ("return", "out", true, "Bundle", "The resources"),
        ],
    ),
    row(
        "lineage",
        "lineage",
        OWN,
        "Which message, place and rule did this element come from?",
        &[],
        INSTANCE,
        false,
        &[
            (
                "path",
                "in",
                false,
                "string",
                "The element, such as valueQuantity.value",
            ),
            ("return", "out", true, "Parameters", "Its origins"),
        ],
    ),
    row(
        "Observation-hourly",
        "hourly",
        OWN,
        "Samples of dense series as SampledData, an hour each",
        &["Observation"],
        TYPE,
        false,
        &[
            ("patient", "in", true, "string", "Whose; or `subject`"),
            (
                "date",
                "in",
                true,
                "string",
                "From when to when, as in a search",
            ),
            ("code", "in", false, "string", "What, as in a search"),
            (
                "return",
                "out",
                true,
                "Bundle",
                "Observations with a component of SampledData for each hour",
            ),
        ],
    ),
    row(
        "Observation-stats",
        "stats",
        FHIR,
        "Statistics over observations",
        &["Observation"],
        TYPE,
        false,
        &[
            ("subject", "in", true, "uri", "Whose observations"),
            ("code", "in", false, "string", "What was observed"),
            ("system", "in", false, "uri", "The system of the codes"),
            (
                "coding",
                "in",
                false,
                "Coding",
                "What was observed, with its system",
            ),
            ("duration", "in", false, "decimal", "The last hours"),
            ("period", "in", false, "Period", "From when to when"),
            ("statistic", "in", true, "code", "What is computed"),
            (
                "statistics",
                "out",
                true,
                "Observation",
                "The results, one for each code",
            ),
        ],
    ),
    row(
        "ValueSet-expand",
        "expand",
        FHIR,
        "The codes of a value set",
        &["ValueSet"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("url", "in", false, "uri", "Canonical url of the value set"),
            ("valueSet", "in", false, "ValueSet", "The value set itself"),
            ("valueSetVersion", "in", false, "string", "Its version"),
            ("filter", "in", false, "string", "Part of a code or display"),
            ("offset", "in", false, "integer", "Codes left out before"),
            ("count", "in", false, "integer", "Codes at most"),
            ("return", "out", true, "ValueSet", "The codes"),
        ],
    ),
    row(
        "ValueSet-validate-code",
        "validate-code",
        FHIR,
        "Is a code in a value set?",
        &["ValueSet"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("url", "in", false, "uri", "Canonical url of the value set"),
            ("valueSet", "in", false, "ValueSet", "The value set itself"),
            ("valueSetVersion", "in", false, "string", "Its version"),
            ("code", "in", false, "code", "The code"),
            ("system", "in", false, "uri", "Its system"),
            ("display", "in", false, "string", "Its display"),
            ("coding", "in", false, "Coding", "The code with its system"),
            (
                "codeableConcept",
                "in",
                false,
                "CodeableConcept",
                "Several codes of which one is enough",
            ),
            ("result", "out", true, "boolean", "Whether it is"),
            ("message", "out", false, "string", "Why not"),
            ("display", "out", false, "string", "The right display"),
        ],
    ),
    row(
        "CodeSystem-lookup",
        "lookup",
        FHIR,
        "What is said of a code",
        &["CodeSystem"],
        TYPE,
        false,
        &[
            ("code", "in", false, "code", "The code"),
            ("system", "in", false, "uri", "Its system"),
            ("coding", "in", false, "Coding", "The code with its system"),
            ("property", "in", false, "code", "Properties wanted"),
            ("name", "out", true, "string", "The name of the code system"),
            ("version", "out", false, "string", "Its version"),
            ("display", "out", true, "string", "The display"),
        ],
    ),
    row(
        "CodeSystem-validate-code",
        "validate-code",
        FHIR,
        "Is a code in a code system?",
        &["CodeSystem"],
        TYPE_AND_INSTANCE,
        false,
        &[
            (
                "url",
                "in",
                false,
                "uri",
                "Canonical url of the code system",
            ),
            (
                "codeSystem",
                "in",
                false,
                "CodeSystem",
                "The code system itself",
            ),
            ("code", "in", false, "code", "The code"),
            ("display", "in", false, "string", "Its display"),
            ("coding", "in", false, "Coding", "The code with its system"),
            (
                "codeableConcept",
                "in",
                false,
                "CodeableConcept",
                "Several codes of which one is enough",
            ),
            ("result", "out", true, "boolean", "Whether it is"),
            ("message", "out", false, "string", "Why not"),
            ("display", "out", false, "string", "The right display"),
        ],
    ),
    row(
        "CodeSystem-subsumes",
        "subsumes",
        FHIR,
        "Which of two codes stands above the other?",
        &["CodeSystem"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("codeA", "in", false, "code", "The one"),
            ("codeB", "in", false, "code", "The other"),
            ("system", "in", false, "uri", "Their system"),
            ("codingA", "in", false, "Coding", "The one with its system"),
            (
                "codingB",
                "in",
                false,
                "Coding",
                "The other with its system",
            ),
            (
                "outcome",
                "out",
                true,
                "code",
                "equivalent, subsumes, subsumed-by or not-subsumed",
            ),
        ],
    ),
    row(
        "ConceptMap-translate",
        "translate",
        FHIR,
        "Translates a code",
        &["ConceptMap"],
        TYPE_AND_INSTANCE,
        false,
        &[
            ("url", "in", false, "uri", "Canonical url of the map"),
            ("conceptMap", "in", false, "ConceptMap", "The map itself"),
            ("code", "in", false, "code", "The code"),
            ("system", "in", false, "uri", "Its system"),
            ("source", "in", false, "uri", "Value set it is from"),
            ("coding", "in", false, "Coding", "The code with its system"),
            (
                "codeableConcept",
                "in",
                false,
                "CodeableConcept",
                "Several codes",
            ),
            ("target", "in", false, "uri", "Value set it is to be of"),
            ("targetsystem", "in", false, "uri", "System it is to be of"),
            ("reverse", "in", false, "boolean", "From target to source"),
            ("result", "out", true, "boolean", "Whether there is a match"),
            ("message", "out", false, "string", "Why not"),
        ],
    ),
    row(
        "Resource-meta",
        "meta",
        FHIR,
        "What resources are marked with",
        &[],
        TYPE_AND_INSTANCE,
        false,
        &[(
            "return",
            "out",
            true,
            "Meta",
            "Profiles, tags and security labels",
        )],
    ),
    row(
        "Resource-meta-add",
        "meta-add",
        FHIR,
        "Marks a resource",
        &[],
        INSTANCE,
        true,
        META,
    ),
    row(
        "Resource-meta-delete",
        "meta-delete",
        FHIR,
        "Takes marks from a resource",
        &[],
        INSTANCE,
        true,
        META,
    ),
    row(
        "export",
        "export",
        BULK,
        "Everything as NDJSON files",
        &[],
        SYSTEM,
        false,
        EXPORT,
    ),
    row(
        "patient-export",
        "export",
        BULK,
        "All that belongs to patients as NDJSON files",
        &["Patient"],
        TYPE,
        false,
        EXPORT,
    ),
    row(
        "group-export",
        "export",
        BULK,
        "All that belongs to a group's patients as NDJSON files",
        &["Group"],
        INSTANCE,
        false,
        EXPORT,
    ),
    row(
        "import",
        "import",
        OWN,
        "Many resources at once, one on each line of the body",
        &[],
        SYSTEM,
        true,
        &[
            ("created", "out", true, "integer", "Resources made"),
            (
                "updated",
                "out",
                true,
                "integer",
                "Resources changed, or found as they are",
            ),
            ("failed", "out", true, "integer", "Lines refused"),
            ("failure", "out", false, "string", "Line and reason"),
        ],
    ),
    row(
        "explain",
        "explain",
        OWN,
        "How a search is understood and run; takes the parameters of the search",
        &[],
        TYPE,
        false,
        &[
            (
                "understood",
                "out",
                true,
                "string",
                "The condition in words",
            ),
            ("sort", "out", true, "string", "The order"),
            (
                "estimatedMatches",
                "out",
                false,
                "decimal",
                "Resources that match, counted up to a limit",
            ),
            (
                "plan",
                "out",
                true,
                "string",
                "The statement and the index it begins with",
            ),
            ("warning", "out", false, "string", "What was left out"),
        ],
    ),
    row(
        "status",
        "status",
        OWN,
        "Can the added search parameter be searched by?",
        &["SearchParameter"],
        INSTANCE,
        false,
        &[
            (
                "state",
                "out",
                true,
                "code",
                "active, indexing, refused or inactive",
            ),
            (
                "reason",
                "out",
                false,
                "string",
                "Why it is refused or inactive",
            ),
            (
                "resourcesIndexed",
                "out",
                false,
                "decimal",
                "How far indexing is",
            ),
        ],
    ),
];

#[allow(clippy::too_many_arguments)]
const fn row(
    id: &'static str,
    code: &'static str,
    base: &'static str,
    title: &'static str,
    types: &'static [&'static str],
    levels: (bool, bool, bool),
    affects_state: bool,
    parameters: &'static [ParameterRow],
) -> OperationRow {
    OperationRow {
        id,
        code,
        base,
        title,
        types,
        levels,
        affects_state,
        parameters,
    }
}

/// The operations at the base.
pub fn of_system() -> impl Iterator<Item = &'static OperationRow> {
    OPERATIONS.iter().filter(|row| row.levels.0)
}

/// The operations of a type and its resources.
pub fn of_type(name: &str) -> impl Iterator<Item = &'static OperationRow> {
    OPERATIONS.iter().filter(move |row| {
        let is_there = row.levels.1 || row.levels.2;
        is_there && (row.types.is_empty() || row.types.contains(&name))
    })
}

/// The definition that a key names, for reads of what nobody has stored.
pub fn built_in(key: &ResourceKey) -> Option<Value> {
    if key.resource_type.name() != "OperationDefinition" {
        return None;
    }
    let row = OPERATIONS.iter().find(|row| row.id == key.id.as_str())?;
    Some(row.definition())
}

impl OperationRow {
    /// Its canonical url.
    pub fn url(&self) -> String {
        let joint = if self.base.starts_with("urn:") {
            ":"
        } else {
            "/"
        };
        format!("{}{joint}{}", self.base, self.id)
    }

    fn definition(&self) -> Value {
        let text = |text: &str| Value::from(text);
        let types = if self.types.is_empty() {
            &["Resource"]
        } else {
            self.types
        };
        let parameters = self.parameters.iter().map(parameter).collect();
        let name: String = self
            .code
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect();
        let mut name = name;
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Value::object([
            ("resourceType", text("OperationDefinition")),
            ("id", text(self.id)),
            ("url", text(&self.url())),
            ("version", text(env!("CARGO_PKG_VERSION"))),
            ("name", text(&name)),
            ("title", text(self.title)),
            ("status", text("active")),
            ("kind", text("operation")),
            ("affectsState", Value::Bool(self.affects_state)),
            ("code", text(self.code)),
            (
                "resource",
                Value::Array(types.iter().map(|t| text(t)).collect()),
            ),
            ("system", Value::Bool(self.levels.0)),
            ("type", Value::Bool(self.levels.1)),
            ("instance", Value::Bool(self.levels.2)),
            ("parameter", Value::Array(parameters)),
        ])
    }
}

fn parameter((name, direction, is_required, kind, about): &ParameterRow) -> Value {
    let min = Number::parse(if *is_required { "1" } else { "0" });
    let mut members = vec![
        ("name", Value::from(*name)),
        ("use", Value::from(*direction)),
    ];
    members.extend(min.map(|min| ("min", Value::Number(min))));
    let max = if matches!(
        *name,
        "failure" | "warning" | "profile" | "statistic" | "statistics" | "property"
    ) {
        "*"
    } else {
        "1"
    };
    members.push(("max", Value::from(max)));
    members.push(("documentation", Value::from(*about)));
    // `Resource` is abstract and stands for any type.
    members.push(("type", Value::from(*kind)));
    Value::object(members)
}

#[cfg(test)]
mod tests {
    use conformance::Definitions;
    use fhir_core::json::Document;
    use fhir_core::validate::structure;

    use super::*;

    #[test]
    fn every_definition_is_valid_and_found_by_its_id() {
        let resource_type = Definitions::r4()
            .resource_type("OperationDefinition")
            .unwrap();
        for row in OPERATIONS {
            let key = ResourceKey::parse(&format!("OperationDefinition/{}", row.id)).unwrap();
            let definition = built_in(&key).unwrap();
            let document = Document::parse(&definition.to_bytes()).unwrap();
            let issues = structure::check(resource_type, document.root());
            assert!(issues.is_empty(), "{}: {issues:?}", row.id);
        }
        assert!(of_type("Patient").any(|row| row.code == "match"));
        assert!(of_type("Device").all(|row| row.code != "match"));
    }
}
