-- One row for each resource, live or deleted. `type` is the type's number + 1, negative when deleted.
CREATE TABLE res (
    rid BIGINT PRIMARY KEY,
    type BIGINT NOT NULL,
    h BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    ver BIGINT NOT NULL,
    upd BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    gap BIGINT NOT NULL,
    present BIGINT NOT NULL,
    at BIGINT,
    gen BIGINT NOT NULL,
    body BYTEA
);
CREATE UNIQUE INDEX res_h ON res (h);
CREATE INDEX res_type ON res (type, rid);
CREATE INDEX res_upd ON res (type, upd);

-- Superseded versions only.
CREATE TABLE hist (
    rid BIGINT NOT NULL,
    ver BIGINT NOT NULL,
    type BIGINT NOT NULL,
    upd BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    gap BIGINT NOT NULL,
    body BYTEA,
    PRIMARY KEY (rid, ver)
);
CREATE INDEX hist_upd ON hist (type, upd);

-- Codes, uris and texts that occur again and again; `sys` is empty for none and starts with 0x01 for other kinds.
CREATE TABLE term (tid BIGINT PRIMARY KEY, sys BYTEA NOT NULL, code BYTEA NOT NULL);
CREATE UNIQUE INDEX term_code ON term (code, sys);
CREATE INDEX term_sys ON term (sys, code);
CREATE TABLE unit (uid BIGINT PRIMARY KEY, sys BYTEA NOT NULL, code BYTEA NOT NULL, unit BYTEA NOT NULL, UNIQUE (code, sys, unit));

-- k: parameter << 32 | term, or a negative hash with 32 more bits of it in c.
CREATE TABLE post (k BIGINT NOT NULL, rid BIGINT NOT NULL, c BIGINT NOT NULL, PRIMARY KEY (k, rid, c));

-- References by the hash of "Type/id" or of the url; t is the target's type + 1, 0 for a url.
CREATE TABLE ref (p BIGINT NOT NULL, h BIGINT NOT NULL, rid BIGINT NOT NULL, t BIGINT NOT NULL, PRIMARY KEY (p, h, rid));

-- Ranges: the parameter has 0x8000 added for the rare wide ones, so that `lo` bounds the others.
CREATE TABLE dat (p BIGINT NOT NULL, lo BIGINT NOT NULL, rid BIGINT NOT NULL, hi BIGINT NOT NULL, PRIMARY KEY (p, lo, rid, hi));
CREATE INDEX dat_rid ON dat (rid, p);
CREATE TABLE num (p BIGINT NOT NULL, u BIGINT NOT NULL, lo BYTEA NOT NULL, rid BIGINT NOT NULL, n BIGINT NOT NULL, hi BYTEA, PRIMARY KEY (p, u, lo, rid, n));
CREATE INDEX num_rid ON num (rid, p);
CREATE TABLE str (p BIGINT NOT NULL, norm BYTEA NOT NULL, rid BIGINT NOT NULL, n BIGINT NOT NULL, exact BYTEA, whole BYTEA, PRIMARY KEY (p, norm, rid, n));
CREATE INDEX str_rid ON str (rid, p);

-- Composites: the first component's key, the second in an order of bytes, its upper end, the third.
CREATE TABLE comp (p BIGINT NOT NULL, a BIGINT NOT NULL, s BYTEA NOT NULL, rid BIGINT NOT NULL, n BIGINT NOT NULL, hi BYTEA, t BYTEA, thi BYTEA, PRIMARY KEY (p, a, s, rid, n));

-- The clinical core of the busiest types: subject (0: any), token (any), date. A second and `len` µs
-- after `lo` the date ends: nothing to store for the many that are told to the second.
CREATE TABLE sd (s BIGINT NOT NULL, k BIGINT NOT NULL, lo BIGINT NOT NULL, rid BIGINT NOT NULL, len BIGINT NOT NULL, t BIGINT NOT NULL, PRIMARY KEY (s, k, lo, rid));

CREATE TABLE dict (no BIGINT PRIMARY KEY, class BIGINT NOT NULL, at BIGINT NOT NULL, bytes BYTEA NOT NULL);
CREATE TABLE live (type BIGINT PRIMARY KEY, n BIGINT NOT NULL);
CREATE TABLE meta (name TEXT COLLATE "C" PRIMARY KEY, num BIGINT NOT NULL, bytes BYTEA NOT NULL);

CREATE TABLE raw (hash BYTEA PRIMARY KEY, size BIGINT NOT NULL, at BIGINT NOT NULL, zstd BYTEA NOT NULL);
CREATE TABLE message (
    id BIGINT PRIMARY KEY,
    feed TEXT NOT NULL,
    media_type TEXT NOT NULL,
    sender TEXT NOT NULL,
    control_id TEXT NOT NULL,
    hash BYTEA NOT NULL,
    type TEXT NOT NULL,
    state BIGINT NOT NULL,
    reason TEXT,
    issues TEXT NOT NULL,
    received_at BIGINT NOT NULL
);
ALTER TABLE res ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE hist ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX message_once ON message (sender, control_id, hash);
CREATE TABLE message_resource (message BIGINT NOT NULL, n BIGINT NOT NULL, type BIGINT NOT NULL, id TEXT NOT NULL, h BIGINT NOT NULL, ver BIGINT, PRIMARY KEY (message, n));
CREATE INDEX message_resource_h ON message_resource (h);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    agent TEXT NOT NULL,
    channel TEXT NOT NULL,
    action BIGINT NOT NULL,
    interaction TEXT NOT NULL,
    type BIGINT,
    id TEXT,
    ver BIGINT,
    detail TEXT,
    outcome BIGINT NOT NULL,
    chain BYTEA
);
