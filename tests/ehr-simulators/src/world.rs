//! The simulated record: invented people, rows in each vendor's shape, and the events that change them.
//!
//! Spec: <https://hl7.org/fhir/R4/observation.html>. Leaves out every type but Patient and Observation.

use std::collections::BTreeMap;

use fhir_core::ids::{Instant, civil_from_days};
use fhir_core::json::Value;

use crate::{Vendor, object};

/// Start of the simulated time: 2026-05-04T08:00:00Z.
pub const START_S: i64 = 1_777_881_600;
const SECOND: i64 = 1_000_000;

/// The record.
pub struct World {
    pub(crate) vendor: Vendor,
    now: i64,
    /// People by id.
    pub people: BTreeMap<String, Person>,
    /// Observations in the order of their filing.
    pub rows: Vec<Row>,
    made: u64,
    /// Patient → positions in `rows`; emptied by every change.
    index: BTreeMap<String, Vec<usize>>,
}

/// A person.
pub struct Person {
    /// The Patient resource as served.
    pub body: Value,
    /// The survivor, when merged.
    pub merged_into: Option<String>,
    /// Filed, seconds since 1970.
    pub filed_s: i64,
    /// Version.
    pub version: u32,
}

/// An Observation.
#[derive(Clone)]
pub struct Row {
    /// Id.
    pub id: String,
    /// Patient id.
    pub patient: String,
    /// Category code.
    pub category: &'static str,
    /// When it was true, seconds since 1970.
    pub effective_s: i64,
    /// When it was filed or changed, seconds since 1970.
    pub filed_s: i64,
    /// Version.
    pub version: u32,
    /// LOINC code, unit and value.
    pub what: What,
    /// Status.
    pub status: &'static str,
}

/// What was observed.
#[derive(Clone)]
pub enum What {
    /// LOINC code, display, value digits, unit text, UCUM code.
    Number(
        &'static str,
        &'static str,
        String,
        &'static str,
        &'static str,
    ),
    /// Systolic and, when charted, diastolic.
    Pressure(String, Option<String>),
    /// What a client posted.
    Posted(Value),
}

const KINDS: [(&str, &str, &str, &str, &str); 5] = [
    ("2823-3", "Potassium", "mmol/L", "mmol/L", "laboratory"),
    ("718-7", "Hemoglobin", "g/dL", "g/dL", "laboratory"),
    ("8867-4", "Heart rate", "bpm", "/min", "vital-signs"),
    ("8310-5", "Temperature", "degC", "Cel", "vital-signs"),
    ("29463-7", "Weight", "kg", "kg", "vital-signs"),
];

impl World {
    /// An empty record at [`START_S`].
    pub fn new(vendor: Vendor) -> Self {
        Self {
            vendor,
            now: START_S * SECOND,
            people: BTreeMap::new(),
            rows: Vec::new(),
            made: 0,
            index: BTreeMap::new(),
        }
    }

    /// `people` people with `rows` observations each, filed over the last thousand hours.
    pub fn synthetic(vendor: Vendor, people: u64, rows: u64) -> Self {
        let mut world = Self::new(vendor);
        for number in 0..people {
            let id = world.add_person(number);
            for row in 0..rows {
                let age = i64::try_from((rows - row) * 3_600).unwrap_or(0);
                world.add_number(
                    &id,
                    usize::try_from(row).unwrap_or(0),
                    START_S - age,
                    START_S - age + 60,
                );
            }
        }
        world
    }

    /// Seconds since 1970.
    pub fn now_s(&self) -> i64 {
        self.now.div_euclid(SECOND)
    }

    /// Moves the clock.
    pub fn advance_s(&mut self, seconds: i64) {
        self.now += seconds * SECOND;
    }

    /// The `Date` header.
    pub fn http_date(&self) -> String {
        let days = self.now_s().div_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let month = usize::try_from(month - 1)
            .ok()
            .and_then(|at| names.get(at))
            .unwrap_or(&"Jan");
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let weekday = usize::try_from(days.rem_euclid(7))
            .ok()
            .and_then(|at| weekdays.get(at))
            .unwrap_or(&"Thu");
        let text = instant(self.now_s());
        let clock = text.get(11..19).unwrap_or("00:00:00");
        format!("{weekday}, {day:02} {month} {year:04} {clock} GMT")
    }

    /// The rows of a patient, latest first.
    pub(crate) fn rows_of(&mut self, patient: &str) -> Vec<Row> {
        if self.index.is_empty() {
            for (at, row) in self.rows.iter().enumerate() {
                let places = self.index.entry(row.patient.clone()).or_default();
                places.push(at);
            }
        }
        let places = self.index.get(patient).into_iter().flatten();
        let rows = places.filter_map(|at| self.rows.get(*at).cloned());
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_by_key(|row| -row.effective_s);
        rows
    }

    /// People who carry `system|value`; with `fuzzy` also those whose value only begins so.
    pub(crate) fn with_identifier(&self, wanted: &str, fuzzy: bool) -> Vec<Value> {
        let (system, value) = wanted.split_once('|').unwrap_or(("", wanted));
        let text = |one: &Value, name: &str| {
            let text = one.get(name).and_then(Value::as_str);
            text.unwrap_or_default().trim().to_owned()
        };
        let is_hit = |one: &Value| {
            let own = text(one, "value");
            (system.is_empty() || text(one, "system") == system)
                && (own == value || (fuzzy && own.starts_with(value)))
        };
        let live = self
            .people
            .values()
            .filter(|person| person.merged_into.is_none());
        let hits = live.filter(|person| {
            let all = person.body.get("identifier").and_then(Value::as_array);
            all.unwrap_or_default().iter().any(is_hit)
        });
        hits.map(|person| person.body.clone()).collect()
    }

    fn next(&mut self) -> u64 {
        self.index.clear();
        self.made += 1;
        self.made
    }

    /// Adds a person and returns the id.
    pub fn add_person(&mut self, number: u64) -> String {
        let made = self.next();
        let id = match self.vendor {
            // Some Epic sites pass 64 characters.
            Vendor::Epic => format!(
                "eSim.{number}-{}",
                "x".repeat(usize::try_from(40 + number % 30).unwrap_or(40))
            ),
            Vendor::Oracle => format!("{}", 90_000_000 + number),
        };
        let family = format!("Probe{number}");
        let name = object([
            ("use", "official".into()),
            ("family", family.as_str().into()),
            ("given", Value::Array(vec!["Ada".into()])),
            ("text", format!("Ada {family}").into()),
        ]);
        let mut usual = name.clone();
        if let Some(members) = usual.as_object_mut() {
            members.insert("use", "usual".into());
        }
        let mrn = object([
            ("use", "usual".into()),
            ("type", object([("text", "EXTERNAL".into())])),
            (
                "system",
                "urn:oid:1.2.840.114350.1.13.0.1.7.2.698084".into(),
            ),
            ("value", format!("   Z{number}").into()),
        ]);
        let login = object([
            ("type", object([("text", "MYCHARTLOGIN".into())])),
            ("system", "urn:oid:1.2.840.114350.1.13.0.1.7.3.1".into()),
            ("value", format!("ADA{made}").into()),
        ]);
        let body = object([
            ("resourceType", "Patient".into()),
            ("id", id.as_str().into()),
            ("active", Value::Bool(true)),
            ("identifier", Value::Array(vec![mrn, login])),
            ("name", Value::Array(vec![name, usual])),
            ("gender", "female".into()),
            ("birthDate", "1970-01-01".into()),
        ]);
        let person = Person {
            body,
            merged_into: None,
            filed_s: self.now_s() - 10_000_000,
            version: 1,
        };
        self.people.insert(id.clone(), person);
        id
    }

    /// An id that no row has.
    pub(crate) fn next_id(&mut self, category: &str) -> String {
        let made = self.next();
        match (self.vendor, category) {
            (Vendor::Epic, _) => format!("eObs.{made}-sim"),
            (Vendor::Oracle, "laboratory") => format!("L-{made}"),
            (Vendor::Oracle, _) => format!("VS-{made}"),
        }
    }

    /// Files a row.
    pub(crate) fn push(&mut self, row: Row) {
        self.index.clear();
        self.rows.push(row);
    }

    /// Adds a measurement and returns its id.
    pub fn add_number(
        &mut self,
        patient: &str,
        kind: usize,
        effective_s: i64,
        filed_s: i64,
    ) -> String {
        let (code, display, unit, ucum, category) = *KINDS.get(kind % KINDS.len()).unwrap_or(&(
            "2823-3",
            "Potassium",
            "mmol/L",
            "mmol/L",
            "laboratory",
        ));
        let id = self.next_id(category);
        let made = self.made;
        // Trailing zeros on purpose: digits must survive.
        let digits = format!("{}.{:02}", 3 + made % 90, made % 10 * 10);
        self.rows.push(Row {
            id: id.clone(),
            patient: patient.to_owned(),
            category,
            effective_s,
            filed_s,
            version: 1,
            what: What::Number(code, display, digits, unit, ucum),
            status: "final",
        });
        id
    }

    /// Adds a blood pressure; without a diastolic value Oracle's id and version are half ones.
    pub fn add_pressure(&mut self, patient: &str, diastolic: Option<&str>) -> String {
        let made = self.next();
        let now = self.now_s();
        let id = match (self.vendor, diastolic) {
            (Vendor::Epic, _) => format!("eBp.{made}-sim"),
            (Vendor::Oracle, Some(_)) => format!("BP-{made}-{}", made + 500_000),
            (Vendor::Oracle, None) => format!("BP-{made}-0"),
        };
        self.rows.push(Row {
            id: id.clone(),
            patient: patient.to_owned(),
            category: "vital-signs",
            effective_s: now,
            filed_s: now,
            version: 1,
            what: What::Pressure("121".to_owned(), diastolic.map(str::to_owned)),
            status: "final",
        });
        id
    }

    /// Charts the other half: the id changes.
    pub fn complete_pressure(&mut self, id: &str, diastolic: &str) -> String {
        self.index.clear();
        let now = self.now_s();
        let mut new = id.to_owned();
        for row in &mut self.rows {
            if row.id == id {
                let event = id.split('-').nth(1).unwrap_or("0");
                new = format!("BP-{event}-7{event}");
                row.id.clone_from(&new);
                row.filed_s = now;
                if let What::Pressure(_, half) = &mut row.what {
                    *half = Some(diastolic.to_owned());
                }
            }
        }
        new
    }

    /// Corrects a value, filed now; answers the row after it.
    pub fn correct(&mut self, id: &str, digits: &str) -> Option<Row> {
        self.index.clear();
        let now = self.now_s();
        for row in &mut self.rows {
            if row.id == id {
                row.version += 1;
                row.filed_s = now;
                row.status = "corrected";
                if let What::Number(_, _, value, _, _) = &mut row.what {
                    *value = digits.to_owned();
                }
                return Some(row.clone());
            }
        }
        None
    }

    /// Removes a row.
    pub fn delete(&mut self, id: &str) {
        self.index.clear();
        self.rows.retain(|row| row.id != id);
    }

    /// Merges `old` into `survivor`: its rows move.
    pub fn merge(&mut self, old: &str, survivor: &str) {
        self.index.clear();
        let now = self.now_s();
        if let Some(person) = self.people.get_mut(old) {
            person.merged_into = Some(survivor.to_owned());
        }
        for row in &mut self.rows {
            if row.patient == old {
                row.patient = survivor.to_owned();
                row.filed_s = now;
                row.version += 1;
            }
        }
    }

    /// Takes a merge back; the rows named go back too.
    pub fn unmerge(&mut self, old: &str, rows: &[String]) {
        self.index.clear();
        let now = self.now_s();
        if let Some(person) = self.people.get_mut(old) {
            person.merged_into = None;
            person.version += 1;
            person.filed_s = now;
        }
        for row in &mut self.rows {
            if rows.contains(&row.id) {
                row.patient = old.to_owned();
                row.filed_s = now;
                row.version += 1;
            }
        }
    }
}

/// Seconds as FHIR instant.
pub(crate) fn instant(seconds: i64) -> String {
    let text = Instant(seconds * SECOND).to_fhir();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}
