DROP TABLE custom_param;
DROP TABLE text_mark;
DROP TABLE text_words;
