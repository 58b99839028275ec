//! What SQLite and PostgreSQL write differently, said once; the rest of the store writes SQL both understand.
//!
//! Left out: types and placeholders, which Diesel knows (`sql.rs`, `db.rs`), and the table definitions, which are
//! migrations.

use fhir_core::search::predicate::TextPlace;

use crate::db::{Db, Engine};
use crate::deadline::IN_TIME;
use crate::error::StoreError;
use crate::sql::{Bind, Sql};

/// Begins a transaction whose reads see one state of the database.
pub(crate) fn begin_reading(db: &mut Db) -> Result<(), StoreError> {
    match db.engine() {
        // Prepared once, unlike a batch.
        Engine::Sqlite => db.run(Sql::new("BEGIN")).map(|_| ()),
        Engine::Postgres => db.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    }
}

/// Ends what [`begin_reading`] began. Nothing was written, so that undoing and keeping are the same.
pub(crate) fn end_reading(db: &mut Db, end: &'static str) -> Result<(), StoreError> {
    match db.engine() {
        Engine::Sqlite => db.run(Sql::new(end)).map(|_| ()),
        Engine::Postgres => db.batch(end),
    }
}

/// Begins the writer's transaction; no other writer gets in before its end.
pub(crate) fn begin_writing(db: &mut Db, lock: &str) -> Result<(), StoreError> {
    match db.engine() {
        Engine::Sqlite => db.batch("BEGIN IMMEDIATE"),
        Engine::Postgres => db.batch(&format!("BEGIN; {lock}")),
    }
}

impl Engine {
    /// ` = one of the values`, behind a column.
    pub(crate) fn among(self, out: &mut Sql, values: &[i64]) {
        match self {
            Self::Sqlite => out.in_ints(values),
            Self::Postgres => out
                .push(" = ANY(")
                .bind(Bind::Ints(values.iter().copied().map(Some).collect()))
                .push(")"),
        };
    }

    /// Looks at the clock in one row of 256 of `alias`; PostgreSQL does by itself (`statement_timeout`).
    pub(crate) fn in_time(self, out: &mut Sql, alias: &str) {
        if self == Self::Sqlite {
            out.push_owned(format!(" AND ({alias}.rid & 255 <> 0 OR {IN_TIME}())"));
        }
    }

    /// The length of a column of bytes as a number that `substr` takes.
    pub(crate) fn length(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("length({column})"),
            Self::Postgres => format!("length({column})::int"),
        }
    }

    /// The bytes of the column hold the part somewhere.
    pub(crate) fn contains(self, out: &mut Sql, column: &str, part: &[u8]) {
        match self {
            Self::Sqlite => out
                .push_owned(format!("instr({column}, "))
                .bytes(part)
                .push(") > 0"),
            Self::Postgres => out
                .push("position(")
                .bytes(part)
                .push_owned(format!(" IN {column}) > 0")),
        };
    }

    /// Fresh random bytes: 16 or 32 of them.
    pub(crate) fn random_bytes(self, out: &mut Sql, length: usize) {
        match self {
            Self::Sqlite => out.push("randomblob(").int(length as i64).push(")"),
            Self::Postgres => out
                .push(
                    "substr(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || \
                     uuid_send(gen_random_uuid()), 1, ",
                )
                .push(if length == 16 { "16)" } else { "32)" }),
        };
    }

    /// `SELECT` the bytes of the whole database.
    pub(crate) fn database_bytes(self) -> Sql {
        Sql::new(match self {
            Self::Sqlite => {
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            }
            Self::Postgres => "SELECT pg_database_size(current_database())",
        })
    }

    /// `SELECT` name and bytes of each table and index. Only a SQLite built with its table of statistics can tell.
    pub(crate) fn table_bytes(self) -> Sql {
        Sql::new(match self {
            Self::Sqlite => "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY name",
            Self::Postgres => {
                "SELECT relname::text, pg_relation_size(oid) FROM pg_class WHERE relkind IN ('r', 'i') \
                 AND relnamespace = 'public'::regnamespace ORDER BY 1"
            }
        })
    }

    /// The column of `text_words` that says whose words a row holds.
    pub(crate) fn words_owner(self) -> &'static str {
        match self {
            Self::Sqlite => "rowid",
            Self::Postgres => "rid",
        }
    }

    /// A value for a column of words.
    pub(crate) fn words_value(self, out: &mut Sql, text: &str) {
        match self {
            Self::Sqlite => out.text(text),
            Self::Postgres => out
                .push("strip(to_tsvector('simple', ")
                .text(text)
                .push("))"),
        };
    }

    /// `SELECT rid …` of the resources whose text has all words of one of the alternatives, by the engine's own
    /// full-text index.
    pub(crate) fn words_rows(self, out: &mut Sql, place: TextPlace, any_of: &[Vec<String>]) {
        let column = match place {
            TextPlace::Narrative => "narrative",
            TextPlace::Content => "content",
        };
        match self {
            Self::Sqlite => out
                .push("SELECT x.rowid FROM text_words x WHERE x.text_words MATCH ")
                .text(format!(
                    "{column} : {}",
                    words_expression(any_of, '"', " AND ", " OR ")
                )),
            Self::Postgres => out
                .push_owned(format!(
                    "SELECT x.rid FROM text_words x WHERE x.{column} @@ to_tsquery('simple', "
                ))
                .text(words_expression(any_of, '\'', " & ", " | "))
                .push(")"),
        };
    }
}

/// Words hold letters and digits only, so that quotes around them are enough.
fn words_expression(any_of: &[Vec<String>], quote: char, and: &str, or: &str) -> String {
    let alternative = |words: &Vec<String>| {
        let words: Vec<String> = words
            .iter()
            .map(|word| format!("{quote}{}{quote}", word.replace(quote, "")))
            .collect();
        format!("({})", words.join(and))
    };
    let alternatives: Vec<String> = any_of.iter().map(alternative).collect();
    format!("({})", alternatives.join(or))
}
