//! What tests and benchmarks share: a client, a load, a synthetic population, programs as processes.

pub mod bench;
pub mod hl7_report;
pub mod http_client;
pub mod load;
pub mod mllp_client;
pub mod postgres;
pub mod process;
pub mod read_back;
pub mod server;
pub mod synthetic;
