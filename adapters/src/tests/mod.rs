//! Tests of the crate: data first, and most of them about what goes wrong.

mod ack;
mod charset;
mod datetime;
mod escape;
mod hostile;
mod lines;
mod listener;
mod mllp;
mod pipeline;
mod send;
mod structure;
mod support;
