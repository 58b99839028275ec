//! The part of `stoker demo` that copies two EHRs: simulators of Epic and Oracle Health on the loopback interface.
//!
//! The simulators are made from captures and vendor documents, not from the vendors' systems; all people are made up.

use std::path::Path;
use std::sync::Arc;

use ::ehr::auth::keys::KeyRing;
use ::ehr::cli;
use ::ehr::clock::{Machine, Surroundings as _};
use ehr_simulators::{Client, Simulator, Vendor, World, wall_clock_s};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::ehr::runner;
use crate::ehr::tenants::Tenants;

/// People of each EHR, and Observations of each of them.
const PEOPLE: u64 = 5;
const ROWS: u64 = 60;

/// Simulators that run; they end when dropped.
pub struct Ehrs(Vec<JoinHandle<()>>);

impl Drop for Ehrs {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts both, registers them as tenants, and copies what they hold.
///
/// # Errors
/// A port that cannot be opened, or a run that did not end.
pub async fn start(app: &App, folder: &Path) -> Result<Ehrs, String> {
    let mut ehrs = Ehrs(Vec::new());
    for (vendor, name) in [(Vendor::Epic, "epic"), (Vendor::Oracle, "oracle")] {
        let keys = folder.join(format!("keys-{name}"));
        let ring = KeyRing::open(&keys).and_then(|mut ring| {
            ring.rotate(Machine.now(), Machine.random())?;
            ring.jwks()
        });
        let client = Client {
            id: "demo".to_owned(),
            jwks: Some(ring.map_err(|e| e.to_string())?),
            secret: None,
            scopes: ["Patient", "Observation"]
                .map(|name| format!("system/{name}.rs"))
                .to_vec(),
        };
        let mut world = World::synthetic(vendor, PEOPLE, ROWS);
        world.advance_s(wall_clock_s() - world.now_s());
        let patients: Vec<String> = world.people.keys().map(|id| format!("{id:?}")).collect();
        let simulator = Simulator::start(vendor, 0, world, client).await;
        let simulator = simulator.map_err(|e| format!("the {name} simulator: {e}"))?;
        println!("\nA simulated {name} EHR answers at {}", simulator.base());
        let toml = format!(
            "tenant = \"demo-{name}\"\nvendor = \"{name}\"\nfhir_base = \"{}\"\nclient_id = \"demo\"\n\
             types = [\"Patient\", \"Observation\"]\nevery_min = 1\n\
             auth = {{ method = \"private-key-jwt\", keys = {keys:?} }}\n\
             cohort = {{ patients = [{}] }}\n",
            simulator.base(),
            patients.join(", ")
        );
        ehrs.0.push(tokio::spawn(async move {
            simulator.keep_time().await;
        }));
        copy(app, &toml).await?;
    }
    Ok(ehrs)
}

async fn copy(app: &App, toml: &str) -> Result<(), String> {
    // Registered without a schedule first, so that the first run is this one and can be waited for.
    let by_hand: String = toml
        .lines()
        .filter(|line| !line.starts_with("every_min"))
        .map(|line| format!("{line}\n"))
        .collect();
    let entry = Tenants::register(&app.server, &by_hand).await;
    let (entry, _) = entry.map_err(|problem| problem.to_string())?;
    let report = runner::run_now(&app.server, &entry).await;
    let report = report.map_err(|e| e.to_string())?;
    for line in cli::report_text(&report).lines() {
        println!("  {line}");
    }
    if !report.failed.is_empty() {
        return Err("a simulated EHR was not copied whole".to_owned());
    }
    let scheduled = Tenants::register(&Arc::clone(&app.server), toml).await;
    scheduled.map_err(|problem| problem.to_string()).map(|_| ())
}

/// Prints what to look at.
pub fn print_what_to_try(app: &App) {
    let base = &app.server.base_url;
    let root = base.strip_suffix("/fhir").unwrap_or(base);
    for (what, url) in [
        (
            "the copied EHRs, their runs and accounting",
            format!("{root}/admin/tenants/demo-epic"),
        ),
        (
            "what is complete, per patient and search",
            format!("{root}/admin/tenants/demo-oracle/completeness"),
        ),
        (
            "the same as FHIR resources",
            format!("{base}/Basic?code=ehr-completeness"),
        ),
        (
            "what the copies say of their source",
            format!("{base}/Observation?_source:below=http://127.0.0.1&_count=2"),
        ),
        (
            "our public keys, as an EHR fetches them",
            format!("{root}/ehr/jwks.json"),
        ),
    ] {
        println!("  # {what}\n  curl '{url}'");
    }
}
