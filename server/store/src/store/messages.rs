//! The store's questions about messages: what is known of identities, what waits, what was lost; and a person's decisions.

use conformance::{Definitions, ParamType};
use fhir_core::ids::{Instant, ResourceKey};

use super::Store;
use crate::audit::AuditRecord;
use crate::error::StoreError;
use crate::feed_log;
use crate::feed_state::{
    Alias, Incident, IncidentStep, KnownIdentities, KnownRevision, LossRow, Review, ReviewState,
    UnmappedRow,
};
use crate::message::MessageState;
use crate::sql::{Bind, Sql};
use crate::write::{Group, feed_state, state_number};

impl Store {
    /// What is known about these identities, and whose messages of the feed wait.
    pub async fn known_identities(
        &self,
        feed: &str,
        keys: Vec<ResourceKey>,
    ) -> Result<KnownIdentities, StoreError> {
        let feed = feed.to_owned();
        self.inline(move |reader| feed_log::known_identities(reader, &feed, &keys))
            .await
    }

    /// The source's own times of these resources, as the feed gave them last. To be asked after reading the resources.
    pub async fn known_revisions(
        &self,
        feed: &str,
        keys: Vec<ResourceKey>,
    ) -> Result<Vec<KnownRevision>, StoreError> {
        let feed = feed.to_owned();
        self.inline(move |reader| feed_log::known_revisions(reader, &feed, &keys))
            .await
    }

    /// All identities that lead to this record.
    pub async fn aliases_into(&self, into: &ResourceKey) -> Result<Vec<Alias>, StoreError> {
        let into = into.clone();
        self.inline(move |reader| feed_log::aliases_into(reader, &into))
            .await
    }

    /// Merged identities that resources may still refer to, oldest first.
    pub async fn pending_aliases(&self) -> Result<Vec<Alias>, StoreError> {
        self.on_reader(feed_log::pending_aliases).await
    }

    /// Notes that no resource refers to this merged identity any more.
    pub async fn alias_done(&self, from: &ResourceKey) -> Result<(), StoreError> {
        let from = from.clone();
        self.on_writer(move |group| {
            let h = group.shared.hasher.resource(&from);
            let mut sql = Sql::new("UPDATE alias SET pending = 0 WHERE h = ");
            sql.int(h);
            group.within(|transaction| transaction.db.run(sql).map(|_| ()))
        })
        .await
    }

    /// Live resources with an indexed reference to this one, at most `limit`, without those of some types.
    pub async fn referrers(
        &self,
        target: &ResourceKey,
        except: &[&str],
        limit: usize,
    ) -> Result<Vec<ResourceKey>, StoreError> {
        let target = target.clone();
        let params: Vec<i64> = Definitions::r4()
            .concrete_types()
            .flat_map(|t| Definitions::r4().search_params(t))
            .filter(|param| param.kind == ParamType::Reference)
            .map(|param| i64::from(param.id.0))
            .collect();
        let except: Vec<i64> = except
            .iter()
            .filter_map(|name| Definitions::r4().resource_type(name))
            .map(|t| i64::from(t.0) + 1)
            .collect();
        self.on_reader(move |reader| feed_log::referrers(reader, &target, &params, &except, limit))
            .await
    }

    /// Reviews in a state, newest first.
    pub async fn reviews(
        &self,
        state: Option<ReviewState>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Review>, StoreError> {
        self.on_reader(move |reader| feed_log::reviews(reader.db, state, before, limit))
            .await
    }

    /// One review.
    pub async fn review(&self, id: i64) -> Result<Option<Review>, StoreError> {
        self.on_reader(move |reader| feed_log::review(reader.db, id))
            .await
    }

    /// Closes an open review; answers whether it was open.
    pub async fn close_review(
        &self,
        id: i64,
        state: ReviewState,
        resolution: String,
        audit: AuditRecord,
    ) -> Result<bool, StoreError> {
        self.person(audit, move |group, at, agent| {
            let mut sql = Sql::new("UPDATE review SET state = ");
            sql.int(feed_log::review_number(state))
                .push(", closed_at = ")
                .int(at.0)
                .push(", closed_by = ")
                .text(agent)
                .push(", resolution = ")
                .text(resolution)
                .push(" WHERE state = 1 AND id = ")
                .int(id);
            Ok(group.db.run(sql)? > 0)
        })
        .await
    }

    /// Sets a message aside, or back; whoever waited for it goes on. Answers whether there is one.
    pub async fn set_message_state(
        &self,
        id: i64,
        state: MessageState,
        reason: Option<String>,
        audit: AuditRecord,
    ) -> Result<bool, StoreError> {
        self.person(audit, move |group, at, _| {
            let mut sql = Sql::new("UPDATE message SET state = ");
            sql.int(state_number(state))
                .push(", changed_at = ")
                .int(at.0)
                .push(", reason = ")
                .bind(Bind::OptText(reason))
                .push(" WHERE id = ")
                .int(id);
            let found = group.db.run(sql)? > 0;
            feed_state::lift(group.db, id)?;
            Ok(found)
        })
        .await
    }

    /// Lets a halted feed go on; answers the messages that waited for the one that halted it.
    pub async fn lift_hold(&self, message: i64) -> Result<(), StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| feed_state::lift(transaction.db, message))
        })
        .await
    }

    /// Everything that waits in a feed: subject and the message waited for.
    pub async fn holds(&self, feed: &str) -> Result<Vec<(String, i64)>, StoreError> {
        let feed = feed.to_owned();
        self.inline(move |reader| feed_log::holds(reader.db, &feed))
            .await
    }

    /// Of each feed with messages that wait: when the oldest came, and how many.
    pub async fn waiting(&self) -> Result<Vec<(String, Instant, u64)>, StoreError> {
        self.on_reader(|reader| feed_log::waiting(reader.db)).await
    }

    /// The loss ledger, most frequent first.
    pub async fn losses(
        &self,
        feed: Option<String>,
        limit: usize,
    ) -> Result<Vec<LossRow>, StoreError> {
        self.on_reader(move |reader| feed_log::losses(reader.db, feed, limit))
            .await
    }

    /// The unmapped codes, most frequent first.
    pub async fn unmapped(
        &self,
        feed: Option<String>,
        limit: usize,
    ) -> Result<Vec<UnmappedRow>, StoreError> {
        self.on_reader(move |reader| feed_log::unmapped(reader.db, feed, limit))
            .await
    }

    /// Incidents, newest first, with their steps.
    pub async fn incidents(&self, limit: usize) -> Result<Vec<Incident>, StoreError> {
        self.on_reader(move |reader| feed_log::incidents(reader.db, None, limit))
            .await
    }

    /// One incident.
    pub async fn incident(&self, id: i64) -> Result<Option<Incident>, StoreError> {
        let found = self
            .on_reader(move |reader| feed_log::incidents(reader.db, Some(id), 1))
            .await?;
        Ok(found.into_iter().next())
    }

    /// Opens an incident; answers its number.
    pub async fn open_incident(
        &self,
        title: String,
        messages: Vec<i64>,
        step: (String, String),
        audit: AuditRecord,
    ) -> Result<i64, StoreError> {
        self.person(audit, move |group, at, agent| {
            let id = group
                .db
                .number(Sql::new("SELECT coalesce(max(id), 0) + 1 FROM incident"))?;
            let numbers: Vec<String> = messages.iter().map(ToString::to_string).collect();
            let mut sql = Sql::new(
                "INSERT INTO incident (id, title, state, opened_at, changed_at, messages) VALUES (",
            );
            sql.int(id)
                .push(", ")
                .text(title)
                .push(", ")
                .text(step.0.clone())
                .push(", ")
                .int(at.0)
                .push(", ")
                .int(at.0)
                .push(", ")
                .text(numbers.join(" "))
                .push(")");
            group.db.run(sql)?;
            let step = IncidentStep {
                at,
                agent,
                state: step.0,
                text: step.1,
            };
            feed_log::add_step(group.db, id, &step)?;
            Ok(id)
        })
        .await
    }

    /// Takes an incident from one state to the next; answers whether it stood there.
    pub async fn step_incident(
        &self,
        id: i64,
        from: String,
        step: (String, String),
        audit: AuditRecord,
    ) -> Result<bool, StoreError> {
        self.person(audit, move |group, at, agent| {
            let mut sql = Sql::new("UPDATE incident SET state = ");
            sql.text(step.0.clone())
                .push(", changed_at = ")
                .int(at.0)
                .push(" WHERE id = ")
                .int(id)
                .push(" AND state = ")
                .text(from);
            if group.db.run(sql)? == 0 {
                return Ok(false);
            }
            let step = IncidentStep {
                at,
                agent,
                state: step.0,
                text: step.1,
            };
            feed_log::add_step(group.db, id, &step)?;
            Ok(true)
        })
        .await
    }

    /// Carries out a person's decision together with its record in the audit trail.
    async fn person<T: Send + 'static>(
        &self,
        audit: AuditRecord,
        work: impl FnOnce(&mut Decision<'_>, Instant, String) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_writer(move |group: &mut Group<'_>| {
            group.within(|transaction| {
                let at = Instant(transaction.now);
                let agent = audit.agent.clone();
                let value = work(
                    &mut Decision {
                        db: &mut *transaction.db,
                    },
                    at,
                    agent,
                )?;
                transaction.write_audit(&audit, None, at)?;
                Ok(value)
            })
        })
        .await
    }
}

/// A transaction in which a person's decision is written.
struct Decision<'a> {
    db: &'a mut crate::db::Db,
}
