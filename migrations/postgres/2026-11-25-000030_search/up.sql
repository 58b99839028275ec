-- Words of texts, for searches by `_text` and `_content`; the row is the resource's number. Filled when such a search comes.
CREATE TABLE text_words (rid BIGINT PRIMARY KEY, narrative TSVECTOR NOT NULL, content TSVECTOR NOT NULL);
CREATE INDEX text_words_narrative ON text_words USING gin (narrative);
CREATE INDEX text_words_content ON text_words USING gin (content);
-- How far: everything of a type (its number + 1) changed up to this time has been read.
CREATE TABLE text_mark (type BIGINT PRIMARY KEY, upd BIGINT NOT NULL);

-- Numbers of search parameters that were added; a number stands for one definition for ever.
CREATE TABLE custom_param (no BIGINT PRIMARY KEY, key TEXT NOT NULL UNIQUE, done BIGINT NOT NULL);
