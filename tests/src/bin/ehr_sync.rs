//! How fast a first copy of an EHR goes, beside the import of the same resources: `ehr_sync [PEOPLE ROWS]`.
//!
//! Both use the real program on a new SQLite file: a simulator on this machine for the one, an NDJSON file of the same
//! resources for the other. The simulator's own work is part of the first number, as an EHR's would be.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ehr::identity::local_id;
use ehr_simulators::{Client as EhrClient, Simulator, Vendor, World, wall_clock_s};
use fhir_core::json::Value;
use system_tests::http_client::Client;
use system_tests::process::{Process, built_program};

/// Longest wait for the server to answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at the run.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let people = numbers.next().unwrap_or(1_000);
    let rows = numbers.next().unwrap_or(200);
    for (vendor, name) in [(Vendor::Epic, "epic"), (Vendor::Oracle, "oracle")] {
        let folder = tempfile::tempdir()?;
        let world = || World::synthetic(vendor, people, rows);
        let resources = (people * (rows + 1)) as f64;
        let sync = sync(folder.path(), vendor, name, world())?;
        println!(
            "{name}: {resources:.0} resources copied in {:.1} s = {:.0}/s with Provenance, crosswalk and raw pages; \
             server CPU {:.1} s; resident memory at most {:.0} MiB in the first half and {:.0} MiB in the second; database {:.0} MiB",
            sync.seconds,
            resources / sync.seconds,
            sync.cpu_seconds,
            mebibytes(sync.first_half_bytes),
            mebibytes(sync.second_half_bytes),
            mebibytes(sync.database_bytes),
        );
        let seconds = import(folder.path(), &world())?;
        println!(
            "{name}: the same resources imported from NDJSON in {seconds:.1} s = {:.0}/s",
            resources / seconds
        );
    }
    Ok(())
}

struct Measured {
    seconds: f64,
    cpu_seconds: f64,
    first_half_bytes: u64,
    second_half_bytes: u64,
    database_bytes: u64,
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn sync(folder: &Path, vendor: Vendor, name: &str, mut world: World) -> io::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    world.advance_s(wall_clock_s() - world.now_s());
    let patients: Vec<String> = world.people.keys().map(|id| format!("{id:?}")).collect();
    let client = EhrClient {
        id: "bench".to_owned(),
        jwks: None,
        secret: Some("bench".to_owned()),
        scopes: ["Patient", "Observation"]
            .map(|of| format!("system/{of}.rs"))
            .to_vec(),
    };
    let simulator = runtime.block_on(Simulator::start(vendor, 0, world, client))?;
    let secret = folder.join("secret");
    std::fs::write(&secret, "bench")?;
    let toml = format!(
        "tenant = \"bench\"\nvendor = \"{name}\"\nfhir_base = \"{}\"\nclient_id = \"bench\"\n\
         types = [\"Patient\", \"Observation\"]\n\
         auth = {{ method = \"basic\", secret = {{ file = {secret:?} }} }}\n\
         cohort = {{ patients = [{}] }}\n[profile]\nrequests_per_day = 4000000000\n",
        simulator.base(),
        patients.join(", ")
    );
    let database = folder.join("sync.db");
    let mut command = Command::new(built_program("stoker")?);
    command.args([
        "serve",
        "--http",
        "127.0.0.1:0",
        "--mllp",
        "off",
        "--database",
    ]);
    command
        .arg(format!("sqlite:{}", database.display()))
        .env("RUST_LOG", "warn");
    let mut process = Process::start_with(&mut command)?;
    let address = process.wait_for(START_LIMIT, |line| {
        line.strip_prefix("listening http ")?.trim().parse().ok()
    })?;
    let mut client = Client::connect(address)?;
    expect(client.post("/admin/tenants", toml.as_bytes())?.status, 201)?;
    let start = Instant::now();
    expect(client.post("/admin/tenants/bench/run", b"")?.status, 202)?;
    let mut resident_bytes = Vec::new();
    let run = loop {
        // The program says nothing of runs on its output; this waits, and notices if it ends.
        let _ = process.wait_for(LOOK_EVERY, |_| None::<()>);
        resident_bytes.push(process.resident_bytes());
        let list = client.get("/admin/tenants")?;
        if list.text().contains("\"running\":false") {
            let state = client.get("/admin/tenants/bench")?;
            break Value::parse(&state.body).map_err(io::Error::other)?;
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let runs = run
        .get("runs")
        .and_then(Value::as_array)
        .unwrap_or_default();
    let outcome = runs.first().and_then(|run| run.get("outcome")?.as_str());
    if outcome != Some("complete") {
        return Err(io::Error::other(format!("the run did not complete: {run}")));
    }
    let cpu_seconds = process.cpu_seconds();
    process.terminate()?;
    drop(simulator);
    let (first, second) = resident_bytes.split_at(resident_bytes.len() / 2);
    let most = |looks: &[u64]| looks.iter().copied().max().unwrap_or(0);
    Ok(Measured {
        seconds,
        cpu_seconds,
        first_half_bytes: most(first),
        second_half_bytes: most(second),
        database_bytes: std::fs::metadata(&database)?.len(),
    })
}

fn expect(status: u16, wanted: u16) -> io::Result<()> {
    if status == wanted {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "status {status} instead of {wanted}"
    )))
}

fn set(body: &mut Value, name: &str, value: Value) {
    if let Some(members) = body.as_object_mut() {
        members.insert(name, value);
    }
}

fn import(folder: &Path, world: &World) -> io::Result<f64> {
    let source = folder.join("population");
    std::fs::create_dir_all(&source)?;
    let mut file = BufWriter::new(std::fs::File::create(source.join("all.ndjson"))?);
    // Ids of an EHR may be longer than ours may be; a copy gets its own, and so does what is imported.
    for (id, person) in &world.people {
        let mut body = person.body.clone();
        set(&mut body, "id", local_id("bench", "Patient", id).into());
        writeln!(file, "{body}")?;
    }
    for row in &world.rows {
        let mut body = world.render(row, "", false);
        let patient = local_id("bench", "Patient", &row.patient);
        let subject = Value::object([("reference", Value::from(format!("Patient/{patient}")))]);
        set(&mut body, "subject", subject);
        writeln!(file, "{body}")?;
    }
    file.flush()?;
    let start = Instant::now();
    let mut command = Command::new(built_program("stoker")?);
    command
        .args(["import", "--database"])
        .arg(format!("sqlite:{}", folder.join("import.db").display()))
        .arg(&source)
        .env("RUST_LOG", "warn");
    let status = Process::start_with(&mut command)?.wait()?;
    expect(u16::from(!status.success()), 0)?;
    Ok(start.elapsed().as_secs_f64())
}
