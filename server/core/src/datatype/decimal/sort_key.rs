//! Decimals as bytes that a database can compare.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html#number>
//!
//! Layout: zero is `80`. A positive number `0.d1d2… × 10^m` is its magnitude `m` in one byte (`C0 + m` for
//! -58..=58; `FB` or `85` and two bytes beyond) and its digits in pairs, each pair plus one. A negative number is
//! the complement of its positive, and `FF` at the end so that a longer one sorts below a shorter. `00` and `FF`
//! begin no number.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::Decimal;

const ZERO: u8 = 0x80;
const SHORT_MAGNITUDE_MAX: i32 = 58;
const SHORT_CENTRE: i32 = 0xC0;
const LONG_LARGE: u8 = 0xFB;
const LONG_SMALL: u8 = 0x85;
const LONG_OFFSET: i32 = 0x8000;
const NEGATIVE_END: u8 = 0xFF;

/// Bytes a key holds without an allocation. Clinical numbers need 2 to 6; this fills the size of the heap form.
const INLINE_BYTES: usize = 22;

/// A decimal as bytes whose order is the order of the numbers, exact for every number of digits.
///
/// Two texts of the same value (`2.5`, `2.50`, `25e-1`) give the same key. The layout is private to
/// `decimal`; databases store it as an opaque blob and compare bytes.
#[derive(Clone)]
pub struct SortKey(Bytes);

#[derive(Clone)]
enum Bytes {
    Inline {
        length: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Heap(Box<[u8]>),
}

impl SortKey {
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(bytes);
                Self(Bytes::Inline {
                    length,
                    bytes: inline,
                })
            }
            _ => Self(Bytes::Heap(bytes.into())),
        }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Bytes::Heap(bytes) => bytes,
        }
    }

    /// Below every number.
    pub fn min() -> Self {
        Self::from_bytes(&[0x00])
    }

    /// Above every number.
    pub fn max() -> Self {
        Self::from_bytes(&[0xFF])
    }

    /// The key of a value.
    pub fn from_decimal(value: &Decimal) -> Self {
        if value.is_zero() {
            return Self::from_bytes(&[ZERO]);
        }
        // Two digits a byte, and room for sign and magnitude: nearly always few enough to need no allocation.
        let mut inline = [0; INLINE_BYTES];
        let mut heap;
        let length_max = value.digits.len().div_ceil(2) + 4;
        let bytes: &mut [u8] = match inline.get_mut(..length_max) {
            Some(room) => room,
            None => {
                heap = vec![0; length_max];
                &mut heap
            }
        };
        let mut length = 0;
        let mut push = |byte: u8| {
            if let Some(place) = bytes.get_mut(length) {
                *place = if value.is_negative() { !byte } else { byte };
                length += 1;
            }
        };
        let magnitude = value.magnitude();
        if magnitude.abs() <= SHORT_MAGNITUDE_MAX {
            push((SHORT_CENTRE + magnitude) as u8);
        } else {
            // Parsed and computed magnitudes stay far inside two bytes; the clamp only keeps the order sane.
            let long = (magnitude + LONG_OFFSET).clamp(0, 0xFFFF) as u16;
            push(if magnitude > 0 {
                LONG_LARGE
            } else {
                LONG_SMALL
            });
            long.to_be_bytes().into_iter().for_each(&mut push);
        }
        for pair in value.digits.chunks(2) {
            let tens = pair.first().copied().unwrap_or(0);
            let ones = pair.get(1).copied().unwrap_or(0);
            push(tens * 10 + ones + 1);
        }
        if value.is_negative() {
            push(!NEGATIVE_END);
        }
        Self::from_bytes(bytes.get(..length).unwrap_or_default())
    }

    /// The value of a key; `None` for [`Self::min`], [`Self::max`] and bytes that are no key.
    pub fn to_decimal(&self) -> Option<Decimal> {
        let key = self.as_bytes();
        let first = *key.first()?;
        if key == [ZERO] {
            return Some(Decimal::from(0));
        }
        let is_negative = first < ZERO;
        let bytes: Vec<u8> = match key.strip_suffix(&[NEGATIVE_END]) {
            Some(rest) if is_negative => rest.iter().map(|b| !b).collect(),
            None if !is_negative => key.to_vec(),
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
        if digits.last() == Some(&0) {
            digits.pop();
        }
        let last_place = magnitude - digits.len() as i32;
        (!digits.is_empty()).then(|| Decimal::from_digits(is_negative, digits, last_place))
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for SortKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// The number, so that failing tests can be read.
impl fmt::Debug for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_decimal() {
            Some(value) => write!(f, "SortKey({value})"),
            None => write!(f, "SortKey({:02x?})", self.as_bytes()),
        }
    }
}
