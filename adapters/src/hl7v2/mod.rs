//! Reading HL7 v2 messages, and writing their acknowledgements.
//!
//! HL7 v2 chapter 2 (<https://www.hl7.eu/HL7v2x/v291/std291/ch02.html>). The order of the parts: [`charset`] turns
//! bytes into text, [`normalise`] finds the segments, [`tokenize`] splits them, [`guard`] asks a second parser,
//! [`structure`] groups them, with [`escape`] for each leaf. All are total: any bytes give a result or an error that
//! names its place.

pub mod ack;
pub mod batch;
pub mod charset;
pub mod cut;
pub mod datetime;
pub mod escape;
mod faults;
mod groups;
pub mod guard;
pub mod header;
mod msh_18;
pub mod normalise;
mod offsets;
pub mod structure;
pub mod tokenize;
