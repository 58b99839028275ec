//! One file for each interaction; what they share stands here.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html>. Interactions do not know each other; batch and transaction reach them
//! through [`entry`].

pub mod audit_trail;
pub mod batch;
pub mod binary;
pub mod capabilities;
pub mod create;
pub mod delete;
pub mod entry;
pub mod history;
pub mod patch;
pub mod read;
pub mod search_system;
pub mod search_type;
pub mod transaction;
pub mod update;
pub mod vread;

use bytes::Bytes;
use fhir_core::ids::{Instant, ResourceKey, VersionId};
use fhir_core::issue::{ErrorKind, Issue, Problem, Severity, operation_outcome};
use fhir_store::Stored;

use crate::app::Server;
use crate::http::prefer::Return;
use crate::interaction::Interaction;
use crate::write::{Effect, Written};

/// What an interaction answers, before it is an HTTP response or a Bundle entry.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Version and time of the resource, for `ETag` and `Last-Modified`.
    pub version: Option<(VersionId, Instant)>,
    /// `Location`, absolute.
    pub location: Option<String>,
    /// `Content-Location`, absolute: where the progress of a long request is told.
    pub content_location: Option<String>,
    /// `X-Progress`: how far a long request is.
    pub progress: Option<String>,
    /// The media type of a body that is not FHIR.
    pub media_type: Option<String>,
    /// The body; empty for none.
    pub body: Bytes,
    /// What it turned out to be, where the URL alone does not tell.
    pub interaction: Option<Interaction>,
}

impl Answer {
    /// An answer with a body and nothing else.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    /// A resource as stored.
    pub fn resource(stored: Stored) -> Self {
        Self {
            status: 200,
            version: Some((stored.version, stored.updated)),
            body: stored.json,
            ..Self::default()
        }
    }

    /// What a write of one resource answers.
    pub fn of_first(server: &Server, written: &[Written], return_: Return) -> Self {
        written
            .first()
            .map(|written| Self::written(server, written, return_))
            .unwrap_or_default()
    }

    /// What a write answers, by the client's preference.
    pub fn written(server: &Server, written: &Written, return_: Return) -> Self {
        let status = match written.effect {
            Effect::Created => 201,
            Effect::Updated | Effect::Unchanged => 200,
            Effect::Deleted | Effect::NothingToDelete => 204,
        };
        let location = written
            .version
            .map(|(version, _)| location(server, &written.key, version));
        let is_gone = matches!(written.effect, Effect::Deleted | Effect::NothingToDelete);
        let body = match return_ {
            Return::OperationOutcome => outcome(written),
            Return::Representation if !is_gone => written.json(),
            Return::Representation | Return::Minimal => Bytes::new(),
        };
        let status = if status == 204 && !body.is_empty() {
            200
        } else {
            status
        };
        // A deleted resource has no `Location`: there is nothing to read.
        let location = if is_gone { None } else { location };
        Self {
            status,
            version: written.version,
            location,
            body,
            ..Self::default()
        }
    }
}

/// `[base]/[type]/[id]/_history/[vid]`
pub fn location(server: &Server, key: &ResourceKey, version: VersionId) -> String {
    format!("{}/{key}/_history/{version}", server.base_url)
}

fn outcome(written: &Written) -> Bytes {
    let text = match written.effect {
        Effect::Created => "created",
        Effect::Updated => "updated",
        Effect::Unchanged => "nothing changed, so there is no new version",
        Effect::Deleted => "deleted",
        Effect::NothingToDelete => "there was nothing to delete",
    };
    let kind = ErrorKind {
        id: "done",
        issue_type: "informational",
        status: 200,
    };
    let issue = Issue {
        severity: Severity::Information,
        kind,
        diagnostics: text.to_owned(),
        expression: None,
    };
    operation_outcome(&[issue]).to_bytes().into()
}

/// The answer for a resource that is not there.
pub fn not_found(key: &ResourceKey) -> Problem {
    Problem::new(
        ErrorKind::NOT_FOUND,
        format!("there is no `{}` with this id", key.resource_type.name()),
    )
}

/// The answer for a resource that was deleted.
pub fn deleted(key: &ResourceKey) -> Problem {
    let text = format!(
        "this `{}` was deleted; its history remains",
        key.resource_type.name()
    );
    Problem::new(ErrorKind::DELETED, text)
}
