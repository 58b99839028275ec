//! PLX Spot-Check Measurement (2A5E) and PLX Continuous Measurement (2A5F).
//!
//! <https://www.bluetooth.com/specifications/specs/pulse-oximeter-service-1-0-1/>.

use fhir_core::json::{Map, Value};

use super::reader::Reader;
use super::{GattError, bit, insert_time, integer};

pub(super) fn spot_check(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = pair(&mut value, "spo2", "pulseRate")?;
    // Bit 4: the clock was never set, so the time stamp means nothing.
    if bit(flags, 0) {
        let time = value.date_time("time stamp")?;
        insert_time(&mut record, time.filter(|_| !bit(flags, 4)));
    }
    tail(
        &mut value,
        &mut record,
        [bit(flags, 1), bit(flags, 2), bit(flags, 3)],
    )?;
    Ok(record)
}

pub(super) fn continuous(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = pair(&mut value, "spo2", "pulseRate")?;
    if bit(flags, 0) {
        let fast = pair(&mut value, "spo2", "pulseRate")?;
        record.insert("fast", Value::Object(fast));
    }
    if bit(flags, 1) {
        let slow = pair(&mut value, "spo2", "pulseRate")?;
        record.insert("slow", Value::Object(slow));
    }
    tail(
        &mut value,
        &mut record,
        [bit(flags, 2), bit(flags, 3), bit(flags, 4)],
    )?;
    Ok(record)
}

fn pair(
    value: &mut Reader<'_>,
    first: &'static str,
    second: &'static str,
) -> Result<Map, GattError> {
    let mut record = Map::new();
    record.insert(first, value.sfloat(first)?.to_value());
    record.insert(second, value.sfloat(second)?.to_value());
    Ok(record)
}

fn tail(value: &mut Reader<'_>, record: &mut Map, present: [bool; 3]) -> Result<(), GattError> {
    let [status, sensor, amplitude] = present;
    if status {
        record.insert("status", integer(value.u16("measurement status")?));
    }
    if sensor {
        record.insert(
            "sensorStatus",
            integer(value.u24("device and sensor status")?),
        );
    }
    if amplitude {
        record.insert(
            "perfusionIndex",
            value.sfloat("pulse amplitude index")?.to_value(),
        );
    }
    value.end()
}
