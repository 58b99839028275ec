//! Units: which sent texts are UCUM codes beyond doubt.
//!
//! UCUM: <https://ucum.org/ucum>; FHIR: <https://hl7.org/fhir/R4/datatypes.html#Quantity>.
//!
//! HL7 v2 senders rarely name the unit's coding system, and older ones write ISO+ codes without regard to case, where
//! `ML` is a millilitre. Read as UCUM it is a megalitre. So a unit without a named system counts as UCUM only when its
//! case-sensitive and its case-insensitive reading are the same unit; `C` and `F`, coulomb and farad in both, never do.
//!
//! Left out on purpose: conversion, and guessing units from their looks.

use octofhir_ucum::Case;

/// Longest unit looked at, in characters; the longest in use have under 30.
const UNIT_CHARS_MAX: usize = 60;

/// Physics' one-letter units, in laboratories nearly always something else when no system is named: `K/uL` is a
/// thousand there and a kelvin in UCUM, `C` a degree and a coulomb, `H` an hour and a henry.
const MISREAD: [&str; 12] = ["A", "B", "C", "F", "G", "H", "K", "M", "N", "P", "S", "T"];

/// True for a code the sender says is UCUM and that is.
pub(crate) fn is_ucum(code: &str) -> bool {
    code.len() <= UNIT_CHARS_MAX
        && !code.contains(char::is_whitespace)
        && octofhir_ucum::validate(code).is_ok()
}

/// True for a code that reads as the same UCUM unit whether or not case counts.
pub(crate) fn is_ucum_beyond_doubt(code: &str) -> bool {
    let mut atoms = code.split(['/', '.', '(', ')']);
    if atoms.any(|atom| MISREAD.contains(&atom)) || !is_ucum(code) {
        return false;
    }
    let folds = code.bytes().any(|b| b.is_ascii_alphabetic());
    !folds || same_without_case(code)
}

fn same_without_case(code: &str) -> bool {
    let Ok(expression) = octofhir_ucum::parse_expression(code) else {
        return false;
    };
    let Ok(sensitive) = octofhir_ucum::evaluate_with_case(&expression, Case::Sensitive) else {
        return false;
    };
    // No case-insensitive reading means no second meaning.
    let Ok(folded) = octofhir_ucum::parse_expression(&code.to_ascii_uppercase()) else {
        return true;
    };
    let Ok(insensitive) = octofhir_ucum::evaluate_with_case(&folded, Case::Insensitive) else {
        return true;
    };
    sensitive.factor == insensitive.factor && sensitive.dim == insensitive.dim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_units_are_not_ucum() {
        for unit in [
            "mg/dL",
            "mmol/L",
            "U/L",
            "%",
            "10*3/uL",
            "g/L",
            "mm[Hg]",
            "L",
            "kg",
            "{copies}/mL",
            "Cel",
            "s",
            "1",
        ] {
            assert!(is_ucum_beyond_doubt(unit), "{unit}");
        }
        for unit in [
            "ML", "MG", "G", "C", "F", "S", "MG/DL", "mg / dL", "K/UL", "x10^3", "", "mmHg",
            "IU/L", "MM",
        ] {
            assert!(!is_ucum_beyond_doubt(unit), "{unit}");
        }
    }
}
