//! Bodies as stored: compressed with a dictionary of typical resources when that makes them smaller.
//!
//! Dictionaries are built in, or kept in the database's table `dict`, so that every body can always be read with the file
//! alone and this program. Left out: training one on the database's own resources.

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

/// Number of the dictionary built in that bodies are packed with; dictionaries of a database begin at 16.
pub(crate) const BUILT_IN: i64 = 2;
/// The dictionaries built in. Never change these bytes: bodies on disk need them. A better one gets another number.
///
/// 1 is text alone. 2 is the same text behind zstd's tables of how often a byte occurs (`ZDICT_finalizeDictionary` over
/// synthetic Observations and Patients and the text itself with other digits), so that a body brings no tables of its own:
/// smaller by a sixth, and packing and unpacking need not build any.
const BUILT_IN_BYTES: [(i64, &[u8]); 2] = [
    (1, include_bytes!("dictionary.txt")),
    (BUILT_IN, include_bytes!("dictionary2.bin")),
];

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
    static UNPACKERS: RefCell<Unpackers> = RefCell::default();
}

/// A thread's contexts by store and dictionary, and where it unpacks.
#[derive(Default)]
struct Unpackers {
    list: Vec<((u64, i64), Decompressor<'static>)>,
    text: Vec<u8>,
}

/// Room for unpacking that a thread keeps; larger bodies are rare.
const SCRATCH_BYTES_MAX: usize = 1 << 20;
/// Version and time take about this much in a resource.
const STAMP_BYTES: usize = 72;

/// Contexts a thread keeps (each about half a megabyte); then it starts over.
const CONTEXTS_MAX: usize = 16;

fn failed(what: &str) -> StoreError {
    StoreError::Internal(format!("a stored body {what}"))
}

impl Bodies {
    pub(crate) fn new() -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let by_number = BUILT_IN_BYTES
            .iter()
            .map(|(number, bytes)| (*number, Arc::new(bytes.to_vec())))
            .collect();
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
    #[cfg(test)]
    fn unpack(&self, flags: i64, gap: i64, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.with_text(flags, gap, bytes, <[u8]>::to_vec)?
            .ok_or_else(|| failed("needs an unknown dictionary"))
    }

    /// Shows the stored text (with its gap) of a row; `None` when its dictionary is not known (yet).
    fn with_text<T>(
        &self,
        flags: i64,
        gap: i64,
        bytes: &[u8],
        show: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        if flags & FLAG_ZSTD == 0 {
            return Ok(Some(show(bytes)));
        }
        let length = usize::try_from(gap >> 16)
            .ok()
            .filter(|n| *n <= BODY_BYTES_MAX)
            .ok_or_else(|| failed("has no length"))?;
        let name = (self.serial, flags >> DICTIONARY_SHIFT);
        UNPACKERS.with_borrow_mut(|unpackers| {
            let place = match unpackers.list.iter().position(|(known, _)| *known == name) {
                Some(place) => place,
                None => {
                    let Some(dictionary) = self.dictionary(name.1) else {
                        return Ok(None);
                    };
                    if unpackers.list.len() >= CONTEXTS_MAX {
                        unpackers.list.clear();
                    }
                    let unpacker = Decompressor::with_dictionary(&dictionary)
                        .map_err(|_| failed("cannot be unpacked"))?;
                    unpackers.list.push((name, unpacker));
                    unpackers.list.len() - 1
                }
            };
            let Unpackers { list, text } = unpackers;
            if text.len() < length {
                text.resize(length, 0);
            }
            let (Some((_, unpacker)), Some(room)) = (list.get_mut(place), text.get_mut(..length))
            else {
                return Err(failed("cannot be unpacked"));
            };
            let written = unpacker
                .decompress_to_buffer(bytes, room)
                .map_err(|_| failed("cannot be unpacked"))?;
            if written != length {
                return Err(failed("has another length than it should"));
            }
            let shown = show(room);
            if text.len() > SCRATCH_BYTES_MAX {
                *text = Vec::new();
            }
            Ok(Some(shown))
        })
    }

    /// The complete resource of a row; `None` when its dictionary is not known (yet).
    pub(crate) fn resource(
        &self,
        flags: i64,
        gap: i64,
        bytes: &[u8],
        version: VersionId,
        updated: Instant,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let place = (gap & 0xFFFF) as u32;
        self.with_text(flags, gap, bytes, |text| {
            let mut out = Vec::with_capacity(text.len() + STAMP_BYTES);
            write_stored(text, place, version, updated, &mut out);
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT_1: [u8; 42] = *b"\x28\xb5\x2f\xfd\x00\x00\x0d\x01\x00\x20\x36\x31\x2e\x35\x08\x00\xb7\x9a\x03\x5e\x4c\x98\xa6\x0f\x80\x4f\xa0\x00\x43\x84\x0d\x36\xa2\x3a\xf0\x00\xe8\x01\xcd\x46\x00\x01";
    const KEPT_2: [u8; 39] = *b"\x28\xb5\x2f\xfd\x00\x00\xf5\x00\x00\x20\x36\x31\x2e\x35\x08\xfc\xb7\x7a\x05\x2f\xf2\x33\xdd\x7c\xf2\x69\xc8\x2f\xb8\x8d\x38\xbf\x07\x60\x46\x13\xc1\x8d\xab";

    /// Verifies: SRS-001
    #[test]
    fn bodies_come_back_byte_for_byte() {
        let bodies = Bodies::new();
        bodies.add(
            16,
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

    /// A body of each dictionary built in, as released: a change of the bytes would make databases unreadable.
    ///
    /// Verifies: SRS-001
    #[test]
    fn every_dictionary_built_in_stays_readable() {
        let bodies = Bodies::new();
        let text = br#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"valueQuantity":{"value":61.50,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#;
        let kept: [(i64, &[u8]); 2] = [(1, &KEPT_1), (2, &KEPT_2)];
        for (number, packed) in kept {
            let flags = FLAG_ZSTD | number << DICTIONARY_SHIFT;
            let unpacked = bodies.unpack(flags, (text.len() as i64) << 16 | 3, packed);
            assert_eq!(unpacked.unwrap(), text, "dictionary {number}");
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
