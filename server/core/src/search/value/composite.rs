//! Composite parameters: several tests of one and the same element.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#combining>. Gives the tests of one combination in order; the caller
//! wraps them as one condition.

use conformance::Definitions;

use super::{Modifier, Reading};
use crate::issue::Problem;
use crate::search::predicate::ValueTest;
use crate::search::text::split;

/// One test for each component. A part that could be met in several ways is refused: a combination has one meaning.
pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    let parts = split(text, '$');
    let components = &reading.param.components;
    if parts.len() != components.len() {
        let names: Vec<&str> = components.iter().map(|c| c.code).collect();
        return Err(reading.bad_value(&format!(
            "`{}` is expected; a `$` inside a value is written `\\$`",
            names.join("$")
        )));
    }
    let mut tests = Vec::with_capacity(parts.len());
    for (component, part) in components.iter().zip(parts) {
        let param = Definitions::r4()
            .search_param(reading.param.base, component.code)
            .ok_or_else(|| {
                reading.bad_value(&format!("its component `{}` is not known", component.code))
            })?;
        let mut inner = Reading {
            param,
            modifier: Modifier::Plain,
            context: reading.context,
            warnings: &mut *reading.warnings,
        };
        let [test] = <[ValueTest; 1]>::try_from(super::read(&mut inner, part)?).map_err(|_| {
            reading.bad_value(&format!(
                "`{}` must name one value inside a composite",
                component.code
            ))
        })?;
        tests.push(test);
    }
    Ok(tests)
}
