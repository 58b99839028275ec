//! Bodies as stored: compressed with a dictionary of typical resources when that makes them smaller.
//!
//! The dictionary built in serves a new database; later ones are trained on the database's own resources and kept
//! in its table `dict`, so that every body can always be read with the file alone and this program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use fhir_core::body::write_stored;
use fhir_core::ids::{Instant, VersionId};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::StoreError;

/// Shorter bodies are stored as they are.
const COMPRESS_BYTES_MIN: usize = 200;
/// 3 costs about 7 µs for an Observation; higher levels gain little with a dictionary.
const LEVEL: i32 = 3;
/// Larger bodies than the server accepts do not occur; guards the unpacking of a damaged row.
const BODY_BYTES_MAX: usize = 256 << 20;

/// `res.flags`, `hist.flags`.
pub(crate) const FLAG_DELETED: i64 = 1;
const FLAG_ZSTD: i64 = 2;
const DICTIONARY_SHIFT: u32 = 8;

/// Number of the dictionary built in.
pub(crate) const BUILT_IN: i64 = 1;
/// Never change these bytes: bodies on disk need them. A better one gets another number.
const BUILT_IN_BYTES: &[u8] = include_bytes!("dictionary.txt");

/// Which resources share a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    Observation = 1,
    Other = 2,
}

impl Class {
    pub(crate) fn of(type_name: &str) -> Self {
        if type_name == "Observation" {
            Self::Observation
        } else {
            Self::Other
        }
    }
}

/// A body ready for a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) flags: i64,
    /// Length of the text << 16 | place of the gap.
    pub(crate) gap: i64,
    pub(crate) bytes: Vec<u8>,
}

struct Dictionaries {
    by_number: HashMap<i64, Arc<Vec<u8>>>,
    current: HashMap<u8, i64>,
}

/// Packs and unpacks bodies.
pub(crate) struct Bodies {
    /// Tells the dictionaries of different stores in one process apart.
    serial: u64,
    dictionaries: RwLock<Dictionaries>,
}

thread_local! {
    static PACKERS: RefCell<HashMap<(u64, i64), Compressor<'static>>> = RefCell::default();
    static UNPACKERS: RefCell<HashMap<(u64, i64), Decompressor<'static>>> = RefCell::default();
}

/// Contexts a thread keeps (each about half a megabyte); then it starts over.
const CONTEXTS_MAX: usize = 16;

fn failed(what: &str) -> StoreError {
    StoreError::Internal(format!("a stored body {what}"))
}

impl Bodies {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let by_number = HashMap::from([(BUILT_IN, Arc::new(BUILT_IN_BYTES.to_vec()))]);
        let dictionaries = Dictionaries {
            by_number,
            current: HashMap::new(),
        };
        Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            dictionaries: RwLock::new(dictionaries),
        }
    }

    /// Makes a dictionary known, and the one to pack with.
    pub(crate) fn add(&self, number: i64, class: u8, bytes: Vec<u8>) {
        if let Ok(mut all) = self.dictionaries.write() {
            all.by_number.insert(number, Arc::new(bytes));
            let current = all.current.entry(class).or_insert(number);
            *current = number.max(*current);
        }
    }

    /// The dictionary that bodies of a class are packed with.
    pub(crate) fn current(&self, class: Class) -> i64 {
        self.dictionaries
            .read()
            .ok()
            .and_then(|d| d.current.get(&(class as u8)).copied())
            .unwrap_or(BUILT_IN)
    }

    /// Whether bodies packed with this dictionary can be read.
    pub(crate) fn knows(&self, flags: i64) -> bool {
        flags & FLAG_ZSTD == 0
            || self
                .dictionaries
                .read()
                .is_ok_and(|d| d.by_number.contains_key(&(flags >> DICTIONARY_SHIFT)))
    }

    fn dictionary(&self, number: i64) -> Option<Arc<Vec<u8>>> {
        self.dictionaries
            .read()
            .ok()?
            .by_number
            .get(&number)
            .cloned()
    }

    pub(crate) fn pack(&self, class: Class, text: &[u8], gap: u32) -> Packed {
        let gap = (text.len() as i64) << 16 | i64::from(gap & 0xFFFF);
        let raw = || Packed {
            flags: 0,
            gap,
            bytes: text.to_vec(),
        };
        if text.len() < COMPRESS_BYTES_MIN {
            return raw();
        }
        let number = self.current(class);
        let packed = PACKERS.with_borrow_mut(|packers| {
            if packers.len() >= CONTEXTS_MAX {
                packers.clear();
            }
            let packer = match packers.entry((self.serial, number)) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let mut packer =
                        Compressor::with_dictionary(LEVEL, &self.dictionary(number)?).ok()?;
                    packer.include_contentsize(false).ok()?;
                    packer.include_dictid(false).ok()?;
                    entry.insert(packer)
                }
            };
            packer.compress(text).ok()
        });
        match packed {
            Some(bytes) if bytes.len() < text.len() => Packed {
                flags: FLAG_ZSTD | number << DICTIONARY_SHIFT,
                gap,
                bytes,
            },
            _ => raw(),
        }
    }

    /// The stored text (with its gap) of a row.
    pub(crate) fn unpack(&self, flags: i64, gap: i64, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        if flags & FLAG_ZSTD == 0 {
            return Ok(bytes.to_vec());
        }
        let length = usize::try_from(gap >> 16)
            .ok()
            .filter(|n| *n <= BODY_BYTES_MAX)
            .ok_or_else(|| failed("has no length"))?;
        let number = flags >> DICTIONARY_SHIFT;
        UNPACKERS.with_borrow_mut(|unpackers| {
            if unpackers.len() >= CONTEXTS_MAX {
                unpackers.clear();
            }
            let unpacker = match unpackers.entry((self.serial, number)) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let dictionary = self
                        .dictionary(number)
                        .ok_or_else(|| failed("needs an unknown dictionary"))?;
                    let unpacker = Decompressor::with_dictionary(&dictionary)
                        .map_err(|_| failed("cannot be unpacked"))?;
                    entry.insert(unpacker)
                }
            };
            let text = unpacker
                .decompress(bytes, length)
                .map_err(|_| failed("cannot be unpacked"))?;
            if text.len() == length {
                Ok(text)
            } else {
                Err(failed("has another length than it should"))
            }
        })
    }

    /// The complete resource of a row.
    pub(crate) fn resource(
        &self,
        flags: i64,
        gap: i64,
        bytes: &[u8],
        version: VersionId,
        updated: Instant,
    ) -> Result<Vec<u8>, StoreError> {
        let place = (gap & 0xFFFF) as u32;
        let write = |text: &[u8]| {
            let mut out = Vec::with_capacity(text.len() + 80);
            write_stored(text, place, version, updated, &mut out);
            out
        };
        if flags & FLAG_ZSTD == 0 {
            Ok(write(bytes))
        } else {
            Ok(write(&self.unpack(flags, gap, bytes)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: SRS-001
    #[test]
    fn bodies_come_back_byte_for_byte() {
        let bodies = Bodies::new();
        bodies.add(
            2,
            Class::Other as u8,
            b"some dictionary of another kind \"resourceType\":\"Patient\"".to_vec(),
        );
        for class in [Class::Observation, Class::Other] {
            for length in [0, 1, 199, 200, 1_000, 100_000] {
                let text: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
                let packed = bodies.pack(class, &text, 3);
                assert_eq!(
                    bodies
                        .unpack(packed.flags, packed.gap, &packed.bytes)
                        .unwrap(),
                    text
                );
            }
        }
    }

    #[test]
    fn damaged_bodies_are_refused() {
        let bodies = Bodies::new();
        let packed = bodies.pack(
            Class::Observation,
            &b"{\"resourceType\":\"Observation\"}".repeat(50),
            3,
        );
        assert!(packed.bytes.len() < 200);
        let cut = &packed.bytes[..packed.bytes.len() - 2];
        assert!(bodies.unpack(packed.flags, packed.gap, cut).is_err());
        assert!(
            bodies
                .unpack(packed.flags, packed.gap + (1 << 16), &packed.bytes)
                .is_err()
        );
        assert!(
            bodies
                .unpack(
                    packed.flags | 99 << DICTIONARY_SHIFT,
                    packed.gap,
                    &packed.bytes
                )
                .is_err()
        );
    }
}
