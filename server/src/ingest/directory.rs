//! The devices and whose they were, out of the server's own resources: Device, DeviceUseStatement, Patient.
//!
//! R4: <https://hl7.org/fhir/R4/device.html>, <https://hl7.org/fhir/R4/deviceusestatement.html>. A DeviceUseStatement's
//! timing is the period its device was with its subject; without one it is for ever. A device that has none at all is
//! with `Device.patient`. The zone is in the extension `timezone` of Device or Patient.
//!
//! Left out: `timingTiming` and `timingDateTime`, which say no period; such a statement counts for nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use conformance::{Definitions, ResourceTypeId};
use device::association::{Association, DeviceRecord, Directory};
use device::clock::{ClockModel, Pair};
use fhir_core::datatype::date::{Zone, parse_date_time, range_of};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, ValueRef};
use fhir_store::{Only, SearchQuery, Store, Stored, TotalMode};

use crate::app::{Server, store_problem};
use crate::search::condition_of;

/// Extension with the zone a device's or a patient's clocks hang in.
const ZONE_URL: &str = "http://hl7.org/fhir/StructureDefinition/timezone";
/// Extension of Device: one moment on the device's clock and on a better one (`device`, `gateway`: instant).
const CLOCK_URL: &str = "urn:stoker:device:clock-pair";
/// System of the identifier of a DeviceUseStatement that is the user's number on a shared device.
const USER_SYSTEM: &str = "urn:stoker:device:user";
/// Devices kept in memory.
const DEVICES_MAX: usize = 100_000;
/// Statements of one device at most; a device changes hands now and then, not by the minute.
const STATEMENTS_MAX: usize = 1_000;

/// Devices by system and identifier.
type Known = HashMap<(String, String), Entry>;

/// A device and its periods; `None` when no Device has the identifier.
type Entry = Option<Arc<(DeviceRecord, Vec<Association>)>>;

/// Devices looked up before, until one of the resources they came from changes.
#[derive(Debug, Default)]
pub struct DirectoryCache {
    generation: AtomicU64,
    known: Mutex<(u64, Known)>,
}

impl DirectoryCache {
    /// To be called after each commit with the type of each resource it changed.
    pub fn changed(&self, resource_type: ResourceTypeId) {
        if matches!(
            resource_type.name(),
            "Device" | "DeviceUseStatement" | "Patient"
        ) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn get(&self, generation: u64, key: &(String, String)) -> Option<Entry> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != generation {
            *known = (generation, HashMap::new());
        }
        known.1.get(key).cloned()
    }

    fn put(&self, generation: u64, key: (String, String), entry: &Entry) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 == generation && known.1.len() < DEVICES_MAX {
            known.1.insert(key, entry.clone());
        }
    }
}

/// What is known of the devices a payload names.
///
/// # Errors
/// What the store answers.
pub async fn of(
    server: &Server,
    system: &str,
    devices: BTreeSet<&str>,
) -> Result<Directory, Problem> {
    let cache = &server.devices;
    let generation = cache.generation.load(Ordering::Acquire);
    // Other processes may change what is in PostgreSQL, and nothing would tell this one.
    let is_cached = matches!(server.store, Store::Sqlite(_));
    let mut directory = Directory::default();
    for device in devices {
        let key = (system.to_owned(), device.to_owned());
        let entry = match cache.get(generation, &key).filter(|_| is_cached) {
            Some(entry) => entry,
            None => {
                let entry = look_up(server, system, device).await?;
                cache.put(generation, key, &entry);
                entry
            }
        };
        if let Some(entry) = entry {
            directory.insert_shared(device, entry);
        }
    }
    Ok(directory)
}

async fn look_up(server: &Server, system: &str, device: &str) -> Result<Entry, Problem> {
    let token = format!("{}|{}", escaped(system), escaped(device));
    let found = find(server, "Device", "identifier", &token).await?;
    let is_live = |document: &&Document| {
        document
            .root()
            .get("status")
            .and_then(|s| s.as_str())
            .as_deref()
            != Some("entered-in-error")
    };
    let documents = documents(&found)?;
    let mut live = found.iter().zip(&documents).filter(|(_, d)| is_live(d));
    let Some((stored, document)) = live.next() else {
        return Ok(None);
    };
    if live.next().is_some() {
        // Two devices claim the identifier: whose values these are cannot be known, so it is nobody's.
        let record = DeviceRecord::default();
        return Ok(Some(Arc::new((record, Vec::new()))));
    }
    let root = document.root();
    let reference = stored.key.to_string();
    let mut statements = Vec::new();
    for statement in find(server, "DeviceUseStatement", "device", &reference).await? {
        let document = parse(&statement)?;
        statements.extend(statement_of(server, document.root()).await?);
    }
    if statements.is_empty()
        && let Some(patient) = local_patient(root.get("patient"))
    {
        statements.push(Association {
            user: None,
            zone: zone_of_patient(server, &patient).await?,
            patient,
            start_us: i64::MIN,
            end_us: None,
        });
    }
    let record = DeviceRecord {
        reference: Some(reference),
        zone: zone_of(root),
        clock: clock_of(root),
    };
    Ok(Some(Arc::new((record, statements))))
}

/// One period; `None` for a statement that says none.
async fn statement_of(
    server: &Server,
    statement: ValueRef<'_>,
) -> Result<Option<Association>, Problem> {
    let status = statement.get("status").and_then(|s| s.as_str());
    if status.as_deref() == Some("entered-in-error") {
        return Ok(None);
    }
    let Some(patient) = local_patient(statement.get("subject")) else {
        return Ok(None);
    };
    let (start_us, end_us) = match statement.get("timingPeriod") {
        Some(period) => match range_of(period, Zone::UTC) {
            Some(range) => (range.start, Some(range.end).filter(|end| *end < i64::MAX)),
            None => return Ok(None),
        },
        None if statement.get("timingDateTime").is_some()
            || statement.get("timingTiming").is_some() =>
        {
            return Ok(None);
        }
        None => (i64::MIN, None),
    };
    let user = statement
        .get("identifier")
        .into_iter()
        .flat_map(|list| list.each().collect::<Vec<_>>())
        .find(|i| i.get("system").and_then(|s| s.as_str()).as_deref() == Some(USER_SYSTEM))
        .and_then(|i| i.get("value")?.as_str().map(std::borrow::Cow::into_owned));
    Ok(Some(Association {
        user,
        zone: zone_of_patient(server, &patient).await?,
        patient,
        start_us,
        end_us,
    }))
}

fn local_patient(reference: Option<ValueRef<'_>>) -> Option<String> {
    let text = reference?.get("reference")?.as_str()?;
    let id = text.strip_prefix("Patient/")?;
    ResourceId::parse(id).map(|id| format!("Patient/{id}"))
}

async fn zone_of_patient(
    server: &Server,
    patient: &str,
) -> Result<Option<device::time::Tz>, Problem> {
    let key = patient
        .strip_prefix("Patient/")
        .and_then(ResourceId::parse)
        .zip(Definitions::r4().resource_type("Patient"));
    let Some((id, resource_type)) = key else {
        return Ok(None);
    };
    let stored = server.current(&ResourceKey { resource_type, id }).await?;
    match stored.filter(|stored| !stored.deleted) {
        Some(stored) => Ok(zone_of(parse(&stored)?.root())),
        None => Ok(None),
    }
}

fn extensions<'a>(root: ValueRef<'a>, url: &'static str) -> impl Iterator<Item = ValueRef<'a>> {
    let list = root.get("extension").into_iter().flat_map(ValueRef::items);
    list.filter(move |e| e.get("url").and_then(|u| u.as_str()).as_deref() == Some(url))
}

fn zone_of(root: ValueRef<'_>) -> Option<device::time::Tz> {
    let extension = extensions(root, ZONE_URL).next()?;
    let name = extension
        .get("valueCode")
        .or_else(|| extension.get("valueString"))?;
    device::time::zone(&name.as_str()?)
}

fn clock_of(root: ValueRef<'_>) -> ClockModel {
    let instant = |pair: ValueRef<'_>, name: &'static str| {
        let text = extensions(pair, name)
            .next()?
            .get("valueInstant")?
            .as_str()?;
        Some(parse_date_time(&text)?.start(Zone::UTC).0)
    };
    let pairs = extensions(root, CLOCK_URL).filter_map(|pair| {
        Some(Pair {
            device_us: instant(pair, "device")?,
            gateway_us: instant(pair, "gateway")?,
        })
    });
    ClockModel::new(pairs.collect())
}

async fn find(
    server: &Server,
    type_name: &str,
    parameter: &str,
    value: &str,
) -> Result<Vec<Stored>, Problem> {
    let resource_type = Definitions::r4()
        .resource_type(type_name)
        .ok_or_else(|| Problem::new(ErrorKind::INTERNAL, "a type is missing in the definitions"))?;
    let parameters = [(parameter.to_owned(), value.to_owned())];
    let query = SearchQuery {
        resource_type,
        predicate: condition_of(server, resource_type, &parameters)?,
        sort: Vec::new(),
        limit: STATEMENTS_MAX,
        after: None,
        total: TotalMode::None,
        only: Only::Bodies,
    };
    let page = server.store.search(query).await;
    page.map(|page| page.matches).map_err(|e| store_problem(&e))
}

/// A text as the value of a search parameter.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '|' | ',' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn documents(found: &[Stored]) -> Result<Vec<Document>, Problem> {
    found.iter().map(parse).collect()
}

fn parse(stored: &Stored) -> Result<Document, Problem> {
    Document::parse(&stored.json)
        .map_err(|_| Problem::new(ErrorKind::INTERNAL, "a stored resource cannot be read"))
}
