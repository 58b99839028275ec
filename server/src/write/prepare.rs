//! From one draft and the current version to a change ready for the store; pure computation.

use std::borrow::Cow;

use conformance::ResourceTypeId;
use fhir_core::body::{Body, resource_type_name};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, ValueRef};
use fhir_core::validate::structure;
use fhir_core::versioning::check_if_match;
use fhir_store::{Action, Change, ExpectVersion, Stored};

use super::{Content, Draft, Effect, Need, Step, Written, validation};
use crate::app::Server;
use crate::config::Validation;

/// A draft with everything done that needs no database.
pub struct Prepared {
    /// What the store shall do; `None` when nothing needs to be done.
    pub change: Option<Change>,
    /// What to tell the caller once it is done.
    pub written: Written,
}

/// Whether the draft may be carried out on this version.
///
/// # Errors
/// `version-conflict`
pub fn check_preconditions(draft: &Draft, current: Option<&Stored>) -> Result<(), Problem> {
    let Need::Match(tags) = &draft.need else {
        return Ok(());
    };
    check_if_match(
        tags,
        current
            .filter(|stored| !stored.deleted)
            .map(|stored| stored.version),
    )
}

/// Validates, extracts the index entries of both versions and makes the change.
///
/// # Errors
/// `type-mismatch`, `invalid-resource` and its kin
pub fn prepare(
    server: &Server,
    draft: Draft,
    current: Option<Stored>,
) -> Result<Prepared, Problem> {
    let Draft { key, step, .. } = draft;
    let expect = current.as_ref().map_or(ExpectVersion::Absent, |stored| {
        ExpectVersion::Version(stored.version)
    });
    let live = current.as_ref().filter(|stored| !stored.deleted);
    let old = live.map(parse_stored).transpose()?;
    let removed = match &old {
        Some(document) => server.extract(key.resource_type, document.root()),
        None => Vec::new(),
    };
    if let Step::Put(document) = &step {
        check_resource(server, key.resource_type, document.root())?;
    }
    match step {
        Step::Put(document) | Step::PutChecked(document) => {
            let body = Body::new(document.root(), &key.id);
            if let (Some(stored), Some(old)) = (live, &old)
                && is_same(&body, old, &key)
            {
                return Ok(unchanged(stored));
            }
            let added = server.extract(key.resource_type, document.root());
            let index = server.store.prepare(&key, &removed, &added);
            let effect = if live.is_some() {
                Effect::Updated
            } else {
                Effect::Created
            };
            let action = Action::Put {
                body: body.clone(),
                index,
            };
            let written = Written {
                key: key.clone(),
                effect,
                version: None,
                content: Some(Content::New(body)),
            };
            Ok(Prepared {
                change: Some(Change {
                    key,
                    expect,
                    action,
                }),
                written,
            })
        }
        Step::Delete => {
            let version = current
                .as_ref()
                .map(|stored| (stored.version, stored.updated));
            if live.is_none() {
                let written = Written {
                    key,
                    effect: Effect::NothingToDelete,
                    version,
                    content: None,
                };
                return Ok(Prepared {
                    change: None,
                    written,
                });
            }
            let index = server.store.prepare(&key, &removed, &[]);
            let written = Written {
                key: key.clone(),
                effect: Effect::Deleted,
                version,
                content: None,
            };
            Ok(Prepared {
                change: Some(Change {
                    key,
                    expect,
                    action: Action::Delete { index },
                }),
                written,
            })
        }
    }
}

fn unchanged(stored: &Stored) -> Prepared {
    let written = Written {
        key: stored.key.clone(),
        effect: Effect::Unchanged,
        version: Some((stored.version, stored.updated)),
        content: Some(Content::Old(stored.json.clone())),
    };
    Prepared {
        change: None,
        written,
    }
}

/// Whether a new body says the same as the stored one: server's own elements aside, member order aside, digits exact.
fn is_same(body: &Body, old: &Document, key: &fhir_core::ids::ResourceKey) -> bool {
    Body::new(old.root(), &key.id).stored_text() == body.stored_text()
}

fn parse_stored(stored: &Stored) -> Result<Document, Problem> {
    Document::parse(&stored.json).map_err(|error| {
        tracing::error!(key = %stored.key, %error, "a stored resource cannot be read");
        Problem::new(
            ErrorKind::INTERNAL,
            "the stored resource cannot be read; the server's log has more",
        )
    })
}

/// Whether this may be stored as a resource of this type.
///
/// # Errors
/// `type-mismatch`, `invalid-resource` and its kin
pub fn check_resource(
    server: &Server,
    resource_type: ResourceTypeId,
    resource: ValueRef<'_>,
) -> Result<(), Problem> {
    if !resource.is_object() {
        return Err(Problem::new(
            ErrorKind::INVALID_RESOURCE,
            "a resource is a JSON object",
        ));
    }
    let name = resource_type_name(resource);
    if name.as_deref() != Some(resource_type.name()) {
        let what = match &name {
            None => Cow::Borrowed("`resourceType` is missing"),
            Some(_) => Cow::Borrowed("`resourceType` names another type"),
        };
        let text = format!("{what}; `{}` is expected here", resource_type.name());
        return Err(Problem::new(ErrorKind::TYPE_MISMATCH, text).at("resourceType"));
    }
    if resource_type.name() == "Subscription" {
        crate::live::check(server, resource)?;
    }
    if server.config.validation == Validation::Off {
        return Ok(());
    }
    let mut issues = structure::check(resource_type, resource);
    // Rules about content mean little where the structure is wrong already.
    if issues.is_empty() {
        issues = validation::refusals(server, resource_type, resource);
    }
    if issues.is_empty() {
        Ok(())
    } else {
        Err(Problem { issues })
    }
}
