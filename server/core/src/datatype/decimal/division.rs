//! Quotients, rounding, roots, logarithms: what cannot be exact, to a stated number of digits.
//!
//! Spec: <http://hl7.org/fhirpath/N1/#math>. Left out: nothing is binary; every result is a decimal rounded half up.

use super::arithmetic::{compare, difference, sum, without_leading_zeros};
use super::{DECIMAL_RESULT_DIGITS_MAX, Decimal};

/// Significant digits of a quotient or root: what FHIRPath asks of a Decimal.
pub const QUOTIENT_DIGITS: usize = 28;

/// Digits kept while a series is summed, so that rounding errors stay behind [`QUOTIENT_DIGITS`].
const WORKING_DIGITS: usize = 56;

/// Decimal places of a logarithm.
const LOGARITHM_PLACES: u32 = 24;

/// Largest argument of `exp`; above it the result has more digits than anything measured.
const EXPONENT_ARGUMENT_MAX: i64 = 1_000;

/// Largest whole exponent of `power`.
const WHOLE_POWER_MAX: u32 = 1_000;

/// How a decimal is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, half away from zero.
    HalfUp,
    /// To the next smaller.
    Floor,
    /// To the next larger.
    Ceiling,
    /// Towards zero.
    Truncate,
}

impl Decimal {
    /// The value with this many digits behind the point.
    pub fn to_places(&self, places: u32, rounding: Rounding) -> Decimal {
        let cut = -i32::try_from(places).unwrap_or(i32::MAX);
        if self.is_zero() || self.exponent >= cut {
            return Self {
                last_place: cut,
                is_whole_with_exponent: false,
                ..self.clone()
            };
        }
        let dropped = usize::try_from(cut.saturating_sub(self.exponent)).unwrap_or(usize::MAX);
        let kept = self.digits.len().saturating_sub(dropped);
        let first_dropped = if dropped > self.digits.len() {
            0
        } else {
            self.digits.get(kept).copied().unwrap_or(0)
        };
        let is_up = match rounding {
            Rounding::HalfUp => first_dropped >= 5,
            Rounding::Floor => self.is_negative,
            Rounding::Ceiling => !self.is_negative,
            Rounding::Truncate => false,
        };
        let mut digits = self.digits.get(..kept).unwrap_or_default().to_vec();
        if is_up {
            digits = without_leading_zeros(sum(&digits, &[1]));
        }
        Self::from_digits(self.is_negative, digits, cut)
    }

    /// The value with this many significant digits at most.
    fn to_significant(&self, digits: usize) -> Decimal {
        if self.digits.len() <= digits {
            return self.clone();
        }
        let cut = self.magnitude() - i32::try_from(digits).unwrap_or(i32::MAX);
        let mut kept = self.digits.get(..digits).unwrap_or_default().to_vec();
        if self.digits.get(digits).is_some_and(|d| *d >= 5) {
            kept = without_leading_zeros(sum(&kept, &[1]));
        }
        Self::from_digits(self.is_negative, kept, cut)
    }

    /// Digits behind the point as written.
    pub fn places(&self) -> u32 {
        u32::try_from(-self.last_place.min(0)).unwrap_or(0)
    }

    /// Digits behind the point that matter: zeros at the end do not.
    pub fn significant_places(&self) -> u32 {
        u32::try_from(-self.exponent.min(0)).unwrap_or(0)
    }

    /// True without a fraction.
    pub fn is_whole(&self) -> bool {
        self.is_zero() || self.exponent >= 0
    }

    /// The quotient to [`QUOTIENT_DIGITS`]; `None` for a division by zero.
    pub fn checked_div(&self, other: &Decimal) -> Option<Decimal> {
        self.divided(other, QUOTIENT_DIGITS)
    }

    fn divided(&self, other: &Decimal, significant: usize) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        if self.is_zero() {
            return Some(self.clone());
        }
        let length = (significant + other.digits.len() + 2).max(self.digits.len());
        if length > DECIMAL_RESULT_DIGITS_MAX {
            return None;
        }
        let mut numerator = self.digits.clone();
        let padded = length - numerator.len();
        numerator.resize(length, 0);
        let (mut quotient, mut rest) = (Vec::with_capacity(length), Vec::new());
        for digit in numerator {
            if !rest.is_empty() || digit != 0 {
                rest.push(digit);
            }
            let mut times = 0;
            while compare(&rest, &other.digits).is_ge() {
                rest = without_leading_zeros(difference(&rest, &other.digits));
                times += 1;
            }
            quotient.push(times);
        }
        let last_place = self
            .exponent
            .checked_sub(i32::try_from(padded).ok()?)?
            .checked_sub(other.exponent)?;
        let is_negative = self.is_negative != other.is_negative;
        let quotient = Self::from_digits(is_negative, without_leading_zeros(quotient), last_place);
        Some(quotient.to_significant(significant).shortest())
    }

    /// The whole part of the quotient; `None` for a division by zero.
    pub fn checked_div_whole(&self, other: &Decimal) -> Option<Decimal> {
        Some(self.checked_div(other)?.to_places(0, Rounding::Truncate))
    }

    /// What a whole division leaves.
    pub fn checked_rem(&self, other: &Decimal) -> Option<Decimal> {
        self.checked_sub(&self.checked_div_whole(other)?.checked_mul(other)?)
    }

    /// The same number as if written without zeros at the end of its fraction.
    fn shortest(self) -> Self {
        Self {
            last_place: self.exponent.min(0),
            ..self
        }
    }

    fn half(&self) -> Option<Decimal> {
        self.checked_mul(&Self::from_digits(false, vec![5], -1))
    }

    /// The square root to [`QUOTIENT_DIGITS`]; `None` below zero.
    pub fn sqrt(&self) -> Option<Decimal> {
        /// Newton's method doubles the digits each time; the start is right within a factor of ten.
        const ROUNDS: usize = 14;
        if self.is_negative {
            return None;
        }
        if self.is_zero() {
            return Some(self.clone());
        }
        let mut root = Self::from_digits(false, vec![1], self.magnitude() / 2);
        for _ in 0..ROUNDS {
            let next = root.checked_add(&self.divided(&root, WORKING_DIGITS)?)?;
            root = next.half()?.to_significant(WORKING_DIGITS);
        }
        Some(root.to_significant(QUOTIENT_DIGITS).shortest())
    }

    /// Euler's number to this power; `None` past the bounds.
    pub fn exp(&self) -> Option<Decimal> {
        Some(
            self.exp_working()?
                .to_significant(QUOTIENT_DIGITS)
                .shortest(),
        )
    }

    fn exp_working(&self) -> Option<Decimal> {
        /// The argument is halved this often and the result squared as often.
        const HALVINGS: u32 = 12;
        if self.to_scaled_i64(0)?.abs() > EXPONENT_ARGUMENT_MAX {
            return None;
        }
        let small = self.divided(&Self::from(1 << HALVINGS), WORKING_DIGITS)?;
        let (mut total, mut term) = (Self::from(1), Self::from(1));
        for n in 1..=40 {
            term = term
                .checked_mul(&small)?
                .divided(&Self::from(n), WORKING_DIGITS)?;
            if term.is_zero() {
                break;
            }
            total = total.checked_add(&term)?.to_significant(WORKING_DIGITS);
        }
        for _ in 0..HALVINGS {
            total = total.checked_mul(&total)?.to_significant(WORKING_DIGITS);
        }
        Some(total)
    }

    /// The natural logarithm; `None` for zero and below.
    pub fn ln(&self) -> Option<Decimal> {
        let logarithm = self.ln_working()?;
        Some(
            logarithm
                .to_places(LOGARITHM_PLACES, Rounding::HalfUp)
                .shortest(),
        )
    }

    fn ln_working(&self) -> Option<Decimal> {
        /// Halley's method triples the digits each time once it is near, and starts within 2.4.
        const ROUNDS: usize = 9;
        if self.is_negative || self.is_zero() {
            return None;
        }
        let ln_of_ten = Self::parse("2.302585").ok()?;
        let mut found = ln_of_ten.checked_mul(&Self::from(i64::from(self.magnitude())))?;
        for _ in 0..ROUNDS {
            let power = found.exp_working()?;
            let step = self
                .checked_sub(&power)?
                .checked_mul(&Self::from(2))?
                .divided(&self.checked_add(&power)?, WORKING_DIGITS)?;
            found = found.checked_add(&step)?.to_significant(WORKING_DIGITS);
        }
        Some(found)
    }

    /// The logarithm to a base.
    pub fn log(&self, base: &Decimal) -> Option<Decimal> {
        let quotient = self
            .ln_working()?
            .divided(&base.ln_working()?, WORKING_DIGITS)?;
        Some(
            quotient
                .to_places(LOGARITHM_PLACES, Rounding::HalfUp)
                .shortest(),
        )
    }

    /// The value to a power; `None` where the result is no real number or has too many digits.
    pub fn power(&self, exponent: &Decimal) -> Option<Decimal> {
        if !exponent.is_whole() {
            let product = self
                .ln_working()?
                .checked_mul(exponent)?
                .to_significant(WORKING_DIGITS);
            return product.exp();
        }
        let times = exponent.to_scaled_i64(0)?.unsigned_abs();
        if times > u64::from(WHOLE_POWER_MAX) {
            return None;
        }
        let mut result = Self::from(1);
        for _ in 0..times {
            result = result.checked_mul(self)?;
        }
        if exponent.is_negative() {
            return Self::from(1).checked_div(&result);
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn quotients_and_roots_have_28_digits() {
        for (found, expected) in [
            (
                decimal("1").checked_div(&decimal("3")),
                "0.3333333333333333333333333333",
            ),
            (
                decimal("2").checked_div(&decimal("3")),
                "0.6666666666666666666666666667",
            ),
            (decimal("4").checked_div(&decimal("2")), "2"),
            (decimal("1").checked_div(&decimal("8")), "0.125"),
            (decimal("-7.5").checked_div(&decimal("0.25")), "-30"),
            (decimal("120").checked_div(&decimal("0.003")), "40000"),
            (decimal("7").checked_rem(&decimal("2.5")), "2"),
            (decimal("-7").checked_div_whole(&decimal("2")), "-3"),
            (decimal("81").sqrt(), "9"),
            (decimal("2").sqrt(), "1.414213562373095048801688724"),
            (decimal("0.0004").sqrt(), "0.02"),
            (decimal("0").exp(), "1"),
            (decimal("1").exp(), "2.718281828459045235360287471"),
            (decimal("-1").exp(), "0.3678794411714423215955237702"),
            (decimal("1").ln(), "0"),
            (decimal("10").ln(), "2.302585092994045684017991"),
            (decimal("0.5").ln(), "-0.693147180559945309417232"),
            (decimal("16").log(&decimal("2")), "4"),
            (decimal("100.0").log(&decimal("10.0")), "2"),
            (decimal("2.5").power(&decimal("2")), "6.25"),
            (decimal("2").power(&decimal("-2")), "0.25"),
            (
                decimal("2").power(&decimal("0.5")),
                "1.414213562373095048801688724",
            ),
        ] {
            assert_eq!(found.unwrap().to_string(), expected);
        }
        assert!(decimal("1").checked_div(&decimal("0")).is_none());
        assert!(decimal("-1").sqrt().is_none() && decimal("0").ln().is_none());
        assert!(decimal("-1").power(&decimal("0.5")).is_none());
        assert!(decimal("1e9000").exp().is_none());
    }

    #[test]
    fn rounding_keeps_the_places_asked_for() {
        for (text, places, rounding, expected) in [
            ("3.14159", 3, Rounding::HalfUp, "3.142"),
            ("2.5", 0, Rounding::HalfUp, "3"),
            ("-2.5", 0, Rounding::HalfUp, "-3"),
            ("-2.4", 0, Rounding::Floor, "-3"),
            ("2.4", 0, Rounding::Ceiling, "3"),
            ("-2.4", 0, Rounding::Ceiling, "-2"),
            ("2.9", 0, Rounding::Truncate, "2"),
            ("0.04", 1, Rounding::HalfUp, "0.0"),
            ("0.05", 1, Rounding::HalfUp, "0.1"),
            ("0.004", 1, Rounding::Ceiling, "0.1"),
            ("9.99", 1, Rounding::HalfUp, "10.0"),
            ("1.5", 4, Rounding::Floor, "1.5000"),
        ] {
            let found = decimal(text).to_places(places, rounding).to_string();
            assert_eq!(found, expected, "{text} {places} {rounding:?}");
        }
    }
}
