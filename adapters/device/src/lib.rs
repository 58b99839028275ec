//! Devices and wearables: payloads in, conformant measurements out, digits untouched.
//!
//! R4 vital signs: <https://hl7.org/fhir/R4/observation-vitalsigns.html>. `README.md` explains the payload mappings.
//!
//! Left out on purpose: storage and HTTP. The server gives [`ingest`] the bytes and takes what comes out.

pub mod alert;
pub mod anomaly;
pub mod association;
mod batch;
pub mod clock;
pub mod contradiction;
pub mod decimal;
pub mod gatt;
pub mod ingest;
pub mod judge;
pub mod measure;
pub mod measurement;
pub mod meeting;
pub mod mqtt;
mod mqtt_tls;
pub mod observation;
pub mod payload;
pub mod port;
pub mod samples;
pub mod series;
pub mod split;
pub mod stats;
pub mod time;
