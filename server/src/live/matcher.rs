//! Whether a change is what a subscription watches: criteria compiled once, asked of the changed version in memory.
//!
//! Spec: <https://hl7.org/fhir/R4/subscription.html>. What a version alone cannot answer (chains, `_has`, words, other
//! units of the same dimension) is asked of the database, narrowed to the one resource; that sees its current version.

use std::sync::Arc;

use conformance::ResourceTypeId;
use fhir_core::ids::VersionId;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::Document;
use fhir_core::search::matches::{Alone, Candidate, matches};
use fhir_core::search::predicate::{Predicate, UnitTest, ValueTest};
use fhir_store::{LiveOp, Only, SearchQuery, Stored, TotalMode};

use super::model::{Criteria, Spec, Watch};
use super::topic::{Topic, Trigger};
use crate::app::{Server, store_problem};
use crate::search;

/// Compiled criteria of one type.
#[derive(Debug, Clone)]
pub struct Test {
    /// The type.
    pub resource_type: ResourceTypeId,
    predicate: Predicate,
    needs_store: bool,
}

impl Test {
    /// Compiles criteria.
    ///
    /// # Errors
    /// What a search would refuse
    pub fn compile(server: &Server, criteria: &Criteria) -> Result<Self, Problem> {
        let predicate = search::condition_of(server, criteria.resource_type, &criteria.parameters)?;
        Ok(Self {
            resource_type: criteria.resource_type,
            needs_store: needs_store(&predicate),
            predicate,
        })
    }

    /// Whether a version passes; a deletion never does.
    ///
    /// # Errors
    /// As of a search
    pub async fn passes(&self, server: &Server, stored: &Stored) -> Result<bool, Problem> {
        if stored.deleted || stored.key.resource_type != self.resource_type {
            return Ok(false);
        }
        if self.needs_store {
            return self.ask(server, stored).await;
        }
        if self.predicate == Predicate::Everything {
            return Ok(true);
        }
        let document = Document::parse(&stored.json)
            .map_err(|_| Problem::new(ErrorKind::INTERNAL, "a stored resource cannot be read"))?;
        let entries = server.extract(self.resource_type, document.root());
        let candidate = Candidate {
            key: &stored.key,
            updated: stored.updated,
            entries: &entries,
        };
        Ok(matches(&self.predicate, &candidate, &Alone))
    }

    async fn ask(&self, server: &Server, stored: &Stored) -> Result<bool, Problem> {
        let id = Predicate::Id(vec![stored.key.id.clone()]);
        let query = SearchQuery {
            resource_type: self.resource_type,
            predicate: Predicate::And(vec![id, self.predicate.clone()]),
            sort: Vec::new(),
            limit: 1,
            after: None,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = server.store.search(query).await;
        Ok(!page.map_err(|e| store_problem(&e))?.matches.is_empty())
    }
}

/// Whether a version's own index entries are not enough.
fn needs_store(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().any(needs_store),
        Predicate::Not(inner) => needs_store(inner),
        Predicate::Words { .. } | Predicate::Chain { .. } | Predicate::Has { .. } => true,
        Predicate::Value { test, .. } => is_converted(test),
        Predicate::Composite { tests, .. } => tests.iter().any(is_converted),
        _ => false,
    }
}

fn is_converted(test: &ValueTest) -> bool {
    matches!(test, ValueTest::Quantity(quantity) if matches!(quantity.unit, UnitTest::SystemCode(..)))
}

/// A change with what was before it, looked up when needed.
pub struct Seen<'a> {
    server: &'a Server,
    /// The new version.
    pub change: &'a Stored,
    previous: Option<Option<Stored>>,
}

impl<'a> Seen<'a> {
    /// A change.
    pub fn new(server: &'a Server, change: &'a Stored) -> Self {
        Self {
            server,
            change,
            previous: None,
        }
    }

    /// The version before, unless there was none or it was deleted.
    ///
    /// # Errors
    /// As of a read
    pub async fn previous(&mut self) -> Result<Option<Stored>, Problem> {
        if let Some(known) = &self.previous {
            return Ok(known.clone());
        }
        let before = self.change.version.0 - 1;
        let found = if before < 1 {
            None
        } else {
            let read = self
                .server
                .store
                .vread(&self.change.key, VersionId(before))
                .await;
            read.map_err(|e| store_problem(&e))?
                .filter(|stored| !stored.deleted)
        };
        self.previous = Some(found.clone());
        Ok(found)
    }

    /// What happened.
    ///
    /// # Errors
    /// As of a read
    pub async fn op(&mut self) -> Result<LiveOp, Problem> {
        Ok(if self.change.deleted {
            LiveOp::Deleted
        } else if self.previous().await?.is_none() {
            LiveOp::Created
        } else {
            LiveOp::Updated
        })
    }
}

/// What a subscription watches, compiled.
#[derive(Debug, Clone)]
pub struct Matcher {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Search(Test),
    Topic {
        triggers: Vec<(Trigger, Option<Test>, Option<Test>)>,
        filters: Vec<Test>,
    },
}

impl Matcher {
    /// Compiles what a subscription watches; `topic` finds a topic by its url.
    ///
    /// # Errors
    /// `invalid-resource`: criteria that no search takes, an unknown topic, a filter the topic does not have
    pub fn compile(
        server: &Server,
        spec: &Spec,
        topic: impl Fn(&str) -> Option<Result<Arc<Topic>, String>>,
    ) -> Result<Self, Problem> {
        let refuse = |text: String| {
            Problem::new(ErrorKind::INVALID_RESOURCE, text).at("Subscription.criteria")
        };
        let kind = match &spec.watch {
            Watch::Search(criteria) => Kind::Search(Test::compile(server, criteria)?),
            Watch::Topic { url, filters } => {
                let topic = topic(url)
                    .ok_or_else(|| refuse("there is no topic with this url".to_owned()))?
                    .map_err(|why| refuse(format!("the topic cannot be served: {why}")))?;
                for filter in filters {
                    if let Some(name) = not_offered(&topic, filter) {
                        let why = format!("the topic cannot be filtered by `{name}`");
                        return Err(refuse(why));
                    }
                }
                let compile = |criteria: &Option<Criteria>| {
                    criteria
                        .as_ref()
                        .map(|criteria| Test::compile(server, criteria))
                        .transpose()
                };
                let triggers = topic.triggers.iter().map(|trigger| {
                    let tests = (compile(&trigger.previous)?, compile(&trigger.current)?);
                    Ok((trigger.clone(), tests.0, tests.1))
                });
                Kind::Topic {
                    triggers: triggers.collect::<Result<_, Problem>>()?,
                    filters: filters
                        .iter()
                        .map(|filter| Test::compile(server, filter))
                        .collect::<Result<_, _>>()?,
                }
            }
        };
        Ok(Self { kind })
    }

    /// The types whose changes can make events.
    pub fn types(&self) -> Vec<ResourceTypeId> {
        match &self.kind {
            Kind::Search(test) => vec![test.resource_type],
            Kind::Topic { triggers, .. } => triggers
                .iter()
                .map(|(trigger, ..)| trigger.resource_type)
                .collect(),
        }
    }

    /// Whether a change makes an event.
    ///
    /// # Errors
    /// As of a search and a read
    pub async fn is_event(&self, seen: &mut Seen<'_>) -> Result<bool, Problem> {
        let (triggers, filters) = match &self.kind {
            Kind::Search(test) => return test.passes(seen.server, seen.change).await,
            Kind::Topic { triggers, filters } => (triggers, filters),
        };
        let mut is_triggered = false;
        for (trigger, previous, current) in triggers {
            if trigger.resource_type == seen.change.key.resource_type
                && fires(trigger, previous.as_ref(), current.as_ref(), seen).await?
            {
                is_triggered = true;
                break;
            }
        }
        if !is_triggered {
            return Ok(false);
        }
        let focus = match seen.change.deleted {
            true => seen.previous().await?,
            false => Some(seen.change.clone()),
        };
        let Some(focus) = focus else { return Ok(false) };
        for filter in filters {
            if filter.resource_type == focus.key.resource_type
                && !filter.passes(seen.server, &focus).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The first parameter of a filter that the topic does not offer.
fn not_offered(topic: &Topic, filter: &Criteria) -> Option<String> {
    if topic.filters.is_empty() {
        return None;
    }
    let is_offered = |name: &str| {
        let name = name.split([':', '.']).next().unwrap_or_default();
        topic
            .filters
            .iter()
            .any(|(t, offered)| offered == name && t.is_none_or(|t| t == filter.resource_type))
    };
    filter
        .parameters
        .iter()
        .map(|(name, _)| name.clone())
        .find(|name| !is_offered(name))
}

async fn fires(
    trigger: &Trigger,
    previous: Option<&Test>,
    current: Option<&Test>,
    seen: &mut Seen<'_>,
) -> Result<bool, Problem> {
    let op = seen.op().await?;
    let [on_create, on_update, on_delete] = trigger.on;
    let is_wanted = match op {
        LiveOp::Created => on_create,
        LiveOp::Updated => on_update,
        LiveOp::Deleted => on_delete,
    };
    if !is_wanted {
        return Ok(false);
    }
    let before = match previous {
        None => None,
        Some(test) => Some(match seen.previous().await? {
            None => trigger.create_passes,
            Some(stored) => test.passes(seen.server, &stored).await?,
        }),
    };
    let after = match current {
        None => None,
        Some(_) if op == LiveOp::Deleted => Some(trigger.delete_passes),
        Some(test) => Some(test.passes(seen.server, seen.change).await?),
    };
    Ok(match (before, after) {
        (None, None) => true,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(before), Some(after)) if trigger.require_both => before && after,
        (Some(before), Some(after)) => before || after,
    })
}
