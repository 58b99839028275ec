//! Writing: one thread gathers waiting commits into groups, checks and writes each, and answers after the database
//! has made the group durable.

mod apply;
pub(crate) mod feed_state;
mod group;
pub(crate) mod insert;
mod job;
mod message;
mod rows;
mod terms;

pub(crate) use apply::{counter, set_meta};
pub(crate) use group::Group;
pub(crate) use job::PreparedCommit;
pub(crate) use message::{state_number, state_of};
pub(crate) use terms::load_units;
