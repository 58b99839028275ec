//! Temperature Measurement (2A1C) and Intermediate Temperature (2A1E), which share a layout.
//!
//! <https://www.bluetooth.com/specifications/specs/health-thermometer-service-1-0/>.

use fhir_core::json::{Map, Value};

use super::reader::Reader;
use super::{GattError, bit, insert_time, integer};

pub(super) fn measurement(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let mut record = Map::new();
    record.insert("temperature", value.float("temperature")?.to_value());
    // UCUM `C` is the coulomb: Celsius is `Cel`.
    record.insert(
        "unit",
        Value::from(if bit(flags, 0) { "[degF]" } else { "Cel" }),
    );
    if bit(flags, 1) {
        insert_time(&mut record, value.date_time("time stamp")?);
    }
    if bit(flags, 2) {
        record.insert("site", integer(value.u8("temperature type")?));
    }
    value.end()?;
    Ok(record)
}
