-- Feeds registered while running, and pauses of any feed: `settings` is NULL where the settings file has them.
CREATE TABLE feed (name TEXT PRIMARY KEY, settings TEXT, paused INTEGER NOT NULL, changed_at INTEGER NOT NULL) WITHOUT ROWID;

-- A message without a control id of its own is never a repeat of another.
DROP INDEX message_once;
CREATE UNIQUE INDEX message_once ON message (sender, control_id, hash) WHERE control_id <> '';
