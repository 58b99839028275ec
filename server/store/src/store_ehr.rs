//! The store's doors to what it keeps of EHR tenants.

use bytes::Bytes;
use fhir_core::ids::Instant;

use crate::ehr::{
    self, EhrCounts, EhrKey, EhrMember, EhrRecord, EhrReview, EhrRun, EhrTenant, EhrWalk,
};
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Where a walk stands; `None` when it never ran.
    pub async fn ehr_walk(&self, key: EhrKey) -> Result<Option<EhrWalk>, StoreError> {
        self.inline(move |reader| ehr::walk(reader.db, key)).await
    }

    /// All walks of a tenant, or those of one subject.
    pub async fn ehr_walks(
        &self,
        tenant: &str,
        subject: Option<&str>,
    ) -> Result<Vec<EhrWalk>, StoreError> {
        let (tenant, subject) = (tenant.to_owned(), subject.map(str::to_owned));
        self.on_reader(move |reader| ehr::walks(reader.db, &tenant, subject.as_deref()))
            .await
    }

    /// Rows of the crosswalk that exist, and the rows that replace them.
    pub async fn ehr_known(&self, keys: Vec<EhrKey>) -> Result<Vec<EhrRecord>, StoreError> {
        self.on_reader(move |reader| ehr::known(reader.db, &keys))
            .await
    }

    /// The members of a walk.
    pub async fn ehr_members(&self, walk: EhrKey) -> Result<Vec<EhrMember>, StoreError> {
        self.on_reader(move |reader| ehr::members(reader.db, walk))
            .await
    }

    /// Which of these Patients are copies of the tenant's.
    pub async fn ehr_patients_of(
        &self,
        tenant: &str,
        locals: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let tenant = tenant.to_owned();
        self.on_reader(move |reader| ehr::patients_of(reader.db, &tenant, &locals))
            .await
    }

    /// The source's id of our Patient at a tenant.
    pub async fn ehr_source_of(
        &self,
        tenant: &str,
        persona: &str,
        local: &str,
    ) -> Result<Option<String>, StoreError> {
        let (tenant, persona, local) = (tenant.to_owned(), persona.to_owned(), local.to_owned());
        self.on_reader(move |reader| ehr::source_of(reader.db, &tenant, &persona, &local))
            .await
    }

    /// Live copies that other rules than `rules` made, with the bytes they were made from; those after `after`.
    pub async fn ehr_outdated(
        &self,
        tenant: &str,
        persona: &str,
        rules: &str,
        after: Option<EhrKey>,
        limit: usize,
    ) -> Result<Vec<(EhrRecord, Option<Bytes>)>, StoreError> {
        let (tenant, persona, rules) = (tenant.to_owned(), persona.to_owned(), rules.to_owned());
        self.on_reader(move |reader| {
            ehr::outdated(reader.db, &tenant, &persona, &rules, after, limit)
        })
        .await
    }

    /// A record exactly as its source sent it, while its page is kept.
    pub async fn ehr_raw(&self, record: EhrKey) -> Result<Option<Bytes>, StoreError> {
        self.on_reader(move |reader| ehr::raw_of(reader.db, record))
            .await
    }

    /// Pages of a tenant and their accounting, over all runs.
    pub async fn ehr_totals(&self, tenant: &str) -> Result<(u64, EhrCounts), StoreError> {
        let tenant = tenant.to_owned();
        self.on_reader(move |reader| ehr::page_totals(reader.db, &tenant))
            .await
    }

    /// Open questions of a tenant, newest first.
    pub async fn ehr_reviews(&self, tenant: &str) -> Result<Vec<EhrReview>, StoreError> {
        let tenant = tenant.to_owned();
        self.on_reader(move |reader| ehr::reviews(reader.db, &tenant))
            .await
    }

    /// Takes a question off the list; answers whether it was there.
    pub async fn ehr_close_review(&self, key: EhrKey) -> Result<bool, StoreError> {
        self.on_writer(move |group| {
            group.within(|transaction| ehr::delete_review(transaction.db, key))
        })
        .await
    }

    /// Tenants registered while running.
    pub async fn ehr_tenants(&self) -> Result<Vec<EhrTenant>, StoreError> {
        self.on_reader(|reader| ehr::tenants(reader.db)).await
    }

    /// Registers a tenant, or replaces its file.
    pub async fn ehr_put_tenant(&self, name: &str, toml: &str) -> Result<(), StoreError> {
        let (name, toml) = (name.to_owned(), toml.to_owned());
        self.on_writer(move |group| {
            group.within(|transaction| {
                ehr::put_tenant(transaction.db, &name, &toml, Instant(transaction.now))
            })
        })
        .await
    }

    /// Forgets a registered tenant; what it brought stays. Answers whether it was there.
    pub async fn ehr_delete_tenant(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.on_writer(move |group| {
            group.within(|transaction| ehr::delete_tenant(transaction.db, &name))
        })
        .await
    }

    /// Records a run that ended.
    pub async fn ehr_add_run(&self, run: EhrRun) -> Result<(), StoreError> {
        self.on_writer(move |group| group.within(|transaction| ehr::add_run(transaction.db, &run)))
            .await
    }

    /// The last runs of a tenant, newest first.
    pub async fn ehr_runs(&self, tenant: &str, limit: usize) -> Result<Vec<EhrRun>, StoreError> {
        let tenant = tenant.to_owned();
        self.on_reader(move |reader| ehr::runs(reader.db, &tenant, limit))
            .await
    }

    /// What is kept for a tenant under names with this beginning: name, when, bytes.
    pub async fn ehr_notes(
        &self,
        tenant: &str,
        beginning: &str,
    ) -> Result<Vec<(String, Instant, Bytes)>, StoreError> {
        let (tenant, beginning) = (tenant.to_owned(), beginning.to_owned());
        self.on_reader(move |reader| ehr::notes(reader.db, &tenant, &beginning))
            .await
    }

    /// What is kept for a tenant under exactly this name.
    pub async fn ehr_note(&self, tenant: &str, name: &str) -> Result<Option<Bytes>, StoreError> {
        let (tenant, name) = (tenant.to_owned(), name.to_owned());
        self.on_reader(move |reader| ehr::note(reader.db, &tenant, &name))
            .await
    }

    /// Keeps something for a tenant under a name; empty bytes take it away.
    pub async fn ehr_put_note(
        &self,
        tenant: &str,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let (tenant, name) = (tenant.to_owned(), name.to_owned());
        self.on_writer(move |group| {
            group.within(|transaction| {
                ehr::put_note(
                    transaction.db,
                    &tenant,
                    &name,
                    &bytes,
                    Instant(transaction.now),
                )
            })
        })
        .await
    }
}
