//! The adapter against the simulators: after every fault the copy equals the source, and the accounting adds up.
//!
//! Spec: none; the promises are those of `adapters/ehr/README.md`.
//! Leaves out real EHRs: agreement with the simulators is not agreement with a vendor.

mod again;
mod bulk;
mod epic;
mod fidelity;
mod kept;
mod launch;
mod manners;
mod oracle;
mod people;
mod quirks;
mod stage;
mod write_back;
