//! Searching: a predicate becomes a tree of index look-ups, a plan chooses where to begin, SQL does the rest.

mod compile;
mod cursor;
mod emit;
mod near;
mod node;
mod order_term;
mod plan;
mod tests_of_values;

pub(crate) use compile::Compiler;
pub(crate) use cursor::Position;
pub(crate) use plan::{COLUMNS, Found, Searcher, live_matches};
