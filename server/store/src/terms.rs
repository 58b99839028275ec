//! Interned codes, uris and units: shared by all threads, filled from the database, only ever added to.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::hash::{KeyHasher, Kind};

/// Terms kept in memory (about 40 bytes each); others are looked up in the database.
const TERMS_MAX: usize = 1_000_000;

/// Marks of terms that are no codes, in place of a system. No real system starts with this byte.
pub(crate) const SYSTEM_URI: &[u8] = b"\x01u";
/// Texts of concepts.
pub(crate) const SYSTEM_TEXT: &[u8] = b"\x01t";

/// A system and a code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TermText {
    pub(crate) system: Box<[u8]>,
    pub(crate) code: Box<[u8]>,
}

/// A term, by number when this process has seen it committed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Term {
    Known(i64),
    New(Arc<TermText>),
}

/// System, code and human form of a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnitText {
    pub(crate) system: Box<[u8]>,
    pub(crate) code: Box<[u8]>,
    pub(crate) unit: Box<[u8]>,
}

/// A unit, by number when known; `Known(0)` for a plain number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Known(i64),
    New(Arc<UnitText>),
}

#[derive(Default)]
struct Units {
    numbers: HashMap<Arc<UnitText>, i64>,
    list: Vec<(i64, Arc<UnitText>)>,
}

/// The cache.
pub(crate) struct Terms {
    hasher: KeyHasher,
    terms: RwLock<HashMap<(u64, u64), i64>>,
    units: RwLock<Units>,
}

impl Terms {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            terms: RwLock::default(),
            units: RwLock::default(),
        }
    }

    fn key(&self, system: &[u8], code: &[u8]) -> (u64, u64) {
        self.hasher.wide(Kind::Term, 0, &[system, code])
    }

    /// The number of a term, if this process knows it.
    pub(crate) fn get(&self, system: &[u8], code: &[u8]) -> Option<i64> {
        self.terms
            .read()
            .ok()?
            .get(&self.key(system, code))
            .copied()
    }

    /// The term, by number if possible.
    pub(crate) fn term(&self, system: &[u8], code: &[u8]) -> Term {
        match self.get(system, code) {
            Some(number) => Term::Known(number),
            None => Term::New(Arc::new(TermText {
                system: system.into(),
                code: code.into(),
            })),
        }
    }

    /// Remembers a term that is committed.
    pub(crate) fn add(&self, system: &[u8], code: &[u8], number: i64) {
        let key = self.key(system, code);
        if let Ok(mut terms) = self.terms.write()
            && terms.len() < TERMS_MAX
        {
            terms.insert(key, number);
        }
    }

    /// The unit, by number if possible.
    pub(crate) fn unit(&self, system: &[u8], code: &[u8], unit: &[u8]) -> Unit {
        let text = UnitText {
            system: system.into(),
            code: code.into(),
            unit: unit.into(),
        };
        let known = self
            .units
            .read()
            .ok()
            .and_then(|units| units.numbers.get(&text).copied());
        known.map_or_else(|| Unit::New(Arc::new(text)), Unit::Known)
    }

    /// Remembers a unit that is committed.
    pub(crate) fn add_unit(&self, text: UnitText, number: i64) {
        if let Ok(mut units) = self.units.write() {
            let text = Arc::new(text);
            if units.numbers.insert(text.clone(), number).is_none() {
                units.list.push((number, text));
            }
        }
    }

    /// All known units and the largest number.
    pub(crate) fn units(&self) -> Vec<(i64, Arc<UnitText>)> {
        self.units
            .read()
            .map(|units| units.list.clone())
            .unwrap_or_default()
    }
}
