//! What an entry of a Bundle asks for, once it is read.
//!
//! Spec: <https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request>

use conformance::ResourceTypeId;

use crate::ids::{Instant, ResourceKey};
use crate::issue::Problem;
use crate::versioning::Tags;

/// What an entry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// POST.
    Create {
        /// The new resource; replaced by [`Plan::resolve_entry`] when the condition finds one.
        key: ResourceKey,
        /// `ifNoneExist`, decoded.
        if_none_exist: Option<Vec<(String, String)>>,
    },
    /// PUT `Type/id`.
    Update {
        /// Which.
        key: ResourceKey,
        /// `ifMatch`
        if_match: Option<Tags>,
    },
    /// PUT `Type?condition`.
    ConditionalUpdate {
        /// The resource to make if none matches; replaced by [`Plan::resolve_entry`] when one does.
        key: ResourceKey,
        /// The condition, decoded.
        condition: Vec<(String, String)>,
        /// `ifMatch`
        if_match: Option<Tags>,
    },
    /// PATCH `Type/id`; the resource is a Binary or Parameters.
    Patch {
        /// Which.
        key: ResourceKey,
        /// `ifMatch`
        if_match: Option<Tags>,
    },
    /// PATCH `Type?condition`; the resource is a Binary or Parameters.
    ConditionalPatch {
        /// The type.
        resource_type: ResourceTypeId,
        /// The condition, decoded.
        condition: Vec<(String, String)>,
        /// `ifMatch`
        if_match: Option<Tags>,
    },
    /// DELETE `Type/id`.
    Delete {
        /// Which.
        key: ResourceKey,
        /// `ifMatch`
        if_match: Option<Tags>,
    },
    /// DELETE `Type?condition`.
    ConditionalDelete {
        /// The type.
        resource_type: ResourceTypeId,
        /// The condition, decoded.
        condition: Vec<(String, String)>,
    },
    /// GET or HEAD.
    Get {
        /// Relative to the base, without leading slash, still encoded: `Patient/1`, `Observation?code=..`.
        url: String,
        /// HEAD: no body wanted.
        is_head: bool,
        /// `ifNoneMatch`
        if_none_match: Option<Tags>,
        /// `ifModifiedSince`
        if_modified_since: Option<Instant>,
    },
    /// Cannot be carried out. Only in a batch; in a transaction it ends the whole.
    Refused(Problem),
}

impl Action {
    /// "the server SHALL process interactions in this order". <https://hl7.org/fhir/R4/http.html#trules>
    pub(super) fn rank(&self) -> u8 {
        match self {
            Action::Delete { .. } | Action::ConditionalDelete { .. } => 0,
            Action::Create { .. } => 1,
            Action::Update { .. }
            | Action::ConditionalUpdate { .. }
            | Action::Patch { .. }
            | Action::ConditionalPatch { .. } => 2,
            Action::Get { .. } | Action::Refused(_) => 3,
        }
    }

    /// The resource that is written, as far as it is known.
    pub fn key(&self) -> Option<&ResourceKey> {
        match self {
            Action::Create { key, .. }
            | Action::Update { key, .. }
            | Action::ConditionalUpdate { key, .. }
            | Action::Patch { key, .. }
            | Action::Delete { key, .. } => Some(key),
            Action::ConditionalDelete { .. }
            | Action::ConditionalPatch { .. }
            | Action::Get { .. }
            | Action::Refused(_) => None,
        }
    }

    /// The condition found this resource: the action is about it from now on.
    pub(super) fn resolve(&mut self, found: ResourceKey) {
        match self {
            Action::Create { key, .. } | Action::ConditionalUpdate { key, .. } => *key = found,
            Action::ConditionalDelete { .. } => {
                *self = Action::Delete {
                    key: found,
                    if_match: None,
                };
            }
            Action::ConditionalPatch { if_match, .. } => {
                let if_match = if_match.take();
                *self = Action::Patch {
                    key: found,
                    if_match,
                };
            }
            _ => {}
        }
    }

    /// Type and condition, where finding a resource decides.
    pub(super) fn condition(&self) -> Option<Condition<'_>> {
        match self {
            Action::Create {
                key,
                if_none_exist: Some(condition),
            } => Some((key.resource_type, condition)),
            Action::ConditionalUpdate { key, condition, .. } => {
                Some((key.resource_type, condition))
            }
            Action::ConditionalDelete {
                resource_type,
                condition,
            }
            | Action::ConditionalPatch {
                resource_type,
                condition,
                ..
            } => Some((*resource_type, condition)),
            _ => None,
        }
    }
}

/// A type and the decoded parameters that select among its resources.
pub(super) type Condition<'a> = (ResourceTypeId, &'a [(String, String)]);
