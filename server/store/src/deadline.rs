//! The time limit of a search on SQLite: looked at before each statement and, inside one, at one row of 256.
//!
//! A statement asks [`IN_TIME`] of its rows; when time is up the function does not return, which ends the statement with an
//! error. Left out: PostgreSQL, which has `statement_timeout`; sets that a statement makes before it looks at its first row.

use std::cell::Cell;
use std::time::{Duration, Instant};

use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use crate::error::StoreError;

#[diesel::declare_sql_function]
extern "SQL" {
    /// True while the search under way may go on.
    fn stoker_in_time() -> Bool;
}

/// The function's name, which SQLite repeats in the error of a statement that was ended.
pub(crate) const IN_TIME: &str = "stoker_in_time";

/// Why a search was ended.
pub(crate) const REASON: &str = "it ran into the time limit";

thread_local! {
    /// When the search of this thread must be done. A search runs on one thread from begin to end.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// While it lives, statements of this thread are bound to a deadline.
pub(crate) struct Limit;

impl Limit {
    /// From now on, this long.
    pub(crate) fn start(longest: Duration) -> Self {
        DEADLINE.set(Instant::now().checked_add(longest));
        Self
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        DEADLINE.set(None);
    }
}

/// Whether the time of the search of this thread is up.
fn is_over() -> bool {
    DEADLINE
        .get()
        .is_some_and(|deadline| Instant::now() >= deadline)
}

/// Refuses a statement that would begin too late.
///
/// # Errors
/// [`StoreError::TooCostly`]
pub(crate) fn check() -> Result<(), StoreError> {
    if is_over() {
        return Err(StoreError::TooCostly(REASON.into()));
    }
    Ok(())
}

/// Makes the function known to a connection.
///
/// # Errors
/// When SQLite refuses it.
pub(crate) fn register(connection: &mut SqliteConnection) -> QueryResult<()> {
    stoker_in_time_utils::register_nondeterministic_impl(connection, || {
        if is_over() {
            // Caught where SQLite calls back, without a word in the log: the one way to end a statement from inside.
            std::panic::resume_unwind(Box::new(REASON));
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Limit;
    use crate::db::Db;
    use crate::error::StoreError;
    use crate::sql::Sql;

    /// Would never end by itself.
    fn endless(db: &mut Db) -> Result<i64, StoreError> {
        db.number(Sql::new(
            "WITH RECURSIVE c(rid) AS (SELECT 1 UNION ALL SELECT rid + 1 FROM c) SELECT count(*) FROM c \
             WHERE (c.rid & 255 <> 0 OR stoker_in_time())",
        ))
    }

    /// Verifies: SRS-307, RC-305
    #[test]
    fn a_statement_that_runs_too_long_is_ended_and_the_connection_goes_on() {
        let mut db = Db::connect_sqlite(":memory:").unwrap();
        let limit = Limit::start(Duration::from_millis(1));
        assert!(matches!(endless(&mut db), Err(StoreError::TooCostly(_))));
        drop(limit);
        assert_eq!(db.number(Sql::new("SELECT 7")).unwrap(), 7);
    }

    /// Verifies: SRS-307
    #[test]
    fn a_statement_does_not_begin_after_the_deadline() {
        let mut db = Db::connect_sqlite(":memory:").unwrap();
        let _limit = Limit::start(Duration::ZERO);
        let late = db.number(Sql::new("SELECT 7"));
        assert!(matches!(late, Err(StoreError::TooCostly(_))));
    }
}
