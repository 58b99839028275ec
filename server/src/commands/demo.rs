//! `stoker demo`: a server with a small synthetic hospital in it, and what to try.
//!
//! Everything goes in by the front doors: admissions and results as HL7 v2 over MLLP, vital signs as a FHIR transaction. All people are
//! made up.

use adapters::send::{SendOptions, Sent, send_file};
use fhir_core::access::{Access, Channel};
use fhir_core::json::Document;

use crate::app::App;
use crate::commands::{block_on, demo_ehr, send, serve, stop_signal};
use crate::config::{Config, Listen, Settings};
use crate::http::prefer::Return;
use crate::interactions::transaction;
use crate::telemetry;

/// Admissions and results, in the order they happened.
const MESSAGES: [(&str, &[u8]); 3] = [
    ("admissions", include_bytes!("../../demo/admissions.hl7")),
    (
        "laboratory results",
        include_bytes!("../../demo/laboratory.hl7"),
    ),
    ("a corrected name", include_bytes!("../../demo/update.hl7")),
];

/// Vital signs of the same patients.
const VITAL_SIGNS: &[u8] = include_bytes!("../../demo/vital-signs.json");

/// What `stoker demo` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Stop as soon as everything is in, for tests
    #[arg(long)]
    exit: bool,
    /// Also start simulators of two EHRs on this machine and copy what they hold
    #[arg(long)]
    ehr: bool,
    /// The settings; the database is a temporary one unless named.
    #[command(flatten)]
    settings: Settings,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// Settings that cannot be used, an address in use, or data that the server did not take.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    // Deleted with everything in it at the end.
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let mut settings = arguments.settings.clone();
    settings
        .database
        .get_or_insert_with(|| format!("sqlite:{}", folder.path().join("demo.db").display()));
    settings.log_filter.get_or_insert_with(|| "warn".to_owned());
    let config = Config::load(&settings, None).map_err(|e| e.to_string())?;
    if config.mllp == Listen::Off {
        return Err("the demo needs an `mllp` address".to_owned());
    }
    telemetry::start(&config)?;
    block_on(async {
        let app = App::start(config).await.map_err(|e| e.to_string())?;
        serve::announce(&app);
        let mut fed = feed(&app).await;
        let mut ehrs = None;
        if fed.is_ok() && arguments.ehr {
            match demo_ehr::start(&app, folder.path()).await {
                Ok(started) => ehrs = Some(started),
                Err(error) => fed = Err(error),
            }
        }
        if fed.is_ok() {
            print_what_to_try(&app);
            if ehrs.is_some() {
                demo_ehr::print_what_to_try(&app);
            }
            if !arguments.exit {
                stop_signal().await?;
            }
        }
        app.stop().await;
        drop(ehrs);
        fed
    })
}

async fn feed(app: &App) -> Result<(), String> {
    let address = app.mllp.ok_or("the MLLP listener has no address")?;
    for (name, messages) in MESSAGES {
        println!("\nSending {name} over MLLP:");
        let mut told = |sent: &Sent| println!("  {}", send::describe(sent));
        let report = send_file(address, messages, &SendOptions::default(), &mut told).await;
        let report = report.map_err(|e| format!("the MLLP listener cannot be reached: {e}"))?;
        if let Some(sent) = report.sent.iter().find(|sent| !send::is_accepted(sent)) {
            return Err(format!(
                "a message of the demo was not accepted: {}",
                send::describe(sent)
            ));
        }
    }
    println!("\nSending vital signs as a FHIR transaction:");
    let bundle = Document::parse(VITAL_SIGNS).map_err(|e| format!("vital-signs.json: {e}"))?;
    let access = Access::full("demo", Channel::CommandLine);
    let answers = transaction::perform(&app.server, &access, bundle.root(), Return::Minimal).await;
    let answers = answers.map_err(|problem| format!("vital-signs.json: {problem}"))?;
    println!("  {} Observations created", answers.len());
    Ok(())
}

fn print_what_to_try(app: &App) {
    let base = &app.server.base_url;
    let root = base.strip_suffix("/fhir").unwrap_or(base);
    println!("\nThe hospital is open. Try:");
    for (what, query) in [
        ("the patients", "Patient?_sort=family"),
        (
            "one of them, by the hospital's number",
            "Patient?identifier=MRN-1001",
        ),
        (
            "her results",
            "Observation?patient.identifier=MRN-1001&_sort=-date",
        ),
        (
            "her potassium, newest first",
            "Observation?patient.identifier=MRN-1001&code=http://loinc.org|2823-3&_sort=-date",
        ),
        (
            "all potassium above 5 mmol/L",
            "Observation?code-value-quantity=http://loinc.org|2823-3$gt5",
        ),
        (
            "heart rates with their patients",
            "Observation?code=http://loinc.org|8867-4&_include=Observation:subject",
        ),
        ("where the data came from", "Provenance?_count=5"),
        ("what this server can do", "metadata"),
    ] {
        println!("  # {what}\n  curl '{base}/{query}'");
    }
    if let Some(mllp) = app.mllp {
        println!("  # another message\n  stoker send FILE.hl7 --to {mllp}");
    }
    println!("Documentation: {root}/docs/   Metrics: {root}/metrics   Stop: Ctrl-C");
}
