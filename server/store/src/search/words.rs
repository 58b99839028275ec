//! Words of texts as SQL: the full-text index of each engine, asked for whole words.

use fhir_core::search::predicate::TextPlace;

use crate::db::Engine;
use crate::sql::Sql;

/// `SELECT rid …` of the resources whose text has all words of one of the alternatives.
pub(super) fn rows(out: &mut Sql, engine: Engine, place: TextPlace, any_of: &[Vec<String>]) {
    let column = match place {
        TextPlace::Narrative => "narrative",
        TextPlace::Content => "content",
    };
    match engine {
        Engine::Sqlite => {
            out.push("SELECT x.rowid FROM text_words x WHERE x.text_words MATCH ")
                .text(format!(
                    "{column} : {}",
                    expression(any_of, '"', " AND ", " OR ")
                ));
        }
        Engine::Postgres => {
            out.push_owned(format!(
                "SELECT x.rid FROM text_words x WHERE x.{column} @@ to_tsquery('simple', "
            ))
            .text(expression(any_of, '\'', " & ", " | "))
            .push(")");
        }
    }
}

/// Words hold letters and digits only, so that quotes around them are enough.
fn expression(any_of: &[Vec<String>], quote: char, and: &str, or: &str) -> String {
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
