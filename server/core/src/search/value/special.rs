//! `near`, the one special parameter of R4: within a distance of a position.
//!
//! Spec: <https://hl7.org/fhir/R4/location.html#positional>: "[latitude]|[longitude]|[distance]|[units]"; "If the units are
//! omitted, then kms should be assumed. If the distance is omitted, then the server can use its own discretion".

use super::Reading;
use crate::datatype::decimal::Decimal;
use crate::issue::Problem;
use crate::search::predicate::ValueTest;
use crate::search::text::split;

/// Distance when none is given, in metres: a town and its surroundings.
pub const DISTANCE_DEFAULT_M: u32 = 20_000;

/// Unit codes and their length in metres, exact.
const UNITS: [(&str, &str); 6] = [
    ("km", "1000"),
    ("m", "1"),
    ("[mi_us]", "1609.347219"),
    ("[mi_i]", "1609.344"),
    ("mi", "1609.344"),
    ("[ft_i]", "0.3048"),
];

const FORM: &str = "`latitude|longitude`, `latitude|longitude|distance` or `latitude|longitude|distance|unit` is expected, in \
                    degrees and one of the units km, m, [mi_us], [mi_i], mi, [ft_i]";

pub fn read(reading: &mut Reading<'_>, text: &str) -> Result<Vec<ValueTest>, Problem> {
    near(text)
        .map(|test| vec![test])
        .ok_or_else(|| reading.bad_value(FORM))
}

fn near(text: &str) -> Option<ValueTest> {
    let parts = split(text, '|');
    let (latitude, longitude, distance, unit) = match parts.as_slice() {
        [latitude, longitude] => (latitude, longitude, "", ""),
        [latitude, longitude, distance] => (latitude, longitude, *distance, ""),
        [latitude, longitude, distance, unit] => (latitude, longitude, *distance, *unit),
        _ => return None,
    };
    Some(ValueTest::Near {
        latitude_e7: degrees(latitude, 90)?,
        longitude_e7: degrees(longitude, 180)?,
        distance_m: distance_m(distance, unit)?,
    })
}

fn degrees(text: &str, max: i64) -> Option<i64> {
    let scaled = Decimal::parse(text).ok()?.to_scaled_i64(7)?;
    (scaled.abs() <= max * 10_000_000).then_some(scaled)
}

fn distance_m(distance: &str, unit: &str) -> Option<u32> {
    if distance.is_empty() {
        return Some(DISTANCE_DEFAULT_M);
    }
    let unit = if unit.is_empty() { "km" } else { unit };
    let (_, metres) = UNITS.iter().find(|(code, _)| *code == unit)?;
    let metres = Decimal::parse(metres).ok()?;
    let distance = Decimal::parse(distance).ok().filter(|d| !d.is_negative())?;
    u32::try_from(distance.checked_mul(&metres)?.to_scaled_i64(0)?).ok()
}
