//! Reads and the main searches over the imported population.

use std::io;
use std::path::Path;

use super::limits::Limits;
use super::{Report, Scale, start_stoker};
use crate::load::{self, Measured, Request};
use crate::synthetic::{self, Random};

const CONNECTIONS: usize = 8;

/// Measures reads with and without cache.
///
/// # Errors
/// When the server does not start or a connection breaks.
pub fn reads(scale: &Scale, folder: &Path, limits: &Limits, report: &mut Report) -> io::Result<()> {
    let database = folder.join("stoker.db");
    let read = |number: u64| {
        let patient = Random::new(number).below(scale.patients);
        get(format!("/fhir/Patient/{}", synthetic::patient_id(patient)))
    };
    let (mut process, address) = start_stoker(&database, &["--cache-bytes", "0"])?;
    let uncached = steady(address, process.id(), scale, &read)?;
    report.add(
        "read Patient, not cached",
        &uncached,
        Some((limits.constant.0, "constant")),
        Some(2.2),
    );
    process.terminate()?;

    let (mut process, address) = start_stoker(&database, &[])?;
    let cached = steady(address, process.id(), scale, &read)?;
    report.add(
        "read Patient, cached",
        &cached,
        Some((limits.constant.0, "constant")),
        Some(1.25),
    );
    process.terminate()?;
    Ok(())
}

/// Measures the searches whose name has `part` in it.
///
/// # Errors
/// When the server does not start or a connection breaks.
pub fn measure(
    scale: &Scale,
    folder: &Path,
    limits: &Limits,
    report: &mut Report,
    part: &str,
) -> io::Result<()> {
    let (mut process, address) = start_stoker(&folder.join("stoker.db"), &[])?;
    let id = process.id();
    for (name, make) in searches(scale)
        .into_iter()
        .filter(|(name, _)| name.contains(part))
    {
        let measured = steady(address, id, scale, make.as_ref())?;
        report.add(
            name,
            &measured,
            Some((limits.bundle.0, "50-entry Bundle")),
            Some(2.0),
        );
        report.note(format!(
            "{name}: {:.0} bytes an answer",
            measured.body_bytes as f64 / measured.requests.max(1) as f64
        ));
    }
    report.note(format!(
        "memory after the searches: {:.0} MB resident (aim ≤ 256)",
        process.resident_bytes() as f64 / 1e6
    ));
    process.terminate()?;
    Ok(())
}

type Make = Box<dyn Fn(u64) -> Request + Sync>;

fn searches(scale: &Scale) -> Vec<(&'static str, Make)> {
    let patients = scale.patients;
    let last = scale.observations;
    let codes = synthetic::codes();
    let pick = move |number: u64| {
        let mut random = Random::new(number ^ 0x5151);
        (
            random.below(patients),
            codes[random.below(codes.len() as u64) as usize],
            random.below(last),
        )
    };
    let (by_code, by_range, by_category, by_value) =
        (pick.clone(), pick.clone(), pick.clone(), pick.clone());
    let (by_identifier, by_chain, by_count) = (pick.clone(), pick.clone(), pick);
    let id = synthetic::patient_id;
    vec![
        (
            "patient+code, newest first",
            Box::new(move |n| {
                let (patient, code, _) = by_code(n);
                search(format!(
                    "patient={}&code=http://loinc.org|{code}&_sort=-date&_count=50",
                    id(patient)
                ))
            }),
        ),
        (
            "code+date range of about 30 days",
            Box::new(move |n| {
                let (_, code, number) = by_range(n);
                let start = synthetic::effective(number.saturating_sub(64_800));
                let end = synthetic::effective(number);
                search(format!(
                    "code=http://loinc.org|{code}&date=ge{}&date=lt{}&_count=50",
                    &start[..10],
                    &end[..10]
                ))
            }),
        ),
        (
            "patient+category, newest first",
            Box::new(move |n| {
                let (patient, _, _) = by_category(n);
                search(format!(
                    "patient={}&category=laboratory&_sort=-date&_count=50",
                    id(patient)
                ))
            }),
        ),
        (
            "code+value-quantity gt",
            Box::new(move |n| {
                let (_, _, number) = by_value(n);
                search(format!(
                    "code=http://loinc.org|8867-4&value-quantity=gt{}&_count=50",
                    60 + number % 60
                ))
            }),
        ),
        (
            "Patient by identifier",
            Box::new(move |n| {
                let (patient, _, _) = by_identifier(n);
                get(format!(
                    "/fhir/Patient?identifier=urn:oid:2.999.1.1%7C{}",
                    synthetic::patient_mrn(patient)
                ))
            }),
        ),
        (
            "chain patient.identifier",
            Box::new(move |n| {
                let (patient, _, _) = by_chain(n);
                search(format!(
                    "patient.identifier=urn:oid:2.999.1.1|{}&_count=50",
                    synthetic::patient_mrn(patient)
                ))
            }),
        ),
        (
            "count by code",
            Box::new(move |n| {
                let (_, code, _) = by_count(n);
                search(format!("code=http://loinc.org|{code}&_summary=count"))
            }),
        ),
    ]
}

fn search(query: String) -> Request {
    get(format!(
        "/fhir/Observation?{}",
        query.replace('|', "%7C").replace('+', "%2B")
    ))
}

fn get(path: String) -> Request {
    Request {
        method: "GET",
        path,
        body: Vec::new(),
    }
}

/// Warms up, then measures.
fn steady(
    address: std::net::SocketAddr,
    server: u32,
    scale: &Scale,
    make: &(dyn Fn(u64) -> Request + Sync),
) -> io::Result<Measured> {
    load::run(address, server, CONNECTIONS, 3_000, scale.longest, make)?;
    load::run(address, server, CONNECTIONS, 40_000, scale.longest, make)
}
