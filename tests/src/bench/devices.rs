//! Device data: samples by HTTP and by MQTT, bytes on disk, the latest of a long series, and a day as SampledData, beside
//! the bare insert of the same rows.
//!
//! Aims: 60,000 samples a second by HTTP and 10,000 messages by MQTT on two cores, 40 bytes for a sample, the latest of ten
//! million in 5 ms, a day by hours in 20 ms.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fhir_core::json::Value;

use super::{Report, Row, Scale, start_stoker};
use crate::http_client::Client;
use crate::load::{self, Measured, Request};
use crate::mosquitto::{self, BROKER, Broker};
use crate::process::built_program;

/// Samples of one request.
const BATCH: u64 = 1_000;
/// Devices that send side by side.
const DEVICES: u64 = 16;
/// Seconds of a day.
const DAY: u64 = 86_400;
/// Longest wait for what a broker holds.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// Measures all of it on a database of its own.
///
/// # Errors
/// When a program does not start or a connection breaks.
pub fn measure(
    scale: &Scale,
    folder: &Path,
    is_quick: bool,
    report: &mut Report,
) -> io::Result<()> {
    let bare = narrow(&["limit", &text(&folder.join("narrow.db"))])?;
    let limit = Some((bare.1, "bare narrow insert"));
    report.note(format!(
        "bare narrow insert, groups of 1,000, durable: {:.0} rows a second, {:.2} µs CPU each",
        bare.0, bare.1
    ));
    let database = folder.join("devices.db");
    let (samples, messages, long) = if is_quick {
        (100_000, 2_000, 200_000)
    } else {
        (2_000_000, 100_000, 10_000_000)
    };
    let (mut process, address) = start_stoker(&database, &[])?;
    register(address)?;
    let before = size(&database);
    let make = |number: u64| Request {
        method: "POST",
        path: "/ingest/generic-json?results=waiting".to_owned(),
        body: batch(number % DEVICES, number / DEVICES * BATCH),
    };
    let longest = scale.longest * 10;
    let measured = load::run(address, process.id(), 4, samples / BATCH, longest, &make)?;
    report.row(row(
        "samples by HTTP, 1,000 a request",
        &measured,
        BATCH,
        limit,
    ));
    if measured.refused > 0 {
        report.note(format!("{} requests were REFUSED", measured.refused));
    }
    process.terminate()?;
    let stored = measured.requests * BATCH;
    let bytes = size(&database).saturating_sub(before) as f64 / stored as f64;
    report.note(format!("{bytes:.1} bytes on disk for a sample of {stored}, with the payloads as received (aim ≤ 40)"));

    if Path::new(BROKER).exists() {
        by_mqtt(&database, folder, messages, limit, report)?;
    } else {
        report.note(format!("MQTT was not measured: {BROKER} is missing"));
    }

    let before = size(&database);
    narrow(&["fill", &text(&database), &long.to_string()])?;
    let bytes = size(&database).saturating_sub(before) as f64 / long as f64;
    report.note(format!(
        "{bytes:.1} bytes on disk for a sample of {long} without payloads"
    ));
    let (mut process, address) = start_stoker(&database, &[])?;
    let patient = longest_patient(address)?;
    let lastn = format!("/fhir/Observation/$lastn?patient={patient}&code=8867-4");
    let hourly = format!("/fhir/Observation/$hourly?patient={patient}&code=8867-4&date=2026-02-27");
    for (name, path, requests) in [
        (format!("$lastn of {long} samples"), lastn, 500),
        (format!("$hourly of a day, {DAY} samples"), hourly, 50),
    ] {
        let get = |_| Request {
            method: "GET",
            path: path.clone(),
            body: Vec::new(),
        };
        let measured = load::run(address, process.id(), 1, requests, longest, &get)?;
        report.add(&name, &measured, None, None);
    }
    process.terminate()?;
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs the store's example; rows a second and CPU microseconds each, where it says them.
fn narrow(arguments: &[&str]) -> io::Result<(f64, f64)> {
    let output = Command::new(built_program("examples/narrow")?)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<f64> = text
        .split_whitespace()
        .filter_map(|w| w.parse().ok())
        .collect();
    match words.as_slice() {
        [rows, seconds, cpu] => Ok((rows / seconds, cpu * 1e6 / rows)),
        _ => Ok((0.0, 0.0)),
    }
}

/// Bytes of the database with its log.
fn size(database: &Path) -> u64 {
    let wal = text(database) + "-wal";
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    of(database) + of(Path::new(&wal))
}

fn row(name: &str, measured: &Measured, each: u64, limit: Option<(f64, &'static str)>) -> Row {
    let samples = measured.requests * each;
    Row {
        name: name.to_owned(),
        rate: measured.rate() * each as f64,
        latency_ms: Some((measured.percentile_ms(0.5), measured.percentile_ms(0.99))),
        server_cpu_micros: measured.cpu_micros() / each as f64,
        load_cpu_micros: measured.load_cpu * 1e6 / samples.max(1) as f64,
        limit,
        aim: None,
    }
}

/// A patient for each device.
fn register(address: SocketAddr) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    let mut put = |path: String, body: String| {
        let headers = [("content-type", "application/fhir+json")];
        client
            .request("PUT", &path, &headers, body.as_bytes())
            .and_then(|answer| match answer.status {
                200..300 => Ok(()),
                _ => Err(io::Error::other(answer.text())),
            })
    };
    for n in 0..DEVICES {
        put(
            format!("/fhir/Patient/p{n}"),
            format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#),
        )?;
        put(
            format!("/fhir/Device/d{n}"),
            format!(
                r#"{{"resourceType":"Device","id":"d{n}","identifier":[{{"system":"urn:stoker:device","value":"d{n}"}}],"patient":{{"reference":"Patient/p{n}"}}}}"#
            ),
        )?;
    }
    Ok(())
}

/// A value a second of one device, from a number of seconds after the first of March 2026 on.
fn batch(device: u64, from: u64) -> Vec<u8> {
    let lines: String = (from..from + BATCH).map(|n| line(device, n)).collect();
    lines.into_bytes()
}

fn line(device: u64, n: u64) -> String {
    let (day, hour, minute, second) = (1 + n / DAY, n / 3_600 % 24, n / 60 % 60, n % 60);
    format!(
        "{{\"deviceId\":\"d{device}\",\"t\":\"2026-03-{day:02}T{hour:02}:{minute:02}:{second:02}Z\",\"hr\":{}.{}}}\n",
        60 + n % 40,
        n % 10
    )
}

/// Messages of one sample each through a broker, until all of them are found.
fn by_mqtt(
    database: &Path,
    folder: &Path,
    messages: u64,
    limit: Option<(f64, &'static str)>,
    report: &mut Report,
) -> io::Result<()> {
    let broker = Broker::start(folder)?;
    let settings = folder.join("devices.toml");
    let toml = format!(
        "[[mqtt]]\nclient_id = \"stoker-bench\"\nurl = \"mqtt://127.0.0.1:{}\"\nwindow = 1024\n\n[[mqtt.topic]]\nfilter = \"bench/+\"\nsource = \"generic-json\"\n",
        broker.port
    );
    std::fs::write(&settings, toml)?;
    let (mut process, address) = start_stoker(database, &["--config", &text(&settings)])?;
    let mut client = Client::connect(address)?;
    // A day long after the others, so that these are counted alone.
    let query = "/fhir/Observation?code=8867-4&date=ge2026-03-29&_summary=count";
    let at = |n: u64| line(n % DEVICES, 28 * DAY + n / DEVICES);
    let mut wait = |wanted: u64, meanwhile: &dyn Fn() -> io::Result<()>| -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < DRAIN_LIMIT {
            let answer = client.get(query)?;
            let bundle = Value::parse(&answer.body).map_err(io::Error::other)?;
            let total = bundle.get("total").and_then(Value::number_text);
            if total.and_then(|t| t.parse::<u64>().ok()).unwrap_or(0) >= wanted {
                return Ok(());
            }
            meanwhile()?;
        }
        Err(io::Error::other("not all messages came"))
    };
    // Until the subscription is there nothing is kept.
    wait(1, &|| mosquitto::publish(broker.port, "bench/0", &[at(0)]))?;
    let all: Vec<String> = (1..messages).map(at).collect();
    let cpu = process.cpu_seconds();
    let start = Instant::now();
    mosquitto::publish(broker.port, "bench/1", &all)?;
    let published = start.elapsed().as_secs_f64();
    wait(messages, &|| Ok(()))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = process.cpu_seconds() - cpu;
    report.row(Row {
        name: "messages by MQTT at QoS 1, a sample each".to_owned(),
        rate: messages as f64 / seconds,
        latency_ms: None,
        server_cpu_micros: cpu * 1e6 / messages as f64,
        load_cpu_micros: 0.0,
        limit,
        aim: None,
    });
    report.note(format!(
        "MQTT: the broker had acknowledged all {messages} after {published:.1} s"
    ));
    process.terminate()?;
    Ok(())
}

/// The patient with the most samples: the one whose series was made long.
fn longest_patient(address: SocketAddr) -> io::Result<String> {
    let mut client = Client::connect(address)?;
    let mut best = (0, String::new());
    for n in 0..DEVICES {
        let query = format!("/fhir/Observation?patient=p{n}&date=lt2026-03-01&_summary=count");
        let bundle = Value::parse(&client.get(&query)?.body).map_err(io::Error::other)?;
        let total = bundle.get("total").and_then(Value::number_text);
        let total: u64 = total.and_then(|t| t.parse().ok()).unwrap_or(0);
        if total > best.0 {
            best = (total, format!("p{n}"));
        }
    }
    Ok(best.1)
}
