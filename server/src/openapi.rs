//! The OpenAPI description: FHIR paths from the R4 definitions, the others from their annotations; and its pages.
//!
//! Spec: <https://spec.openapis.org/oas/latest.html>. Left out: schemas of the resources, which the FHIR specification
//! publishes in its own form.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use bytes::Bytes;
use conformance::{Definitions, ParamType, ResourceTypeId};
use utoipa::OpenApi;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
    PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Required, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::admin;
use crate::feeds;
use crate::health;
use crate::ingest::{http, quarantine};
use crate::operations::definitions;

const FHIR_JSON: &str = "application/fhir+json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "stoker",
        description = "FHIR R4 (4.0.1) server and integration adapter"
    ),
    paths(
        health::live,
        health::ready,
        health::metrics,
        crate::admin::messages::list::list,
        crate::admin::messages::list::one,
        crate::admin::messages::list::raw,
        crate::admin::messages::act::replay,
        crate::admin::messages::act::replay_many,
        crate::admin::messages::act::discard,
        crate::admin::messages::tryout::preview,
        crate::admin::messages::regression::run,
        crate::admin::messages::ledger::loss,
        crate::admin::messages::ledger::unmapped,
        crate::admin::messages::reviews::list,
        crate::admin::messages::reviews::one,
        crate::admin::messages::reviews::decide,
        crate::admin::messages::incidents::list,
        crate::admin::messages::incidents::one,
        crate::admin::messages::incidents::open,
        crate::admin::messages::incidents::step,
        crate::ehr::admin::list,
        crate::ehr::admin::register,
        crate::ehr::admin::show,
        crate::ehr::admin::remove,
        crate::ehr::admin::run,
        crate::ehr::admin::normalise,
        crate::ehr::write_back::list,
        crate::ehr::write_back::write,
        crate::ehr::write_back::forget,
        crate::ehr::admin::completeness,
        crate::ehr::admin::reviews,
        crate::ehr::admin::close_review,
        crate::ehr::admin::source,
        crate::ehr::jwks::all,
        crate::ehr::jwks::one,
        http::handle,
        crate::ingest::stream::handle,
        crate::live::socket::handle,
        crate::live::sse::handle,
        crate::live::admin::list,
        crate::live::admin::put,
        crate::live::admin::delete,
        quarantine::list,
        quarantine::one,
        quarantine::raw,
        quarantine::replay,
        quarantine::set_aside,
        quarantine::add_token,
        quarantine::tokens,
        quarantine::revoke,
        feeds::receive,
        admin::feeds::list,
        admin::feeds::get,
        admin::feeds::put,
        admin::feeds::delete,
        admin::feeds::pause,
        admin::feeds::resume,
    )
)]
struct Annotated;

/// `GET /openapi.json`
pub async fn document() -> HttpResponse {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| build().to_json().unwrap_or_default().into());
    HttpResponse::Ok()
        .content_type("application/json")
        .body(text.clone())
}

/// `/docs`: the description as pages, from files inside the program.
pub fn pages() -> SwaggerUi {
    // Every type has its own operations: closed by type, and found by its name, the page opens at once.
    let config = Config::from("/openapi.json")
        .doc_expansion("none")
        .filter(true);
    SwaggerUi::new("/docs/{_:.*}").config(config)
}

/// The whole description.
pub fn build() -> utoipa::openapi::OpenApi {
    let mut document = Annotated::openapi();
    let mut paths = PathsBuilder::from(std::mem::take(&mut document.paths));
    let metadata =
        operation("fhir", "What this server can do").response("200", answer("CapabilityStatement"));
    paths = paths.path(
        "/fhir/metadata",
        PathItem::new(HttpMethod::Get, metadata.build()),
    );
    let bundle = operation("fhir", "Batch or transaction").request_body(Some(body("Bundle")));
    let bundle = bundle
        .response("200", answer("Bundle"))
        .response("default", answer("OperationOutcome"));
    let search = || {
        operation("fhir", "Search several types at once")
            .parameter(parameter(
                "_type",
                "Types, separated by commas",
                ParameterIn::Query,
            ))
            .response("200", answer("Bundle"))
            .response("default", answer("OperationOutcome"))
    };
    paths = paths.path(
        "/fhir",
        item([
            (HttpMethod::Get, search().build()),
            (HttpMethod::Post, bundle.build()),
        ]),
    );
    paths = paths.path(
        "/fhir/_search",
        item([(HttpMethod::Post, search().build())]),
    );
    let history = operation("fhir", "History of everything").response("200", answer("Bundle"));
    paths = paths.path("/fhir/_history", item([(HttpMethod::Get, history.build())]));
    for (path, item) in definitions::OPERATIONS.iter().flat_map(operation_paths) {
        paths = paths.path(path, item);
    }
    for resource_type in Definitions::r4().concrete_types() {
        for (path, item) in resource_paths(resource_type) {
            paths = paths.path(path, item);
        }
    }
    document.paths = paths.build();
    document
}

/// Where an operation is called, by the table it is described in.
fn operation_paths(row: &definitions::OperationRow) -> Vec<(String, PathItem)> {
    let mut all = Vec::new();
    let method = |is_at_type: bool| {
        let takes_resource = is_at_type && matches!(row.code, "match" | "validate");
        if row.affects_state || takes_resource {
            HttpMethod::Post
        } else {
            HttpMethod::Get
        }
    };
    let about = || {
        let answers = operation("operations", row.title).response("200", answer("Answer"));
        answers.response("default", answer("OperationOutcome"))
    };
    let with_type = |operation: OperationBuilder, name: &str| match name {
        "{type}" => operation.parameter(path_parameter("type", "Resource type")),
        _ => operation,
    };
    let code = row.code;
    if row.levels.0 {
        let path = format!("/fhir/${code}");
        all.push((path, PathItem::new(method(false), about().build())));
    }
    let every = ["{type}"];
    let types: &[&str] = if row.types.is_empty() {
        &every
    } else {
        row.types
    };
    for name in types {
        if row.levels.1 {
            let operation = with_type(about(), name).build();
            let path = format!("/fhir/{name}/${code}");
            all.push((path, PathItem::new(method(true), operation)));
        }
        if row.levels.2 {
            let operation = with_type(about(), name).parameter(path_parameter("id", "Logical id"));
            let path = format!("/fhir/{name}/{{id}}/${code}");
            all.push((path, PathItem::new(method(false), operation.build())));
        }
    }
    all
}

fn resource_paths(resource_type: ResourceTypeId) -> [(String, PathItem); 6] {
    let name = resource_type.name();
    let base = format!("/fhir/{name}");
    let id = || path_parameter("id", "Logical id");
    let with = |summary: &str, answers: &str| {
        let operation = operation(name, summary).response("200", answer(answers));
        operation.response("default", answer("OperationOutcome"))
    };
    let search = Definitions::r4()
        .search_params(resource_type)
        .iter()
        .filter(|param| !param.expression.is_empty());
    let search = search.fold(with("Search", "Bundle"), |operation, param| {
        operation.parameter(search_parameter(param.code, param.kind, param.description))
    });
    let create = with("Create", name)
        .request_body(Some(body(name)))
        .response("201", answer(name));
    let update = with("Update, or create under this id", name)
        .request_body(Some(body(name)))
        .parameter(id());
    let patch = with("Change by JSON Patch or FHIRPath Patch", name)
        .request_body(Some(body("Patch")))
        .parameter(id());
    let delete = operation(name, "Delete")
        .parameter(id())
        .response("204", ResponseBuilder::new().description("Deleted"));
    let patch_by_condition = with("Change the one match by JSON Patch or FHIRPath Patch", name)
        .request_body(Some(body("Patch")));
    let collection = item([
        (HttpMethod::Patch, patch_by_condition.build()),
        (HttpMethod::Get, search.build()),
        (HttpMethod::Post, create.build()),
    ]);
    let instance = item([
        (HttpMethod::Get, with("Read", name).parameter(id()).build()),
        (HttpMethod::Put, update.build()),
        (HttpMethod::Patch, patch.build()),
        (HttpMethod::Delete, delete.build()),
    ]);
    let form = with("Search with a form body", "Bundle");
    let type_history = with("History of the type", "Bundle");
    let history = with("History of one resource", "Bundle").parameter(id());
    let version = with("Read one version", name)
        .parameter(id())
        .parameter(path_parameter("version", "Version id"));
    [
        (base.clone(), collection),
        (
            format!("{base}/_search"),
            item([(HttpMethod::Post, form.build())]),
        ),
        (
            format!("{base}/_history"),
            item([(HttpMethod::Get, type_history.build())]),
        ),
        (format!("{base}/{{id}}"), instance),
        (
            format!("{base}/{{id}}/_history"),
            item([(HttpMethod::Get, history.build())]),
        ),
        (
            format!("{base}/{{id}}/_history/{{version}}"),
            item([(HttpMethod::Get, version.build())]),
        ),
    ]
}

fn item<const N: usize>(operations: [(HttpMethod, Operation); N]) -> PathItem {
    let mut item = PathItem::default();
    for (method, operation) in operations {
        item.merge_operations(PathItem::new(method, operation));
    }
    item
}

fn operation(tag: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new().tag(tag).summary(Some(summary))
}

fn answer(what: &str) -> ResponseBuilder {
    ResponseBuilder::new()
        .description(what)
        .content(FHIR_JSON, Content::new(Some(object())))
}

fn body(what: &str) -> utoipa::openapi::request_body::RequestBody {
    let builder = RequestBodyBuilder::new()
        .description(Some(what))
        .required(Some(Required::True));
    builder
        .content(FHIR_JSON, Content::new(Some(object())))
        .build()
}

fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

fn path_parameter(name: &str, description: &str) -> Parameter {
    parameter(name, description, ParameterIn::Path)
        .required(Required::True)
        .build()
}

fn search_parameter(code: &str, kind: ParamType, description: &str) -> Parameter {
    let text = format!(
        "{} ({})",
        description.trim(),
        format!("{kind:?}").to_lowercase()
    );
    parameter(code, &text, ParameterIn::Query)
        .required(Required::False)
        .build()
}

fn parameter(name: &str, description: &str, place: ParameterIn) -> ParameterBuilder {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(Some(description))
        .schema(Some(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_its_search_parameters_are_described() {
        let document = build();
        let text = document.to_json().unwrap();
        assert!(document.paths.get_path_item("/health/ready").is_some());
        assert!(
            document
                .paths
                .get_path_item("/admin/feeds/{name}/pause")
                .is_some()
        );
        assert!(
            text.contains("\"refuse_faults\""),
            "the settings of a feed are described"
        );
        for resource_type in Definitions::r4().concrete_types() {
            let path = format!("/fhir/{}/{{id}}", resource_type.name());
            assert!(document.paths.get_path_item(&path).is_some(), "{path}");
        }
        assert!(text.contains("\"value-quantity\""));
    }
}
