-- Words of texts, for searches by `_text` and `_content`; the row is the resource's number. Filled when such a search comes.
CREATE VIRTUAL TABLE text_words USING fts5(narrative, content, content='', contentless_delete=1, detail='column', tokenize='unicode61');
-- How far: everything of a type (its number + 1) changed up to this time has been read.
CREATE TABLE text_mark (type INTEGER PRIMARY KEY, upd INTEGER NOT NULL);

-- Numbers of search parameters that were added; a number stands for one definition for ever.
CREATE TABLE custom_param (no INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, done INTEGER NOT NULL);
