-- How far the log of changes was read for subscribers and alerts; holder and until: which process reads on, and how long.
CREATE TABLE live_cursor (name TEXT PRIMARY KEY, seq BIGINT NOT NULL, holder TEXT NOT NULL, until BIGINT NOT NULL);

-- Subscriptions that count: no is the place in the log where each became active; events made and events delivered so far.
CREATE TABLE live_sub (no BIGINT PRIMARY KEY, id TEXT NOT NULL, events BIGINT NOT NULL, delivered BIGINT NOT NULL);
CREATE UNIQUE INDEX live_sub_id ON live_sub (id);

-- What each is told: seq is the change's place in the log, op 0 created, 1 updated, 2 deleted; type is the type's number + 1.
CREATE TABLE live_event (sub BIGINT NOT NULL, n BIGINT NOT NULL, seq BIGINT NOT NULL, op BIGINT NOT NULL, type BIGINT NOT NULL, id TEXT NOT NULL, ver BIGINT NOT NULL, PRIMARY KEY (sub, n));
CREATE INDEX live_event_seq ON live_event (seq);

-- Which samples a commit brought, until they were read for subscribers and alerts.
CREATE TABLE live_span (seq BIGINT NOT NULL, channel BIGINT NOT NULL, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL, PRIMARY KEY (seq, channel, first_at));

-- Where each alert rule stands for each subject.
CREATE TABLE live_alert (rule TEXT NOT NULL, subject TEXT NOT NULL, phase BIGINT NOT NULL, since BIGINT, last BIGINT, made TEXT, PRIMARY KEY (rule, subject));

-- Alert rules added while running, as JSON text; they stand beside those of the settings file.
CREATE TABLE live_rule (name TEXT PRIMARY KEY, settings TEXT NOT NULL, changed_at BIGINT NOT NULL);
