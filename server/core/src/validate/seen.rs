//! Which elements of an object were met on the way through it.
//!
//! Spec: <https://hl7.org/fhir/R4/formats.html#choice>: "there SHALL only be one" of a choice of types.

use super::shape::{Name, Shape};

/// Choices one type has at most (`ElementDefinition` has five).
const CHOICES_MAX: usize = 8;

/// Which elements were met, and by which name those with a choice of types.
#[derive(Default)]
pub struct Seen<'a> {
    /// Bits of the members met, in the order of [`Shape::members`].
    pub members: u128,
    choices: [Option<&'a Name>; CHOICES_MAX],
}

impl<'a> Seen<'a> {
    /// False when the same choice was met by another name before.
    pub fn add(&mut self, shape: &Shape, name: &'a Name) -> bool {
        self.members |= 1 << name.member;
        let is_choice = shape
            .members
            .get(name.member)
            .is_some_and(|member| member.element.is_choice());
        if !is_choice {
            return true;
        }
        for slot in &mut self.choices {
            match slot {
                Some(known) if known.member == name.member => return known.text == name.text,
                Some(_) => {}
                None => {
                    *slot = Some(name);
                    return true;
                }
            }
        }
        true
    }
}
