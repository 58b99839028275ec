//! Whose a measurement is: devices are with people for periods, and the time of the measurement decides.
//!
//! FHIR Device and DeviceUseStatement (<https://hl7.org/fhir/R4/deviceusestatement.html>) hold the same facts; the
//! server gives them to us. A device nobody had then is nobody's: its measurements wait in quarantine.
//!
//! Left out on purpose: making patients or devices up, and any memory. The same records give the same answer.

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::clock::ClockModel;

/// A device we know.
#[derive(Debug, Clone, Default)]
pub struct DeviceRecord {
    /// `Device/…`, when there is a resource.
    pub reference: Option<String>,
    /// Where the device's clock hangs.
    pub zone: Option<Tz>,
    /// How its clock goes.
    pub clock: ClockModel,
}

/// A period for which a device was with a patient. The end is outside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// The user number of a shared device; `None` when the device has one user.
    pub user: Option<String>,
    /// `Patient/…`.
    pub patient: String,
    /// Where the patient's clocks hang.
    pub zone: Option<Tz>,
    /// Microseconds since 1970.
    pub start_us: i64,
    /// Microseconds since 1970; `None` while it lasts.
    pub end_us: Option<i64>,
}

/// Why a measurement has no patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Nobody told us of this device.
    #[error("the device is not known; register it and send again or replay")]
    UnknownDevice,
    /// Known, but with nobody at that time.
    #[error("the device was with nobody at the time of the measurement")]
    Nobody,
    /// Two records claim the time.
    #[error("two associations of the device cover the time of the measurement; correct one")]
    Several,
}

/// All devices of a feed and their periods.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    devices: HashMap<String, Arc<(DeviceRecord, Vec<Association>)>>,
}

impl Directory {
    /// Adds or replaces a device, by the identifier its payloads carry, with its periods.
    pub fn insert(
        &mut self,
        device: impl Into<String>,
        record: DeviceRecord,
        periods: Vec<Association>,
    ) {
        self.insert_shared(device, Arc::new((record, periods)));
    }

    /// The same for a device that others hold too.
    pub fn insert_shared(
        &mut self,
        device: impl Into<String>,
        entry: Arc<(DeviceRecord, Vec<Association>)>,
    ) {
        self.devices.insert(device.into(), entry);
    }

    /// What is known of a device.
    pub fn device(&self, device: &str) -> Option<&DeviceRecord> {
        self.devices.get(device).map(|entry| &entry.0)
    }

    /// Whose the device was at an instant. A shared device's user must be named; while a device has one user the
    /// number it sends means nothing.
    ///
    /// # Errors
    /// [`Unresolved`], never a guess.
    pub fn resolve(
        &self,
        device: &str,
        user: Option<&str>,
        at_us: i64,
    ) -> Result<&Association, Unresolved> {
        let entry = self.devices.get(device).ok_or(Unresolved::UnknownDevice)?;
        let then: Vec<&Association> = entry
            .1
            .iter()
            .filter(|p| p.start_us <= at_us && p.end_us.is_none_or(|end| at_us < end))
            .collect();
        let is_shared = then.iter().any(|p| p.user.is_some());
        let mut fits = then
            .into_iter()
            .filter(|p| !is_shared || (user.is_some() && p.user.as_deref() == user));
        let first = fits.next().ok_or(Unresolved::Nobody)?;
        if fits.next().is_some() {
            Err(Unresolved::Several)
        } else {
            Ok(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(
        user: Option<&str>,
        patient: &str,
        start_us: i64,
        end_us: Option<i64>,
    ) -> Association {
        Association {
            user: user.map(Into::into),
            patient: patient.into(),
            zone: None,
            start_us,
            end_us,
        }
    }

    fn check(
        periods: &[Association],
        user: Option<&str>,
        at: i64,
        expected: Result<&str, Unresolved>,
    ) {
        let mut directory = Directory::default();
        directory.insert("d1", DeviceRecord::default(), periods.to_vec());
        assert_eq!(
            directory
                .resolve("d1", user, at)
                .map(|a| a.patient.as_str()),
            expected,
            "{user:?} {at}"
        );
    }

    /// Verifies: SRS-017, RC-002
    #[test]
    fn effective_time_decides() {
        let periods = [
            period(None, "Patient/a", 10, Some(20)),
            period(None, "Patient/b", 20, None),
        ];
        for (at, expected) in [
            (9, Err(Unresolved::Nobody)),
            (10, Ok("Patient/a")),
            (19, Ok("Patient/a")),
            (20, Ok("Patient/b")),
            (99, Ok("Patient/b")),
        ] {
            check(&periods, None, at, expected);
        }
        assert_eq!(
            Directory::default().resolve("d1", None, 1).err(),
            Some(Unresolved::UnknownDevice)
        );
        check(
            &[
                period(None, "Patient/a", 0, None),
                period(None, "Patient/b", 5, None),
            ],
            None,
            6,
            Err(Unresolved::Several),
        );
    }

    /// Verifies: SRS-017, RC-002
    #[test]
    fn a_shared_device_needs_its_user() {
        let periods = [
            period(Some("1"), "Patient/a", 0, None),
            period(Some("2"), "Patient/b", 0, None),
        ];
        check(&periods, Some("2"), 5, Ok("Patient/b"));
        check(&periods, None, 5, Err(Unresolved::Nobody));
        check(&periods, Some("3"), 5, Err(Unresolved::Nobody));
        check(
            &[period(None, "Patient/a", 0, None)],
            Some("1"),
            5,
            Ok("Patient/a"),
        );
    }
}
