//! IEEE 11073 SFLOAT and FLOAT as decimals with the sender's precision, or as the reason why there is no value.
//!
//! IEEE 11073-20601 annex F.7 by way of <https://hl7.org/fhir/uv/phd/>: exponent and mantissa are two's complement,
//! trailing zeros carry precision, five bit patterns of exponent zero are no numbers.
//!
//! Left out on purpose: encoding. We only read.

use fhir_core::json::{Number, Value};

use crate::decimal::Decimal;

/// What an IEEE 11073 number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A number; `2.0` and `2.00` differ.
    Value(Decimal),
    /// No number. The code is of <https://hl7.org/fhir/R4/codesystem-data-absent-reason.html>.
    Absent(&'static str),
}

/// The code for "not a number": no result, a finger that was out.
pub const NOT_A_NUMBER: &str = "not-a-number";
/// The code for "not at this resolution", for reserved patterns, and for "measurement unsuccessful".
pub const ERROR: &str = "error";

impl Reading {
    /// A 16-bit SFLOAT: four bits of exponent, twelve of mantissa.
    pub fn sfloat(bits: u16) -> Self {
        match bits {
            0x07ff => return Reading::Absent(NOT_A_NUMBER),
            0x0800 | 0x0801 => return Reading::Absent(ERROR),
            0x07fe => return Reading::Absent("positive-infinity"),
            0x0802 => return Reading::Absent("negative-infinity"),
            _ => {}
        }
        Self::of(
            sign_extended(u32::from(bits & 0x0fff), 12),
            sign_extended(u32::from(bits >> 12), 4),
        )
    }

    /// A 32-bit FLOAT: eight bits of exponent, twenty-four of mantissa.
    pub fn float(bits: u32) -> Self {
        match bits {
            0x007f_ffff => return Reading::Absent(NOT_A_NUMBER),
            0x0080_0000 | 0x0080_0001 => return Reading::Absent(ERROR),
            0x007f_fffe => return Reading::Absent("positive-infinity"),
            0x0080_0002 => return Reading::Absent("negative-infinity"),
            _ => {}
        }
        Self::of(
            sign_extended(bits & 0x00ff_ffff, 24),
            sign_extended(bits >> 24, 8),
        )
    }

    fn of(mantissa: i32, exponent: i32) -> Self {
        // An exponent beyond what a decimal holds (10^±64 and more) is no measurement of a body.
        match Decimal::new(i128::from(mantissa), 0).shifted(exponent) {
            Some(decimal) => Reading::Value(decimal),
            None => Reading::Absent(ERROR),
        }
    }

    /// The value times ten to a power; a reason stays.
    pub fn shifted(self, power: i32) -> Self {
        match self {
            Reading::Value(decimal) => decimal
                .shifted(power)
                .map_or(Reading::Absent(ERROR), Reading::Value),
            absent => absent,
        }
    }

    /// A JSON number, or `{"absent": code}`.
    pub fn to_value(self) -> Value {
        match self {
            Reading::Value(decimal) => number(decimal),
            Reading::Absent(code) => Value::object([("absent", Value::from(code))]),
        }
    }
}

/// A decimal as a JSON number.
pub(crate) fn number(decimal: Decimal) -> Value {
    Number::parse(&decimal.to_string()).map_or(Value::Null, Value::Number)
}

fn sign_extended(bits: u32, width: u32) -> i32 {
    let unused = 32 - width;
    (bits << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reading: Reading) -> String {
        match reading {
            Reading::Value(d) => d.to_string(),
            Reading::Absent(code) => code.to_owned(),
        }
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn sfloat_keeps_precision_and_special_values() {
        for (bits, expected) in [
            (0xf014, "2.0"),
            (0x0048, "72"),
            (0x1002, "20"),
            (0xf165, "35.7"),
            (0xff38, "-20.0"),
            (0x8001, "0.00000001"),
            (0x7001, "10000000"),
            (0x0000, "0"),
            (0xe000, "0.00"),
            (0x0fff, "-1"),
            (0x0803, "-2045"),
            (0x07fd, "2045"),
            (0x07ff, "not-a-number"),
            (0x0800, "error"),
            (0x0801, "error"),
            (0x07fe, "positive-infinity"),
            (0x0802, "negative-infinity"),
        ] {
            assert_eq!(text(Reading::sfloat(bits)), expected, "{bits:04x}");
        }
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn float_keeps_precision_and_special_values() {
        for (bits, expected) in [
            (0xff00_016e, "36.6"),
            (0xfe00_0e4c, "36.60"),
            (0x0000_0025, "37"),
            (0x0200_0003, "300"),
            (0xffff_ff9c, "-10.0"),
            (0xfe80_0000, "-83886.08"),
            (0x007f_ffff, "not-a-number"),
            (0x0080_0000, "error"),
            (0x0080_0001, "error"),
            (0x007f_fffe, "positive-infinity"),
            (0x0080_0002, "negative-infinity"),
            (0x7f00_0001, "error"),
        ] {
            assert_eq!(text(Reading::float(bits)), expected, "{bits:08x}");
        }
    }
}
