//! Raw Bluetooth GATT health characteristics, `uuid` and bytes in, decoded fields out, as JSON for the mappings.
//!
//! Bluetooth SIG GATT Specification Supplement: <https://www.bluetooth.com/specifications/gss/>.
//!
//! Left out on purpose: connections, pairing and control points; a gateway does those. Times have no zone here.

mod blood_pressure;
mod body;
mod glucose;
mod heart_rate;
pub mod number;
mod oximeter;
mod reader;
mod thermometer;

use fhir_core::json::{Map, Value};

use reader::Reader;

/// Longest characteristic value, in bytes: ATT allows 512.
pub const VALUE_BYTES_MAX: usize = 512;

/// Why bytes are no value of their characteristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GattError {
    /// Fewer bytes than the flags announce.
    #[error("the value ends before `{field}`, which its flags announce")]
    TooShort {
        /// The first field that is missing.
        field: &'static str,
    },
    /// More bytes than the flags announce.
    #[error("{bytes} bytes follow the last field the flags announce")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// A field outside what the service allows.
    #[error("`{field}` is outside its range")]
    Range {
        /// The field.
        field: &'static str,
    },
    /// The checksum does not match.
    #[error("the checksum does not match; have the value sent again")]
    Checksum,
    /// Not pairs of hexadecimal digits.
    #[error("the value is not hexadecimal pairs")]
    Hex,
    /// A characteristic we do not read.
    #[error("the characteristic is not one this decoder reads")]
    Unknown,
}

/// Decodes a characteristic's value. `uuid` is the 16-bit form or the 128-bit form of the Bluetooth base UUID, in any
/// case. Most values are one record; 2AA7 may carry several.
///
/// # Errors
/// [`GattError`]: nothing of a value that does not fit its flags is used.
pub fn decode(uuid: &str, value: &[u8]) -> Result<Vec<Value>, GattError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(GattError::TooLong {
            bytes: value.len() - VALUE_BYTES_MAX,
        });
    }
    let short = short_uuid(uuid).ok_or(GattError::Unknown)?;
    let reader = Reader::new(value);
    let one = |record: Result<Map, GattError>| record.map(|r| vec![r]);
    let records = match short {
        0x2a37 => one(heart_rate::measurement(reader)),
        0x2a35 => one(blood_pressure::measurement(reader)),
        0x2a36 => one(blood_pressure::intermediate(reader)),
        0x2a1c | 0x2a1e => one(thermometer::measurement(reader)),
        0x2a5e => one(oximeter::spot_check(reader)),
        0x2a5f => one(oximeter::continuous(reader)),
        0x2a18 => one(glucose::measurement(reader)),
        0x2aa7 => glucose::continuous(reader),
        0x2a9d => one(body::weight(reader)),
        0x2a9c => one(body::composition(reader)),
        _ => Err(GattError::Unknown),
    }?;
    Ok(records
        .into_iter()
        .map(|mut record| {
            record.insert_first("uuid", Value::from(format!("{short:04X}")));
            Value::Object(record)
        })
        .collect())
}

/// Pairs of hexadecimal digits; blanks, colons and dashes between pairs are allowed.
///
/// # Errors
/// [`GattError::Hex`] or [`GattError::TooLong`].
pub fn hex(text: &str) -> Result<Vec<u8>, GattError> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ' ' | ':' | '-'))
        .map(|c| c.to_digit(16).ok_or(GattError::Hex))
        .take(2 * VALUE_BYTES_MAX + 1)
        .collect::<Result<_, _>>()?;
    if digits.len() > 2 * VALUE_BYTES_MAX {
        return Err(GattError::TooLong { bytes: 1 });
    }
    let pair = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high << 4 | low).map_err(|_| GattError::Hex),
        _ => Err(GattError::Hex),
    };
    digits.chunks(2).map(pair).collect()
}

fn short_uuid(uuid: &str) -> Option<u16> {
    const BASE: &str = "-0000-1000-8000-00805f9b34fb";
    let lower = uuid.trim().to_ascii_lowercase();
    let short = match lower.strip_suffix(BASE) {
        Some(long) => long.strip_prefix("0000")?,
        None => lower.strip_prefix("0x").unwrap_or(&lower),
    };
    if short.len() == 4 {
        u16::from_str_radix(short, 16).ok()
    } else {
        None
    }
}

/// True when a bit of the flags is set.
fn bit(flags: impl Into<u32>, bit: u32) -> bool {
    flags.into() >> bit & 1 == 1
}

/// Adds the local date and time, or says that the device does not know it.
fn insert_time(record: &mut Map, time: Option<String>) {
    match time {
        Some(time) => record.insert("localTime", Value::from(time)),
        None => record.insert("timeUnknown", Value::Bool(true)),
    }
}

/// Adds the user of a shared device; 0xFF is "unknown user".
fn insert_user(record: &mut Map, user: u8) {
    if user == 0xff {
        record.insert("userUnknown", Value::Bool(true));
    } else {
        record.insert("user", integer(user));
    }
}

fn integer(n: impl Into<i64>) -> Value {
    number::number(crate::decimal::Decimal::new(i128::from(n.into()), 0))
}

#[cfg(test)]
mod tests;
