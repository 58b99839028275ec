//! Writing samples: each is compared with what stands at its instant, the new ones go into the table together.

use std::collections::{HashMap, HashSet};

use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::json::Document;
use fhir_core::sample::{SampleValue, id_text};
use sha2::{Digest, Sha256};

use super::{NarrowSample, SampleFate, SeriesSamples, damaged, observation, place_of, subject_of};
use crate::db::Db;
use crate::error::StoreError;
use crate::shared::Shared;
use crate::sql::{Bind, Sql};
use crate::write::insert;

/// Instants or resources looked up by one statement.
const LOOK_UP_MAX: usize = 512;

/// Samples of one series, with what can be worked out before the writer has them.
pub(crate) struct PreparedSeries {
    channel: String,
    subject: i64,
    hash: [u8; 32],
    template: String,
    samples: Vec<NarrowSample>,
}

impl PreparedSeries {
    pub(crate) fn new(shared: &Shared, series: SeriesSamples) -> Self {
        let template = series.template.to_text();
        let subject = subject_of(&series.template);
        Self {
            hash: Sha256::digest(template.as_bytes()).into(),
            subject: subject.map_or(0, |key| shared.hasher.resource(&key)),
            channel: series.channel,
            template,
            samples: series.samples,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    id: i64,
    is_mixed: bool,
    /// Instant of the last sample, this group's too.
    last_at: i64,
}

/// What a group knows of samples.
#[derive(Default)]
pub(crate) struct SampleWriter {
    channels: HashMap<String, Channel>,
    series: HashMap<(i64, [u8; 32]), i64>,
    marked: HashSet<String>,
    last_batch: Option<i64>,
    rows: Vec<[i64; 6]>,
    /// Whether the spans of samples are kept for subscribers and alerts.
    pub(crate) wants_spans: bool,
    spans: Vec<[i64; 4]>,
}

struct SampleTable;

impl insert::Into for SampleTable {
    const INSERT: &'static str = "INSERT INTO sample (channel, at, series, value, shown, batch)";
}

impl SampleWriter {
    /// Writes what was gathered.
    pub(crate) fn flush(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let spans = std::mem::take(&mut self.spans);
        if !spans.is_empty() {
            crate::live::insert_spans(db, &spans)?;
        }
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        if let Db::Sqlite(connection) = db {
            return insert::insert::<SampleTable, _>(connection, &rows);
        }
        let mut sql = Sql::new(<SampleTable as insert::Into>::INSERT);
        sql.push(" SELECT a, b, c, d, e, f FROM unnest(");
        for column in 0..6 {
            let values = rows.iter().map(|row| row.get(column).copied());
            sql.push(if column == 0 { "" } else { ", " })
                .bind(Bind::Ints(values.collect()))
                .push("::bigint[]");
        }
        sql.push(") AS x(a, b, c, d, e, f)");
        db.run(sql).map(|_| ())
    }

    /// Writes the samples of a commit; `at` is its time, `message` the payload it came with.
    pub(crate) fn write(
        &mut self,
        db: &mut Db,
        shared: &Shared,
        series: &[PreparedSeries],
        at: Instant,
        message: Option<i64>,
    ) -> Result<Vec<Vec<SampleFate>>, StoreError> {
        let mut batch = None;
        let mut fates = Vec::with_capacity(series.len());
        for one in series {
            fates.push(self.write_series(db, shared, one, at, message, &mut batch)?);
        }
        Ok(fates)
    }

    fn write_series(
        &mut self,
        db: &mut Db,
        shared: &Shared,
        series: &PreparedSeries,
        at: Instant,
        message: Option<i64>,
        batch: &mut Option<i64>,
    ) -> Result<Vec<SampleFate>, StoreError> {
        let channel = self.channel(db, &series.channel, false)?;
        let number = self.series(db, channel.id, series)?;
        let first = series.samples.iter().map(|s| s.at_us).min();
        let known = match first {
            Some(first) if first <= channel.last_at => {
                self.flush(db)?;
                look_up(db, channel.id, &series.samples)?
            }
            _ => HashMap::new(),
        };
        let wide = if channel.is_mixed {
            look_up_wide(db, shared, &series.channel, &series.samples)?
        } else {
            HashMap::new()
        };
        let mut last_at = channel.last_at;
        let mut span: Option<(i64, i64)> = None;
        let mut fates = Vec::with_capacity(series.samples.len());
        for sample in &series.samples {
            let fate = match (known.get(&sample.at_us), wide.get(&sample.at_us)) {
                (_, Some(fate)) => match fate {
                    Wide::Deleted => SampleFate::Deleted,
                    Wide::Live(Some(value)) if *value == sample.value => SampleFate::Same,
                    Wide::Live(_) => SampleFate::Other,
                },
                (Some((other, value)), None) => {
                    if *other == number && *value == sample.value {
                        SampleFate::Same
                    } else {
                        SampleFate::Other
                    }
                }
                (None, None) => SampleFate::New,
            };
            fates.push(fate);
            if fate != SampleFate::New {
                continue;
            }
            let batch = match *batch {
                Some(batch) => batch,
                None => *batch.insert(self.batch(db, at, message)?),
            };
            last_at = last_at.max(sample.at_us);
            let (first, last) = span.unwrap_or((sample.at_us, sample.at_us));
            span = Some((first.min(sample.at_us), last.max(sample.at_us)));
            self.rows.push([
                channel.id,
                sample.at_us,
                number,
                sample.value.pack(),
                sample.shown.pack(),
                batch,
            ]);
        }
        if let Some(channel) = self.channels.get_mut(&series.channel) {
            channel.last_at = last_at;
        }
        if let Some((first, last)) = span.filter(|_| self.wants_spans) {
            self.spans.push([at.0, channel.id, first, last]);
        }
        Ok(fates)
    }

    fn channel(&mut self, db: &mut Db, name: &str, mark: bool) -> Result<Channel, StoreError> {
        if let Some(channel) = self.channels.get(name) {
            return Ok(*channel);
        }
        let mut sql = Sql::new("SELECT id, mixed FROM channel WHERE name = ");
        sql.text(name);
        let channel = match db.row(sql)? {
            Some(row) => {
                let id = row.int(0)?;
                let mut last = Sql::new("SELECT max(at) FROM sample WHERE channel = ");
                last.int(id);
                let last = db.row(last)?.map(|row| row.opt_int(0)).transpose()?;
                Channel {
                    id,
                    is_mixed: row.int(1)? != 0,
                    last_at: last.flatten().unwrap_or(i64::MIN),
                }
            }
            None => {
                let id = db.number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM channel"))?;
                let mut sql = Sql::new("INSERT INTO channel (id, name, mixed) VALUES (");
                sql.int(id).push(", ").text(name).push(", ");
                sql.int(i64::from(mark)).push(")");
                db.run(sql)?;
                Channel {
                    id,
                    is_mixed: mark,
                    last_at: i64::MIN,
                }
            }
        };
        self.channels.insert(name.to_owned(), channel);
        Ok(channel)
    }

    fn series(
        &mut self,
        db: &mut Db,
        channel: i64,
        series: &PreparedSeries,
    ) -> Result<i64, StoreError> {
        let key = (channel, series.hash);
        if let Some(id) = self.series.get(&key) {
            return Ok(*id);
        }
        let mut sql = Sql::new("SELECT id FROM series WHERE channel = ");
        sql.int(channel)
            .push(" AND hash = ")
            .bytes(series.hash.as_slice());
        let id = match db.row(sql)? {
            Some(row) => row.int(0)?,
            None => {
                let id = db.number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM series"))?;
                let mut sql =
                    Sql::new("INSERT INTO series (id, channel, subject, hash, template) VALUES (");
                sql.int(id).push(", ").int(channel).push(", ");
                sql.int(series.subject).push(", ");
                sql.bytes(series.hash.as_slice()).push(", ");
                sql.text(series.template.clone()).push(")");
                db.run(sql)?;
                id
            }
        };
        self.series.insert(key, id);
        Ok(id)
    }

    fn batch(&mut self, db: &mut Db, at: Instant, message: Option<i64>) -> Result<i64, StoreError> {
        let last = match self.last_batch {
            Some(last) => last,
            None => db.number(Sql::new("SELECT coalesce(max(id), 0) FROM sample_batch"))?,
        };
        let id = last + 1;
        self.last_batch = Some(id);
        let mut sql = Sql::new("INSERT INTO sample_batch (id, at, message) VALUES (");
        sql.int(id).push(", ").int(at.0).push(", ");
        sql.bind(Bind::OptInt(message)).push(")");
        db.run(sql)?;
        Ok(id)
    }

    /// To be called when an Observation is written whose id a sample can have: from now on samples of its channel are
    /// compared with ordinary resources too.
    pub(crate) fn mark(&mut self, db: &mut Db, key: &ResourceKey) -> Result<(), StoreError> {
        let Some((name, _)) = place_of(key) else {
            return Ok(());
        };
        if !self.marked.insert(name.to_owned()) {
            return Ok(());
        }
        if !self.channel(db, name, true)?.is_mixed {
            let mut sql = Sql::new("UPDATE channel SET mixed = 1 WHERE name = ");
            sql.text(name);
            db.run(sql)?;
            if let Some(channel) = self.channels.get_mut(name) {
                channel.is_mixed = true;
            }
        }
        Ok(())
    }

    /// Whether this group wrote an Observation whose id a sample can have.
    pub(crate) fn has_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Takes a sample out of the table.
    pub(crate) fn remove(&mut self, db: &mut Db, key: &ResourceKey) -> Result<(), StoreError> {
        let Some((name, at)) = place_of(key) else {
            return Ok(());
        };
        self.flush(db)?;
        let channel = self.channel(db, name, true)?;
        let mut sql = Sql::new("DELETE FROM sample WHERE channel = ");
        sql.int(channel.id).push(" AND at = ").int(at);
        db.run(sql).map(|_| ())
    }
}

/// Series and value of the samples that stand at these instants.
fn look_up(
    db: &mut Db,
    channel: i64,
    samples: &[NarrowSample],
) -> Result<HashMap<i64, (i64, SampleValue)>, StoreError> {
    let mut found = HashMap::new();
    for chunk in samples.chunks(LOOK_UP_MAX) {
        let instants: Vec<i64> = chunk.iter().map(|sample| sample.at_us).collect();
        let mut sql = Sql::new("SELECT at, series, value FROM sample WHERE channel = ");
        sql.int(channel).push(" AND at");
        db.engine().among(&mut sql, &instants);
        for row in db.rows(sql)? {
            let value = SampleValue::unpack(row.int(2)?);
            found.insert(row.int(0)?, (row.int(1)?, value));
        }
    }
    Ok(found)
}

enum Wide {
    /// Its `valueQuantity.value`, when that can be a sample's.
    Live(Option<SampleValue>),
    Deleted,
}

/// Ordinary resources that have the ids of these samples.
fn look_up_wide(
    db: &mut Db,
    shared: &Shared,
    channel: &str,
    samples: &[NarrowSample],
) -> Result<HashMap<i64, Wide>, StoreError> {
    let resource_type = observation().ok_or_else(damaged)?;
    let mut found = HashMap::new();
    for chunk in samples.chunks(LOOK_UP_MAX) {
        let mut places = HashMap::new();
        for sample in chunk {
            let id = fhir_core::ids::ResourceId::parse(&id_text(channel, sample.at_us));
            let key = ResourceKey {
                resource_type,
                id: id.ok_or_else(damaged)?,
            };
            places.insert(shared.hasher.resource(&key), sample.at_us);
        }
        let hashes: Vec<i64> = places.keys().copied().collect();
        let mut sql = Sql::new("SELECT h, type, flags, gap, body FROM res WHERE h");
        db.engine().among(&mut sql, &hashes);
        for row in db.rows(sql)? {
            let Some(at) = places.get(&row.int(0)?) else {
                continue;
            };
            let wide = if row.int(1)? < 0 {
                Wide::Deleted
            } else {
                let (flags, gap) = (row.int(2)?, row.int(3)?);
                let unpack = |shared: &Shared| {
                    let version = fhir_core::sample::VERSION;
                    shared
                        .bodies
                        .resource(flags, gap, row.bytes(4)?, version, Instant(0))
                };
                let json = match unpack(shared)? {
                    Some(json) => Some(json),
                    None => {
                        crate::read::load_dictionaries(db, shared)?;
                        unpack(shared)?
                    }
                };
                let json = json.ok_or_else(|| {
                    StoreError::Internal("a stored body needs an unknown dictionary".into())
                })?;
                Wide::Live(value_of(&json))
            };
            found.insert(*at, wide);
        }
    }
    Ok(found)
}

fn value_of(json: &[u8]) -> Option<SampleValue> {
    let document = Document::parse(json).ok()?;
    let value = document.root().get("valueQuantity")?.get("value")?;
    let text = value.number_text()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    SampleValue::new(digits, u32::try_from(fraction.len()).ok()?)
}
