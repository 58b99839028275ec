//! Heart Rate Measurement (2A37).
//!
//! <https://www.bluetooth.com/specifications/specs/heart-rate-service-1-0/>. RR intervals stay in 1/1024 s, the unit sent.

use fhir_core::json::{Map, Value};

use super::reader::Reader;
use super::{GattError, bit, integer};

pub(super) fn measurement(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let rate = if bit(flags, 0) {
        value.u16("heart rate")?
    } else {
        u16::from(value.u8("heart rate")?)
    };
    let mut record = Map::new();
    record.insert("heartRate", integer(rate));
    if bit(flags, 2) {
        record.insert("contact", Value::Bool(bit(flags, 1)));
    }
    if bit(flags, 3) {
        record.insert("energyExpended", integer(value.u16("energy expended")?));
    }
    if bit(flags, 4) {
        let mut intervals = vec![integer(value.u16("RR interval")?)];
        while value.left() > 0 {
            intervals.push(integer(value.u16("RR interval")?));
        }
        record.insert("rrIntervals", Value::Array(intervals));
    }
    value.end()?;
    Ok(record)
}
