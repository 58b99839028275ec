-- What became of a message later: read again, copied with a correction.
ALTER TABLE message ADD COLUMN mapping TEXT;
ALTER TABLE message ADD COLUMN changed_at INTEGER;
ALTER TABLE message ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN edited_from INTEGER;
CREATE INDEX message_odd ON message (state, id) WHERE state > 1;
CREATE INDEX message_control ON message (control_id, id);
CREATE INDEX message_received ON message (received_at, id);

-- The source's own time of each resource, for each feed that sends it.
CREATE TABLE source_revision (h INTEGER NOT NULL, feed TEXT NOT NULL, revision TEXT NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (h, feed)) WITHOUT ROWID;

-- Identities that lead to another record: merged, renamed, or another identifier of the same record.
CREATE TABLE alias (
    h INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    into_h INTEGER NOT NULL,
    into_id TEXT NOT NULL,
    revision TEXT,
    message INTEGER NOT NULL,
    at INTEGER NOT NULL,
    pending INTEGER NOT NULL
);
CREATE INDEX alias_into ON alias (into_h);
CREATE INDEX alias_pending ON alias (pending) WHERE pending <> 0;

-- Whose a visit or an account is since it was moved.
CREATE TABLE owner (h INTEGER PRIMARY KEY, type INTEGER NOT NULL, id TEXT NOT NULL, owner_type INTEGER NOT NULL, owner_id TEXT NOT NULL, revision TEXT, message INTEGER NOT NULL);

-- What a person must decide.
CREATE TABLE review (
    id INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    message INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subjects TEXT NOT NULL,
    text TEXT NOT NULL,
    state INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    closed_by TEXT,
    resolution TEXT
);
CREATE INDEX review_state ON review (state, id);

-- Patients whose later messages wait for an earlier one; `*` is the whole feed.
CREATE TABLE hold (feed TEXT NOT NULL, subject TEXT NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (feed, subject)) WITHOUT ROWID;

-- Places of messages that no rule reads, counted; `pattern` is the hash of the places.
CREATE TABLE loss (feed TEXT NOT NULL, type TEXT NOT NULL, pattern INTEGER NOT NULL, places TEXT NOT NULL, n INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, last_message INTEGER NOT NULL, PRIMARY KEY (feed, type, pattern)) WITHOUT ROWID;

-- Codes in no concept map, counted.
CREATE TABLE unmapped (feed TEXT NOT NULL, place TEXT NOT NULL, code TEXT NOT NULL, n INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, last_message INTEGER NOT NULL, PRIMARY KEY (feed, place, code)) WITHOUT ROWID;

-- Errors handled step by step, and each step taken.
CREATE TABLE incident (id INTEGER PRIMARY KEY, title TEXT NOT NULL, state TEXT NOT NULL, opened_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, messages TEXT NOT NULL);
CREATE TABLE incident_step (incident INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, agent TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (incident, n)) WITHOUT ROWID;
