//! Search: from the URL to a tree that a storage back-end can answer.
//!
//! Spec: <https://hl7.org/fhir/R4/search.html>. The way through: [`query`] takes the parameters apart, [`condition`]
//! turns each into a [`predicate`], [`value`] reads the values, one file for each parameter type. [`supported`] says what there
//! is, from the tables that dispatch. Left out: named
//! queries (`_query`), refused by name.

pub mod codes;
pub mod compartment;
pub mod condition;
pub mod custom;
pub mod describe;
pub mod filter;
pub mod hierarchy;
pub mod include;
pub mod limits;
pub mod matches;
mod path;
pub mod predicate;
pub mod query;
pub mod query_string;
pub mod result;
pub mod supported;
mod text;
pub mod value;
pub mod words;

#[cfg(test)]
mod tests;
