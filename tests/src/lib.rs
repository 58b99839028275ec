//! What tests and benchmarks share: a client, a load, a synthetic population, programs as processes.

pub mod bench;
pub mod device_folder;
pub mod hl7_report;
pub mod http_client;
pub mod load;
pub mod mllp_client;
pub mod mosquitto;
pub mod postgres;
pub mod process;
pub mod read_back;
pub mod receiver;
pub mod server;
pub mod synthetic;
pub mod ws_client;
