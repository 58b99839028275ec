//! Transactions and batches: from a Bundle to a plan of what to do, in which order, with which ids.
//!
//! Spec: <https://hl7.org/fhir/R4/http.html#transaction>, <https://hl7.org/fhir/R4/bundle.html#references>. Pure: what needs a database
//! (conditions, conditional references) is listed for the caller, who tells the answers back. Left out: operations by POST
//! inside a Bundle.

mod action;
mod entry;
mod links;
mod narrative;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use conformance::ResourceTypeId;

use crate::datatype::reference::Reference;
use crate::ids::{ResourceId, ResourceKey};
use crate::issue::{ErrorKind, Problem};
use crate::json::{Kind, ValueRef, write_string};
use crate::search::query_string;
pub use action::Action;
use action::Condition;
use links::{Link, Role};

/// Entries of one Bundle at most: a patient's whole record has a few thousand.
pub const BUNDLE_ENTRIES_MAX: usize = 20_000;

/// What planning needs to know.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// This server's own base urls.
    pub base_urls: &'a [&'a str],
    /// Most entries taken; see [`BUNDLE_ENTRIES_MAX`].
    pub entries_max: usize,
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleKind {
    /// All or nothing; entries may refer to each other.
    Transaction,
    /// Each entry for itself.
    Batch,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Transaction or batch.
    pub kind: BundleKind,
    /// The entries in the order of the Bundle, which is the order of the response.
    pub entries: Vec<Entry<'a>>,
    /// Indexes into `entries` in the order of processing: DELETE, POST, PUT and PATCH, GET and HEAD.
    pub order: Vec<usize>,
    base_urls: Vec<String>,
    /// The resource that each `fullUrl` stands for.
    identities: HashMap<String, usize>,
    conditional: HashMap<String, ResourceKey>,
}

/// One entry.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its place in the Bundle, from 0.
    pub index: usize,
    /// `fullUrl`
    pub full_url: Option<String>,
    /// The resource, as it came.
    pub resource: Option<ValueRef<'a>>,
    /// What to do.
    pub action: Action,
    links: Vec<Link<'a>>,
}

/// A reference such as `Patient?identifier=s|1` that must find exactly one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionalReference {
    /// As it stands in the data; the name for [`Plan::resolve_reference`].
    pub text: String,
    /// The type searched.
    pub resource_type: ResourceTypeId,
    /// The condition, decoded.
    pub params: Vec<(String, String)>,
    /// The first entry that holds it, for error texts.
    pub index: usize,
}

/// Reads a Bundle of type `transaction` or `batch`. `ids` gives ids for new resources.
///
/// # Errors
/// `bad-entry` naming the entry, `duplicate-entry`, `too-large`
pub fn plan<'a>(
    bundle: ValueRef<'a>,
    context: &PlanContext<'_>,
    ids: &mut dyn FnMut() -> ResourceId,
) -> Result<Plan<'a>, Problem> {
    let kind = kind(bundle)?;
    let entries = bundle
        .get("entry")
        .filter(|entry| entry.kind() != Kind::Null);
    if entries.is_some_and(|entries| !entries.is_array()) {
        return Err(
            Problem::new(ErrorKind::BAD_ENTRY, "`Bundle.entry` is an array").at("Bundle.entry"),
        );
    }
    let items = entries.into_iter().flat_map(ValueRef::items);
    let count = items.clone().count();
    if count > context.entries_max {
        let text = format!(
            "the Bundle has {count} entries; at most {} are taken at once",
            context.entries_max
        );
        return Err(Problem::new(ErrorKind::TOO_LARGE, text).at("Bundle.entry"));
    }
    let mut plan = Plan {
        kind,
        entries: Vec::with_capacity(count),
        order: Vec::new(),
        base_urls: context
            .base_urls
            .iter()
            .map(|base| base.trim_end_matches('/').to_owned())
            .collect(),
        identities: HashMap::new(),
        conditional: HashMap::new(),
    };
    for (index, item) in items.enumerate() {
        let mut entry = entry::read(index, item, context, ids);
        if let (Action::Refused(problem), BundleKind::Transaction) = (&entry.action, kind) {
            return Err(problem.clone());
        }
        if let (Some(resource), BundleKind::Transaction) = (entry.resource, kind) {
            entry.links = links::of(resource);
        }
        plan.entries.push(entry);
    }
    plan.order = (0..count).collect();
    plan.order.sort_by_key(|index| {
        plan.entries
            .get(*index)
            .map_or(u8::MAX, |entry| entry.action.rank())
    });
    if kind == BundleKind::Transaction {
        plan.name_entries()?;
        plan.refuse_duplicates()?;
    }
    Ok(plan)
}

fn kind(bundle: ValueRef<'_>) -> Result<BundleKind, Problem> {
    let text = |name: &str| bundle.get(name).and_then(ValueRef::as_str);
    match (text("resourceType").as_deref(), text("type").as_deref()) {
        (Some("Bundle"), Some("transaction")) => Ok(BundleKind::Transaction),
        (Some("Bundle"), Some("batch")) => Ok(BundleKind::Batch),
        _ => {
            let text = "a Bundle of type `transaction` or `batch` is expected here";
            Err(Problem::new(ErrorKind::BAD_ENTRY, text).at("Bundle.type"))
        }
    }
}

impl<'a> Plan<'a> {
    fn name_entries(&mut self) -> Result<(), Problem> {
        let writes = self
            .entries
            .iter()
            .filter(|entry| entry.resource.is_some() && entry.action.key().is_some());
        for entry in writes {
            let Some(full_url) = &entry.full_url else {
                continue;
            };
            if let Some(first) = self.identities.insert(full_url.clone(), entry.index) {
                let text = format!(
                    "entries {first} and {} have the same `fullUrl`; give each its own",
                    entry.index
                );
                return Err(duplicate(entry.index, "fullUrl", text));
            }
        }
        Ok(())
    }

    /// "If any resource identities (including resolved identities from conditional update/delete) overlap … the
    /// transaction SHALL fail". Two entries with the same condition would make two resources of one.
    ///
    /// # Errors
    /// `duplicate-entry`
    pub fn refuse_duplicates(&self) -> Result<(), Problem> {
        let mut keys: HashMap<&ResourceKey, usize> = HashMap::new();
        let mut conditions: HashMap<Condition<'_>, usize> = HashMap::new();
        for entry in &self.entries {
            if let Some(first) = entry
                .action
                .key()
                .and_then(|key| keys.insert(key, entry.index))
            {
                let text = format!(
                    "entries {first} and {} write the same resource",
                    entry.index
                );
                return Err(duplicate(entry.index, "request.url", text));
            }
            if let Some(first) = entry
                .action
                .condition()
                .and_then(|condition| conditions.insert(condition, entry.index))
            {
                let text = format!(
                    "entries {first} and {} have the same condition; send the resource once",
                    entry.index
                );
                return Err(duplicate(entry.index, "request", text));
            }
        }
        Ok(())
    }

    /// The condition of a conditional create or update found this resource: it takes the place of the new one, in
    /// references, too. Call [`Self::refuse_duplicates`] when all are resolved.
    pub fn resolve_entry(&mut self, index: usize, found: ResourceKey) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.action.resolve(found);
        }
    }

    /// Every conditional reference once. Each must find exactly one resource: "if … no matches, or multiple matches, the
    /// transaction fails".
    ///
    /// # Errors
    /// `bad-entry` for one whose query cannot be read
    pub fn conditional_references(&self) -> Result<Vec<ConditionalReference>, Problem> {
        let mut found: BTreeMap<&str, ConditionalReference> = BTreeMap::new();
        for entry in &self.entries {
            for link in entry
                .links
                .iter()
                .filter(|link| link.role == Role::Reference)
            {
                let Some(Reference::Conditional {
                    resource_type,
                    query,
                }) = Reference::parse(&link.text, &[])
                else {
                    continue;
                };
                if found.contains_key(&*link.text) {
                    continue;
                }
                let params = query_string::decode(query).map_err(|problem| {
                    bad_entry(
                        entry.index,
                        "resource",
                        &format!("a conditional reference: {problem}"),
                    )
                })?;
                let text = link.text.clone().into_owned();
                found.insert(
                    &link.text,
                    ConditionalReference {
                        text,
                        resource_type,
                        params,
                        index: entry.index,
                    },
                );
            }
        }
        Ok(found.into_values().collect())
    }

    /// A conditional reference found this resource.
    pub fn resolve_reference(&mut self, text: &str, found: ResourceKey) {
        self.conditional.insert(text.to_owned(), found);
    }

    /// The resource of an entry as JSON, its references to other entries replaced by the ids they get; every other
    /// byte as it came. `None` for an entry without resource.
    pub fn content(&self, index: usize) -> Option<Vec<u8>> {
        let entry = self.entries.get(index)?;
        let resource = entry.resource?;
        let (raw, start) = (resource.raw(), resource.span().start);
        let mut out = Vec::with_capacity(raw.len() + 64);
        let mut copied = 0;
        for link in &entry.links {
            let Some(text) = self.rewritten(entry, link) else {
                continue;
            };
            out.extend_from_slice(raw.as_bytes().get(copied..link.span.start - start)?);
            write_string(&text, &mut out);
            copied = link.span.end - start;
        }
        out.extend_from_slice(raw.as_bytes().get(copied..)?);
        Some(out)
    }

    fn rewritten(&self, entry: &Entry<'a>, link: &Link<'a>) -> Option<String> {
        match link.role {
            Role::Reference => {
                let conditional = self.conditional.get(&*link.text).map(ToString::to_string);
                conditional.or_else(|| self.target(entry, &link.text))
            }
            Role::Uri => self.named(&link.text),
            Role::Narrative => narrative::rewrite(&link.text, &|url| self.target(entry, url)),
        }
    }

    /// What a reference inside `entry` leads to, if that is an entry of this Bundle.
    ///
    /// "If the reference is … relative … : if the fullUrl is … a RESTful URL, … append the reference to the root": a relative
    /// reference belongs to the server that the `fullUrl` of its own entry names.
    fn target(&self, entry: &Entry<'a>, text: &str) -> Option<String> {
        if let Some(found) = self.named(text) {
            return Some(found);
        }
        let Some(Reference::Local { key, version: None }) = Reference::parse(text, &[]) else {
            return None;
        };
        let full_url = entry.full_url.as_deref()?;
        let Some(Reference::Absolute {
            url,
            resource_type: Some(_),
            ..
        }) = Reference::parse(full_url, &[])
        else {
            return None;
        };
        let root = url.rsplitn(3, '/').nth(2)?;
        self.named(&format!("{root}/{key}"))
    }

    fn named(&self, full_url: &str) -> Option<String> {
        let index = self.identities.get(full_url)?;
        let key = self.entries.get(*index)?.action.key()?;
        let is_own = self.base_urls.iter().any(|base| {
            full_url
                .strip_prefix(base.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| rest == key.to_string())
        });
        // An own absolute url that already names the right resource stays as the client wrote it.
        if is_own { None } else { Some(key.to_string()) }
    }
}

fn duplicate(index: usize, element: &str, text: String) -> Problem {
    Problem::new(ErrorKind::DUPLICATE_ENTRY, text).at(format!("Bundle.entry[{index}].{element}"))
}

fn bad_entry(index: usize, element: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_ENTRY, format!("entry {index}: {text}"))
        .at(format!("Bundle.entry[{index}].{element}"))
}
