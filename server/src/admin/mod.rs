//! `/admin`: the server's own interface for those who run it. Not FHIR.
//!
//! Who may use it is decided in one place, [`guard`].

pub mod feeds;
pub mod guard;
pub mod messages;
