//! Which elements a search parameter looks at: what types its values have and what its references may lead to.
//!
//! Spec: <https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression>. Reads plain member paths
//! with casts and `where(..)`; an expression beyond that tells nothing, and callers fall back on the definition.

use conformance::{Definitions, Element, ResourceTypeId, SearchParam};

/// An element at the end of a path.
pub struct Leaf {
    /// The element.
    pub element: &'static Element,
    /// The type a cast chose.
    pub cast: Option<&'static str>,
    /// The type out of `where(resolve() is Patient)`.
    resolves_to: Option<&'static str>,
}

impl Leaf {
    /// Whether every value has this type.
    pub fn is_type(&self, code: &str) -> bool {
        match self.cast {
            Some(cast) => cast == code,
            None => {
                !self.element.types.is_empty() && self.element.types.iter().all(|t| t.code == code)
            }
        }
    }

    /// Whether a value may have this type.
    pub fn may_be(&self, code: &str) -> bool {
        self.cast.map_or_else(
            || self.element.types.iter().any(|t| t.code == code),
            |cast| cast == code,
        )
    }
}

/// The elements of a parameter, one for each branch of its expression; `None` when a branch is no plain path.
pub fn leaves(param: &'static SearchParam) -> Option<Vec<Leaf>> {
    if param.expression.is_empty() {
        return None;
    }
    param
        .expression
        .split(" | ")
        .map(|branch| leaf(param.base.name(), branch))
        .collect()
}

fn leaf(base: &str, branch: &'static str) -> Option<Leaf> {
    let definitions = Definitions::r4();
    let (branch, cast) = match branch
        .trim()
        .strip_prefix('(')
        .and_then(|inner| inner.split_once(')'))
    {
        Some((inner, "")) => inner
            .split_once(" as ")
            .map_or((inner, None), |(path, cast)| (path, Some(cast.trim()))),
        Some(_) => return None,
        None => (branch.trim(), None),
    };
    let mut found: Option<Leaf> = None;
    for step in steps(branch.strip_prefix(base)?.strip_prefix('.')?) {
        if let Some(argument) = step.strip_prefix("where(") {
            let resolved = argument
                .strip_prefix("resolve() is ")
                .map(|name| name.trim_end_matches(')'));
            found.as_mut()?.resolves_to = resolved;
        } else if let Some(name) = step.strip_prefix("as(").or(step.strip_prefix("ofType(")) {
            found.as_mut()?.cast = Some(name.trim_end_matches(')'));
        } else {
            let parent = found.as_ref().map_or(base, |leaf| {
                let chosen = leaf
                    .cast
                    .or(leaf.element.types.first().map(|t| t.code))
                    .unwrap_or_default();
                leaf.element.children_path(chosen)
            });
            let plain = definitions.element(parent, step).map(|found| found.element);
            let element = plain.or_else(|| definitions.choice(parent, step))?;
            found = Some(Leaf {
                element,
                cast: None,
                resolves_to: None,
            });
        }
    }
    let mut leaf = found?;
    leaf.cast = cast.or(leaf.cast);
    Some(leaf)
}

/// The steps of a path; a point inside parentheses separates nothing.
fn steps(path: &'static str) -> Vec<&'static str> {
    let (mut steps, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, b) in path.bytes().enumerate() {
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'.' if depth == 0 => {
                steps.push(path.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    steps.push(path.get(start..).unwrap_or_default());
    steps
}

/// The types a reference parameter may lead to: those of its definition that its elements allow as well.
///
/// The definition of `patient` names Group for every type, though most elements take a Patient only; fewer types
/// make a search by bare id exact and cheap.
pub fn targets(param: &'static SearchParam) -> Vec<ResourceTypeId> {
    let definitions = Definitions::r4();
    let declared: Vec<ResourceTypeId> = if param.targets.is_empty() {
        definitions.concrete_types().collect()
    } else {
        param.targets.clone()
    };
    let Some(leaves) = leaves(param) else {
        return declared;
    };
    let is_allowed = |target: &ResourceTypeId| {
        leaves.iter().any(|leaf| match leaf.resolves_to {
            Some(name) => name == target.name(),
            None => element_allows(leaf.element, target.name()),
        })
    };
    let narrowed: Vec<ResourceTypeId> = declared.iter().copied().filter(is_allowed).collect();
    if narrowed.is_empty() {
        declared
    } else {
        narrowed
    }
}

fn element_allows(element: &Element, name: &str) -> bool {
    let mut types = element
        .types
        .iter()
        .filter(|t| matches!(t.code, "Reference" | "canonical"));
    types.any(|t| {
        t.target_types.is_empty()
            || t.target_types
                .iter()
                .any(|target| *target == name || *target == "Resource")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(type_name: &str, code: &str) -> &'static SearchParam {
        let definitions = Definitions::r4();
        definitions
            .search_param(definitions.resource_type(type_name).unwrap(), code)
            .unwrap()
    }

    #[test]
    fn targets_are_narrowed_to_what_the_element_takes() {
        for (type_name, code, expected) in [
            ("Observation", "patient", "Patient"),
            ("Observation", "subject", "Device,Group,Location,Patient"),
            ("AllergyIntolerance", "patient", "Patient"),
            ("MedicationRequest", "medication", "Medication"),
            ("Encounter", "practitioner", "Practitioner"),
            ("AuditEvent", "patient", "Patient"),
            ("Patient", "link", "Patient,RelatedPerson"),
        ] {
            let names: Vec<&str> = targets(param(type_name, code))
                .iter()
                .map(|t| t.name())
                .collect();
            assert_eq!(names.join(","), expected, "{type_name}.{code}");
        }
        // Every concrete type but Parameters, which nothing can refer to.
        assert_eq!(targets(param("Observation", "focus")).len(), 145);
    }

    #[test]
    fn code_elements_are_told_from_codings() {
        for (type_name, code, is_code) in [
            ("Patient", "gender", true),
            ("Observation", "status", true),
            ("Observation", "code", false),
            ("Patient", "address-use", true),
            ("Location", "operational-status", false),
        ] {
            let leaves = leaves(param(type_name, code)).unwrap();
            assert_eq!(
                leaves.iter().all(|l| l.is_type("code")),
                is_code,
                "{type_name}.{code}"
            );
        }
    }
}
