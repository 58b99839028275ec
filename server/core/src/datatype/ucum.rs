//! Numbers carried from one UCUM unit into another of the same dimension, exactly or between close bounds.
//!
//! Spec: <https://ucum.org/ucum>, <https://hl7.org/fhir/R4/search.html#quantity>. Left out: units on scales that
//! are not linear, such as `[pH]`: they are found in the unit they were recorded in.

use octofhir_ucum::{CanonicalUnit, Number};

/// Significant digits up to which a result of the library's arithmetic, which rounds at 28, is taken as exact.
const EXACT_DIGITS_MAX: usize = 22;

/// A rounded result is off by less than its 10^-26th part.
const ROUNDING_EXPONENT: i32 = -26;

/// Longest unit code looked at, in bytes; the longest in use have under fifty.
const CODE_BYTES_MAX: usize = 200;

/// A lower and an upper bound of `number` in the unit `to`, as decimal texts; equal when the conversion is exact.
///
/// `None` when a code is unknown or special, or the units measure different things.
pub fn convert(number: &str, from: &str, to: &str) -> Option<(String, String)> {
    let (from, to) = (unit(from)?, unit(to)?);
    if from.unit != to.unit {
        return None;
    }
    let scaled = Number::parse(number)?.checked_mul(from.factor)?;
    // Temperatures begin at another zero.
    let base = scaled.checked_add(from.offset)?.checked_sub(to.offset)?;
    let converted = base.checked_div(to.factor)?;
    let (digits, _) = converted.to_integer_and_exponent();
    if digits.unsigned_abs().to_string().len() <= EXACT_DIGITS_MAX {
        return Some((converted.to_string(), converted.to_string()));
    }
    // The error is of the size of what was added and subtracted, which may be far larger than the result.
    let size = scaled.abs().checked_add(from.offset.abs())?;
    let size = size.checked_add(to.offset.abs())?;
    let error = size
        .checked_div(to.factor)?
        .abs()
        .checked_mul(Number::power_of_ten(ROUNDING_EXPONENT))?;
    let (low, high) = (converted.checked_sub(error)?, converted.checked_add(error)?);
    Some((low.to_string(), high.to_string()))
}

/// Whether a text is a UCUM unit.
pub fn is_unit(code: &str) -> bool {
    !code.is_empty()
        && code.len() <= CODE_BYTES_MAX
        && octofhir_ucum::get_canonical_units(code).is_ok()
}

/// A unit as a multiple of base units from a zero of its own.
fn unit(code: &str) -> Option<CanonicalUnit> {
    if code.is_empty() || code.len() > CODE_BYTES_MAX {
        return None;
    }
    let unit = octofhir_ucum::get_canonical_units(code).ok()?;
    (!unit.factor.is_zero()).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-019, RC-001
    #[test]
    fn units_of_one_dimension_convert_exactly() {
        for (number, from, to, expected) in [
            ("5.4", "mg", "ug", Some("5400")),
            ("5400", "ug", "mg", Some("5.4")),
            ("1", "[in_i]", "cm", Some("2.54")),
            ("90", "mg/dL", "g/L", Some("0.9")),
            ("1", "h", "min", Some("60")),
            ("2.50", "mg", "mg", Some("2.5")),
            ("1", "mg", "mL", None),
            ("1", "mg/dL", "mmol/L", None),
            ("37", "Cel", "K", Some("310.15")),
            ("7", "[pH]", "mol/L", None),
            ("1", "[iU]/L", "[arb'U]/L", None),
            ("1", "nonsense", "mg", None),
            ("1", "", "mg", None),
            ("x", "mg", "g", None),
        ] {
            let found = convert(number, from, to);
            let expected = expected.map(|e| (e.to_owned(), e.to_owned()));
            assert_eq!(found, expected, "{number} {from} -> {to}");
        }
    }

    #[test]
    fn an_endless_result_lies_between_its_bounds() {
        let (low, high) = convert("1", "min", "h").unwrap();
        assert!(low < high, "{low} {high}");
        assert!(
            low.starts_with("0.016666666666666666") && high.starts_with("0.016666666666666666")
        );
    }

    #[test]
    fn fahrenheit_lies_within_a_hair_of_celsius() {
        let (low, high) = convert("98.6", "[degF]", "Cel").unwrap();
        let is_near =
            |text: &str| text.starts_with("37") || text.starts_with("36.99999999999999999999");
        assert!(is_near(&low) && is_near(&high), "{low} {high}");
    }
}
