//! Vendor profiles: how Epic, Oracle Health and a plain SMART server behave, as data.
//!
//! Spec: the vendors' documentation, named in `profiles/*.toml`.
//! Leaves out code per vendor: a difference that no setting here can express is a new setting.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::EhrError;

const EPIC: &str = include_str!("../../profiles/epic.toml");
const ORACLE: &str = include_str!("../../profiles/oracle.toml");
const GENERIC: &str = include_str!("../../profiles/generic.toml");

/// Everything that differs between EHRs. A tenant may override any key in its `[profile]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `epic`, `oracle` or `generic`.
    pub name: String,
    /// `CapabilityStatement.software.name` of this vendor, to warn when the wrong profile is chosen.
    #[serde(default)]
    pub vendor_software: Option<String>,
    /// `CapabilityStatement.publisher` of this vendor.
    #[serde(default)]
    pub vendor_publisher: Vec<String>,
    /// The `Accept` header of every FHIR request.
    pub accept: String,
    /// Header that carries the client id on every request.
    #[serde(default)]
    pub client_id_header: Option<String>,
    /// Send `scope` with token requests.
    pub request_scopes: bool,
    /// Leave `client_id` out of a token request that carries an assertion.
    pub omit_client_id: bool,
    /// `_count`, in resources.
    pub page_size: u32,
    /// The `next` link names a session: it cannot be asked twice, and a failed page means a new walk.
    pub page_session: bool,
    /// Walks at the same time.
    pub connections: usize,
    /// Most requests in one UTC day.
    pub requests_per_day: u32,
    /// How far a window reaches back over the last one, in seconds.
    pub overlap_s: i64,
    /// Longest time between two full sweeps of the same search, in hours.
    pub sweep_every_h: i64,
    /// How a merged patient shows.
    pub merged: Merged,
    /// How ids may change.
    #[serde(default)]
    pub alias: Alias,
    /// Hours of the day (UTC) in which nothing is asked, as `[from, to)`; may pass midnight.
    #[serde(default)]
    pub quiet_hours_utc: Option<[u8; 2]>,
    /// Group export knows `_since`.
    #[serde(default)]
    pub bulk_since: bool,
    /// How each type is asked for.
    pub search: Vec<Search>,
    /// Vendor issue codes and what we do about them.
    pub codes: BTreeMap<String, Reaction>,
}

/// How one resource type is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Resource type.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The way to ask.
    pub by: By,
    /// Categories, for [`By::Category`].
    #[serde(default)]
    pub categories: Vec<String>,
    /// The parameter that finds what changed; without one every walk is a full sweep.
    #[serde(default)]
    pub changes: Option<Changes>,
}

/// The way to ask for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// `GET Type/id` of the patient itself.
    Read,
    /// `Type?patient=`.
    Patient,
    /// `Type?patient=&category=`, once per category.
    Category,
}

/// A search parameter that moves when a resource is filed or changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Its name.
    pub parameter: String,
    /// Whether an upper bound must be given.
    pub range: Range,
}

/// Shape of a change window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// `ge` only.
    Open,
    /// `ge` and `lt`.
    Closed,
}

/// How the source says that a patient was merged into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merged {
    /// An OperationOutcome with a code and a redirect.
    Outcome,
    /// An inactive resource with `link[replaced-by]`.
    ReplacedBy,
}

/// Ids that change while the record stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alias {
    /// Ids never change.
    #[default]
    None,
    /// `BP-<systolic>-<diastolic>` with `0` for the half that is not charted yet.
    OracleBloodPressure,
}

/// What we do about an issue code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Nothing to report.
    Note,
    /// No results; not an error.
    Empty,
    /// More may exist than was returned.
    Incomplete,
    /// Data exists and is kept from us.
    Withheld,
    /// A parameter was dropped, so the answer is not what was asked for.
    Ignored,
    /// Try again after a while.
    Retry,
    /// Try again tomorrow.
    Park,
    /// The page session ended.
    SessionDied,
    /// The id names nothing.
    NotFound,
    /// The resource was deleted.
    Deleted,
    /// The patient was merged into another.
    Merged,
    /// Asking again cannot help.
    Permanent,
}

impl Profile {
    /// The built-in profile called `name`, with `overrides` laid over it key by key.
    ///
    /// # Errors
    /// [`EhrError::Config`] naming the unknown profile or key.
    pub fn load(name: &str, overrides: &toml::Table) -> Result<Self, EhrError> {
        let text = match name {
            "epic" => EPIC,
            "oracle" => ORACLE,
            "generic" => GENERIC,
            _ => {
                return Err(EhrError::Config(format!(
                    "`vendor = \"{name}\"`: use `epic`, `oracle` or `generic`"
                )));
            }
        };
        let mut table: toml::Table = toml::from_str(text).map_err(|e| config(&e))?;
        lay_over(&mut table, overrides);
        let profile: Self = table.try_into().map_err(|e| config(&e))?;
        profile.check()
    }

    fn check(self) -> Result<Self, EhrError> {
        let refuse = |text: &str| Err(EhrError::Config(format!("`[profile]` {text}")));
        if !(1..=64).contains(&self.connections) {
            return refuse("`connections` must be 1 to 64");
        }
        if !(1..=1000).contains(&self.page_size) {
            return refuse("`page_size` must be 1 to 1000");
        }
        if self.overlap_s < 0 || self.sweep_every_h < 1 {
            return refuse("`overlap_s` must be 0 or more, `sweep_every_h` 1 or more");
        }
        if let Some([from, to]) = self.quiet_hours_utc
            && (from > 23 || to > 24 || from == to)
        {
            return refuse("`quiet_hours_utc` must be two different hours");
        }
        for search in &self.search {
            if (search.by == By::Category) == search.categories.is_empty() {
                return refuse("`categories` belong to `by = \"category\"` and only there");
            }
        }
        Ok(self)
    }

    /// How the type is asked for, if the profile says.
    pub fn search_of(&self, resource_type: &str) -> Option<&Search> {
        let mut all = self.search.iter();
        all.find(|search| search.resource_type == resource_type)
    }
}

/// Tables are merged, everything else is replaced.
fn lay_over(base: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => lay_over(inner, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn config(error: &toml::de::Error) -> EhrError {
    EhrError::Config(format!("`[profile]`: {}", error.message()))
}
