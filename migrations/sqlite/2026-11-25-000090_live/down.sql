DROP TABLE live_rule;
DROP TABLE live_alert;
DROP TABLE live_span;
DROP INDEX live_event_seq;
DROP TABLE live_event;
DROP INDEX live_sub_id;
DROP TABLE live_sub;
DROP TABLE live_cursor;
