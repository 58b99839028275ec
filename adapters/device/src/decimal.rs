//! Exact decimal arithmetic for measured values: no floating point, every rounding asked for by name.
//!
//! FHIR decimal (<https://hl7.org/fhir/R4/datatypes.html#decimal>): trailing zeros are precision and are kept.
//!
//! Left out on purpose: numbers of more than [`DIGITS_MAX`] digits. No sensor has them; they are refused, not cut.

use std::cmp::Ordering;
use std::fmt;

/// Most significant digits of a number. Instruments send under 20; products of two such numbers fit 128 bits.
pub const DIGITS_MAX: usize = 34;
/// Largest power of ten a text may carry, either way.
const EXPONENT_MAX: i32 = 64;

/// A decimal: `mantissa` × 10^-`scale`. Two decimals are equal when their digits are; [`Decimal::compare`] compares
/// values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Zero without decimals.
    pub const ZERO: Decimal = Decimal {
        mantissa: 0,
        scale: 0,
    };

    /// `mantissa` × 10^-`scale`.
    pub fn new(mantissa: i128, scale: u32) -> Self {
        Self { mantissa, scale }
    }

    /// Reads `-12.50` or `1.5e-3`, blanks around it allowed. `None` for anything else, or too many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (main, exponent) = match text.split_once(['e', 'E']) {
            Some((main, exponent)) => (
                main,
                exponent
                    .strip_prefix('+')
                    .unwrap_or(exponent)
                    .parse::<i32>()
                    .ok()?,
            ),
            None => (text, 0),
        };
        let (negative, digits) = match main.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, main.strip_prefix('+').unwrap_or(main)),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return None,
            Some(pair) => pair,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return None;
        }
        let significant = whole.trim_start_matches('0').len() + fraction.len();
        if significant > DIGITS_MAX || exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let fold =
            |value: i128, byte: u8| value.checked_mul(10)?.checked_add(i128::from(byte - b'0'));
        let size = whole
            .bytes()
            .chain(fraction.bytes())
            .try_fold(0_i128, fold)?;
        let mantissa = if negative { -size } else { size };
        let scale = u32::try_from(fraction.len()).ok()?;
        Self { mantissa, scale }.shifted(exponent)
    }

    /// The value times ten to a power: the point moves, the digits stay.
    pub fn shifted(self, power: i32) -> Option<Self> {
        let scale = i64::from(self.scale) - i64::from(power);
        match u32::try_from(scale) {
            Ok(scale) if scale <= EXPONENT_MAX.unsigned_abs() * 2 => Some(Self { scale, ..self }),
            Ok(_) => None,
            Err(_) => {
                let up = u32::try_from(-scale).ok()?;
                let mantissa = self.mantissa.checked_mul(10_i128.checked_pow(up)?)?;
                Some(Self { mantissa, scale: 0 })
            }
        }
    }

    /// Digits behind the point.
    pub fn scale(self) -> u32 {
        self.scale
    }

    /// The whole number made of all digits.
    pub fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// The sum, with the longer fraction of the two.
    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let mantissa = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Self { mantissa, scale })
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self {
            mantissa: other.mantissa.checked_neg()?,
            ..other
        })
    }

    /// The exact product.
    pub fn times(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self {
            mantissa,
            scale: self.scale.checked_add(other.scale)?,
        })
    }

    /// The quotient rounded half to even to `decimals` digits behind the point. `None` for a zero divisor.
    pub fn divided(self, by: Self, decimals: u32) -> Option<Self> {
        // (a / 10^s) / (b / 10^t) = a·10^t / (b·10^s); `decimals` more digits go on top.
        let top = self
            .mantissa
            .checked_mul(10_i128.checked_pow(by.scale.checked_add(decimals)?)?)?;
        let bottom = by.mantissa.checked_mul(10_i128.checked_pow(self.scale)?)?;
        Some(Self {
            mantissa: divide_half_even(top, bottom)?,
            scale: decimals,
        })
    }

    /// The value rounded half to even to `decimals` digits behind the point.
    pub fn rounded(self, decimals: u32) -> Option<Self> {
        if decimals >= self.scale {
            let mantissa = self.at_scale(decimals)?;
            return Some(Self {
                mantissa,
                scale: decimals,
            });
        }
        let unit = 10_i128.checked_pow(self.scale - decimals)?;
        Some(Self {
            mantissa: divide_half_even(self.mantissa, unit)?,
            scale: decimals,
        })
    }

    /// The size without its sign.
    pub fn absolute(self) -> Self {
        Self {
            mantissa: self.mantissa.saturating_abs(),
            ..self
        }
    }

    /// True for zero of any precision.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The digits as a whole number at a scale at least as long; `None` when that does not fit.
    pub fn at_scale(self, scale: u32) -> Option<i128> {
        self.mantissa
            .checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    /// Compares values: 1.0 equals 1.00.
    pub fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.at_scale(scale), other.at_scale(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // One of them is too large to write at the other's precision, so it is the one further from zero.
            (None, _) => self.mantissa.cmp(&0),
            (_, None) => 0.cmp(&other.mantissa),
        }
    }

    /// The whole number, when there is nothing behind the point but zeros.
    pub fn whole(self) -> Option<i128> {
        let unit = 10_i128.checked_pow(self.scale)?;
        (self.mantissa % unit == 0).then(|| self.mantissa / unit)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        match digits.split_at_checked(digits.len() - scale) {
            Some((whole, fraction)) => write!(f, "{sign}{whole}.{fraction}"),
            None => write!(f, "{sign}{digits}"),
        }
    }
}

/// Division of whole numbers, rounded half to even.
pub(crate) fn divide_half_even(top: i128, bottom: i128) -> Option<i128> {
    let quotient = top.checked_div(bottom)?;
    let rest = top.checked_rem(bottom)?;
    let twice = rest.unsigned_abs().checked_mul(2)?;
    let away = if (top < 0) == (bottom < 0) { 1 } else { -1 };
    match twice.cmp(&bottom.unsigned_abs()) {
        Ordering::Less => Some(quotient),
        Ordering::Greater => quotient.checked_add(away),
        Ordering::Equal if quotient % 2 == 0 => Some(quotient),
        Ordering::Equal => quotient.checked_add(away),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn digits_survive() {
        for (text, expected) in [
            ("37.00", "37.00"),
            ("0", "0"),
            ("-0.50", "-0.50"),
            (" 72 ", "72"),
            ("+7", "7"),
            ("1e3", "1000"),
            ("1.50e-3", "0.00150"),
            ("74126e-3", "74.126"),
            (
                "12345678901234567890.123456789",
                "12345678901234567890.123456789",
            ),
        ] {
            assert_eq!(d(text).to_string(), expected, "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "1.",
            "1,5",
            "NaN",
            "1e",
            "1e99",
            "0x10",
            "1 2",
            &"9".repeat(35),
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact_and_rounding_is_half_even() {
        assert_eq!(
            d("0.98").times(d("100")).map(|d| d.to_string()),
            Some("98.00".into())
        );
        assert_eq!(
            d("1.750").shifted(2).map(|d| d.to_string()),
            Some("175.0".into())
        );
        assert_eq!(
            d("0.1").plus(d("0.20")).map(|d| d.to_string()),
            Some("0.30".into())
        );
        assert_eq!(
            d("16").divided(d("0.133322"), 4).map(|d| d.to_string()),
            Some("120.0102".into())
        );
        for (value, expected) in [
            ("0.5", "0"),
            ("1.5", "2"),
            ("2.5", "2"),
            ("-2.5", "-2"),
            ("-1.5", "-2"),
            ("2.51", "3"),
        ] {
            assert_eq!(
                d(value).rounded(0).map(|d| d.to_string()),
                Some(expected.into()),
                "{value}"
            );
        }
        assert_eq!(d("1").divided(Decimal::ZERO, 2), None);
    }

    #[test]
    fn comparison_is_by_value() {
        assert_eq!(d("1.0").compare(d("1.00")), Ordering::Equal);
        assert_eq!(d("-1").compare(d("0.001")), Ordering::Less);
        assert_eq!(
            d("1e33").compare(d("1.0000000000000001")),
            Ordering::Greater
        );
        assert_eq!(d("2.000").whole(), Some(2));
        assert_eq!(d("2.5").whole(), None);
    }
}
