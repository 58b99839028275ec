-- EHR tenants. Keys `k` are 16 bytes of SHA-256 over all that names the thing.

-- Tenants registered while running; those of the settings' folder are not here.
CREATE TABLE ehr_tenant (name TEXT PRIMARY KEY, toml TEXT NOT NULL, at BIGINT NOT NULL);

-- Where each search stands.
CREATE TABLE ehr_walk (
    k BYTEA PRIMARY KEY,
    tenant TEXT NOT NULL,
    persona TEXT NOT NULL,
    subject TEXT NOT NULL,
    type TEXT NOT NULL,
    category TEXT,
    revision BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX ehr_walk_subject ON ehr_walk (tenant, subject);

-- The crosswalk: a record at its source and our copy of it. `page` and `start`..`end` find the source's bytes in `raw`.
CREATE TABLE ehr_record (
    k BYTEA PRIMARY KEY,
    tenant TEXT NOT NULL,
    persona TEXT NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    local TEXT NOT NULL,
    hash TEXT NOT NULL,
    updated BIGINT,
    version TEXT,
    rules TEXT NOT NULL,
    masked BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    replaced_by BYTEA,
    page BYTEA,
    start BIGINT NOT NULL,
    stop BIGINT NOT NULL
);
CREATE INDEX ehr_record_patient ON ehr_record (local) WHERE type = 'Patient';

-- Which search has seen which record, for finding what vanished.
CREATE TABLE ehr_member (record BYTEA NOT NULL, walk BYTEA NOT NULL, seen_in BIGINT NOT NULL, missed BIGINT NOT NULL, PRIMARY KEY (record, walk));
CREATE INDEX ehr_member_walk ON ehr_member (walk);

-- The accounting, page by page; `raw` is NULL when the page said nothing new.
CREATE TABLE ehr_page (
    walk BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    at BIGINT NOT NULL,
    raw BYTEA,
    received BIGINT NOT NULL,
    new BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    stale BIGINT NOT NULL,
    masked BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    vanished BIGINT NOT NULL,
    tombstoned BIGINT NOT NULL,
    withheld BIGINT NOT NULL,
    late_filed BIGINT NOT NULL,
    PRIMARY KEY (walk, revision)
);
CREATE INDEX ehr_page_tenant ON ehr_page (tenant);

-- What a person has to decide: an identifier that fits several patients, a resource that could not be used.
CREATE TABLE ehr_review (k BYTEA PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, resource TEXT NOT NULL, detail TEXT NOT NULL, at BIGINT NOT NULL);
CREATE INDEX ehr_review_tenant ON ehr_review (tenant, at);

CREATE TABLE ehr_run (id BIGINT PRIMARY KEY, tenant TEXT NOT NULL, started BIGINT NOT NULL, ended BIGINT NOT NULL, outcome TEXT NOT NULL, report TEXT NOT NULL);
CREATE INDEX ehr_run_tenant ON ehr_run (tenant, id);

-- Small things kept for a tenant by name: the site's conformance facts, the day's budget, encrypted sessions.
CREATE TABLE ehr_note (tenant TEXT NOT NULL, name TEXT NOT NULL, at BIGINT NOT NULL, bytes BYTEA NOT NULL, PRIMARY KEY (tenant, name));
