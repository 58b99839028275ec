//! Positions within a distance, as strips of latitude that each have a range of longitude.
//!
//! Spec: <https://hl7.org/fhir/R4/location.html#positional>. A circle is covered by [`BANDS`] strips, each as wide as
//! the circle is at its widest place, so that nothing within the distance is missed; what is found lies at most a few
//! percent of the distance further away. Positions are no clinical values; this is the one place that calculates
//! with binary fractions.

use super::node::Band;

/// Strips; more make the edge sharper and the statement longer.
const BANDS: i32 = 32;
/// Mean radius of the earth in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
const UNITS_PER_DEGREE: f64 = 1e7;

/// The strips that cover a circle.
pub(crate) fn bands(latitude_e7: i64, longitude_e7: i64, distance_m: u32) -> Vec<Band> {
    let latitude = (latitude_e7 as f64 / UNITS_PER_DEGREE).to_radians();
    let angle = f64::from(distance_m) / EARTH_RADIUS_M;
    let to_e7 = |radians: f64| radians.to_degrees() * UNITS_PER_DEGREE;
    let mut bands = Vec::new();
    for strip in 0..BANDS {
        let edge = |n: i32| latitude - angle + 2.0 * angle * f64::from(n) / f64::from(BANDS);
        let (south, north) = (edge(strip), edge(strip + 1));
        let half_width = half_width(latitude, angle, south)
            .max(half_width(latitude, angle, north))
            .max(
                // The circle is widest between the edges of the strip where its meridian tangent lies.
                widest_between(latitude, angle, south, north),
            );
        let range = (to_e7(south).floor() as i64, to_e7(north).ceil() as i64);
        push_longitudes(
            &mut bands,
            range,
            longitude_e7,
            to_e7(half_width).ceil() as i64,
        );
    }
    bands
}

/// Half the width of the circle at a latitude, in radians of longitude.
fn half_width(center: f64, angle: f64, at: f64) -> f64 {
    let half_pi = std::f64::consts::FRAC_PI_2;
    if center.abs() + angle >= half_pi || at.abs() >= half_pi {
        return std::f64::consts::PI;
    }
    let cosine = (angle.cos() - center.sin() * at.sin()) / (center.cos() * at.cos());
    if cosine >= 1.0 {
        0.0
    } else {
        cosine.max(-1.0).acos()
    }
}

fn widest_between(center: f64, angle: f64, south: f64, north: f64) -> f64 {
    let tangent = (center.sin() / angle.cos()).clamp(-1.0, 1.0).asin();
    if (south..=north).contains(&tangent) {
        half_width(center, angle, tangent)
    } else {
        0.0
    }
}

/// Adds a strip, in two parts where it crosses the date line.
fn push_longitudes(bands: &mut Vec<Band>, latitude: (i64, i64), center: i64, half_width: i64) {
    const TURN: i64 = 3_600_000_000;
    const HALF_TURN: i64 = TURN / 2;
    let (west, east) = (center - half_width, center + half_width);
    if east - west >= TURN {
        bands.push(Band {
            latitude,
            longitude: (-HALF_TURN, HALF_TURN),
        });
        return;
    }
    bands.push(Band {
        latitude,
        longitude: (west.max(-HALF_TURN), east.min(HALF_TURN)),
    });
    if west < -HALF_TURN {
        bands.push(Band {
            latitude,
            longitude: (west + TURN, HALF_TURN),
        });
    }
    if east > HALF_TURN {
        bands.push(Band {
            latitude,
            longitude: (-HALF_TURN, east - TURN),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(center: (f64, f64), distance_m: u32, place: (f64, f64)) -> bool {
        let e7 = |degrees: f64| (degrees * 1e7) as i64;
        bands(e7(center.0), e7(center.1), distance_m)
            .iter()
            .any(|band| {
                (band.latitude.0..=band.latitude.1).contains(&e7(place.0))
                    && (band.longitude.0..=band.longitude.1).contains(&e7(place.1))
            })
    }

    #[test]
    fn places_within_the_distance_are_found_and_far_ones_are_not() {
        // One degree of latitude is 111.2 km.
        for (center, distance_m, place, expected) in [
            ((52.0, 13.0), 112_000, (53.0, 13.0), true),
            ((52.0, 13.0), 105_000, (53.0, 13.0), false),
            ((52.0, 13.0), 70_000, (52.0, 14.0), true),
            ((52.0, 13.0), 66_000, (52.0, 14.0), false),
            ((52.0, 13.0), 112_000, (52.9, 14.4), false),
            ((0.0, 179.9), 50_000, (0.0, -179.9), true),
            ((89.9, 0.0), 50_000, (89.8, 180.0), true),
            ((89.9, 0.0), 50_000, (89.0, 180.0), false),
        ] {
            assert_eq!(
                finds(center, distance_m, place),
                expected,
                "{center:?} {distance_m} {place:?}"
            );
        }
    }
}
