//! The plan: which searches to run, made from what is wanted, what was granted and what the server says it can do.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>, <https://hl7.org/fhir/R4/capabilitystatement.html>.
//! Leaves out requests: making a plan asks nothing and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir_core::ids::Instant;
use fhir_core::json::{Document, ValueRef};
use reqwest::Url;

use crate::EhrError;
use crate::auth::discovery::under;
use crate::auth::scopes::Granted;
use crate::port::WalkKey;
use crate::profile::{By, Range, Search};
use crate::tenant::Tenant;
use crate::time;

/// One search to walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its cursor.
    pub walk: WalkKey,
    /// How it is asked.
    pub search: Arc<Search>,
}

/// Everything to do, and everything not to do with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Searches, Patients first.
    pub tasks: Vec<Task>,
    /// What is left out: name and reason.
    pub skipped: Vec<(String, String)>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

/// What a CapabilityStatement says that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capability {
    /// `software.name`.
    pub software: Option<String>,
    /// `publisher`.
    pub publisher: Option<String>,
    /// Type → search parameters listed.
    pub types: BTreeMap<String, BTreeSet<String>>,
}

impl Capability {
    /// Reads a CapabilityStatement.
    ///
    /// # Errors
    /// [`EhrError::Answer`] when it is not JSON.
    pub fn parse(body: &[u8]) -> Result<Self, EhrError> {
        let document = Document::parse(body).map_err(|_| {
            EhrError::Answer("CapabilityStatement: not readable as JSON".to_owned())
        })?;
        let root = document.root();
        let text = |value: ValueRef<'_>, name: &str| Some(value.get(name)?.as_str()?.into_owned());
        let list = |value: ValueRef<'_>, name: &str| -> Vec<String> {
            let items = value.get(name).into_iter().flat_map(ValueRef::items);
            items
                .filter_map(|item| text(item, "name").or_else(|| text(item, "type")))
                .collect()
        };
        let resources = root
            .get("rest")
            .into_iter()
            .flat_map(ValueRef::items)
            .filter_map(|rest| rest.get("resource"))
            .flat_map(ValueRef::items);
        let types = resources.filter_map(|resource| {
            let parameters = list(resource, "searchParam").into_iter().collect();
            Some((text(resource, "type")?, parameters))
        });
        Ok(Self {
            software: root
                .get("software")
                .and_then(|software| text(software, "name")),
            publisher: text(root, "publisher"),
            types: types.collect(),
        })
    }
}

/// Makes the plan for the patients.
pub fn make(
    tenant: &Tenant,
    patients: &[String],
    granted: &Granted,
    capability: Option<&Capability>,
) -> Plan {
    let mut plan = Plan::default();
    if let Some(capability) = capability {
        plan.warnings.extend(wrong_profile(tenant, capability));
    }
    let mut types: Vec<&String> = tenant.types.iter().collect();
    types.sort_by_key(|name| *name != "Patient");
    for name in types {
        let Some(search) = tenant.profile.search_of(name) else {
            continue;
        };
        let mut search = search.clone();
        if let Some(capability) = capability.filter(|c| !c.types.is_empty()) {
            let Some(parameters) = capability.types.get(name) else {
                plan.skip(name, "the server does not list the type");
                continue;
            };
            let missing = search.changes.take_if(|changes| {
                !parameters.is_empty() && !parameters.contains(&changes.parameter)
            });
            if let Some(changes) = missing {
                plan.warnings.push(format!(
                    "{name}: the server does not list `{}`, so every run fetches everything",
                    changes.parameter
                ));
            }
        }
        tasks_of(&mut plan, tenant, patients, granted, &Arc::new(search));
    }
    plan
}

fn tasks_of(
    plan: &mut Plan,
    tenant: &Tenant,
    patients: &[String],
    granted: &Granted,
    search: &Arc<Search>,
) {
    let name = &search.resource_type;
    let categories: Vec<Option<String>> = match search.by {
        By::Category => search.categories.iter().cloned().map(Some).collect(),
        By::Read | By::Patient => vec![None],
    };
    for category in categories {
        let label = category
            .as_ref()
            .map_or_else(|| name.clone(), |category| format!("{name} {category}"));
        let allowed = match search.by {
            By::Read => granted.may_read(name),
            _ => granted.may_search(name, category.as_deref()),
        };
        if !allowed {
            plan.skip(&label, "no granted scope covers it");
            continue;
        }
        for patient in patients {
            plan.tasks.push(Task {
                walk: WalkKey {
                    tenant: tenant.name.clone(),
                    persona: tenant.persona,
                    subject: patient.clone(),
                    resource_type: name.clone(),
                    category: category.clone(),
                },
                search: search.clone(),
            });
        }
    }
}

impl Plan {
    fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push((what.to_owned(), why.to_owned()));
    }
}

/// A warning when the server looks like another vendor than the tenant says.
pub(crate) fn wrong_profile(tenant: &Tenant, capability: &Capability) -> Option<String> {
    let detected = match (&capability.software, &capability.publisher) {
        (Some(software), _) if software == "Epic" => "epic",
        (_, Some(publisher)) if publisher == "Cerner" || publisher == "Oracle Health" => "oracle",
        _ => return None,
    };
    (detected != tenant.profile.name).then(|| {
        format!(
            "the server looks like `{detected}`, the tenant says `vendor = \"{}\"`",
            tenant.profile.name
        )
    })
}

/// The first address of a walk. `from` starts the window; `to` ends it where the vendor wants an end.
///
/// # Errors
/// [`EhrError::Config`] when the base cannot carry it.
pub fn first_url(
    tenant: &Tenant,
    task: &Task,
    from: Option<Instant>,
    to: Instant,
) -> Result<Url, EhrError> {
    let walk = &task.walk;
    if task.search.by == By::Read {
        let mut url = under(&tenant.fhir_base, &walk.resource_type)?;
        // `push` escapes the id: it is opaque text of the source.
        url.path_segments_mut()
            .map_err(|()| EhrError::Config("`fhir_base` cannot be joined with a path".to_owned()))?
            .push(&walk.subject);
        return Ok(url);
    }
    let mut url = under(&tenant.fhir_base, &walk.resource_type)?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("patient", &walk.subject);
        if let Some(category) = &walk.category {
            query.append_pair("category", category);
        }
        if let (Some(changes), Some(from)) = (&task.search.changes, from) {
            query.append_pair(&changes.parameter, &format!("ge{}", time::to_seconds(from)));
            if changes.range == Range::Closed {
                query.append_pair(&changes.parameter, &format!("lt{}", time::to_seconds(to)));
            }
        }
        query.append_pair("_count", &tenant.profile.page_size.to_string());
    }
    Ok(url)
}
