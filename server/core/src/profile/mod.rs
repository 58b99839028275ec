//! Profiles: what a StructureDefinition demands beyond the R4 definitions.
//!
//! Spec: <https://hl7.org/fhir/R4/profiling.html>, <https://hl7.org/fhir/R4/elementdefinition.html>. A snapshot is read as
//! it is; a differential is laid over its base. Left out: `mustSupport`, which obliges systems and not instances,
//! `mapping`, and `minValue`/`maxValue` of dates.

mod check;
mod claims;
mod discriminator;
mod facts;
mod read;
#[cfg(test)]
mod tests;

use crate::fhirpath::Expression;
use crate::issue::Severity;
use crate::json::Document;

pub use claims::{Found, PROFILES_MAX, check_claims, conforms};
pub(crate) use facts::target_type;

/// Longest chain of base profiles; a bound ends circles.
pub const BASE_DEPTH_MAX: usize = 20;

/// A profile ready to check with.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its canonical URL.
    pub url: String,
    /// The type it constrains.
    pub type_name: String,
    root: Node,
}

/// What a profile demands of one element.
#[derive(Debug, Clone, Default)]
struct Node {
    /// The element's name in its parent, `value[x]` for a choice.
    name: String,
    min: Option<u32>,
    /// The greatest number of values; `None` inside for `*`.
    max: Option<Option<u32>>,
    types: Vec<TypeRule>,
    /// `fixed[x]`: just this value.
    fixed: Option<Fixed>,
    /// `pattern[x]`: at least this.
    pattern: Option<Fixed>,
    binding: Option<BindingRule>,
    constraints: Vec<Constraint>,
    length_max: Option<usize>,
    slicing: Option<Slicing>,
    children: Vec<Node>,
    slices: Vec<Slice>,
}

/// A value of the definition.
#[derive(Clone)]
struct Fixed(std::sync::Arc<Document>);

impl std::fmt::Debug for Fixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.text())
    }
}

#[derive(Debug, Clone)]
struct TypeRule {
    code: String,
    profiles: Vec<String>,
    targets: Vec<String>,
}

#[derive(Debug, Clone)]
struct BindingRule {
    strength: Strength,
    value_set: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Required,
    Extensible,
}

#[derive(Debug, Clone)]
struct Constraint {
    key: String,
    severity: Severity,
    human: String,
    /// `None` when it is no FHIRPath that can be read.
    expression: Option<Expression>,
}

#[derive(Debug, Clone)]
struct Slicing {
    discriminators: Vec<Discriminator>,
    is_closed: bool,
}

#[derive(Debug, Clone)]
struct Discriminator {
    kind: DiscriminatorKind,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DiscriminatorKind {
    Value,
    Exists,
    Type,
    Profile,
}

#[derive(Debug, Clone)]
struct Slice {
    name: String,
    node: Node,
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        self.children
            .iter()
            .find(|child| child.base_name() == name || child.name == name)
    }

    fn base_name(&self) -> &str {
        self.name.strip_suffix("[x]").unwrap_or(&self.name)
    }
}
