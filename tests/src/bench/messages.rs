//! HL7 v2 over MLLP: messages acknowledged AA, and with it durable and found by a search, in a mix of admissions and
//! results (mean 1.6 kB, 8 OBX in a result), at 1 and 16 connections, and at half of the highest rate.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fhir_core::json::Value;

use super::limits::bare_messages;
use super::{Report, Scale, start_stoker};
use crate::http_client::Client;
use crate::load::{self, Amount, Exchanged, Measured};
use crate::mllp_client::{MllpClient, acknowledgement_code};
use crate::process::Process;

/// Of so many messages one is an admission, the others are results.
const ADMISSION_EVERY: u64 = 5;
/// Values of a result.
const OBX: usize = 8;
/// What is measured in a laboratory: code, name, unit, reference range.
const TESTS: [(&str, &str, &str, &str); OBX] = [
    (
        "2345-7",
        "Glucose [Mass/volume] in Serum or Plasma",
        "mg/dL",
        "70-105",
    ),
    (
        "3094-0",
        "Urea nitrogen [Mass/volume] in Serum or Plasma",
        "mg/dL",
        "7-20",
    ),
    (
        "2160-0",
        "Creatinine [Mass/volume] in Serum or Plasma",
        "mg/dL",
        "0.6-1.3",
    ),
    (
        "2951-2",
        "Sodium [Moles/volume] in Serum or Plasma",
        "mmol/L",
        "135-145",
    ),
    (
        "2823-3",
        "Potassium [Moles/volume] in Serum or Plasma",
        "mmol/L",
        "3.5-5.1",
    ),
    (
        "2075-0",
        "Chloride [Moles/volume] in Serum or Plasma",
        "mmol/L",
        "98-107",
    ),
    (
        "17861-6",
        "Calcium [Mass/volume] in Serum or Plasma",
        "mg/dL",
        "8.6-10.2",
    ),
    (
        "718-7",
        "Hemoglobin [Mass/volume] in Blood",
        "g/dL",
        "12-16",
    ),
];

/// Measures the mix.
///
/// # Errors
/// When the server does not start or a connection breaks.
pub fn measure(scale: &Scale, folder: &Path, report: &mut Report) -> io::Result<()> {
    let (mut process, http) = start_stoker(&folder.join("messages.db"), &[])?;
    let mllp = mllp_address(&mut process)?;
    let mut bed = Bed {
        process,
        http,
        mllp,
        patients: scale.patients.max(100),
        sent: 0,
    };
    bed.run(4, 200, scale.longest, None)?;
    let resources_before = bed.resources()?;
    let messages_before = bed.sent;
    let one = bed.run(1, 20_000, scale.longest, None)?;
    let before = bed.groups()?;
    let many = bed.run(16, 40_000, scale.longest, None)?;
    let after = bed.groups()?;
    let group = (after.0 - before.0) / (after.1 - before.1).max(1.0);
    let body_bytes = bed.body_bytes()?;
    let made = bed.resources()? - resources_before;
    let each = made as f64 / (bed.sent - messages_before).max(1) as f64;
    let half = bed.run(16, 40_000, scale.longest, Some(many.rate() / 2.0))?;
    // The same bytes, one row for each message, with the same durability and in groups of the same size.
    let bytes = (mean_bytes() as f64 + each * body_bytes) as u64;
    let bare_one = bare_messages(folder, bytes, 1)?;
    let bare_many = bare_messages(folder, bytes, (group.round() as u64).max(1))?;
    let limit = Some((bare_many.0, "bare insert of its bytes"));
    report.add(
        "HL7 v2 message acknowledged, 1 connection",
        &one,
        Some((bare_one.0, "bare insert of its bytes")),
        None,
    );
    report.add(
        "HL7 v2 message acknowledged, 16 connections",
        &many,
        limit,
        None,
    );
    report.add("the same at half of that rate", &half, limit, None);
    report.note(format!(
        "HL7 v2: {each:.1} resources a message, so {:.0} resources a second at 16 connections; mean message {} bytes; memory {:.0} MB resident",
        each * many.rate(),
        mean_bytes(),
        bed.process.resident_bytes() as f64 / 1e6
    ));
    report.note(format!(
        "HL7 v2: {bytes} bytes a message with its resources; the bare store takes {:.0} such messages a second one by one, \
         {:.0} in groups of {group:.1}, which is what 16 connections led to",
        bare_one.1, bare_many.1
    ));
    bed.check(report)?;
    bed.process.terminate()?;
    Ok(())
}

/// The server printed the address of its HTTP door first.
fn mllp_address(process: &mut Process) -> io::Result<SocketAddr> {
    process.wait_for(super::START_LIMIT, |line| {
        line.strip_prefix("listening mllp ")?.trim().parse().ok()
    })
}

struct Bed {
    process: Process,
    http: SocketAddr,
    mllp: SocketAddr,
    patients: u64,
    /// Messages sent so far, which number the next.
    sent: u64,
}

impl Bed {
    fn run(
        &mut self,
        connections: usize,
        total: u64,
        longest: Duration,
        pace: Option<f64>,
    ) -> io::Result<Measured> {
        let (first, patients, mllp) = (self.sent, self.patients, self.mllp);
        let amount = Amount {
            connections,
            total,
            longest,
            pace,
        };
        let measured = load::run_each(self.process.id(), amount, &|| {
            let mut client = MllpClient::connect(mllp)?;
            Ok(Box::new(move |number| {
                let answer = client.send(message(first + number, patients).as_bytes())?;
                Ok(Exchanged {
                    is_refused: acknowledgement_code(&answer) != "AA",
                    body_bytes: answer.len() as u64,
                })
            }))
        })?;
        // Numbers are taken in turn, so that those sent are the first ones.
        self.sent += measured.requests;
        Ok(measured)
    }

    fn count(&self, resource_type: &str) -> io::Result<u64> {
        let path = format!("/fhir/{resource_type}?_summary=count");
        let response = Client::connect(self.http)?.get(&path)?;
        let bundle = Value::parse(&response.body).map_err(|e| io::Error::other(e.to_string()))?;
        let total = bundle.get("total").and_then(Value::number_text);
        total
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no total of {resource_type}")))
    }

    /// Resources that messages make, Provenance among them.
    fn resources(&self) -> io::Result<u64> {
        let types = [
            "Patient",
            "Encounter",
            "Observation",
            "DiagnosticReport",
            "ServiceRequest",
            "Provenance",
        ];
        types.iter().map(|name| self.count(name)).sum()
    }

    /// Commits and groups of the store since its start.
    fn groups(&self) -> io::Result<(f64, f64)> {
        let text = Client::connect(self.http)?.get("/metrics")?.text();
        let number = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.split(' ').next() == Some(name));
            let value = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
            value.ok_or_else(|| io::Error::other(format!("no metric {name}")))
        };
        Ok((
            number("stoker_store_commits_total")?,
            number("stoker_store_transactions_total")?,
        ))
    }

    /// Mean size of what a result makes most, as JSON.
    fn body_bytes(&self) -> io::Result<f64> {
        let response = Client::connect(self.http)?.get("/fhir/Observation?_count=50")?;
        let bundle = Value::parse(&response.body).map_err(|e| io::Error::other(e.to_string()))?;
        let entries = bundle
            .get("entry")
            .and_then(Value::as_array)
            .unwrap_or_default();
        let sizes = entries.iter().filter_map(|entry| entry.get("resource"));
        let sizes: Vec<usize> = sizes.map(|resource| resource.to_bytes().len()).collect();
        Ok(sizes.iter().sum::<usize>() as f64 / sizes.len().max(1) as f64)
    }

    /// What was acknowledged must be found.
    fn check(&self, report: &mut Report) -> io::Result<()> {
        let results = (0..self.sent).filter(|n| n % ADMISSION_EVERY != 0).count() as u64;
        let (expected, found) = (results * OBX as u64, self.count("Observation")?);
        report.note(if expected == found {
            format!("HL7 v2: all {found} values of acknowledged results are found by search")
        } else {
            format!("HL7 v2: {found} values are FOUND of {expected} ACKNOWLEDGED")
        });
        Ok(())
    }
}

fn mean_bytes() -> usize {
    let numbers = 0..ADMISSION_EVERY * 20;
    let count = numbers.clone().count();
    numbers.map(|n| message(n, 1_000).len()).sum::<usize>() / count
}

/// The n-th message: an admission or a result of one of the patients.
fn message(number: u64, patients: u64) -> String {
    let patient = number.wrapping_mul(7_919) % patients;
    let (day, hour, minute) = (number / 1_440 % 28 + 1, number / 60 % 24, number % 60);
    let time = format!("202601{day:02}{hour:02}{minute:02}00+0000");
    let pid = format!(
        "PID|1||B{patient:07}^^^BENCH&2.999.7&ISO^MR~N{patient:07}^^^NATIONAL&2.999.8&ISO^NI||Synthetic{patient}^Given{}^M^^^^L||19{:02}0{}1{}|{}|||{} Example Street^^Sampletown^^12345^DEU^H||^PRN^PH^^49^555^{patient:07}|||M||V{patient:07}^^^BENCH&2.999.7&ISO^AN\r",
        patient % 97,
        patient % 80 + 10,
        patient % 9 + 1,
        patient % 9,
        if patient.is_multiple_of(2) { "F" } else { "M" },
        patient % 200 + 1,
    );
    let pv1 = format!(
        "PV1|1|I|WARD{}^{}^1^BENCH|E|||1234^Doctor^Dora^^^Dr|||MED||||A0||||V{patient:07}^^^BENCH&2.999.7&ISO^VN\r",
        patient % 20,
        patient % 40
    );
    if number.is_multiple_of(ADMISSION_EVERY) {
        return format!(
            "MSH|^~\\&|ADT|BENCH|STOKER|TEST|{time}||ADT^A08^ADT_A01|A{number}|P|2.5.1|||||||UNICODE UTF-8\rEVN|A08|{time}\r{pid}{pv1}\
             NK1|1|Relative{patient}^Rita|SPO^Spouse^HL70063|{patient} Example Street^^Sampletown^^12345|^PRN^PH^^49^555^1111\r"
        );
    }
    let mut text = format!(
        "MSH|^~\\&|LAB|BENCH|STOKER|TEST|{time}||ORU^R01^ORU_R01|R{number}|P|2.5.1|||||||UNICODE UTF-8\r{pid}{pv1}\
         ORC|RE|P{number}^BENCH|F{number}^LAB||CM||||{time}|||1234^Doctor^Dora^^^Dr\r\
         OBR|1|P{number}^BENCH|F{number}^LAB|24323-8^Comprehensive metabolic panel^LN|||{time}|||||||||1234^Doctor^Dora^^^Dr||||||{time}||LAB|F\r"
    );
    for (index, (code, name, unit, range)) in TESTS.iter().enumerate() {
        let value = (number.wrapping_mul(31) + index as u64 * 17) % 900;
        text.push_str(&format!(
            "OBX|{}|NM|{code}^{name}^LN||{}.{}|{unit}^^UCUM|{range}|N|||F|||{time}||5678^Technician^Theo^^^^^^BENCH\r",
            index + 1,
            value / 10,
            value % 10
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_as_described() {
        let mean = mean_bytes();
        assert!((1_450..=1_750).contains(&mean), "{mean}");
        let results = (0..10).filter(|n| message(*n, 10).contains("|ORU^R01^"));
        assert_eq!(results.count(), 8);
    }
}
