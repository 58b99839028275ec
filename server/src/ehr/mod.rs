//! EHR tenants in this server: where the adapter keeps what it fetched, when tenants run, what people see of them.
//!
//! Leaves out everything about EHRs themselves, which is the crate `ehr`.

pub mod admin;
pub mod jwks;
pub mod port;
pub mod read_through;
pub mod runner;
pub mod state;
pub mod tenants;
pub mod view;
pub mod write_back;
