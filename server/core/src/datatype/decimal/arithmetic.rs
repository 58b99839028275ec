//! Exact sums and products of decimals.
//!
//! Spec: <https://hl7.org/fhir/R4/datatypes.html#decimal>

use std::cmp::Ordering;

use super::{DECIMAL_RESULT_DIGITS_MAX, Decimal};

impl Decimal {
    /// The exact sum; `None` past [`DECIMAL_RESULT_DIGITS_MAX`] digits.
    pub fn checked_add(&self, other: &Decimal) -> Option<Decimal> {
        let last_place = self.exponent.min(other.exponent);
        let (a, b) = (self.aligned(last_place)?, other.aligned(last_place)?);
        let (is_negative, digits) = if self.is_negative == other.is_negative {
            (self.is_negative, sum(&a, &b))
        } else {
            match compare(&a, &b) {
                Ordering::Less => (other.is_negative, difference(&b, &a)),
                _ => (self.is_negative, difference(&a, &b)),
            }
        };
        Some(Self::from_digits(
            is_negative,
            without_leading_zeros(digits),
            last_place,
        ))
    }

    /// The exact difference; `None` past [`DECIMAL_RESULT_DIGITS_MAX`] digits.
    pub fn checked_sub(&self, other: &Decimal) -> Option<Decimal> {
        self.checked_add(&other.negated())
    }

    /// The exact product; `None` past [`DECIMAL_RESULT_DIGITS_MAX`] digits.
    pub fn checked_mul(&self, other: &Decimal) -> Option<Decimal> {
        let length = self.digits.len() + other.digits.len();
        if length > DECIMAL_RESULT_DIGITS_MAX {
            return None;
        }
        let mut cells = vec![0u64; length];
        for (i, a) in self.digits.iter().rev().enumerate() {
            for (j, b) in other.digits.iter().rev().enumerate() {
                if let Some(cell) = cells.get_mut(i + j) {
                    *cell += u64::from(*a) * u64::from(*b);
                }
            }
        }
        let mut carry = 0;
        let mut digits: Vec<u8> = Vec::with_capacity(length);
        for cell in cells {
            let total = cell + carry;
            digits.push((total % 10) as u8);
            carry = total / 10;
        }
        digits.reverse();
        let is_negative = self.is_negative != other.is_negative;
        let last_place = self.exponent.checked_add(other.exponent)?;
        Some(Self::from_digits(
            is_negative,
            without_leading_zeros(digits),
            last_place,
        ))
    }

    /// The value with the other sign.
    pub fn negated(&self) -> Decimal {
        Self {
            is_negative: !self.is_negative && !self.is_zero(),
            ..self.clone()
        }
    }

    /// Digits down to the power of ten `last_place`, which is at or below the own last digit.
    fn aligned(&self, last_place: i32) -> Option<Vec<u8>> {
        let zeros = if self.is_zero() {
            0
        } else {
            usize::try_from(self.exponent.checked_sub(last_place)?).ok()?
        };
        if self.digits.len() + zeros > DECIMAL_RESULT_DIGITS_MAX {
            return None;
        }
        let mut digits = self.digits.clone();
        digits.resize(digits.len() + zeros, 0);
        Some(digits)
    }
}

pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

pub(super) fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut digits = Vec::with_capacity(long.len() + 1);
    let mut carry = 0;
    let mut shorter = short.iter().rev();
    for digit in long.iter().rev() {
        let total = digit + shorter.next().copied().unwrap_or(0) + carry;
        digits.push(total % 10);
        carry = total / 10;
    }
    digits.push(carry);
    digits.reverse();
    digits
}

/// `a - b` where `a >= b`.
pub(super) fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = Vec::with_capacity(a.len());
    let mut borrow = 0;
    let mut subtrahend = b.iter().rev();
    for digit in a.iter().rev() {
        let less = subtrahend.next().copied().unwrap_or(0) + borrow;
        borrow = u8::from(*digit < less);
        digits.push(digit + 10 * borrow - less);
    }
    digits.reverse();
    digits
}

pub(super) fn without_leading_zeros(mut digits: Vec<u8>) -> Vec<u8> {
    let zeros = digits.iter().take_while(|d| **d == 0).count();
    digits.drain(..zeros);
    digits
}
