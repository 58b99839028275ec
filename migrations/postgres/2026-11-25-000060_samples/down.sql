DROP TABLE quarantine_end;
DROP TABLE device_token;
DROP TABLE sample;
DROP TABLE sample_batch;
DROP TABLE series;
DROP TABLE channel;
