//! `/admin/messages` and its kin: the log, replay, preview, reviews, losses, regression, incidents.
//!
//! User's guide: `docs/guide/messages.md`. All of it is for administrators only; what shows a message is recorded in the
//! audit trail.

pub mod act;
pub mod incidents;
pub mod ledger;
pub mod list;
pub mod regression;
pub mod reviews;
pub mod tryout;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::datatype::date::{Zone, parse_instant};
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Value;
use fhir_store::AuditRecord;

use crate::http::call::parse_query;
use crate::http::negotiate::Format;
use crate::http::reply;

/// Largest message taken in a request, bytes: the store's largest raw message.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Registers the URLs.
pub fn configure(urls: &mut web::ServiceConfig) {
    urls.service(
        web::scope("/admin/messages")
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("", web::get().to(list::list))
            .route("/replay", web::post().to(act::replay_many))
            .route("/{id}", web::get().to(list::one))
            .route("/{id}/raw", web::get().to(list::raw))
            .route("/{id}/replay", web::post().to(act::replay))
            .route("/{id}/discard", web::post().to(act::discard)),
    )
    .service(
        web::resource("/admin/preview")
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route(web::post().to(tryout::preview)),
    )
    .route("/admin/regression", web::post().to(regression::run))
    .route("/admin/loss", web::get().to(ledger::loss))
    .route("/admin/unmapped", web::get().to(ledger::unmapped))
    .route("/admin/reviews", web::get().to(reviews::list))
    .route("/admin/reviews/{id}", web::get().to(reviews::one))
    .route("/admin/reviews/{id}", web::post().to(reviews::decide))
    .route("/admin/incidents", web::get().to(incidents::list))
    .route("/admin/incidents", web::post().to(incidents::open))
    .route("/admin/incidents/{id}", web::get().to(incidents::one))
    .route("/admin/incidents/{id}", web::post().to(incidents::step));
}

/// The parameters of a request, of which all must be known.
pub struct Asked(Vec<(String, String)>);

impl Asked {
    /// Reads them.
    ///
    /// # Errors
    /// `unknown-parameter`, with those that are known
    pub fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        let given = parse_query(request.query_string())?;
        if let Some((name, _)) = given
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            let text = format!("this request takes: {}", known.join(", "));
            return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(name.clone()));
        }
        Ok(Self(given))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A whole number.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn number(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.parsed(name, "a whole number", |text| text.parse().ok())
    }

    /// An instant.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn instant(&self, name: &str) -> Result<Option<Instant>, Problem> {
        self.parsed(name, "an instant such as 2026-01-31T10:00:00Z", |text| {
            parse_instant(text).map(|date| date.start(Zone::UTC))
        })
    }

    /// A value that a reader understands.
    ///
    /// # Errors
    /// `bad-parameter-value`
    pub fn parsed<T>(
        &self,
        name: &str,
        form: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value = read(text);
        if value.is_none() {
            let text = format!("`{name}` must be {form}");
            return Err(Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name));
        }
        Ok(value)
    }
}

/// The number in the URL.
///
/// # Errors
/// `not-found` for one that is none
pub fn number(path: &str) -> Result<i64, Problem> {
    path.parse().map_err(|_| {
        Problem::new(
            ErrorKind::NOT_FOUND,
            "the URL needs a whole number, as listed",
        )
    })
}

/// A record for the audit trail.
pub fn audit(
    agent: &str,
    action: char,
    interaction: &'static str,
    detail: Option<String>,
) -> AuditRecord {
    AuditRecord {
        agent: agent.to_owned(),
        channel: "admin".to_owned(),
        action,
        interaction,
        entity: None,
        detail,
        outcome: 0,
    }
}

/// Whole seconds and more, or nothing.
pub fn time(at: Option<Instant>) -> Value {
    at.map_or(Value::Null, |at| Value::from(at.to_fhir()))
}

/// A text, or nothing.
pub fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, Value::from)
}

/// A count as a number.
pub fn count(value: u64) -> Value {
    Value::from(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The response: JSON, or the problem as an OperationOutcome.
pub fn finish(result: Result<Value, Problem>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::build(StatusCode::OK)
            .content_type("application/json")
            .body(value.to_bytes()),
        Err(problem) => failed(&problem),
    }
}

/// The problem as an OperationOutcome.
pub fn failed(problem: &Problem) -> HttpResponse {
    let mut response = reply::problem(problem, Format::Json);
    if response.status() == StatusCode::UNAUTHORIZED {
        reply::set(
            &mut response,
            actix_web::http::header::WWW_AUTHENTICATE,
            "Bearer",
        );
    }
    response
}
