-- Dense series of devices. A channel is a device and a measure; the ids of its Observations say channel and instant.
-- mixed: Observations of the channel also stand in `res`, so that a new sample must be compared with them.
CREATE TABLE channel (id BIGINT PRIMARY KEY, name TEXT NOT NULL, mixed BIGINT NOT NULL);
CREATE UNIQUE INDEX channel_name ON channel (name);

-- What all samples of a series share: the text of their Observations; subject is the hash of `Patient/…`.
CREATE TABLE series (id BIGINT PRIMARY KEY, channel BIGINT NOT NULL, subject BIGINT NOT NULL, hash BYTEA NOT NULL, template TEXT NOT NULL);
CREATE UNIQUE INDEX series_hash ON series (channel, hash);
CREATE INDEX series_subject ON series (subject);

-- The commits that brought samples: when, and by which message.
CREATE TABLE sample_batch (id BIGINT PRIMARY KEY, at BIGINT NOT NULL, message BIGINT);
CREATE INDEX sample_batch_at ON sample_batch (at);

-- at: microseconds since 1970; value: digits * 16 + digits behind the point; shown: how the instant is written.
CREATE TABLE sample (channel BIGINT NOT NULL, at BIGINT NOT NULL, series BIGINT NOT NULL, value BIGINT NOT NULL, shown BIGINT NOT NULL, batch BIGINT NOT NULL, PRIMARY KEY (channel, at));

-- Tokens of devices: the SHA-256 of each, and the device it speaks for.
CREATE TABLE device_token (hash BYTEA PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT);
CREATE UNIQUE INDEX device_token_name ON device_token (name);

-- Payloads that wait no more: replayed into message by_message, or set aside.
CREATE TABLE quarantine_end (message BIGINT PRIMARY KEY, at BIGINT NOT NULL, how TEXT NOT NULL, by_message BIGINT);
