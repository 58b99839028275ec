-- Dense series of devices. A channel is a device and a measure; the ids of its Observations say channel and instant.
-- mixed: Observations of the channel also stand in `res`, so that a new sample must be compared with them.
CREATE TABLE channel (id INTEGER PRIMARY KEY, name TEXT NOT NULL, mixed INTEGER NOT NULL);
CREATE UNIQUE INDEX channel_name ON channel (name);

-- What all samples of a series share: the text of their Observations; subject is the hash of `Patient/…`.
CREATE TABLE series (id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, subject INTEGER NOT NULL, hash BLOB NOT NULL, template TEXT NOT NULL);
CREATE UNIQUE INDEX series_hash ON series (channel, hash);
CREATE INDEX series_subject ON series (subject);

-- The commits that brought samples: when, and by which message.
CREATE TABLE sample_batch (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, message INTEGER);
CREATE INDEX sample_batch_at ON sample_batch (at);

-- at: microseconds since 1970; value: digits * 16 + digits behind the point; shown: how the instant is written.
CREATE TABLE sample (channel INTEGER NOT NULL, at INTEGER NOT NULL, series INTEGER NOT NULL, value INTEGER NOT NULL, shown INTEGER NOT NULL, batch INTEGER NOT NULL, PRIMARY KEY (channel, at)) WITHOUT ROWID;

-- Tokens of devices: the SHA-256 of each, and the device it speaks for.
CREATE TABLE device_token (hash BLOB PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER) WITHOUT ROWID;
CREATE UNIQUE INDEX device_token_name ON device_token (name);

-- Payloads that wait no more: replayed into message by_message, or set aside.
CREATE TABLE quarantine_end (message INTEGER PRIMARY KEY, at INTEGER NOT NULL, how TEXT NOT NULL, by_message INTEGER);
