//! Where in a resource something is, put into words only when something is wrong.
//!
//! Spec: <https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.expression>

/// An element on the way from the resource down; lives on the stack of the walk.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    name: &'p str,
    index: Option<usize>,
}

impl<'p> Place<'p> {
    /// The resource itself.
    pub fn root(name: &'p str) -> Self {
        Self {
            parent: None,
            name,
            index: None,
        }
    }

    /// A member of the element at this place.
    pub fn member(&'p self, name: &'p str) -> Self {
        Self {
            parent: Some(self),
            name,
            index: None,
        }
    }

    /// An item of the array at this place.
    pub fn item(self, index: usize) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }

    /// The FHIRPath, such as `Patient.name[1].given[0]`.
    pub fn path(&self) -> String {
        let mut path = self
            .parent
            .map_or_else(String::new, |parent| parent.path() + ".");
        path.extend(
            self.name
                .chars()
                .filter(|c| !c.is_control())
                .take(NAME_CHARS_MAX),
        );
        if let Some(index) = self.index {
            path.push_str(&format!("[{index}]"));
        }
        path
    }
}

/// Characters of a member's name that a path repeats; the longest name of R4 has 32.
const NAME_CHARS_MAX: usize = 64;
