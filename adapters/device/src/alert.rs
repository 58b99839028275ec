//! Alert rules as data, and the state machine that runs one rule on one series.
//!
//! It moves with the measurements' own times: a value later than the last one moves it, an older one does not, and a
//! value received too long after it was measured moves nothing, so that a backfill raises no alarm of yesterday.
//!
//! Left out on purpose: what an alert writes. The server makes Flag or DetectedIssue of a [`Change`].

use std::cmp::Ordering;

use crate::decimal::Decimal;

/// Which side of the limit raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// Below the limit.
    Less,
    /// Above the limit.
    Greater,
}

/// A rule. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Name in the table of measures.
    pub measure: String,
    /// UCUM code of limit and hysteresis; values of another unit do not move the rule.
    pub unit: String,
    /// Which side raises.
    pub comparator: Comparator,
    /// The limit.
    pub limit: Decimal,
    /// How far back beyond the limit a value must come to clear.
    pub hysteresis: Decimal,
    /// How long values must stay beyond the limit before it raises.
    pub hold_us: i64,
    /// Values received later than this after their time move nothing.
    pub age_us_max: i64,
}

/// Where a rule stands on a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    phase: Phase,
    last_us: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Clear,
    /// Beyond the limit since then, not yet long enough.
    Pending(i64),
    Raised,
}

/// What a notification tells, once for each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Raised by the value of this time.
    Raised(i64),
    /// Cleared by the value of this time.
    Cleared(i64),
}

/// A value as a rule sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When it was measured.
    pub at_us: i64,
    /// When it was received.
    pub received_us: i64,
    /// The value, in the rule's unit.
    pub value: Decimal,
}

impl State {
    /// The state as numbers, to be stored: 0 clear, 1 pending, 2 raised; since when pending; time of the last value.
    pub fn parts(self) -> (i64, Option<i64>, Option<i64>) {
        let (phase, since) = match self.phase {
            Phase::Clear => (0, None),
            Phase::Pending(since) => (1, Some(since)),
            Phase::Raised => (2, None),
        };
        (phase, since, self.last_us)
    }

    /// A stored state. What cannot be read is clear.
    pub fn of_parts(phase: i64, since: Option<i64>, last_us: Option<i64>) -> Self {
        let phase = match (phase, since) {
            (1, Some(since)) => Phase::Pending(since),
            (2, _) => Phase::Raised,
            _ => Phase::Clear,
        };
        Self { phase, last_us }
    }

    /// Whether the alert is raised.
    pub fn is_raised(self) -> bool {
        self.phase == Phase::Raised
    }

    /// Moves with a value; the change, when there is one.
    pub fn see(&mut self, rule: &Rule, seen: Seen) -> Option<Change> {
        let is_old = seen.received_us.saturating_sub(seen.at_us) > rule.age_us_max;
        if is_old || self.last_us.is_some_and(|last| seen.at_us <= last) {
            return None;
        }
        self.last_us = Some(seen.at_us);
        let is_beyond = rule.is_beyond(seen.value, rule.limit);
        match self.phase {
            Phase::Clear if is_beyond => self.pend(rule, seen.at_us, seen.at_us),
            Phase::Pending(since) if is_beyond => self.pend(rule, since, seen.at_us),
            Phase::Pending(_) => {
                self.phase = Phase::Clear;
                None
            }
            Phase::Raised if rule.is_back(seen.value) => {
                self.phase = Phase::Clear;
                Some(Change::Cleared(seen.at_us))
            }
            Phase::Clear | Phase::Raised => None,
        }
    }

    fn pend(&mut self, rule: &Rule, since: i64, at: i64) -> Option<Change> {
        if at.saturating_sub(since) >= rule.hold_us {
            self.phase = Phase::Raised;
            return Some(Change::Raised(at));
        }
        self.phase = Phase::Pending(since);
        None
    }
}

impl Rule {
    fn is_beyond(&self, value: Decimal, limit: Decimal) -> bool {
        let side = match self.comparator {
            Comparator::Less => Ordering::Less,
            Comparator::Greater => Ordering::Greater,
        };
        value.compare(limit) == side
    }

    /// True when a value is on the good side of the limit by the hysteresis.
    fn is_back(&self, value: Decimal) -> bool {
        let limit = match self.comparator {
            Comparator::Less => self.limit.plus(self.hysteresis),
            Comparator::Greater => self.limit.minus(self.hysteresis),
        };
        limit.is_some_and(|limit| {
            let side = value.compare(limit);
            side == Ordering::Equal || !self.is_beyond(value, limit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Runs a rule "below 90, hold 10 s, hysteresis 2, age 60 s" over (time, delay, value) in seconds.
    fn check(seen: &[(i64, i64, &str)], expected: &[Change]) {
        let rule = Rule {
            measure: "oxygen-saturation".into(),
            unit: "%".into(),
            comparator: Comparator::Less,
            limit: Decimal::new(90, 0),
            hysteresis: Decimal::new(2, 0),
            hold_us: 10 * SECOND,
            age_us_max: 60 * SECOND,
        };
        let mut state = State::default();
        let changes: Vec<Change> = seen
            .iter()
            .filter_map(|(at, delay, value)| {
                let value = Decimal::parse(value).expect("number");
                state.see(
                    &rule,
                    Seen {
                        at_us: at * SECOND,
                        received_us: (at + delay) * SECOND,
                        value,
                    },
                )
            })
            .collect();
        assert_eq!(changes, expected, "{seen:?}");
    }

    #[test]
    fn one_change_for_each_state() {
        let (raised, cleared) = (Change::Raised(12 * SECOND), Change::Cleared(30 * SECOND));
        check(
            &[(0, 0, "89.9"), (5, 0, "88"), (12, 0, "89"), (20, 0, "87")],
            &[raised],
        );
        check(
            &[(0, 0, "88"), (5, 0, "90"), (12, 0, "88"), (20, 0, "88")],
            &[],
        );
        check(
            &[(0, 0, "88"), (12, 0, "88"), (20, 0, "91"), (30, 0, "92.0")],
            &[raised, cleared],
        );
        check(&[(0, 0, "90"), (12, 0, "90.0")], &[]);
    }

    #[test]
    fn a_state_survives_being_stored() {
        for phase in [Phase::Clear, Phase::Pending(7), Phase::Raised] {
            let state = State {
                phase,
                last_us: Some(9),
            };
            let (number, since, last) = state.parts();
            assert_eq!(State::of_parts(number, since, last), state);
        }
    }

    #[test]
    fn old_and_late_values_move_nothing() {
        check(&[(0, 3_600, "80"), (12, 3_600, "80")], &[]);
        check(&[(20, 0, "95"), (0, 0, "80"), (12, 0, "80")], &[]);
    }
}
