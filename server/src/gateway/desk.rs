//! The resources a message touches, each read once and changed in memory before one commit writes them all.

use std::collections::HashMap;
use std::sync::Arc;

use fhir_core::ids::ResourceKey;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_store::Stored;

use super::known::Known;
use crate::app::{Server, store_problem};
use crate::interaction::Interaction;
use crate::write::{Draft, Need, Step};

/// One resource on the desk.
pub struct Sheet {
    /// Which.
    pub key: ResourceKey,
    /// What the store holds; also a deleted one.
    pub stored: Option<Stored>,
    /// The content now; `None` while there is none.
    pub value: Option<Value>,
    /// Whether it is to be written.
    pub is_changed: bool,
}

/// The desk.
pub struct Desk<'a> {
    server: &'a Server,
    sheets: Vec<Sheet>,
    places: HashMap<ResourceKey, usize>,
    /// Other names of persons asked for before: each result of a message asks for the same person.
    names: HashMap<ResourceKey, Vec<ResourceKey>>,
}

impl<'a> Desk<'a> {
    /// An empty desk.
    pub fn new(server: &'a Server) -> Self {
        Self {
            server,
            sheets: Vec::new(),
            places: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// A resource, read when it is not there yet.
    ///
    /// # Errors
    /// `unavailable` and its kin; `internal` for a stored resource that cannot be read
    pub async fn open(&mut self, key: &ResourceKey) -> Result<&mut Sheet, Problem> {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let stored = self.server.store.read(key).await;
                let stored = stored.map_err(|e| store_problem(&e))?;
                let live = stored.as_ref().filter(|stored| !stored.deleted);
                let value = live.map(|stored| parse(&stored.json)).transpose()?;
                self.sheets.push(Sheet {
                    key: key.clone(),
                    stored,
                    value,
                    is_changed: false,
                });
                self.places.insert(key.clone(), self.sheets.len() - 1);
                self.sheets.len() - 1
            }
        };
        self.sheets
            .get_mut(place)
            .ok_or_else(|| Problem::new(ErrorKind::INTERNAL, "a resource was mislaid"))
    }

    /// The other names of a person: who it was merged into, and who was merged into it. Empty for most.
    ///
    /// # Errors
    /// `unavailable` and its kin
    pub async fn names_of(
        &mut self,
        known: &Known,
        person: &ResourceKey,
    ) -> Result<Vec<ResourceKey>, Problem> {
        let meant = known.meant(person);
        let mut names = match self.names.get(&meant) {
            Some(names) => names.clone(),
            None => {
                let aliases = self.server.store.aliases_into(&meant).await;
                let aliases = aliases.map_err(|e| store_problem(&e))?;
                let mut names = vec![meant.clone()];
                names.extend(aliases.into_iter().map(|alias| alias.from));
                self.names.insert(meant, names.clone());
                names
            }
        };
        names.retain(|name| name != person);
        Ok(names)
    }

    /// The resources so far.
    pub fn sheets(&self) -> &[Sheet] {
        &self.sheets
    }

    /// The same, to change.
    pub fn sheets_mut(&mut self) -> &mut [Sheet] {
        &mut self.sheets
    }

    /// What is to be written.
    ///
    /// # Errors
    /// `bad-json` for content that cannot be read back
    pub fn drafts(&self) -> Result<Vec<Draft>, Problem> {
        let changed = self.sheets.iter().filter(|sheet| sheet.is_changed);
        changed
            .filter_map(|sheet| sheet.value.as_ref().map(|value| draft(sheet, value)))
            .collect()
    }
}

impl Sheet {
    /// Sets the content.
    pub fn put(&mut self, value: Value) {
        if self.value.as_ref() != Some(&value) {
            self.value = Some(value);
            self.is_changed = true;
        }
    }

    /// Changes the content in place, if there is any.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let Some(mut value) = self.value.clone() else {
            return;
        };
        change(&mut value);
        self.put(value);
    }

    /// Whether the store holds it live.
    pub fn is_stored(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| !stored.deleted)
    }
}

/// The content is right for the version it was made from only.
fn draft(sheet: &Sheet, value: &Value) -> Result<Draft, Problem> {
    let document = Document::parse(&value.to_bytes()).map_err(|error| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("the mapping's output: {error}"),
        )
    })?;
    let need = match &sheet.stored {
        Some(stored) => Need::Known(Box::new(stored.clone())),
        None => Need::NewId,
    };
    Ok(Draft {
        key: sheet.key.clone(),
        step: Step::Put(Arc::new(document)),
        need,
        interaction: Interaction::Update,
    })
}

fn parse(json: &[u8]) -> Result<Value, Problem> {
    Value::parse(json)
        .map_err(|_| Problem::new(ErrorKind::INTERNAL, "the stored resource cannot be read"))
}
