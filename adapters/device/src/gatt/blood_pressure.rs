//! Blood Pressure Measurement (2A35) and Intermediate Cuff Pressure (2A36), which is no result.
//!
//! <https://www.bluetooth.com/specifications/specs/blood-pressure-service-1-1-1/>.

use fhir_core::json::{Map, Value};

use super::reader::Reader;
use super::{GattError, bit, insert_time, insert_user, integer};

pub(super) fn measurement(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = Map::new();
    record.insert("systolic", value.sfloat("systolic")?.to_value());
    record.insert("diastolic", value.sfloat("diastolic")?.to_value());
    record.insert("mean", value.sfloat("mean arterial pressure")?.to_value());
    rest(flags, value, record)
}

/// The pressure in the cuff while it is measuring. The second and third number are unused.
pub(super) fn intermediate(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = Map::new();
    record.insert("notAResult", Value::from("intermediate-cuff-pressure"));
    record.insert("cuffPressure", value.sfloat("cuff pressure")?.to_value());
    value.u16("unused")?;
    value.u16("unused")?;
    rest(flags, value, record)
}

fn rest(flags: u8, mut value: Reader<'_>, mut record: Map) -> Result<Map, GattError> {
    record.insert(
        "unit",
        Value::from(if bit(flags, 0) { "kPa" } else { "mm[Hg]" }),
    );
    if bit(flags, 1) {
        insert_time(&mut record, value.date_time("time stamp")?);
    }
    if bit(flags, 2) {
        record.insert("pulseRate", value.sfloat("pulse rate")?.to_value());
    }
    if bit(flags, 3) {
        insert_user(&mut record, value.u8("user id")?);
    }
    if bit(flags, 4) {
        let status = value.u16("measurement status")?;
        record.insert("status", integer(status));
        for (position, name) in [
            (0, "bodyMovement"),
            (1, "cuffTooLoose"),
            (2, "irregularPulse"),
            (5, "improperPosition"),
        ] {
            if bit(status, position) {
                record.insert(name, Value::Bool(true));
            }
        }
    }
    value.end()?;
    Ok(record)
}
