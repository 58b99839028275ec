//! A commit as the writer gets it: everything that can be worked out beforehand is.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use fhir_core::ids::ResourceKey;
use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use crate::api::{Action, Change, Commit, ExpectVersion, Expectation};
use crate::audit::AuditRecord;
use crate::body::{Class, Packed};
use crate::ehr::PreparedPage;
use crate::error::{CommitError, StoreError};
use crate::index::PreparedIndex;
use crate::message::MessageRecord;
use crate::sample::PreparedSeries;
use crate::shared::Shared;

/// A change with its body packed.
pub(crate) struct PreparedChange {
    pub(crate) key: ResourceKey,
    pub(crate) h: i64,
    pub(crate) expect: ExpectVersion,
    pub(crate) action: PreparedAction,
    pub(crate) index: PreparedIndex,
}

pub(crate) enum PreparedAction {
    Put(Packed),
    Delete,
}

/// A message with its raw bytes packed.
pub(crate) struct PreparedMessage {
    pub(crate) record: MessageRecord,
    pub(crate) hash: [u8; 32],
    pub(crate) packed: Vec<u8>,
}

pub(crate) struct PreparedCommit {
    pub(crate) expects: Vec<Expectation>,
    pub(crate) changes: Vec<PreparedChange>,
    pub(crate) audit: Vec<AuditRecord>,
    pub(crate) message: Option<PreparedMessage>,
    /// The page of an EHR walk that brought it.
    pub(crate) page: Option<PreparedPage>,
    pub(crate) samples: Vec<PreparedSeries>,
}

/// Level for raw messages: higher ones cost many times the time for some percent of a message of two kilobytes.
const MESSAGE_LEVEL: i32 = 3;
/// Largest message packed with a thread's own context, bytes: its tables grow with what it has packed.
const CONTEXT_BYTES_MAX: usize = 256 << 10;

thread_local! {
    /// A context for each message would cost more than its packing.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

fn pack(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    if raw.len() > CONTEXT_BYTES_MAX {
        return zstd::bulk::compress(raw, MESSAGE_LEVEL);
    }
    PACKER.with_borrow_mut(|packer| match packer {
        Some(packer) => packer.compress(raw),
        None => packer.insert(Compressor::new(MESSAGE_LEVEL)?).compress(raw),
    })
}

impl PreparedCommit {
    /// Packs bodies and hashes the message, on the caller's thread.
    pub(crate) fn new(shared: &Shared, commit: Commit) -> Result<Self, CommitError> {
        let mut keys = std::collections::HashSet::new();
        if !commit.changes.iter().all(|change| keys.insert(&change.key)) {
            return Err(CommitError::Internal(
                "a commit changes a resource twice".into(),
            ));
        }
        let changes = commit
            .changes
            .into_iter()
            .map(|change| prepared(shared, change))
            .collect();
        let message = commit.message.map(prepared_message).transpose()?;
        if !commit.samples.is_empty() {
            // Before the commit, so that no read after it misses one.
            shared.samples.store(true, Ordering::Release);
        }
        let samples = commit.samples.into_iter();
        let samples = samples.map(|series| PreparedSeries::new(shared, series));
        Ok(Self {
            samples: samples.collect(),
            expects: commit.expects,
            changes,
            audit: commit.audit,
            message,
            page: None,
        })
    }
}

fn prepared(shared: &Shared, change: Change) -> PreparedChange {
    let h = shared.hasher.resource(&change.key);
    let (action, index) = match change.action {
        Action::Put { body, index } => {
            let class = Class::of(change.key.resource_type.name());
            (
                PreparedAction::Put(shared.bodies.pack(class, body.stored_text(), body.gap())),
                index,
            )
        }
        Action::Delete { index } => (PreparedAction::Delete, index),
    };
    PreparedChange {
        key: change.key,
        h,
        expect: change.expect,
        action,
        index,
    }
}

fn prepared_message(mut record: MessageRecord) -> Result<PreparedMessage, StoreError> {
    let hash = Sha256::digest(&record.raw).into();
    let packed =
        pack(&record.raw).map_err(|_| StoreError::Internal("a message cannot be packed".into()))?;
    // PostgreSQL's texts cannot hold NUL; both engines store its picture instead. The raw bytes keep it.
    for text in [
        &mut record.sender,
        &mut record.control_id,
        &mut record.message_type,
        &mut record.feed,
    ] {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{2400}");
        }
    }
    Ok(PreparedMessage {
        record,
        hash,
        packed,
    })
}
