//! One sample as the Observation of its id.

use fhir_core::ids::{Instant, ResourceKey};
use fhir_core::sample::{SampleValue, Shown, Template};

use super::{NarrowSample, damaged, place_of, stored};
use crate::api::Stored;
use crate::db::{Db, Row};
use crate::error::StoreError;
use crate::sql::Sql;

/// The columns of a sample, read by [`sample`].
pub(crate) const COLUMNS: &str = "s.at, s.value, s.shown, b.at";

/// A sample and the time it was stored.
pub(crate) fn sample(row: &Row) -> Result<(NarrowSample, Instant), StoreError> {
    let sample = NarrowSample {
        at_us: row.int(0)?,
        value: SampleValue::unpack(row.int(1)?),
        shown: Shown::unpack(row.int(2)?).ok_or_else(damaged)?,
    };
    Ok((sample, Instant(row.int(3)?)))
}

/// The sample of an id; `None` when the id is not a sample's or the sample is not there, or no longer.
pub(crate) fn find(db: &mut Db, key: &ResourceKey) -> Result<Option<Stored>, StoreError> {
    let Some((channel, at)) = place_of(key) else {
        return Ok(None);
    };
    let mut sql = Sql::new("SELECT ");
    sql.push(COLUMNS).push(
        ", n.template FROM channel c JOIN sample s ON s.channel = c.id JOIN sample_batch b ON b.id = s.batch \
         JOIN series n ON n.id = s.series WHERE c.name = ",
    );
    sql.text(channel).push(" AND s.at = ").int(at);
    let Some(row) = db.row(sql)? else {
        return Ok(None);
    };
    let (sample, updated) = sample(&row)?;
    let template = Template::parse(row.text(4)?).ok_or_else(damaged)?;
    stored(channel, &template, sample, updated).map(Some)
}
