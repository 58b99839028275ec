DROP INDEX message_once;
CREATE UNIQUE INDEX message_once ON message (sender, control_id, hash);
DROP TABLE feed;
