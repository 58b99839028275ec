//! What an expression may ask beyond the resource: the time, terminology, profiles.
//!
//! Spec: <https://hl7.org/fhir/R4/fhirpath.html#functions>. Left out: resources elsewhere; `resolve()` knows their type only.

use crate::ids::Instant;
use crate::json::ValueRef;

use super::Element;

/// What terminology and profiles answer.
pub trait Knowledge: Sync {
    /// Whether a code, Coding or CodeableConcept is in a value set; `None` when the value set is not known.
    fn member_of(&self, value: ValueRef<'_>, value_set: &str) -> Option<bool>;

    /// Whether a resource or value conforms to a profile; `None` when the profile is not known.
    fn conforms_to(&self, element: Element<'_>, profile: &str) -> Option<bool>;

    /// Whether the first code of a system subsumes the second; `None` when the system is not known.
    fn subsumes(&self, system: &str, general: &str, special: &str) -> Option<bool>;
}

/// What an evaluation may ask.
#[derive(Clone, Copy, Default)]
pub struct Environment<'a> {
    /// For `now()`, `today()` and `timeOfDay()`.
    pub now: Option<Instant>,
    /// For `memberOf()`, `conformsTo()`, `subsumes()`.
    pub knowledge: Option<&'a dyn Knowledge>,
    /// `%rootResource`, where it is not `%resource`: the container of a contained resource.
    pub root_resource: Option<Element<'a>>,
}
