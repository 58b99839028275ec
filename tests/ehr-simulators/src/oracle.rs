//! Oracle Health's manners.
//!
//! Spec: Millennium R4 documentation and captures. Leaves out every search but those of the
//! adapter's profile.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fhir_core::json::Value;

use crate::outcome::{oracle_issue, outcome};
use crate::wire::{Request, Response};
use crate::world::{Row, What, instant};
use crate::{State, object, token, write};

const JSON: &str = "application/fhir+json";
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;
/// Rows that come on top of `_count` on the first page.
const FIRST_PAGE_MORE: usize = 7;

pub(crate) fn metadata() -> Response {
    let parameters = |names: &[&str]| {
        let list = names.iter().map(|name| object([("name", (*name).into())]));
        Value::Array(list.collect())
    };
    let resource = |name: &str, names: &[&str]| {
        object([("type", name.into()), ("searchParam", parameters(names))])
    };
    let rest = object([
        ("mode", "server".into()),
        (
            "resource",
            Value::Array(vec![
                resource("Patient", &["_id", "identifier", "name"]),
                resource(
                    "Observation",
                    &["_id", "patient", "category", "date", "_lastUpdated"],
                ),
            ]),
        ),
    ]);
    let body = object([
        ("resourceType", "CapabilityStatement".into()),
        ("fhirVersion", "4.0.1".into()),
        ("publisher", "Oracle Health".into()),
        ("rest", Value::Array(vec![rest])),
    ]);
    Response::json(200, JSON, &body)
}

pub(crate) fn answer(state: &mut State, request: &Request, path: &str) -> Response {
    let case = format!("00000000-0000-4000-8000-{:012}", state.requests);
    routed(state, request, path).header("X-Request-Id", &case)
}

fn routed(state: &mut State, request: &Request, path: &str) -> Response {
    let accept = request.header("accept").unwrap_or("*/*");
    if !accept.contains("json") && !accept.contains("*/*") {
        return Response::empty(406);
    }
    if !token::is_authorised(state, request) {
        return Response::empty(401).header("WWW-Authenticate", "Bearer");
    }
    let kind = path.split('/').next().unwrap_or_default();
    if state.faults.forbidden.iter().any(|own| own == kind) {
        // A portal's list overrides scopes.
        return fail(403, "forbidden", "Forbidden resource");
    }
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("Observation"), None, None) if request.method == "POST" => {
            write::create(state, request)
        }
        (Some("Patient"), None, None) => patients(state, request),
        (Some("Patient"), Some(id), None) => patient(state, id),
        (Some("Observation"), None, None) => observations(state, request),
        _ => fail(404, "not-found", "Not Found"),
    }
}

/// By identifier only; a merged patient is never found.
fn patients(state: &State, request: &Request) -> Response {
    let Some(wanted) = request.parameter("identifier") else {
        return fail(
            400,
            "invalid",
            "at least one search parameter must be provided",
        );
    };
    let hits = state.world.with_identifier(wanted, false).into_iter();
    let entries: Vec<Value> = hits.map(|body| object([("resource", body)])).collect();
    let mut members = vec![
        ("resourceType", Value::from("Bundle")),
        ("type", "searchset".into()),
    ];
    if !entries.is_empty() {
        members.push(("entry", Value::Array(entries)));
    }
    Response::json(200, JSON, &Value::object(members))
}

fn fail(status: u16, kind: &str, text: &str) -> Response {
    Response::json(status, JSON, &outcome(vec![oracle_issue(kind, text)]))
}

fn patient(state: &State, id: &str) -> Response {
    let Some(person) = state.world.people.get(id) else {
        return fail(404, "not-found", "Not Found");
    };
    if let Some(survivor) = &person.merged_into {
        let other = object([("reference", format!("Patient/{survivor}").into())]);
        let body = object([
            ("resourceType", "Patient".into()),
            ("id", id.into()),
            ("meta", object([("versionId", "0".into())])),
            ("active", Value::Bool(false)),
            (
                "link",
                Value::Array(vec![object([
                    ("other", other),
                    ("type", "replaced-by".into()),
                ])]),
            ),
        ]);
        return Response::json(200, JSON, &body);
    }
    let mut body = person.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.insert(
            "meta",
            object([
                ("versionId", person.version.to_string().into()),
                ("lastUpdated", instant(person.filed_s).into()),
            ]),
        );
    }
    Response::json(200, JSON, &body).header("ETag", &format!("W/\"{}\"", person.version))
}

fn observations(state: &mut State, request: &Request) -> Response {
    let Some(patient) = request.parameter("patient") else {
        return fail(
            400,
            "invalid",
            "at least one of _id, patient, or -pageContext must be provided",
        );
    };
    let category = request.parameter("category");
    let code = request
        .parameter("code")
        .and_then(|code| code.rsplit('|').next());
    if category.is_some_and(|wanted| state.faults.forbidden.iter().any(|own| own == wanted)) {
        return fail(403, "forbidden", "Forbidden resource");
    }
    let range: Vec<&str> = request.parameters("_lastUpdated").collect();
    if !range.is_empty() && request.parameter("date").is_some() {
        return fail(
            400,
            "invalid",
            "date and _lastUpdated are mutually exclusive",
        );
    }
    let bound = |prefix: &str| range.iter().find_map(|text| text.strip_prefix(prefix));
    let closed = match (bound("ge"), bound("lt")) {
        (Some(from), Some(to)) => Some((from.to_owned(), to.to_owned())),
        _ if range.is_empty() => None,
        _ => {
            return fail(
                400,
                "invalid",
                "The date and prefix pairs must create a closed range",
            );
        }
    };
    let since = request
        .parameter("date")
        .and_then(|text| text.strip_prefix("ge"));
    let mut rows = state.world.rows_of(patient);
    rows.retain(|row| {
        let filed = instant(row.filed_s);
        category.is_none_or(|wanted| wanted == row.category)
            && code.is_none_or(|wanted| row.loinc() == wanted)
            && !state.faults.hidden.contains(&row.id)
            && since.is_none_or(|since| *since <= *instant(row.effective_s))
            && closed
                .as_ref()
                .is_none_or(|(from, to)| *from <= filed && filed < *to)
    });
    let size = request
        .parameter("_count")
        .and_then(|text| text.parse().ok())
        .map_or(PAGE_DEFAULT, |size: usize| size.clamp(1, PAGE_MAX));
    let offset = match request.parameter("-pageContext") {
        None => 0,
        Some(context) => match offset(state, context) {
            Some(offset) => offset,
            None => return fail(400, "invalid", "-pageContext is invalid"),
        },
    };
    page(state, request, &rows, offset, size)
}

/// The position inside an opaque context, unless its generation has died.
fn offset(state: &State, context: &str) -> Option<usize> {
    let bytes = STANDARD.decode(context).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (generation, offset) = text.split_once('/')?;
    (generation == state.generation.to_string())
        .then(|| offset.parse().ok())
        .flatten()
}

fn page(
    state: &mut State,
    request: &Request,
    rows: &[Row],
    offset: usize,
    size: usize,
) -> Response {
    // The first page ignores `_count`.
    let size = if offset == 0 {
        size + FIRST_PAGE_MORE
    } else {
        size
    };
    let mut here: Vec<Row> = rows.iter().skip(offset).take(size).cloned().collect();
    if state.faults.repeat_rows && offset > 0 {
        // A row of the page before was corrected meanwhile, and shows up again with a higher version.
        let again = rows.get(offset - 1).map(|row| row.id.clone());
        let again = again.and_then(|id| state.world.correct(&id, "9.90"));
        here.extend(again);
    }
    if state.faults.stale_rows && offset > 0 {
        let again = rows.get(offset - 1).cloned();
        here.extend(again.map(|mut row| {
            row.filed_s -= 3_600;
            if let What::Number(_, _, digits, _, _) = &mut row.what {
                *digits = "0.01".to_owned();
            }
            row
        }));
    }
    let end = offset + size;
    let own = request
        .query
        .iter()
        .filter(|(name, _)| !name.starts_with("-page"));
    let own: Vec<String> = own
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A")))
        .collect();
    let own = own.join("&");
    let mut links = vec![object([
        ("relation", "self".into()),
        ("url", format!("{}/Observation?{own}", state.base).into()),
    ])];
    if end < rows.len() {
        let context = STANDARD
            .encode(format!("{}/{end}", state.generation))
            .replace('=', "%3D");
        let url = format!(
            "{}/Observation?{own}&-pageContext={context}&-pageDirection=NEXT",
            state.base
        );
        links.push(object([("relation", "next".into()), ("url", url.into())]));
    }
    let mut members = vec![
        ("resourceType", Value::from("Bundle")),
        ("id", "00000000-0000-4000-8000-0000000000bb".into()),
        ("type", "searchset".into()),
        ("link", Value::Array(links)),
    ];
    if !here.is_empty() {
        let entries = here.iter().map(|row| {
            let body = state.world.render(row, &state.base, state.faults.mask);
            object([
                (
                    "fullUrl",
                    format!("{}/Observation/{}", state.base, row.id).into(),
                ),
                ("resource", body),
            ])
        });
        members.push(("entry", Value::Array(entries.collect())));
    }
    Response::json(200, JSON, &Value::object(members))
}
