//! Delivers a folder of device payloads to the real server and tells what became of them, in several orders.
//!
//! `cargo run -p system-tests --bin device_folder -- FOLDER [--out FOLDER] [--seeds N] [--postgres]`. First in the order of
//! names: a line for each file, every Observation validated and its units checked. Then everything twice, shuffled by N
//! seeds, and in two halves by two connections, each on a server of its own; the stored Observations must be the same.
//! With `--out` each file's answer and its Observations are written there. Ends with an error when anything differs or
//! does not conform.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fhir_core::json::Value;
use system_tests::device_folder::{
    Delivery, errors_of, observations, read, register, send, send_all, shuffled, wrong_units,
};
use system_tests::http_client::Client;
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;

/// What is asked for.
struct Options {
    folder: PathBuf,
    out: Option<PathBuf>,
    seeds: u64,
    is_postgres: bool,
}

fn main() -> io::Result<()> {
    let options = options()?;
    let deliveries = read(&options.folder)?;
    let mut is_good = first(&options, &deliveries)?;
    // A Bundle of creates makes new resources each time it is posted, by the rules of REST.
    let deliveries: Vec<Delivery> = deliveries
        .into_iter()
        .filter(|delivery| delivery.path != "/fhir")
        .collect();
    let all: Vec<usize> = (0..deliveries.len()).collect();
    let once = run(&options, &deliveries, std::slice::from_ref(&all))?;
    let mut orders = vec![(
        "twice".to_owned(),
        vec![[all.clone(), all.clone()].concat()],
    )];
    for seed in 1..=options.seeds {
        let order = shuffled(all.len(), seed);
        let half = order.len() / 2;
        let (left, right) = order.split_at(half);
        orders.push((format!("shuffled {seed}"), vec![order.clone()]));
        orders.push((
            format!("two halves {seed}"),
            vec![left.to_vec(), right.to_vec()],
        ));
    }
    for (name, order) in orders {
        let other = run(&options, &deliveries, &order)?;
        let differ = once
            .iter()
            .filter(|(id, value)| other.get(*id) != Some(value))
            .count();
        let more = other.keys().filter(|id| !once.contains_key(*id)).count();
        println!(
            "{name}: {} Observations, {differ} differ, {more} more",
            other.len()
        );
        for (id, value) in once
            .iter()
            .filter(|(id, value)| other.get(*id) != Some(value))
        {
            println!(
                "  {id}\n    {value}\n    {}",
                other.get(id).unwrap_or(&Value::Null)
            );
        }
        is_good &= differ == 0 && more == 0;
    }
    if is_good {
        Ok(())
    } else {
        Err(io::Error::other("see above"))
    }
}

fn options() -> io::Result<Options> {
    let mut options = Options {
        folder: PathBuf::new(),
        out: None,
        seeds: 3,
        is_postgres: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => options.out = arguments.next().map(PathBuf::from),
            "--seeds" => options.seeds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(3),
            "--postgres" => options.is_postgres = true,
            folder => options.folder = PathBuf::from(folder),
        }
    }
    if options.folder.as_os_str().is_empty() {
        return Err(io::Error::other("name a folder with payloads"));
    }
    Ok(options)
}

/// A server with nothing in it but the devices, and the database under it.
struct Ground {
    server: TestServer,
    client: Client,
    _postgres: Option<Postgres>,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn start(options: &Options, deliveries: &[Delivery]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let postgres = if options.is_postgres {
            Postgres::start()?
        } else {
            None
        };
        let server = match &postgres {
            None => TestServer::start(&folder.path().join("folder.db"))?,
            Some(postgres) => TestServer::start_on(&postgres.url, &[])?,
        };
        let mut client = Client::connect(server.doors.http)?;
        register(&mut client, deliveries)?;
        Ok(Self {
            server,
            client,
            _postgres: postgres,
            _folder: folder,
        })
    }
}

fn run(
    options: &Options,
    deliveries: &[Delivery],
    orders: &[Vec<usize>],
) -> io::Result<BTreeMap<String, Value>> {
    let mut ground = Ground::start(options, deliveries)?;
    send_all(ground.server.doors.http, deliveries, orders)?;
    // The first connection may have been idle for longer than the server waits.
    ground.client = Client::connect(ground.server.doors.http)?;
    observations(&mut ground.client)
}

/// Delivers in the order of names and looks at everything.
fn first(options: &Options, deliveries: &[Delivery]) -> io::Result<bool> {
    let mut ground = Ground::start(options, deliveries)?;
    let client = &mut ground.client;
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for (n, delivery) in deliveries.iter().enumerate() {
        let (status, answer) = send(client, delivery)?;
        let name = delivery
            .file
            .strip_prefix(&options.folder)
            .unwrap_or(&delivery.file);
        let mut counts = String::new();
        if let Some(map) = answer.get("counts").and_then(Value::as_object) {
            for (code, count) in map.iter() {
                let count = count.number_text().unwrap_or("0");
                counts.push_str(&format!(" {code}={count}"));
                *totals.entry(code.to_string()).or_default() += count.parse::<u64>().unwrap_or(0);
            }
        } else if status >= 400 {
            counts = format!(" {answer}");
        }
        println!(
            "{}\t{}\t{status}\t{}",
            name.display(),
            delivery.path,
            counts.trim()
        );
        if let Some(out) = &options.out {
            write(out, n, name, status, &answer, client)?;
        }
    }
    let stored = observations(client)?;
    let mut faults = 0;
    for (id, value) in &stored {
        let mut wrong: Vec<String> = errors_of(client, value)?;
        wrong.extend(
            wrong_units(value)
                .iter()
                .map(|unit| format!("`{unit}` is no UCUM unit")),
        );
        faults += usize::from(!wrong.is_empty());
        wrong
            .iter()
            .for_each(|text| println!("Observation/{id}: {text}"));
    }
    println!("{} payloads {totals:?}", deliveries.len());
    println!("{} Observations, {faults} do not conform", stored.len());
    Ok(faults == 0)
}

fn write(
    out: &Path,
    n: usize,
    name: &Path,
    status: u16,
    answer: &Value,
    client: &mut Client,
) -> io::Result<()> {
    let mut found = Vec::new();
    let results = answer
        .get("results")
        .and_then(Value::as_array)
        .unwrap_or_default();
    for reference in results.iter().filter_map(|r| r.get("reference")?.as_str()) {
        let resource = client.get(&format!("/fhir/{reference}"))?;
        found.push(Value::parse(&resource.body).unwrap_or(Value::Null));
    }
    let all = Value::object([
        ("file", Value::from(name.display().to_string())),
        ("status", Value::from(status.to_string())),
        ("answer", answer.clone()),
        ("observations", Value::Array(found)),
    ]);
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join(format!("{n:04}.json")), all.to_bytes())
}
