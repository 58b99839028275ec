//! How a device's clock goes: pairs of its time and a better clock's time at one moment give offset and drift.
//!
//! The rule is the Personal Health Device guide's for coincident time stamps (<https://hl7.org/fhir/uv/phd/>): move the
//! device's times onto the gateway's time line.
//!
//! Left out on purpose: judgement which clock is better. Whoever gives pairs has made it.

/// Differences smaller than this are transport delay, not a wrong clock: one second.
pub const TOLERANCE_US: i64 = 1_000_000;
/// Most pairs kept for a device; older ones go first. A pair a day for ten years is under this.
pub const PAIRS_MAX: usize = 4_096;

/// One moment on two clocks, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// What the device's clock showed.
    pub device_us: i64,
    /// What the gateway's clock showed.
    pub gateway_us: i64,
}

/// A device's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClockModel {
    /// By the device's time.
    pairs: Vec<Pair>,
}

impl ClockModel {
    /// A model of pairs in any order.
    pub fn new(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_unstable();
        pairs.dedup_by_key(|p| p.device_us);
        let surplus = pairs.len().saturating_sub(PAIRS_MAX);
        pairs.drain(..surplus);
        Self { pairs }
    }

    /// What to add to a time of the device. Between two pairs the drift is spread evenly; before the first and after
    /// the last their difference holds, because drift cannot be known there. Zero within [`TOLERANCE_US`].
    pub fn correction_us(&self, device_us: i64) -> i64 {
        let after = self.pairs.partition_point(|p| p.device_us <= device_us);
        let before = after.checked_sub(1).and_then(|i| self.pairs.get(i));
        let correction = match (before, self.pairs.get(after)) {
            (None, None) => 0,
            (Some(pair), None) | (None, Some(pair)) => difference(pair),
            (Some(a), Some(b)) => between(a, b, device_us),
        };
        if correction.abs() <= TOLERANCE_US {
            0
        } else {
            correction
        }
    }
}

fn difference(pair: &Pair) -> i64 {
    pair.gateway_us.saturating_sub(pair.device_us)
}

fn between(a: &Pair, b: &Pair, device_us: i64) -> i64 {
    let (from, to) = (i128::from(difference(a)), i128::from(difference(b)));
    let span = i128::from(b.device_us) - i128::from(a.device_us);
    let gone = i128::from(device_us) - i128::from(a.device_us);
    let spread = crate::decimal::divide_half_even((to - from) * gone, span).unwrap_or(0);
    i64::try_from(from + spread).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Verifies: SRS-018, RC-004
    #[test]
    fn offset_and_drift_are_undone() {
        let pair = |device: i64, gateway: i64| Pair {
            device_us: device * SECOND,
            gateway_us: gateway * SECOND,
        };
        let model = ClockModel::new(vec![pair(2_000, 2_300), pair(1_000, 1_200)]);
        for (device, expected) in [
            (500, 200),
            (1_000, 200),
            (1_500, 250),
            (2_000, 300),
            (9_000, 300),
        ] {
            assert_eq!(
                model.correction_us(device * SECOND),
                expected * SECOND,
                "{device}"
            );
        }
        assert_eq!(ClockModel::default().correction_us(5), 0);
        assert_eq!(
            ClockModel::new(vec![Pair {
                device_us: 0,
                gateway_us: 900_000
            }])
            .correction_us(5),
            0
        );
    }
}
