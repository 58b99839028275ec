//! Samples of whole series in a span of time, as they are kept: what hourly SampledData is built from.
//!
//! Decision: `docs/decisions/0009-samples.md`. Left out: criteria on single values, for which there is search.

use fhir_core::sample::{SampleValue, Shown, Template};

use super::search::{Series, bounds};
use super::{NarrowSample, damaged};
use crate::api::SearchQuery;
use crate::error::StoreError;
use crate::read::Reader;
use crate::sql::Sql;
use crate::store::Store;

/// Samples of one series in the order of time.
#[derive(Debug, Clone)]
pub struct SeriesRange {
    /// Name of the channel, which the ids begin with.
    pub channel: String,
    /// The text of the series' Observations.
    pub template: Template,
    /// The samples.
    pub samples: Vec<NarrowSample>,
}

impl Store {
    /// The samples of the series that match, at most `samples_max` together.
    ///
    /// # Errors
    /// [`StoreError::TooCostly`] when there are more, or when the search asks for more than series and time; see
    /// [`StoreError`].
    pub async fn sample_ranges(
        &self,
        query: SearchQuery,
        samples_max: usize,
    ) -> Result<Vec<SeriesRange>, StoreError> {
        self.on_reader(move |reader| {
            reader.at_one_moment(|reader| reader.sample_ranges(&query, samples_max))
        })
        .await
    }
}

impl Reader<'_> {
    fn sample_ranges(
        &mut self,
        query: &SearchQuery,
        samples_max: usize,
    ) -> Result<Vec<SeriesRange>, StoreError> {
        let mut left = samples_max;
        let mut found = Vec::new();
        for series in self.series_of(&query.predicate)? {
            if series.is_open {
                let text =
                    "only patient, code, category, device and date in whole seconds choose series";
                return Err(StoreError::TooCostly(text.into()));
            }
            let samples = self.range(&series, left.saturating_add(1))?;
            left = left.checked_sub(samples.len()).ok_or_else(|| {
                StoreError::TooCostly(format!(
                    "more than {samples_max} samples lie in this time; ask for a shorter one"
                ))
            })?;
            if !samples.is_empty() {
                found.push(SeriesRange {
                    channel: series.channel_name,
                    template: series.template,
                    samples,
                });
            }
        }
        Ok(found)
    }

    fn range(&mut self, series: &Series, limit: usize) -> Result<Vec<NarrowSample>, StoreError> {
        let mut sql = Sql::new("SELECT s.at, s.value, s.shown FROM sample s WHERE ");
        bounds(&mut sql, series);
        sql.push(" ORDER BY s.at LIMIT ")
            .int(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.db.rows(sql)?;
        let read = |row: &crate::db::Row| {
            Ok(NarrowSample {
                at_us: row.int(0)?,
                value: SampleValue::unpack(row.int(1)?),
                shown: Shown::unpack(row.int(2)?).ok_or_else(damaged)?,
            })
        };
        rows.iter().map(read).collect()
    }
}
