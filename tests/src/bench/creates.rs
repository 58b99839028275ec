//! Durable creates over HTTP at 1, 16 and 64 clients, into the populated database.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Limits;
use super::{Report, Scale, start_stoker};
use crate::load::{self, Request};
use crate::synthetic;

/// Measures creates of Observations.
///
/// # Errors
/// When the server does not start or a connection breaks.
pub fn measure(
    scale: &Scale,
    folder: &Path,
    limits: &Limits,
    report: &mut Report,
) -> io::Result<()> {
    let (mut process, address) = start_stoker(&folder.join("stoker.db"), &[])?;
    let next = AtomicU64::new(scale.observations);
    let make = |_| Request {
        method: "POST",
        path: "/fhir/Observation".to_owned(),
        body: synthetic::observation(next.fetch_add(1, Ordering::Relaxed), scale.patients)
            .into_bytes(),
    };
    load::run(address, process.id(), 8, 500, scale.longest, &make)?;
    for connections in [1, 16, 64] {
        let measured = load::run(
            address,
            process.id(),
            connections,
            40_000,
            scale.longest,
            &make,
        )?;
        let aim = (connections == 64).then_some(6.0);
        let name = format!("durable create, {connections} clients");
        report.add(
            &name,
            &measured,
            Some((limits.parse.0, "POST that parses")),
            aim,
        );
    }
    report.note(format!(
        "memory after the creates: {:.0} MB resident",
        process.resident_bytes() as f64 / 1e6
    ));
    process.terminate()?;
    Ok(())
}
