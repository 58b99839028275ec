//! One commit inside a group's transaction: all checks first, then all writes.

use std::collections::HashMap;

use conformance::ResourceTypeId;
use fhir_core::body::Body;
use fhir_core::ids::{Instant, ResourceId, ResourceKey, VersionId};
use fhir_core::json::Document;

use super::insert;
use super::job::{PreparedAction, PreparedChange, PreparedCommit};
use super::message;
use super::rows::{Pending, Resolver};
use super::terms::NewTerms;
use crate::api::{Committed, ExpectVersion, Expectation, Stored};
use crate::audit::AuditRecord;
use crate::body::{Class, FLAG_DELETED};
use crate::db::Db;
use crate::error::{CommitError, StoreError};
use crate::message::{MessageReceipt, MessageState};
use crate::sample::{self, SampleFate, SampleWriter};
use crate::search::live_matches;
use crate::shared::Shared;
use crate::sql::{Bind, Sql};

/// Names of the counters in `meta`.
pub(crate) mod counter {
    pub(crate) const RID: &str = "rid";
    pub(crate) const UPDATED: &str = "updated";
    pub(crate) const PLAIN: &str = "plain:";
}

/// What `res` holds about a resource, as the group sees it.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    rid: i64,
    version: i64,
    is_deleted: bool,
    key: Option<ResourceKey>,
    /// The Observation of a sample, which becomes an ordinary resource when it changes.
    of_sample: Option<Box<Stored>>,
}

/// A transaction in progress.
pub(crate) struct Transaction<'a> {
    pub(crate) db: &'a mut Db,
    pub(crate) shared: &'a Shared,
    pub(crate) rid: i64,
    pub(crate) updated: i64,
    pub(crate) now: i64,
    pub(crate) live: HashMap<i64, i64>,
    pub(crate) terms: NewTerms,
    pub(crate) pending: Pending,
    pub(crate) known: HashMap<i64, Option<Current>>,
    /// Rows of `res` that are written together at the end.
    pub(crate) new_rows: Vec<NewRow>,
    pub(crate) plain: Vec<u16>,
    pub(crate) audit: Vec<AuditValues>,
    /// The last number of the audit trail, once looked up.
    pub(crate) last_audit: Option<i64>,
    pub(crate) samples: SampleWriter,
}

/// A new row of `res`.
pub(crate) struct NewRow {
    numbers: [Option<i64>; 9],
    id: String,
    body: Vec<u8>,
}

impl Transaction<'_> {
    /// Checks and writes a commit. An error that is no refusal leaves the transaction to be rolled back.
    pub(crate) fn apply(&mut self, commit: &PreparedCommit) -> Result<Committed, CommitError> {
        let is_control_id_used = match &commit.message {
            Some(message) => message::check(self.db, message)?,
            None => false,
        };
        if let Some(page) = &commit.page {
            crate::ehr::check(self.db, page)?;
        }
        let mut currents = Vec::with_capacity(commit.changes.len());
        for (index, change) in commit.changes.iter().enumerate() {
            currents.push(self.check(index, change)?);
        }
        for (index, expectation) in commit.expects.iter().enumerate() {
            self.check_expectation(index, expectation)?;
        }
        let mut results = Vec::with_capacity(commit.changes.len());
        for (change, current) in commit.changes.iter().zip(currents) {
            results.push(self.write(change, current)?);
        }
        if !commit.samples.is_empty() {
            self.updated = self.now.max(self.updated + 1);
        }
        let at = match results.last() {
            Some((_, at)) if commit.samples.is_empty() => *at,
            _ => Instant(self.now.max(self.updated)),
        };
        let version_of = |key: &ResourceKey| {
            let position = commit
                .changes
                .iter()
                .position(|change| change.key == *key)?;
            results.get(position).map(|(version, _)| *version)
        };
        let mut receipt = None;
        if let Some(message) = &commit.message {
            let made: Vec<_> = message.record.made.iter().map(version_of).collect();
            let hasher = self.shared.hasher;
            receipt = Some(message::record(
                self.db,
                hasher,
                message,
                is_control_id_used,
                at,
                &made,
            )?);
        }
        if let Some(page) = &commit.page {
            crate::ehr::apply(self.db, page, at)?;
        }
        for record in &commit.audit {
            let version = record
                .entity
                .as_ref()
                .and_then(|(key, version)| version.or_else(|| version_of(key)));
            self.write_audit(record, version, at)?;
        }
        let message = receipt.as_ref().map(|receipt| receipt.id);
        if !commit.samples.is_empty() && self.samples.has_marked() {
            // An Observation of this group may have the id of one of the samples; it is looked for in the table.
            self.flush()?;
        }
        let samples = self
            .samples
            .write(self.db, self.shared, &commit.samples, at, message)?;
        if let Some(receipt) = &mut receipt {
            self.tell_of_refused(receipt, &samples)?;
        }
        Ok(Committed {
            results,
            message: receipt,
            samples,
        })
    }

    /// A payload whose samples were not all taken needs a look, and its row says so.
    fn tell_of_refused(
        &mut self,
        receipt: &mut MessageReceipt,
        samples: &[Vec<SampleFate>],
    ) -> Result<(), StoreError> {
        let is_refused =
            |fate: &&SampleFate| matches!(fate, SampleFate::Other | SampleFate::Deleted);
        let refused = samples.iter().flatten().filter(is_refused).count();
        if refused == 0 || receipt.state == MessageState::Refused {
            return Ok(());
        }
        let reason = format!(
            "{refused} samples stand against what is stored under their ids; a replay makes them the next version of it"
        );
        let mut sql = Sql::new("UPDATE message SET state = ");
        sql.int(message::state_number(MessageState::Warnings));
        sql.push(", reason = ").text(reason.clone());
        sql.push(" WHERE id = ").int(receipt.id);
        self.db.run(sql)?;
        receipt.state = MessageState::Warnings;
        receipt.reason = Some(reason);
        Ok(())
    }

    fn current(&mut self, h: i64) -> Result<Option<Current>, StoreError> {
        if let Some(known) = self.known.get(&h) {
            return Ok(known.clone());
        }
        let mut sql = Sql::new("SELECT rid, ver, type, id FROM res WHERE h = ");
        sql.int(h);
        let Some(row) = self.db.row(sql)? else {
            return Ok(None);
        };
        Ok(Some(current_of(
            row.int(0)?,
            row.int(1)?,
            row.int(2)?,
            row.text(3)?,
        )))
    }

    fn check(
        &mut self,
        index: usize,
        change: &PreparedChange,
    ) -> Result<Option<Current>, CommitError> {
        let mut current = self.current(change.h)?;
        if current.is_none() && sample::place_of(&change.key).is_some() {
            self.samples.flush(self.db)?;
            current = sample::find(self.db, &change.key)?.map(|stored| Current {
                rid: 0,
                version: stored.version.0,
                is_deleted: false,
                key: Some(change.key.clone()),
                of_sample: Some(Box::new(stored)),
            });
        }
        if current
            .as_ref()
            .is_some_and(|current| current.key.as_ref() != Some(&change.key))
        {
            return Err(CommitError::IdTaken { index });
        }
        let is_expected = match (change.expect, &current) {
            (ExpectVersion::Absent, None) => true,
            (ExpectVersion::Version(version), Some(current)) => version.0 == current.version,
            _ => false,
        };
        if is_expected {
            return Ok(current);
        }
        let current = current.map(|current| (VersionId(current.version), current.is_deleted));
        Err(CommitError::VersionMoved { index, current })
    }

    fn check_expectation(
        &mut self,
        index: usize,
        expectation: &Expectation,
    ) -> Result<(), CommitError> {
        self.flush()?;
        let Expectation::Matches {
            resource_type,
            predicate,
            keys,
        } = expectation;
        let flags = crate::read::plain_types(self.db)?;
        let has_plain = |t: conformance::ResourceTypeId| flags.contains(&t.0);
        let mut compiler = self.shared.compiler(self.db, &has_plain);
        let mut found = live_matches(&mut compiler, *resource_type, predicate, keys.len() + 1)?;
        let mut expected: Vec<i64> = keys
            .iter()
            .map(|key| self.shared.hasher.resource(key))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        expected.dedup();
        if found == expected {
            Ok(())
        } else {
            Err(CommitError::ExpectationFailed { index })
        }
    }

    fn write(
        &mut self,
        change: &PreparedChange,
        current: Option<Current>,
    ) -> Result<(VersionId, Instant), StoreError> {
        let was_sample = current.as_ref().is_some_and(|c| c.of_sample.is_some());
        let current = current.map(|c| self.widened(change, c)).transpose()?;
        self.samples.mark(self.db, &change.key)?;
        self.updated = self.now.max(self.updated + 1);
        let (updated, version) = (
            self.updated,
            current.as_ref().map_or(0, |current| current.version) + 1,
        );
        let type_number = i64::from(change.key.resource_type.0) + 1;
        let is_delete = matches!(change.action, PreparedAction::Delete);
        let rid = match &current {
            Some(current) => current.rid,
            None => {
                self.rid += 1;
                self.rid
            }
        };
        let (flags, gap, body) = match &change.action {
            PreparedAction::Put(packed) => (packed.flags, packed.gap, packed.bytes.clone()),
            PreparedAction::Delete => (FLAG_DELETED, 0, Vec::new()),
        };
        let signed_type = if is_delete { -type_number } else { type_number };
        let PreparedChangeIndex { present, at } = PreparedChangeIndex::of(change, is_delete);
        let numbers = [
            Some(rid),
            Some(signed_type),
            Some(change.h),
            Some(version),
            Some(updated),
            Some(flags),
            Some(gap),
            Some(present),
            at,
        ];
        let row = NewRow {
            numbers,
            id: change.key.id.as_str().to_owned(),
            body,
        };
        match &current {
            None => self.new_rows.push(row),
            Some(current) => self.update_row(current, row)?,
        }
        // Samples are not among the resources counted.
        let was_live = current
            .as_ref()
            .is_some_and(|current| !current.is_deleted && !was_sample);
        let delta = i64::from(!is_delete) - i64::from(was_live);
        if delta != 0 {
            *self.live.entry(type_number).or_default() += delta;
        }
        self.write_index(rid, change, is_delete)?;
        let now = Current {
            rid,
            version,
            is_deleted: is_delete,
            key: Some(change.key.clone()),
            of_sample: None,
        };
        self.known.insert(change.h, Some(now));
        Ok((VersionId(version), Instant(updated)))
    }

    /// Makes an ordinary resource of a sample, its only version as it was, so that the next one can follow.
    fn widened(
        &mut self,
        change: &PreparedChange,
        current: Current,
    ) -> Result<Current, StoreError> {
        let Some(stored) = &current.of_sample else {
            return Ok(current);
        };
        let unreadable =
            || StoreError::Internal("the Observation of a sample cannot be read".into());
        let document = Document::parse(&stored.json).map_err(|_| unreadable())?;
        let body = Body::new(document.root(), &stored.key.id);
        let class = Class::of(stored.key.resource_type.name());
        let packed = self
            .shared
            .bodies
            .pack(class, body.stored_text(), body.gap());
        self.samples.remove(self.db, &stored.key)?;
        // Its index too, since the change brings only what differs from this version.
        let entries = sample::extract(&document)?;
        let t = stored.key.resource_type;
        let index = self.shared.preparer().prepare(t, &[], &entries);
        self.rid += 1;
        let numbers = [
            Some(self.rid),
            Some(i64::from(stored.key.resource_type.0) + 1),
            Some(change.h),
            Some(stored.version.0),
            Some(stored.updated.0),
            Some(packed.flags),
            Some(packed.gap),
            Some(index.present),
            index.at,
        ];
        self.new_rows.push(NewRow {
            numbers,
            id: stored.key.id.as_str().to_owned(),
            body: packed.bytes,
        });
        self.add_rows(self.rid, t, &index)?;
        Ok(Current {
            rid: self.rid,
            of_sample: None,
            ..current
        })
    }

    fn write_index(
        &mut self,
        rid: i64,
        change: &PreparedChange,
        is_delete: bool,
    ) -> Result<(), StoreError> {
        let index = &change.index;
        if !index.remove.is_empty() {
            self.remove_rows(rid, index)?;
        }
        if is_delete {
            return Ok(());
        }
        self.add_rows(rid, change.key.resource_type, index)
    }

    /// Gathers the index rows of a version.
    fn add_rows(
        &mut self,
        rid: i64,
        t: ResourceTypeId,
        index: &crate::index::PreparedIndex,
    ) -> Result<(), StoreError> {
        let at = index.at;
        if at.is_none() && self.shared.catalog.core(t).is_some() && !self.shared.has_plain(t) {
            self.plain.push(t.0);
            set_meta(self.db, &format!("{}{}", counter::PLAIN, t.0), 1)?;
        }
        let mut resolver = Resolver {
            db: self.db,
            hasher: self.shared.hasher,
            shared: &self.shared.terms,
            new: &mut self.terms,
        };
        self.pending.add(&mut resolver, rid, &index.add)
    }

    fn remove_rows(
        &mut self,
        rid: i64,
        index: &crate::index::PreparedIndex,
    ) -> Result<(), StoreError> {
        // Rows of this group may be among them.
        self.flush()?;
        let mut gone = Pending::default();
        let mut resolver = Resolver {
            db: self.db,
            hasher: self.shared.hasher,
            shared: &self.shared.terms,
            new: &mut self.terms,
        };
        gone.add(&mut resolver, rid, &index.remove)?;
        gone.delete(self.db)
    }

    /// Replaces the index of a resource.
    pub(crate) fn replace_index(
        &mut self,
        rid: i64,
        version: VersionId,
        index: &crate::index::PreparedIndex,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new("UPDATE res SET present = ");
        sql.int(index.present)
            .push(", at = ")
            .bind(Bind::OptInt(index.at))
            .push(", gen = gen + 1 WHERE rid = ");
        sql.int(rid)
            .push(" AND ver = ")
            .int(version.0)
            .push(" AND type > 0");
        if self.db.run(sql)? == 0 {
            return Ok(false);
        }
        self.remove_rows(rid, index)?;
        let mut resolver = Resolver {
            db: self.db,
            hasher: self.shared.hasher,
            shared: &self.shared.terms,
            new: &mut self.terms,
        };
        self.pending.add(&mut resolver, rid, &index.add)?;
        Ok(true)
    }

    fn update_row(&mut self, current: &Current, row: NewRow) -> Result<(), StoreError> {
        self.flush()?;
        let mut keep = Sql::new(
            "INSERT INTO hist (rid, ver, type, upd, flags, gap, body) SELECT rid, ver, type, upd, flags, gap, body FROM res WHERE rid = ",
        );
        keep.int(current.rid);
        self.db.run(keep)?;
        let [rid, t, _, ver, upd, flags, gap, present, at] = row.numbers;
        let mut sql = Sql::new("UPDATE res SET type = ");
        sql.bind(Bind::OptInt(t))
            .push(", ver = ")
            .bind(Bind::OptInt(ver))
            .push(", upd = ")
            .bind(Bind::OptInt(upd));
        sql.push(", flags = ")
            .bind(Bind::OptInt(flags))
            .push(", gap = ")
            .bind(Bind::OptInt(gap));
        sql.push(", present = ")
            .bind(Bind::OptInt(present))
            .push(", at = ")
            .bind(Bind::OptInt(at));
        sql.push(", body = ")
            .bytes(row.body)
            .push(" WHERE rid = ")
            .bind(Bind::OptInt(rid));
        self.db.run(sql).map(|_| ())
    }

    pub(crate) fn write_audit(
        &mut self,
        record: &AuditRecord,
        version: Option<VersionId>,
        at: Instant,
    ) -> Result<(), StoreError> {
        let last = match self.last_audit {
            Some(number) => number,
            None => self
                .db
                .number(Sql::new("SELECT coalesce(max(seq), 0) FROM audit"))?,
        };
        self.last_audit = Some(last + 1);
        let entity = record.entity.as_ref().map(|(key, _)| key);
        self.audit.push([
            Bind::Int(last + 1),
            Bind::Int(at.0),
            Bind::Text(plain(&record.agent)),
            Bind::Text(plain(&record.channel)),
            Bind::Int(i64::from(u32::from(record.action))),
            Bind::Text(record.interaction.to_owned()),
            Bind::OptInt(entity.map(|key| i64::from(key.resource_type.0) + 1)),
            Bind::OptText(entity.map(|key| key.id.as_str().to_owned())),
            Bind::OptInt(version.map(|version| version.0)),
            Bind::OptText(record.detail.as_deref().map(plain)),
            Bind::Int(i64::from(record.outcome)),
        ]);
        Ok(())
    }

    /// Writes what was gathered, so that statements see it.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if !self.new_rows.is_empty() {
            insert_new_rows(self.db, std::mem::take(&mut self.new_rows))?;
        }
        insert_audit(self.db, std::mem::take(&mut self.audit))?;
        self.samples.flush(self.db)?;
        if self.pending.is_empty() {
            Ok(())
        } else {
            std::mem::take(&mut self.pending).insert(self.db)
        }
    }

    /// Looks up the resources of many commits at once.
    pub(crate) fn look_up(&mut self, keys: Vec<i64>) -> Result<(), StoreError> {
        for h in &keys {
            self.known.insert(*h, None);
        }
        for keys in keys.chunks(LOOK_UP_MAX) {
            let mut sql = Sql::new("SELECT rid, ver, type, id, h FROM res WHERE h");
            self.db.engine().among(&mut sql, keys);
            for row in self.db.rows(sql)? {
                let current = current_of(row.int(0)?, row.int(1)?, row.int(2)?, row.text(3)?);
                self.known.insert(row.int(4)?, Some(current));
            }
        }
        Ok(())
    }
}

/// Resources looked up by one statement.
const LOOK_UP_MAX: usize = 512;

struct PreparedChangeIndex {
    present: i64,
    at: Option<i64>,
}

impl PreparedChangeIndex {
    fn of(change: &PreparedChange, is_delete: bool) -> Self {
        if is_delete {
            Self {
                present: 0,
                at: None,
            }
        } else {
            Self {
                present: change.index.present,
                at: change.index.at,
            }
        }
    }
}

/// Text without NUL, which PostgreSQL cannot hold.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

fn current_of(rid: i64, version: i64, signed_type: i64, id: &str) -> Current {
    let key = u16::try_from(signed_type.abs() - 1)
        .ok()
        .zip(ResourceId::parse(id));
    let key = key.map(|(t, id)| ResourceKey {
        resource_type: conformance::ResourceTypeId(t),
        id,
    });
    Current {
        rid,
        version,
        is_deleted: signed_type < 0,
        key,
        of_sample: None,
    }
}

/// The table `res` as SQLite's inserts name it.
struct Res;

impl insert::Into for Res {
    const INSERT: &'static str =
        "INSERT INTO res (rid, type, h, ver, upd, flags, gap, present, at, id, gen, body)";
}

fn insert_new_rows(db: &mut Db, rows: Vec<NewRow>) -> Result<(), StoreError> {
    if let Db::Sqlite(connection) = db {
        let rows = rows.into_iter().map(|row| {
            let [a, b, c, d, e, f, g, h, i] = row.numbers.map(Bind::OptInt);
            let (id, gen_, body) = (Bind::Text(row.id), Bind::Int(0), Bind::Bytes(row.body));
            [a, b, c, d, e, f, g, h, i, id, gen_, body]
        });
        return insert::insert::<Res, _>(connection, &rows.collect::<Vec<_>>());
    }
    let column = |index: usize| {
        Bind::Ints(
            rows.iter()
                .map(|row| row.numbers.get(index).copied().flatten())
                .collect(),
        )
    };
    let ids = rows
        .iter()
        .map(|row| Some(row.id.clone().into_bytes()))
        .collect();
    let bodies = rows.iter().map(|row| Some(row.body.clone())).collect();
    let mut sql = Sql::new(
        "INSERT INTO res (rid, type, h, ver, upd, flags, gap, present, at, gen, id, body) SELECT a, b, c, d, e, f, g, h, i, 0, convert_from(j, 'UTF8'), k FROM unnest(",
    );
    for index in 0..9 {
        sql.push(if index == 0 { "" } else { ", " })
            .bind(column(index))
            .push("::bigint[]");
    }
    sql.push(", ")
        .bind(Bind::Blobs(ids))
        .push("::bytea[], ")
        .bind(Bind::Blobs(bodies));
    sql.push("::bytea[]) AS x(a, b, c, d, e, f, g, h, i, j, k)");
    db.run(sql).map(|_| ())
}

/// A row of the audit trail.
pub(crate) type AuditValues = [Bind; 11];

/// The table `audit` as the inserts name it.
struct Audit;

impl insert::Into for Audit {
    const INSERT: &'static str = "INSERT INTO audit (seq, at, agent, channel, action, interaction, type, id, ver, detail, outcome)";
}

fn insert_audit(db: &mut Db, rows: Vec<AuditValues>) -> Result<(), StoreError> {
    if let Db::Sqlite(connection) = db {
        return insert::insert::<Audit, _>(connection, &rows);
    }
    for row in rows {
        let mut sql = Sql::new(<Audit as insert::Into>::INSERT);
        for (index, value) in row.into_iter().enumerate() {
            sql.push(if index == 0 { " VALUES (" } else { ", " })
                .bind(value);
        }
        sql.push(")");
        db.run(sql)?;
    }
    Ok(())
}

/// Sets a number of `meta`.
pub(crate) fn set_meta(db: &mut Db, name: &str, number: i64) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO meta (name, num, bytes) VALUES (");
    sql.text(name)
        .push(", ")
        .int(number)
        .push(", ")
        .bytes(Vec::new());
    sql.push(") ON CONFLICT (name) DO UPDATE SET num = excluded.num");
    db.run(sql).map(|_| ())
}
