-- One row for each resource, live or deleted. `type` is the type's number + 1, negative when deleted.
CREATE TABLE res (
    rid INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    h INTEGER NOT NULL,
    id TEXT NOT NULL,
    ver INTEGER NOT NULL,
    upd INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    present INTEGER NOT NULL,
    at INTEGER,
    gen INTEGER NOT NULL,
    body BLOB
);
CREATE UNIQUE INDEX res_h ON res (h);
CREATE INDEX res_type ON res (type);
CREATE INDEX res_upd ON res (type, upd);

-- Superseded versions only.
CREATE TABLE hist (
    rid INTEGER NOT NULL,
    ver INTEGER NOT NULL,
    type INTEGER NOT NULL,
    upd INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    body BLOB,
    PRIMARY KEY (rid, ver)
) WITHOUT ROWID;
CREATE INDEX hist_upd ON hist (type, upd);

-- Codes, uris and texts that occur again and again; `sys` is empty for none and starts with 0x01 for other kinds.
CREATE TABLE term (tid INTEGER PRIMARY KEY, sys BLOB NOT NULL, code BLOB NOT NULL);
CREATE UNIQUE INDEX term_code ON term (code, sys);
CREATE INDEX term_sys ON term (sys, code);
CREATE TABLE unit (uid INTEGER PRIMARY KEY, sys BLOB NOT NULL, code BLOB NOT NULL, unit BLOB NOT NULL, UNIQUE (code, sys, unit));

-- k: parameter << 32 | term, or a negative hash with 32 more bits of it in c.
CREATE TABLE post (k INTEGER NOT NULL, rid INTEGER NOT NULL, c INTEGER NOT NULL, PRIMARY KEY (k, rid, c)) WITHOUT ROWID;

-- References by the hash of "Type/id" or of the url; t is the target's type + 1, 0 for a url.
CREATE TABLE ref (p INTEGER NOT NULL, h INTEGER NOT NULL, rid INTEGER NOT NULL, t INTEGER NOT NULL, PRIMARY KEY (p, h, rid)) WITHOUT ROWID;

-- Ranges: the parameter has 0x8000 added for the rare wide ones, so that `lo` bounds the others.
CREATE TABLE dat (p INTEGER NOT NULL, lo INTEGER NOT NULL, rid INTEGER NOT NULL, hi INTEGER NOT NULL, PRIMARY KEY (p, lo, rid, hi)) WITHOUT ROWID;
CREATE INDEX dat_rid ON dat (rid, p);
CREATE TABLE num (p INTEGER NOT NULL, u INTEGER NOT NULL, lo BLOB NOT NULL, rid INTEGER NOT NULL, n INTEGER NOT NULL, hi BLOB, PRIMARY KEY (p, u, lo, rid, n)) WITHOUT ROWID;
CREATE INDEX num_rid ON num (rid, p);
CREATE TABLE str (p INTEGER NOT NULL, norm BLOB NOT NULL, rid INTEGER NOT NULL, n INTEGER NOT NULL, exact BLOB, whole BLOB, PRIMARY KEY (p, norm, rid, n)) WITHOUT ROWID;
CREATE INDEX str_rid ON str (rid, p);

-- Composites: the first component's key, the second in an order of bytes, its upper end, the third.
CREATE TABLE comp (p INTEGER NOT NULL, a INTEGER NOT NULL, s BLOB NOT NULL, rid INTEGER NOT NULL, n INTEGER NOT NULL, hi BLOB, t BLOB, thi BLOB, PRIMARY KEY (p, a, s, rid, n)) WITHOUT ROWID;

-- The clinical core of the busiest types: subject (0: any), token (any), date. A second and `len` µs
-- after `lo` the date ends: nothing to store for the many that are told to the second.
CREATE TABLE sd (s INTEGER NOT NULL, k INTEGER NOT NULL, lo INTEGER NOT NULL, rid INTEGER NOT NULL, len INTEGER NOT NULL, t INTEGER NOT NULL, PRIMARY KEY (s, k, lo, rid)) WITHOUT ROWID;

CREATE TABLE dict (no INTEGER PRIMARY KEY, class INTEGER NOT NULL, at INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE live (type INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, num INTEGER NOT NULL, bytes BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE raw (hash BLOB PRIMARY KEY, size INTEGER NOT NULL, at INTEGER NOT NULL, zstd BLOB NOT NULL);
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    media_type TEXT NOT NULL,
    sender TEXT NOT NULL,
    control_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    type TEXT NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT,
    issues TEXT NOT NULL,
    received_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX message_once ON message (sender, control_id, hash);
CREATE TABLE message_resource (message INTEGER NOT NULL, n INTEGER NOT NULL, type INTEGER NOT NULL, id TEXT NOT NULL, h INTEGER NOT NULL, ver INTEGER, PRIMARY KEY (message, n)) WITHOUT ROWID;
CREATE INDEX message_resource_h ON message_resource (h);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    agent TEXT NOT NULL,
    channel TEXT NOT NULL,
    action INTEGER NOT NULL,
    interaction TEXT NOT NULL,
    type INTEGER,
    id TEXT,
    ver INTEGER,
    detail TEXT,
    outcome INTEGER NOT NULL,
    chain BLOB
);
