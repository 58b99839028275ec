//! Decimals compared by value without ever becoming binary fractions.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#decimal>, <https://hl7.org/fhir/R4/search.html#number>
//!
//! Left out: anything binary. What cannot be exact (quotients, roots) is in [`division`], to a stated number of digits.

use std::cmp::Ordering;
use std::fmt;

mod arithmetic;
mod division;
mod sort_key;
#[cfg(test)]
mod tests;

pub use division::{QUOTIENT_DIGITS, Rounding};
pub use sort_key::SortKey;

/// Most digits a decimal may be written with. Exact measurements stay under 40; a bound keeps hostile input cheap.
pub const DECIMAL_DIGITS_MAX: usize = 1_000;

/// Largest exponent a decimal may be written with, in powers of ten, either sign. Physical quantities stay under
/// 100; a bound keeps exact sums small.
pub const DECIMAL_EXPONENT_MAX: i32 = 10_000;

/// Most digits of a computed result; past it the operation answers `None` instead of growing.
pub const DECIMAL_RESULT_DIGITS_MAX: usize = 4_000;

/// An exact decimal. Equality and order are those of the numbers: `2.5 == 2.50`.
#[derive(Debug, Clone)]
pub struct Decimal {
    is_negative: bool,
    /// Values 0 to 9, most significant first, no zero at either end; empty for zero.
    digits: Vec<u8>,
    /// Power of ten of the last of `digits`.
    exponent: i32,
    /// Power of ten of the last digit as written, which carries the precision.
    last_place: i32,
    /// Whether it was written as a whole number with an exponent, like `1e2`.
    is_whole_with_exponent: bool,
}

/// Why a text is no decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// Not of the form `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
    NotADecimal,
    /// More than [`DECIMAL_DIGITS_MAX`] digits.
    TooManyDigits,
    /// An exponent beyond [`DECIMAL_EXPONENT_MAX`].
    ExponentTooLarge,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADecimal => f.write_str("not a decimal; write it like `-12.50` or `1.25e3`"),
            Self::TooManyDigits => {
                write!(f, "a decimal with more than {DECIMAL_DIGITS_MAX} digits")
            }
            Self::ExponentTooLarge => write!(
                f,
                "a decimal with an exponent beyond {DECIMAL_EXPONENT_MAX}"
            ),
        }
    }
}

impl std::error::Error for DecimalError {}

impl Decimal {
    /// Reads a decimal as FHIR writes it, which is also JSON's number and the text of a search.
    ///
    /// # Errors
    /// [`DecimalError`]
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, written_exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(parse_exponent(exponent)?)),
            None => (rest, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_digits(whole) || has_leading_zero || !fraction.is_none_or(is_digits) {
            return Err(DecimalError::NotADecimal);
        }
        let fraction = fraction.unwrap_or("");
        if whole.len() + fraction.len() > DECIMAL_DIGITS_MAX {
            return Err(DecimalError::TooManyDigits);
        }
        let last_place = written_exponent.unwrap_or(0) - fraction.len() as i32;
        let mut digits = Vec::with_capacity(whole.len() + fraction.len());
        digits.extend(
            whole
                .bytes()
                .chain(fraction.bytes())
                .map(|b| b - b'0')
                .skip_while(|d| *d == 0),
        );
        let mut decimal = Self::from_digits(is_negative, digits, last_place);
        decimal.is_whole_with_exponent = written_exponent.is_some() && fraction.is_empty();
        Ok(decimal)
    }

    /// A value from digits that may have zeros at the end, not at the start.
    fn from_digits(is_negative: bool, mut digits: Vec<u8>, last_place: i32) -> Self {
        let written = digits.len();
        let significant = written - digits.iter().rev().take_while(|d| **d == 0).count();
        digits.truncate(significant);
        let is_zero = digits.is_empty();
        Self {
            is_negative: is_negative && !is_zero,
            exponent: if is_zero {
                0
            } else {
                last_place + (written - significant) as i32
            },
            digits,
            last_place,
            is_whole_with_exponent: false,
        }
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.is_negative
    }

    /// Power of ten just above the first digit: the value is `0.d1d2… × 10^magnitude`.
    fn magnitude(&self) -> i32 {
        self.exponent + self.digits.len() as i32
    }

    /// The half-open range of numbers that the text stands for: half a unit of its last digit to each side.
    ///
    /// `100` is `[99.5, 100.5)` and `1.00` is `[0.995, 1.005)`. The spec reads `1e2` as `[95, 105)`, so a whole
    /// number with an exponent counts as if it had one more digit (`1.0e2`).
    /// Spec: <https://hl7.org/fhir/R4/search.html#number>
    pub fn implicit_range(&self) -> (Decimal, Decimal) {
        let last_place = self.last_place - i32::from(self.is_whole_with_exponent);
        self.widened(&Self::from_digits(false, vec![5], last_place - 1))
    }

    /// The range for the prefix `ap`: ten percent to each side, never narrower than [`Self::implicit_range`].
    /// Spec: <https://hl7.org/fhir/R4/search.html#prefix>
    pub fn approximate_range(&self) -> (Decimal, Decimal) {
        let tenth = Self {
            is_negative: false,
            exponent: self.exponent - 1,
            ..self.clone()
        };
        let (wide, narrow) = (self.widened(&tenth), self.implicit_range());
        (wide.0.min(narrow.0), wide.1.max(narrow.1))
    }

    /// The value less and plus `half`; where exact sums would grow past the limit the value stands alone.
    fn widened(&self, half: &Decimal) -> (Decimal, Decimal) {
        match (self.checked_sub(half), self.checked_add(half)) {
            (Some(low), Some(high)) => (low, high),
            _ => (self.clone(), self.clone()),
        }
    }

    /// The value times `10^places`, rounded half away from zero; `None` when it does not fit.
    pub fn to_scaled_i64(&self, places: u32) -> Option<i64> {
        let shifted = i64::from(self.exponent) + i64::from(places);
        let mut total: i64 = 0;
        let kept = usize::try_from((self.digits.len() as i64 + shifted.min(0)).max(0)).ok()?;
        for digit in self.digits.iter().take(kept) {
            total = total.checked_mul(10)?.checked_add(i64::from(*digit))?;
        }
        let is_in_reach = self.digits.len() as i64 + shifted >= 0;
        if shifted < 0 && is_in_reach && self.digits.get(kept).is_some_and(|d| *d >= 5) {
            total = total.checked_add(1)?;
        }
        for _ in 0..shifted.max(0) {
            if total != 0 {
                total = total.checked_mul(10)?;
            }
        }
        Some(if self.is_negative { -total } else { total })
    }
}

fn parse_exponent(text: &str) -> Result<i32, DecimalError> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..).unwrap_or("")),
        [b'+', ..] => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotADecimal);
    }
    let value: i32 = digits.parse().map_err(|_| DecimalError::ExponentTooLarge)?;
    if value > DECIMAL_EXPONENT_MAX {
        return Err(DecimalError::ExponentTooLarge);
    }
    Ok(if is_negative { -value } else { value })
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        let digits = value
            .unsigned_abs()
            .to_string()
            .bytes()
            .map(|b| b - b'0')
            .skip_while(|d| *d == 0)
            .collect();
        Self::from_digits(value < 0, digits, 0)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Self| {
            if d.is_zero() {
                0
            } else {
                1 - 2 * i32::from(d.is_negative)
            }
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || self.is_zero() {
            return by_sign;
        }
        let by_size = self
            .magnitude()
            .cmp(&other.magnitude())
            .then_with(|| self.digits.cmp(&other.digits));
        if self.is_negative {
            by_size.reverse()
        } else {
            by_size
        }
    }
}

/// The value with the precision it was written with: plain where short and with an exponent where not.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Zeros written out before an exponent is shorter to read.
        const PLAIN_ZEROS_MAX: i32 = 20;
        let mut digits: String = self.digits.iter().map(|d| char::from(b'0' + d)).collect();
        let mut exponent = self.exponent;
        let zeros = self.exponent.saturating_sub(self.last_place);
        if (1..=PLAIN_ZEROS_MAX).contains(&zeros) {
            digits.push_str(&"0".repeat(zeros as usize));
            exponent = self.last_place;
        }
        if digits.is_empty() {
            digits.push('0');
        }
        let sign = if self.is_negative { "-" } else { "" };
        let magnitude = exponent + digits.len() as i32;
        if (0..=PLAIN_ZEROS_MAX).contains(&exponent) {
            write!(f, "{sign}{digits}{}", "0".repeat(exponent as usize))
        } else if exponent < 0 && magnitude > 0 {
            let (whole, fraction) = digits.split_at(magnitude as usize);
            write!(f, "{sign}{whole}.{fraction}")
        } else if exponent < 0 && magnitude > -PLAIN_ZEROS_MAX {
            let zeros = "0".repeat(magnitude.unsigned_abs() as usize);
            write!(f, "{sign}0.{zeros}{digits}")
        } else {
            write!(f, "{sign}{digits}e{exponent}")
        }
    }
}
