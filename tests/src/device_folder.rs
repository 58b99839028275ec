//! Payloads of a folder, delivered to a running server as a sender would, in any order.
//!
//! Each file goes through the payload mapping that takes most of it; FHIR files go to `/fhir`. Devices are registered
//! beforehand, all with one patient. Left out: reading expectations, whose form differs from corpus to corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use device::association::{Association, DeviceRecord, Directory};
use device::ingest::{Dense, FUTURE_US_DEFAULT, Fate, Ingest, Payload, Prepared, Source};
use device::observation::Observer;
use fhir_core::json::Value;

use crate::http_client::Client;

/// Observations of a page asked for.
const PAGE: usize = 500;
/// The system device identifiers have unless a source says otherwise.
const SYSTEM: &str = "urn:stoker:device";

/// One payload and where it goes.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The file it came from.
    pub file: PathBuf,
    /// Path of the request.
    pub path: String,
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// Media type of the request.
    pub media_type: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Devices it names.
    pub devices: BTreeSet<String>,
}

/// Reads a folder and finds the mapping for each file. Files whose names contain `expected`, `snapshot` or `mapping` are
/// left out, and those that are no payload at all.
///
/// # Errors
/// When a file or a shipped mapping cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<Delivery>> {
    let sources = sources()?;
    let mut files = Vec::new();
    walk(folder, &mut files)?;
    files.sort();
    let mut deliveries = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file)?;
        if let Some(delivery) = fhir(&file, &bytes) {
            deliveries.push(delivery);
            continue;
        }
        let prepared = sources
            .iter()
            .map(|source| (source, prepare(source, &bytes)));
        let best = prepared.max_by_key(|(_, (_, prepared))| taken(prepared));
        if let Some((source, (devices, _))) = best {
            deliveries.push(Delivery {
                path: format!("/ingest/{}", source.mapping.id),
                method: "POST",
                media_type: "application/octet-stream",
                bytes,
                file,
                devices,
            });
        }
    }
    Ok(deliveries)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let is_other = ["expected", "snapshot", "mapping", "devicecontent", "oracle"];
        if path.is_dir() {
            if name != "schema" && name != "templates" {
                walk(&path, files)?;
            }
        } else if !is_other.iter().any(|other| name.contains(other))
            && !name.ends_with(".tsv")
            && !name.ends_with(".fsh")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn fhir(file: &Path, bytes: &[u8]) -> Option<Delivery> {
    let name = file.file_name()?.to_string_lossy().into_owned();
    let text = std::str::from_utf8(bytes).ok()?;
    let (type_name, id, media_type) = if name.ends_with(".xml") {
        if !text.contains("http://hl7.org/fhir") {
            return None;
        }
        let (_, rest) = text.split_once("xmlns=\"http://hl7.org/fhir\"")?;
        let before = text.split_once("xmlns=\"http://hl7.org/fhir\"")?.0;
        let type_name = before.rsplit_once('<')?.1.trim().to_owned();
        let id = rest.split_once("<id value=\"")?.1.split_once('"')?.0;
        (type_name, id.to_owned(), "application/fhir+xml")
    } else {
        let value = Value::parse(bytes).ok()?;
        let type_name = value.get("resourceType")?.as_str()?.to_owned();
        let id = value.get("id").and_then(Value::as_str);
        (
            type_name,
            id.unwrap_or("none").to_owned(),
            "application/fhir+json",
        )
    };
    let is_bundle = type_name == "Bundle";
    Some(Delivery {
        path: if is_bundle {
            "/fhir".to_owned()
        } else {
            format!("/fhir/{type_name}/{id}")
        },
        method: if is_bundle { "POST" } else { "PUT" },
        media_type,
        bytes: bytes.to_vec(),
        file: file.to_owned(),
        devices: BTreeSet::new(),
    })
}

fn sources() -> io::Result<Vec<Ingest>> {
    let library = mappings::Library::embedded().map_err(|e| io::Error::other(e.to_string()))?;
    let observer = Observer::new(&library, "folder");
    let observer = observer.ok_or_else(|| io::Error::other("no mapping for measurements"))?;
    let mappings = device::payload::embedded();
    let mappings = mappings.map_err(|e| io::Error::other(e.to_string()))?;
    let ingest = |mapping: device::payload::PayloadMapping| {
        let source = Source {
            feed: mapping.id.clone(),
            device_system: SYSTEM.into(),
            zone: Some(device::time::Tz::UTC),
            future_us_max: FUTURE_US_DEFAULT,
            dense: Dense::Resources,
        };
        Ingest::new(source, mapping, observer.clone())
    };
    Ok(mappings.into_iter().map(ingest).collect())
}

fn prepare(source: &Ingest, bytes: &[u8]) -> (BTreeSet<String>, Prepared) {
    let payload = Payload {
        raw: Bytes::copy_from_slice(bytes),
        sender: "folder".into(),
        received_us: i64::MAX / 4,
        device: None,
    };
    let reading = source.read(&payload);
    let devices: BTreeSet<String> = reading.devices().into_iter().map(str::to_owned).collect();
    let mut directory = Directory::default();
    for device in &devices {
        let period = Association {
            user: None,
            patient: "Patient/folder".into(),
            zone: Some(device::time::Tz::UTC),
            start_us: i64::MIN,
            end_us: None,
        };
        directory.insert(device, DeviceRecord::default(), vec![period]);
    }
    (devices, source.judge(reading, &payload, &directory))
}

/// How much of a payload a mapping takes: measurements first, then anything understood, then anything recognised.
fn taken(prepared: &Prepared) -> (usize, usize, usize) {
    let fates = || prepared.results.iter().map(|result| &result.fate);
    let stored = fates().filter(|fate| matches!(fate, Fate::Resource(_) | Fate::Repeated));
    let known = fates().filter(|fate| {
        !matches!(fate, Fate::Unmatched)
            && !matches!(fate, Fate::Quarantined { code, .. } if matches!(*code, "unreadable" | "faulty"))
    });
    let faulty = fates().filter(|fate| fate.code() == "faulty");
    (stored.count(), known.count(), faulty.count())
}

fn put(client: &mut Client, path: &str, resource: &Value) -> io::Result<()> {
    let headers = [("content-type", "application/fhir+json")];
    let answer = client.request("PUT", path, &headers, &resource.to_bytes())?;
    if answer.status < 300 {
        Ok(())
    } else {
        Err(io::Error::other(format!("PUT {path}: {}", answer.text())))
    }
}

/// Registers all devices that the payloads name, with one patient for ever, their clocks in UTC.
///
/// # Errors
/// When the server does not take them.
pub fn register(client: &mut Client, deliveries: &[Delivery]) -> io::Result<()> {
    let resource = |text: &str| Value::parse(text.as_bytes()).map_err(io::Error::other);
    let zone = r#""extension":[{"url":"http://hl7.org/fhir/StructureDefinition/timezone","valueCode":"Etc/UTC"}]"#;
    let patient = resource(&format!(
        r#"{{"resourceType":"Patient","id":"folder",{zone}}}"#
    ))?;
    put(client, "/fhir/Patient/folder", &patient)?;
    let devices: BTreeSet<&String> = deliveries.iter().flat_map(|d| &d.devices).collect();
    for (n, device) in devices.into_iter().enumerate() {
        let identifier = Value::from(device.as_str());
        let identifier = String::from_utf8_lossy(&identifier.to_bytes()).into_owned();
        let text = format!(
            r#"{{"resourceType":"Device","id":"folder-{n}",{zone},"identifier":[{{"system":"{SYSTEM}","value":{identifier}}}]}}"#
        );
        put(
            client,
            &format!("/fhir/Device/folder-{n}"),
            &resource(&text)?,
        )?;
        let text = format!(
            r#"{{"resourceType":"DeviceUseStatement","id":"folder-{n}","status":"active","subject":{{"reference":"Patient/folder"}},"device":{{"reference":"Device/folder-{n}"}}}}"#
        );
        put(
            client,
            &format!("/fhir/DeviceUseStatement/folder-{n}"),
            &resource(&text)?,
        )?;
    }
    Ok(())
}

/// Sends one payload; status and body of the answer.
///
/// # Errors
/// When the connection breaks.
pub fn send(client: &mut Client, delivery: &Delivery) -> io::Result<(u16, Value)> {
    let headers = [("content-type", delivery.media_type)];
    let answer = client.request(delivery.method, &delivery.path, &headers, &delivery.bytes)?;
    Ok((
        answer.status,
        Value::parse(&answer.body).unwrap_or(Value::Null),
    ))
}

/// Sends payloads in this order over as many connections as there are orders, side by side.
///
/// # Errors
/// When a connection breaks.
pub fn send_all(
    address: SocketAddr,
    deliveries: &[Delivery],
    orders: &[Vec<usize>],
) -> io::Result<()> {
    std::thread::scope(|scope| {
        let run = |order: &Vec<usize>| -> io::Result<()> {
            let mut client = Client::connect(address)?;
            for delivery in order.iter().filter_map(|n| deliveries.get(*n)) {
                send(&mut client, delivery)?;
            }
            Ok(())
        };
        let threads: Vec<_> = orders
            .iter()
            .map(|order| scope.spawn(move || run(order)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| io::Error::other("a connection ended"))??;
        }
        Ok(())
    })
}

/// All Observations of the server by id, without version and time of storage.
///
/// # Errors
/// When a page cannot be read.
pub fn observations(client: &mut Client) -> io::Result<BTreeMap<String, Value>> {
    let (mut found, mut next) = (
        BTreeMap::new(),
        Some(format!("/fhir/Observation?_count={PAGE}")),
    );
    while let Some(path) = next {
        let answer = client.get(&path)?;
        let page = Value::parse(&answer.body).map_err(io::Error::other)?;
        let entries = page.get("entry").and_then(Value::as_array);
        for entry in entries.unwrap_or_default() {
            if let Some(resource) = entry.get("resource") {
                let id = resource
                    .get("id")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                found.insert(id.to_owned(), content(resource));
            }
        }
        let links = page
            .get("link")
            .and_then(Value::as_array)
            .unwrap_or_default();
        let is_next = |link: &&Value| link.get("relation").and_then(Value::as_str) == Some("next");
        let url = links
            .iter()
            .find(is_next)
            .and_then(|link| link.get("url")?.as_str());
        next = url.map(|url| {
            url.split_once("/fhir/")
                .map_or(url.to_owned(), |(_, rest)| format!("/fhir/{rest}"))
        });
    }
    Ok(found)
}

/// A resource without what the server adds.
fn content(resource: &Value) -> Value {
    let mut value = resource.clone();
    if let Some(map) = value.as_object_mut() {
        if let Some(meta) = map.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        let is_empty = map
            .get("meta")
            .and_then(Value::as_object)
            .is_some_and(|meta| meta.is_empty());
        if is_empty {
            map.remove("meta");
        }
    }
    value
}

/// The errors the server's own validation finds in a resource, against the profiles it names and those its codes call for.
///
/// # Errors
/// When the server does not answer.
pub fn errors_of(client: &mut Client, resource: &Value) -> io::Result<Vec<String>> {
    let answer = client.post("/fhir/Observation/$validate", &resource.to_bytes())?;
    let outcome = Value::parse(&answer.body).map_err(io::Error::other)?;
    let issues = outcome
        .get("issue")
        .and_then(Value::as_array)
        .unwrap_or_default();
    let text = |issue: &Value| {
        let severity = issue.get("severity").and_then(Value::as_str)?;
        let is_error = matches!(severity, "error" | "fatal");
        is_error.then(|| issue.to_string())
    };
    Ok(issues.iter().filter_map(text).collect())
}

/// Codes of quantities that are no UCUM units.
pub fn wrong_units(resource: &Value) -> Vec<String> {
    let mut found = Vec::new();
    units(resource, &mut found);
    found
}

fn units(value: &Value, found: &mut Vec<String>) {
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| units(item, found));
    }
    let Some(map) = value.as_object() else {
        return;
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if value
        .get("value")
        .is_some_and(|v| v.number_text().is_some())
        && !(text("system") == Some("http://unitsofmeasure.org")
            && text("code").is_some_and(fhir_core::datatype::ucum::is_unit))
    {
        found.push(text("code").or(text("unit")).unwrap_or_default().to_owned());
    }
    map.iter().for_each(|(_, member)| units(member, found));
}

/// Numbers from 0 to below `count`, in an order that the seed decides.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed | 1;
    for index in (1..count).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (index + 1);
        order.swap(index, other);
    }
    order
}
