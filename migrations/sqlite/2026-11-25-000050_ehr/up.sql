-- EHR tenants. Keys `k` are 16 bytes of SHA-256 over all that names the thing.

-- Tenants registered while running; those of the settings' folder are not here.
CREATE TABLE ehr_tenant (name TEXT PRIMARY KEY, toml TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;

-- Where each search stands.
CREATE TABLE ehr_walk (
    k BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    persona TEXT NOT NULL,
    subject TEXT NOT NULL,
    type TEXT NOT NULL,
    category TEXT,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX ehr_walk_subject ON ehr_walk (tenant, subject);

-- The crosswalk: a record at its source and our copy of it. `page` and `start`..`end` find the source's bytes in `raw`.
CREATE TABLE ehr_record (
    k BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    persona TEXT NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    local TEXT NOT NULL,
    hash TEXT NOT NULL,
    updated INTEGER,
    version TEXT,
    rules TEXT NOT NULL,
    masked INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    replaced_by BLOB,
    page BLOB,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ehr_record_patient ON ehr_record (local) WHERE type = 'Patient';

-- Which search has seen which record, for finding what vanished.
CREATE TABLE ehr_member (record BLOB NOT NULL, walk BLOB NOT NULL, seen_in INTEGER NOT NULL, missed INTEGER NOT NULL, PRIMARY KEY (record, walk)) WITHOUT ROWID;
CREATE INDEX ehr_member_walk ON ehr_member (walk);

-- The accounting, page by page; `raw` is NULL when the page said nothing new.
CREATE TABLE ehr_page (
    walk BLOB NOT NULL,
    revision INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    raw BLOB,
    received INTEGER NOT NULL,
    new INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    masked INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    vanished INTEGER NOT NULL,
    tombstoned INTEGER NOT NULL,
    withheld INTEGER NOT NULL,
    late_filed INTEGER NOT NULL,
    PRIMARY KEY (walk, revision)
) WITHOUT ROWID;
CREATE INDEX ehr_page_tenant ON ehr_page (tenant);

-- What a person has to decide: an identifier that fits several patients, a resource that could not be used.
CREATE TABLE ehr_review (k BLOB PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, resource TEXT NOT NULL, detail TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX ehr_review_tenant ON ehr_review (tenant, at);

CREATE TABLE ehr_run (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL, outcome TEXT NOT NULL, report TEXT NOT NULL);
CREATE INDEX ehr_run_tenant ON ehr_run (tenant, id);

-- Small things kept for a tenant by name: the site's conformance facts, the day's budget, encrypted sessions.
CREATE TABLE ehr_note (tenant TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID;
