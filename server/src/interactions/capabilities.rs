//! What this server can do, made from the tables that the server itself runs on.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#capabilities>. Only what works is listed.

use std::collections::BTreeMap;

use conformance::{Definitions, ParamType, ResourceTypeId, SearchParam};
use fhir_core::issue::Problem;
use fhir_core::json::Value;
use fhir_core::search::supported;
use fhir_typed::capability as code;

use super::Answer;
use crate::app::Server;
use crate::http::call::Call;
use crate::live::model::{BACKPORT, TOPIC_PREFIX};
use crate::live::operations::websocket_url;
use crate::operations::definitions::{self, OperationRow};

/// Day of the last change of what is stated here.
const DATE: &str = "2026-11-25";

/// Interactions of every type.
const INTERACTIONS: [&str; 9] = [
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
];

/// Parameters of every type that the definitions list under `Resource` or that steer the result.
const FHIR_VERSION: &str = "4.0.1";

/// `GET [base]/metadata`
///
/// # Errors
/// None.
pub async fn handle(call: Call) -> Result<Answer, Problem> {
    Ok(answer(&call.server))
}

/// The statement, made at the first call.
pub fn answer(server: &Server) -> Answer {
    Answer::ok(server.statement(|| statement(server).to_bytes().into()))
}

fn text(text: impl AsRef<str>) -> Value {
    Value::from(text.as_ref())
}

fn statement(server: &Server) -> Value {
    let rev_includes = rev_includes();
    let lead_here = |resource_type| {
        rev_includes
            .get(&resource_type)
            .map_or(&[][..], Vec::as_slice)
    };
    let custom = server.custom.params();
    let conditional_delete = if server.config.conditional_delete_max == 1 {
        code::conditional_delete_single()
    } else {
        "multiple".to_owned()
    };
    let resources = Definitions::r4().concrete_types().map(|resource_type| {
        let added = custom.of(resource_type);
        resource(
            resource_type,
            lead_here(resource_type),
            &conditional_delete,
            added,
        )
    });
    let system = ["transaction", "batch", "search-system", "history-system"]
        .map(|name| Value::object([("code", text(name))]));
    let websocket = Value::object([
        (
            "url",
            text("http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket"),
        ),
        ("valueUri", text(websocket_url(server))),
    ]);
    let rest = Value::object([
        ("extension", Value::Array(vec![websocket])),
        ("mode", text(code::mode_server())),
        (
            "documentation",
            text("Every R4 type is stored and searched alike. Bodies and answers are JSON or XML."),
        ),
        ("resource", Value::Array(resources.collect())),
        ("interaction", Value::Array(system.to_vec())),
        ("searchParam", Value::Array(search_params_of_all())),
        (
            "operation",
            Value::Array(operations(definitions::of_system())),
        ),
    ]);
    Value::object([
        ("resourceType", text("CapabilityStatement")),
        ("url", text(format!("{}/metadata", server.base_url))),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("name", text("Stoker")),
        ("title", text("Stoker, a FHIR R4 server")),
        ("status", text(code::status_active())),
        ("date", text(DATE)),
        ("kind", text(code::kind_instance())),
        (
            "software",
            Value::object([
                ("name", text("stoker")),
                ("version", text(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
        (
            "implementation",
            Value::object([
                ("description", text("Stoker")),
                ("url", text(&server.base_url)),
            ]),
        ),
        ("fhirVersion", text(FHIR_VERSION)),
        (
            "format",
            Value::Array(
                [
                    "application/fhir+json",
                    "application/fhir+xml",
                    "json",
                    "xml",
                ]
                .map(text)
                .to_vec(),
            ),
        ),
        (
            "patchFormat",
            Value::Array(vec![
                text("application/json-patch+json"),
                text("application/fhir+json"),
            ]),
        ),
        ("rest", Value::Array(vec![rest])),
    ])
}

/// The operations at a level or of a type, by the table they are described in.
fn operations<'a>(rows: impl Iterator<Item = &'a OperationRow>) -> Vec<Value> {
    let operation = |row: &OperationRow| {
        Value::object([("name", text(row.code)), ("definition", text(row.url()))])
    };
    rows.map(operation).collect()
}

fn resource(
    resource_type: ResourceTypeId,
    rev_includes: &[Value],
    conditional_delete: &str,
    added: &[&'static SearchParam],
) -> Value {
    let name = resource_type.name();
    let interactions = INTERACTIONS.map(|name| Value::object([("code", text(name))]));
    let params = supported::parameters(resource_type);
    let supported = || params.iter().map(|supported| supported.param);
    let includes = supported().filter(|param| param.kind == ParamType::Reference);
    let includes = includes.map(|param| text(format!("{name}:{}", param.code)));
    let mut members = vec![
        ("extension", Value::Array(topics(name))),
        ("type", text(name)),
        (
            "profile",
            text(format!("http://hl7.org/fhir/StructureDefinition/{name}")),
        ),
        ("interaction", Value::Array(interactions.to_vec())),
        (
            "operation",
            Value::Array(operations(definitions::of_type(name))),
        ),
        ("versioning", text(code::versioning_update())),
        ("readHistory", Value::Bool(true)),
        ("updateCreate", Value::Bool(true)),
        ("conditionalCreate", Value::Bool(true)),
        ("conditionalRead", text(code::conditional_read_full())),
        ("conditionalUpdate", Value::Bool(true)),
        ("conditionalDelete", text(conditional_delete)),
        (
            "referencePolicy",
            Value::Array(vec![
                text(code::reference_literal()),
                text(code::reference_logical()),
            ]),
        ),
        ("searchInclude", Value::Array(includes.collect())),
        ("searchRevInclude", Value::Array(rev_includes.to_vec())),
        (
            "searchParam",
            Value::Array(
                supported()
                    .map(search_param)
                    .chain(words(resource_type))
                    .chain(added.iter().map(|param| search_param(param)))
                    .collect(),
            ),
        ),
    ];
    // An empty array is not allowed in FHIR.
    members.retain(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()));
    Value::object(members)
}

/// The topics that subscriptions can name: one for each type, beside those posted.
/// <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-capabilitystatement-subscriptiontopic-canonical.html>
fn topics(name: &str) -> Vec<Value> {
    if name != "Subscription" {
        return Vec::new();
    }
    let topic = |resource_type: ResourceTypeId| {
        let url = format!("{BACKPORT}capabilitystatement-subscriptiontopic-canonical");
        let topic = format!("{TOPIC_PREFIX}{}", resource_type.name());
        Value::object([("url", text(url)), ("valueCanonical", text(topic))])
    };
    Definitions::r4().concrete_types().map(topic).collect()
}

/// `_text` and `_content`, where the type has them.
fn words(resource_type: ResourceTypeId) -> impl Iterator<Item = Value> {
    supported::WORDS
        .iter()
        .filter_map(move |code| Definitions::r4().search_param(resource_type, code))
        .map(search_param)
}

/// The parameters that no type defines for itself.
fn search_params_of_all() -> Vec<Value> {
    let row = |(code, kind, url): &(&str, &str, &str)| {
        Value::object([
            ("name", text(code)),
            ("definition", text(url)),
            ("type", text(kind)),
        ])
    };
    supported::SPECIAL.iter().map(row).collect()
}

/// For every type, the reference parameters of all types that may lead to it.
fn rev_includes() -> BTreeMap<ResourceTypeId, Vec<Value>> {
    let mut includes: BTreeMap<ResourceTypeId, Vec<Value>> = BTreeMap::new();
    for source in Definitions::r4().concrete_types() {
        for row in supported::parameters(source) {
            if row.param.kind != ParamType::Reference {
                continue;
            }
            for target in &row.param.targets {
                let name = text(format!("{}:{}", source.name(), row.param.code));
                includes.entry(*target).or_default().push(name);
            }
        }
    }
    includes
}

fn search_param(param: &SearchParam) -> Value {
    let kind = match param.kind {
        ParamType::Number => "number",
        ParamType::Date => "date",
        ParamType::String => "string",
        ParamType::Token => "token",
        ParamType::Reference => "reference",
        ParamType::Quantity => "quantity",
        ParamType::Uri => "uri",
        ParamType::Composite => "composite",
        ParamType::Special => "special",
    };
    Value::object([
        ("name", text(param.code)),
        ("definition", text(param.url)),
        ("type", text(kind)),
    ])
}
