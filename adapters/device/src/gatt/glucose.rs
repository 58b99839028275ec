//! Glucose Measurement (2A18) and CGM Measurement (2AA7).
//!
//! <https://www.bluetooth.com/specifications/specs/glucose-service-1-0-1/>,
//! <https://www.bluetooth.com/specifications/specs/continuous-glucose-monitoring-service-1-0-2/>.
//!
//! The meter sends kg/L or mol/L; both become the clinical unit by moving the point. A control solution is no patient.

use fhir_core::json::{Map, Value};

use super::reader::Reader;
use super::{GattError, bit, insert_time, integer};

/// Sample type 10: the solution a meter is checked with.
const CONTROL_SOLUTION: u8 = 10;
/// Size, flags, glucose and time offset of a CGM record, in bytes.
const CGM_RECORD_BYTES_MIN: u8 = 6;

pub(super) fn measurement(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = Map::new();
    record.insert("sequence", integer(value.u16("sequence number")?));
    insert_time(&mut record, value.date_time("base time")?);
    if bit(flags, 0) {
        match value.i16("time offset")? {
            i16::MAX | i16::MIN => record.insert("timeUnknown", Value::Bool(true)),
            minutes => record.insert("offsetMinutes", integer(minutes)),
        }
    }
    if bit(flags, 1) {
        let moles = bit(flags, 2);
        // 1 kg/L = 100,000 mg/dL; 1 mol/L = 1,000 mmol/L.
        let power = if moles { 3 } else { 5 };
        record.insert(
            "concentration",
            value.sfloat("concentration")?.shifted(power).to_value(),
        );
        record.insert("unit", Value::from(if moles { "mmol/L" } else { "mg/dL" }));
        let type_and_location = value.u8("type and location")?;
        let (kind, location) = (type_and_location & 0x0f, type_and_location >> 4);
        record.insert("sampleType", integer(kind));
        record.insert("location", integer(location));
        if kind == CONTROL_SOLUTION || location == 4 {
            record.insert("notAResult", Value::from("control-solution"));
        }
    }
    if bit(flags, 3) {
        record.insert("status", integer(value.u16("sensor status")?));
    }
    record.insert("contextFollows", Value::Bool(bit(flags, 4)));
    value.end()?;
    Ok(record)
}

/// Records one behind the other, each with its own size. A record with a wrong checksum condemns the value.
pub(super) fn continuous(mut value: Reader<'_>) -> Result<Vec<Map>, GattError> {
    let mut records = Vec::new();
    while value.left() > 0 {
        let size = value.clone().u8("size")?;
        if size < CGM_RECORD_BYTES_MIN {
            return Err(GattError::Range { field: "size" });
        }
        let bytes = value.split(usize::from(size), "record")?;
        records.push(cgm_record(bytes)?);
    }
    if records.is_empty() {
        Err(GattError::TooShort { field: "size" })
    } else {
        Ok(records)
    }
}

fn cgm_record(bytes: &[u8]) -> Result<Map, GattError> {
    let mut value = Reader::new(bytes);
    value.u8("size")?;
    let flags = value.u8("flags")?;
    let mut record = Map::new();
    record.insert("glucose", value.sfloat("glucose")?.to_value());
    record.insert("unit", Value::from("mg/dL"));
    record.insert("offsetMinutes", integer(value.u16("time offset")?));
    for (position, name) in [
        (7, "status"),
        (6, "calibrationAndTemperature"),
        (5, "warning"),
    ] {
        if bit(flags, position) {
            record.insert(name, integer(value.u8(name)?));
        }
    }
    if bit(flags, 0) {
        record.insert("trend", value.sfloat("trend")?.to_value());
    }
    if bit(flags, 1) {
        record.insert("quality", value.sfloat("quality")?.to_value());
    }
    // Two bytes more than the flags announce are the checksum; whether one is sent is a feature of the sensor.
    if value.left() == 2 {
        let sent = value.u16("checksum")?;
        let covered = bytes.get(..bytes.len() - 2).unwrap_or_default();
        if sent != crc(covered) {
            return Err(GattError::Checksum);
        }
    }
    value.end()?;
    Ok(record)
}

/// CRC-16/MCRF4XX: polynomial 0x1021 reflected, start 0xFFFF.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x8408
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    /// The check value every catalogue of checksums gives for CRC-16/MCRF4XX.
    #[test]
    fn checksum_matches_the_catalogue() {
        assert_eq!(super::crc(b"123456789"), 0x6f91);
    }
}
