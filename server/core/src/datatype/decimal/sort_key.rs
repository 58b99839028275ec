//! Decimals as bytes that a database can compare.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#number>
//!
//! Layout: zero is `80`. A positive number `0.d1d2… × 10^m` is its magnitude `m` in one byte (`C0 + m` for
//! -58..=58; `FB` or `85` and two bytes beyond) and its digits in pairs, each pair plus one. A negative number is
//! the complement of its positive, and `FF` at the end so that a longer one sorts below a shorter. `00` and `FF`
//! begin no number.

use super::Decimal;

const ZERO: u8 = 0x80;
const SHORT_MAGNITUDE_MAX: i32 = 58;
const SHORT_CENTRE: i32 = 0xC0;
const LONG_LARGE: u8 = 0xFB;
const LONG_SMALL: u8 = 0x85;
const LONG_OFFSET: i32 = 0x8000;
const NEGATIVE_END: u8 = 0xFF;

/// A decimal as bytes whose order is the order of the numbers, exact for every number of digits.
///
/// Two texts of the same value (`2.5`, `2.50`, `25e-1`) give the same key. The layout is private to
/// `decimal`; databases store it as an opaque blob and compare bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SortKey(pub(crate) Box<[u8]>);

impl SortKey {
    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Below every number.
    pub fn min() -> Self {
        Self([0x00].into())
    }

    /// Above every number.
    pub fn max() -> Self {
        Self([0xFF].into())
    }

    /// The key of a value.
    pub fn from_decimal(value: &Decimal) -> Self {
        if value.is_zero() {
            return Self([ZERO].into());
        }
        let mut bytes = Vec::with_capacity(value.digits.len() / 2 + 4);
        let magnitude = value.magnitude();
        if magnitude.abs() <= SHORT_MAGNITUDE_MAX {
            bytes.push((SHORT_CENTRE + magnitude) as u8);
        } else {
            // Parsed and computed magnitudes stay far inside two bytes; the clamp only keeps the order sane.
            let long = (magnitude + LONG_OFFSET).clamp(0, 0xFFFF) as u16;
            bytes.push(if magnitude > 0 {
                LONG_LARGE
            } else {
                LONG_SMALL
            });
            bytes.extend_from_slice(&long.to_be_bytes());
        }
        for pair in value.digits.chunks(2) {
            let tens = pair.first().copied().unwrap_or(0);
            let ones = pair.get(1).copied().unwrap_or(0);
            bytes.push(tens * 10 + ones + 1);
        }
        if value.is_negative() {
            bytes.iter_mut().for_each(|b| *b = !*b);
            bytes.push(NEGATIVE_END);
        }
        Self(bytes.into())
    }

    /// The value of a key; `None` for [`Self::min`], [`Self::max`] and bytes that are no key.
    pub fn to_decimal(&self) -> Option<Decimal> {
        let first = *self.0.first()?;
        if self.0.as_ref() == [ZERO] {
            return Some(Decimal::from(0));
        }
        let is_negative = first < ZERO;
        let bytes: Vec<u8> = match self.0.strip_suffix(&[NEGATIVE_END]) {
            Some(rest) if is_negative => rest.iter().map(|b| !b).collect(),
            None if !is_negative => self.0.to_vec(),
            _ => return None,
        };
        let (magnitude, pairs) = match bytes.as_slice() {
            [LONG_LARGE | LONG_SMALL, high, low, pairs @ ..] => (
                i32::from(u16::from_be_bytes([*high, *low])) - LONG_OFFSET,
                pairs,
            ),
            [short, pairs @ ..] => (i32::from(*short) - SHORT_CENTRE, pairs),
            [] => return None,
        };
        let mut digits = Vec::with_capacity(pairs.len() * 2);
        for pair in pairs {
            let value = pair.checked_sub(1).filter(|v| *v < 100)?;
            digits.extend([value / 10, value % 10]);
        }
        let last_place = magnitude - digits.len() as i32;
        (!digits.is_empty()).then(|| Decimal::from_digits(is_negative, digits, last_place))
    }
}
