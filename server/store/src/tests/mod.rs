//! The same tests for both engines.

mod ehr;
mod engine;
mod feed_state;
mod loading;
mod memory;
mod predicates;
mod samples;
mod suite;
mod world;

/// Runs an async test function for SQLite and for PostgreSQL.
macro_rules! both_engines {
    ($($(#[$meta:meta])* $name:ident => $function:path;)*) => {
        mod sqlite {
            use super::*;

            $($(#[$meta])* #[test] fn $name() {
                crate::tests::engine::run(crate::tests::engine::sqlite(), $function);
            })*
        }
        mod postgres {
            use super::*;

            $($(#[$meta])* #[test] fn $name() {
                if let Some(database) = crate::tests::engine::postgres() {
                    crate::tests::engine::run(database, $function);
                }
            })*
        }
    };
}
pub(super) use both_engines;
