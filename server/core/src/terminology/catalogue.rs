//! Which definitions are known by which canonical URL, each read when it is first needed.
//!
//! Spec: <https://hl7.org/fhir/R4/references.html#canonical>

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use conformance::artifacts;

use crate::datatype::reference::Canonical;
use crate::json::{Document, ValueRef};
use crate::profile::Profile;

use super::value_set::{Expansion, expand};
use super::{CodeSystem, TerminologyError};

/// The types a catalogue keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Profiles and definitions of extensions.
    StructureDefinition,
    /// Value sets.
    ValueSet,
    /// Code systems.
    CodeSystem,
    /// Concept maps.
    ConceptMap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [
        Kind::StructureDefinition,
        Kind::ValueSet,
        Kind::CodeSystem,
        Kind::ConceptMap,
    ];

    /// The name of the resource type.
    pub fn name(self) -> &'static str {
        match self {
            Self::StructureDefinition => "StructureDefinition",
            Self::ValueSet => "ValueSet",
            Self::CodeSystem => "CodeSystem",
            Self::ConceptMap => "ConceptMap",
        }
    }

    /// The kind of a resource type; `None` for types that define nothing here.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A definition that was loaded, with its `url` and `version`.
#[derive(Clone)]
pub struct Loaded {
    version: String,
    id: String,
    document: Arc<Document>,
}

/// Everything known about profiles and terminology. Never changed once shared; a change makes a new one.
#[derive(Default)]
pub struct Catalogue {
    loaded: HashMap<(Kind, String), Vec<Loaded>>,
    documents: Kept<(Kind, String), Option<Arc<Document>>>,
    systems: Kept<String, Option<Arc<CodeSystem>>>,
    expansions: Kept<String, Result<Arc<Expansion>, TerminologyError>>,
    profiles: Kept<String, Option<Arc<Profile>>>,
}

/// Results kept after they were made first.
struct Kept<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Kept<K, V> {
    /// The kept result, or a new one; made outside the lock, so making one may ask for others.
    fn get(&self, key: &K, make: impl FnOnce() -> V) -> V {
        self.get_lasting(key, make, |_| true)
    }

    /// The same, for results of which some must not be kept.
    fn get_lasting(&self, key: &K, make: impl FnOnce() -> V, lasts: impl Fn(&V) -> bool) -> V {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(key) {
            return known.clone();
        }
        let made = make();
        if lasts(&made) {
            lock().insert(key.clone(), made.clone());
        }
        made
    }
}

impl Catalogue {
    /// Adds a StructureDefinition, ValueSet, CodeSystem or ConceptMap; false for a resource that is none or has no `url`.
    /// Of the same URL and version the later one counts.
    pub fn load(&mut self, document: Arc<Document>) -> bool {
        let text = |name: &str| document.root().get(name).and_then(ValueRef::as_str);
        let kind = text("resourceType").and_then(|name| Kind::named(&name));
        let (Some(kind), Some(url)) = (kind, text("url")) else {
            return false;
        };
        let version = text("version").unwrap_or_default().into_owned();
        let id = text("id").unwrap_or_default().into_owned();
        let versions = self.loaded.entry((kind, url.into_owned())).or_default();
        versions.retain(|known| known.version != version);
        versions.push(Loaded {
            version,
            id,
            document: Arc::clone(&document),
        });
        true
    }

    /// How many definitions were loaded beside R4's own.
    pub fn loaded_count(&self) -> usize {
        self.loaded.values().map(Vec::len).sum()
    }

    /// The definition with this canonical URL: of the version named, else the one loaded last, else R4's own.
    pub fn document(&self, kind: Kind, canonical: &str) -> Option<Arc<Document>> {
        let Canonical { url, version, .. } = Canonical::parse(canonical);
        let versions = self.loaded.get(&(kind, url.to_owned()));
        let found = versions.and_then(|versions| match version {
            Some(version) => versions.iter().find(|known| known.version == version),
            None => versions.last(),
        });
        if let Some(found) = found {
            return Some(Arc::clone(&found.document));
        }
        self.documents.get(&(kind, url.to_owned()), || {
            let text = artifacts::artifact(kind.name(), url)?;
            Document::parse(text.as_bytes()).ok().map(Arc::new)
        })
    }

    /// The loaded definition with this logical id.
    pub fn by_id(&self, kind: Kind, id: &str) -> Option<Arc<Document>> {
        let loaded = self.loaded.iter().filter(|((k, _), _)| *k == kind);
        let found = loaded
            .flat_map(|(_, versions)| versions)
            .find(|known| known.id == id);
        found.map(|known| Arc::clone(&known.document))
    }

    /// Every canonical URL known of a kind, loaded ones first.
    pub fn urls(&self, kind: Kind) -> Vec<String> {
        let loaded = self
            .loaded
            .keys()
            .filter(|(k, _)| *k == kind)
            .map(|(_, url)| url.clone());
        let own = artifacts::artifacts()
            .filter(|(resource_type, ..)| *resource_type == kind.name())
            .map(|(_, url, _)| url.to_owned());
        loaded.chain(own).collect()
    }

    /// A code system; `None` when it is not known.
    pub fn code_system(&self, canonical: &str) -> Option<Arc<CodeSystem>> {
        self.systems.get(&canonical.to_owned(), || {
            let document = self.document(Kind::CodeSystem, canonical)?;
            Some(Arc::new(CodeSystem::of(document.root())))
        })
    }

    /// A code system of which every code is known.
    ///
    /// # Errors
    /// [`TerminologyError::UnknownCodeSystem`]
    pub fn complete_system(&self, canonical: &str) -> Result<Arc<CodeSystem>, TerminologyError> {
        self.code_system(canonical)
            .filter(|system| system.is_complete)
            .ok_or_else(|| TerminologyError::UnknownCodeSystem(canonical.to_owned()))
    }

    /// All codes of a value set, computed once.
    ///
    /// # Errors
    /// [`TerminologyError`]
    pub fn expansion(&self, canonical: &str) -> Result<Arc<Expansion>, TerminologyError> {
        self.expansion_at(canonical, 0)
    }

    pub(super) fn expansion_at(
        &self,
        canonical: &str,
        depth: usize,
    ) -> Result<Arc<Expansion>, TerminologyError> {
        if depth > super::VALUE_SET_DEPTH_MAX {
            return Err(TerminologyError::TooDeep);
        }
        let make = || {
            let document = self
                .document(Kind::ValueSet, canonical)
                .ok_or_else(|| TerminologyError::UnknownValueSet(canonical.to_owned()))?;
            expand(self, document.root(), depth).map(Arc::new)
        };
        // Too deep from where it was asked is not too deep from elsewhere.
        let lasts = |found: &Result<_, _>| depth == 0 || found.is_ok();
        self.expansions
            .get_lasting(&canonical.to_owned(), make, lasts)
    }

    /// All codes of a value set that need not be known by a URL.
    ///
    /// # Errors
    /// [`TerminologyError`]
    pub fn expand_resource(&self, root: ValueRef<'_>) -> Result<Expansion, TerminologyError> {
        expand(self, root, 0)
    }

    /// A profile ready to check with; `None` when it is not known.
    pub fn profile(&self, canonical: &str) -> Option<Arc<Profile>> {
        self.profile_at(canonical, 0)
    }

    pub(crate) fn profile_at(&self, canonical: &str, depth: usize) -> Option<Arc<Profile>> {
        if depth > crate::profile::BASE_DEPTH_MAX {
            return None;
        }
        self.profiles.get(&canonical.to_owned(), || {
            let document = self.document(Kind::StructureDefinition, canonical)?;
            Profile::read(self, document.root(), depth).map(Arc::new)
        })
    }
}
