-- How far the log of changes was read for subscribers and alerts; holder and until: which process reads on, and how long.
CREATE TABLE live_cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;

-- Subscriptions that count: no is the place in the log where each became active; events made and events delivered so far.
CREATE TABLE live_sub (no INTEGER PRIMARY KEY, id TEXT NOT NULL, events INTEGER NOT NULL, delivered INTEGER NOT NULL);
CREATE UNIQUE INDEX live_sub_id ON live_sub (id);

-- What each is told: seq is the change's place in the log, op 0 created, 1 updated, 2 deleted; type is the type's number + 1.
CREATE TABLE live_event (sub INTEGER NOT NULL, n INTEGER NOT NULL, seq INTEGER NOT NULL, op INTEGER NOT NULL, type INTEGER NOT NULL, id TEXT NOT NULL, ver INTEGER NOT NULL, PRIMARY KEY (sub, n)) WITHOUT ROWID;
CREATE INDEX live_event_seq ON live_event (seq);

-- Which samples a commit brought, until they were read for subscribers and alerts.
CREATE TABLE live_span (seq INTEGER NOT NULL, channel INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, PRIMARY KEY (seq, channel, first_at)) WITHOUT ROWID;

-- Where each alert rule stands for each subject.
CREATE TABLE live_alert (rule TEXT NOT NULL, subject TEXT NOT NULL, phase INTEGER NOT NULL, since INTEGER, last INTEGER, made TEXT, PRIMARY KEY (rule, subject)) WITHOUT ROWID;

-- Alert rules added while running, as JSON text; they stand beside those of the settings file.
CREATE TABLE live_rule (name TEXT PRIMARY KEY, settings TEXT NOT NULL, changed_at INTEGER NOT NULL) WITHOUT ROWID;
