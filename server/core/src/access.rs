//! Who asks, through what, and what they may read and write. Every planner, writer and adapter takes one.
//!
//! Today there is the full access of open mode and the access of an adapter; scopes and compartments of
//! <https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html> narrow [`Grants`] later without a new parameter
//! anywhere.

use conformance::ResourceTypeId;

use crate::ids::ResourceKey;
use crate::issue::{ErrorKind, Problem};

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Read one by id or version, or its history.
    Read,
    /// Search the type.
    Search,
    /// Create.
    Create,
    /// Update.
    Update,
    /// Delete.
    Delete,
}

/// Through which door a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// The FHIR REST API.
    Rest,
    /// An adapter's feed, by name.
    Feed(String),
    /// A command of the `stoker` program.
    CommandLine,
}

/// What is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// Everything.
    Full,
    /// Reading everything, writing nothing.
    ReadOnly,
    /// Everything, inside the compartment of one resource only.
    Compartment(ResourceKey),
}

/// The access a request has. It has no default: whoever starts an interaction states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Who: a user, client or feed, for the audit record; never a secret.
    pub agent: String,
    /// Through what.
    pub channel: Channel,
    /// What they may do.
    pub grants: Grants,
}

impl Access {
    /// Full access, as open mode gives it to every request.
    pub fn full(agent: impl Into<String>, channel: Channel) -> Self {
        Self {
            agent: agent.into(),
            channel,
            grants: Grants::Full,
        }
    }

    /// Whether this act on this type is permitted at all.
    ///
    /// # Errors
    /// `forbidden`
    pub fn permit(&self, act: Act, resource_type: ResourceTypeId) -> Result<(), Problem> {
        let is_read = matches!(act, Act::Read | Act::Search);
        match &self.grants {
            Grants::Full | Grants::Compartment(_) => Ok(()),
            Grants::ReadOnly if is_read => Ok(()),
            Grants::ReadOnly => Err(Problem::new(
                ErrorKind::FORBIDDEN,
                format!("this access may not change `{}`", resource_type.name()),
            )),
        }
    }
}
