//! Tests of the crate: data first, and most of them about what goes wrong.

mod ack;
mod acknowledge;
mod batch_file;
mod charset;
mod datetime;
mod escape;
mod folder;
mod hostile;
mod lines;
mod listener;
mod mllp;
mod pipeline;
mod send;
mod structure;
mod support;
mod tls;
mod volume;
