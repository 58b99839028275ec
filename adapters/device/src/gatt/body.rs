//! Weight Measurement (2A9D) and Body Composition Measurement (2A9C).
//!
//! <https://www.bluetooth.com/specifications/specs/weight-scale-service-1-0/>,
//! <https://www.bluetooth.com/specifications/specs/body-composition-service-1-0/>. 0xFFFF is "measurement unsuccessful".

use fhir_core::json::{Map, Value};

use super::number::{ERROR, Reading};
use super::reader::Reader;
use super::{GattError, bit, insert_time, insert_user};
use crate::decimal::Decimal;

/// What a whole number counts: five of the third decimal, one of the first.
struct Resolution(i128, u32);

const KILOGRAM: Resolution = Resolution(5, 3);
const POUND: Resolution = Resolution(1, 2);
const METRE: Resolution = Resolution(1, 3);
const TENTH: Resolution = Resolution(1, 1);
const ONE: Resolution = Resolution(1, 0);

pub(super) fn weight(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u8("flags")?;
    let imperial = bit(flags, 0);
    let mut record = Map::new();
    mass(&mut record, "weight", value.u16("weight")?, imperial);
    record.insert("unit", mass_unit(imperial));
    if bit(flags, 1) {
        insert_time(&mut record, value.date_time("time stamp")?);
    }
    if bit(flags, 2) {
        insert_user(&mut record, value.u8("user id")?);
    }
    if bit(flags, 3) {
        insert(&mut record, "bmi", value.u16("BMI")?, TENTH);
        height(&mut record, value.u16("height")?, imperial);
    }
    value.end()?;
    Ok(record)
}

pub(super) fn composition(mut value: Reader<'_>) -> Result<Map, GattError> {
    let flags = value.u16("flags")?;
    let imperial = bit(flags, 0);
    let mut record = Map::new();
    insert(&mut record, "bodyFat", value.u16("body fat")?, TENTH);
    record.insert("unit", mass_unit(imperial));
    if bit(flags, 1) {
        insert_time(&mut record, value.date_time("time stamp")?);
    }
    if bit(flags, 2) {
        insert_user(&mut record, value.u8("user id")?);
    }
    if bit(flags, 3) {
        insert(
            &mut record,
            "basalMetabolismKilojoule",
            value.u16("basal metabolism")?,
            ONE,
        );
    }
    if bit(flags, 4) {
        insert(
            &mut record,
            "musclePercentage",
            value.u16("muscle percentage")?,
            TENTH,
        );
    }
    for (position, name) in [
        (5, "muscleMass"),
        (6, "fatFreeMass"),
        (7, "softLeanMass"),
        (8, "bodyWaterMass"),
    ] {
        if bit(flags, position) {
            mass(&mut record, name, value.u16(name)?, imperial);
        }
    }
    if bit(flags, 9) {
        insert(&mut record, "impedanceOhm", value.u16("impedance")?, TENTH);
    }
    if bit(flags, 10) {
        mass(&mut record, "weight", value.u16("weight")?, imperial);
    }
    if bit(flags, 11) {
        height(&mut record, value.u16("height")?, imperial);
    }
    if bit(flags, 12) {
        record.insert("moreFollows", Value::Bool(true));
    }
    value.end()?;
    Ok(record)
}

fn mass_unit(imperial: bool) -> Value {
    Value::from(if imperial { "[lb_av]" } else { "kg" })
}

fn mass(record: &mut Map, name: &'static str, raw: u16, imperial: bool) {
    insert(record, name, raw, if imperial { POUND } else { KILOGRAM });
}

fn height(record: &mut Map, raw: u16, imperial: bool) {
    insert(record, "height", raw, if imperial { TENTH } else { METRE });
    record.insert(
        "heightUnit",
        Value::from(if imperial { "[in_i]" } else { "m" }),
    );
}

fn insert(record: &mut Map, name: &'static str, raw: u16, Resolution(step, scale): Resolution) {
    let reading = match raw {
        0xffff => Reading::Absent(ERROR),
        raw => Reading::Value(Decimal::new(i128::from(raw) * step, scale)),
    };
    record.insert(name, reading.to_value());
}
