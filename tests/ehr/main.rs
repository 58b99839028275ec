//! The EHR adapter on the server's own store: the suite of `tests/ehr-simulators` once more, through the write path,
//! and then the real program, registered, killed and asked as a user would.
//!
//! Leaves out what needs no store: the independent token server and the launches, which run over there.

#[path = "../ehr-simulators/tests/sync/again.rs"]
mod again;
#[path = "../ehr-simulators/tests/sync/bulk.rs"]
mod bulk;
#[path = "../ehr-simulators/tests/sync/epic.rs"]
mod epic;
mod errands;
mod kept;
#[path = "../ehr-simulators/tests/sync/manners.rs"]
mod manners;
#[path = "../ehr-simulators/tests/sync/oracle.rs"]
mod oracle;
#[path = "../ehr-simulators/tests/sync/people.rs"]
mod people;
mod program;
#[path = "../ehr-simulators/tests/sync/stage.rs"]
mod stage;
#[path = "../ehr-simulators/tests/sync/write_back.rs"]
mod write_back;
