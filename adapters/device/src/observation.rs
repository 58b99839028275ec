//! Second stage: a judged measurement as the input of the mapping `device/measurement-observation.yaml`, and its run.
//!
//! R4 Observation: <https://hl7.org/fhir/R4/observation.html>.
//!
//! Left out on purpose: the shape of the resource. It stands in the mapping, where an operator can read and change it.

use fhir_core::json::{Document, Map, Value};
use mappings::{Context, Library, Mapping, Produced, Select, SourceTree};

use crate::decimal::Decimal;
use crate::measure::{Coding, Measure};
use crate::measurement::Amount;
use crate::time::Stamp;

/// The name the second stage is selected by.
const KIND: &str = "measurement";

/// A measurement after judgement: whose, when, in which unit.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The measure of the whole.
    pub measure: &'static Measure,
    /// The value, when there is one value.
    pub value: Option<JudgedAmount>,
    /// The components of a panel.
    pub components: Vec<(&'static Measure, JudgedAmount)>,
    /// When, or from when.
    pub start: Stamp,
    /// Until when.
    pub end: Option<Stamp>,
    /// `Patient/…`.
    pub patient: String,
    /// URI of the system of device identifiers.
    pub device_system: String,
    /// The device's identifier.
    pub device: String,
    /// `Device/…`.
    pub device_reference: Option<String>,
    /// The sender's id of the record.
    pub record: Option<String>,
    /// True when the id follows the record alone.
    pub keyed_by_record: bool,
    /// The sender's revision.
    pub revision: Option<String>,
    /// Marks: code and display.
    pub tags: Vec<(&'static str, &'static str)>,
    /// Notes.
    pub notes: Vec<String>,
}

/// A number in the table's unit, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedAmount {
    /// The value.
    pub amount: Amount,
    /// UCUM code; empty without a value.
    pub unit: &'static str,
}

/// Turns measurements into Observations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    mapping: Mapping,
    context: Context,
}

impl Observer {
    /// An observer with the library's mapping for measurements; `None` when the library has none.
    pub fn new(library: &Library, id_namespace: &str) -> Option<Self> {
        let mapping = library.mapping_for(&Select::Device { kind: KIND })?;
        let context = Context {
            id_namespace: id_namespace.to_owned(),
            ..Context::default()
        };
        Some(Self { mapping, context })
    }

    /// What sets this site's ids apart from those of others.
    pub fn namespace(&self) -> &str {
        &self.context.id_namespace
    }

    /// Mapping and version, for Provenance.
    pub fn version(&self) -> String {
        format!("{} {}", self.mapping.id(), self.mapping.version())
    }

    /// The Observation of a measurement.
    ///
    /// # Errors
    /// A sentence without values, when the mapping cannot place the measurement.
    pub fn observe(&self, judged: &Judged) -> Result<Produced, String> {
        let text = judged.to_value().to_bytes();
        let document = Document::parse(&text).map_err(|e| e.to_string())?;
        let output = self
            .mapping
            .run(&SourceTree::Json(document), &self.context)
            .map_err(|e| e.to_string())?;
        // An issue here is an element that silently stayed empty: half an Observation is not stored.
        if let Some(issue) = output.issues.first() {
            return Err(issue.to_string());
        }
        output
            .resources
            .into_iter()
            .next()
            .ok_or_else(|| "the mapping gave no resource".to_owned())
    }
}

impl Judged {
    fn to_value(&self) -> Value {
        let m = self.measure;
        let mut map = Map::new();
        let mut identity = Map::new();
        identity.insert(
            "device",
            Value::from(format!("{}|{}", self.device_system, self.device)),
        );
        identity.insert("measure", Value::from(m.name));
        if !self.keyed_by_record {
            identity.insert("instant", Value::from(self.start.micros().to_string()));
        }
        if let Some(record) = &self.record {
            identity.insert("record", Value::from(record.as_str()));
            let system = format!("{}:record", self.device_system);
            map.insert("record", texts(&[("system", &system), ("value", record)]));
        }
        map.insert("identity", Value::Object(identity));
        map.insert("category", Value::from(m.category));
        if let Some(profile) = &m.profile {
            map.insert("profile", Value::from(profile.as_str()));
        }
        map.insert("codings", codings(&m.codings));
        map.insert("subject", Value::from(self.patient.as_str()));
        match &self.end {
            None => map.insert("time", Value::from(self.start.to_dtm())),
            Some(end) => {
                map.insert("start", Value::from(self.start.to_dtm()));
                map.insert("end", Value::from(end.to_dtm()));
            }
        }
        if let Some(value) = &self.value {
            map.insert("value", value.to_value());
        }
        let component = |(m, amount): &(&Measure, JudgedAmount)| {
            Value::object([
                ("codings", codings(&m.codings)),
                ("value", amount.to_value()),
            ])
        };
        map.insert(
            "components",
            Value::Array(self.components.iter().map(component).collect()),
        );
        let mut device = Map::new();
        device.insert("system", Value::from(self.device_system.as_str()));
        device.insert("value", Value::from(self.device.as_str()));
        if let Some(reference) = &self.device_reference {
            device.insert("reference", Value::from(reference.as_str()));
        }
        map.insert("device", Value::Object(device));
        if let Some(revision) = &self.revision {
            map.insert("revision", Value::from(revision.as_str()));
        }
        let tags = self
            .tags
            .iter()
            .map(|(code, display)| texts(&[("code", code), ("display", display)]));
        map.insert("tags", Value::Array(tags.collect()));
        let notes = self.notes.iter().map(|text| texts(&[("text", text)]));
        map.insert("notes", Value::Array(notes.collect()));
        Value::Object(map)
    }
}

impl JudgedAmount {
    fn to_value(&self) -> Value {
        match &self.amount {
            Amount::Absent(reason) => texts(&[("absent", reason)]),
            Amount::Number { comparator, value } => {
                let number = value.to_string();
                let mut all = vec![("number", number.as_str()), ("unit", self.unit)];
                if !comparator.is_empty() {
                    all.push(("comparator", comparator));
                }
                texts(&all)
            }
        }
    }

    /// The number, when there is one.
    pub fn number(&self) -> Option<Decimal> {
        match self.amount {
            Amount::Number { value, .. } => Some(value),
            Amount::Absent(_) => None,
        }
    }
}

fn codings(codings: &[Coding]) -> Value {
    Value::Array(
        codings
            .iter()
            .map(|c| texts(&[("code", c.code), ("display", c.display)]))
            .collect(),
    )
}

fn texts(members: &[(&str, &str)]) -> Value {
    Value::object(
        members
            .iter()
            .map(|(name, text)| (*name, Value::from(*text))),
    )
}
