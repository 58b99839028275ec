//! Fuzz targets: what reads input from outside must neither panic nor hang, and must keep what it promises.
//!
//! A target is a function that takes any bytes and panics when a promise is broken. [`guided`](../guided) drives the
//! targets by coverage; the tests of this crate run the seeds, everything ever found, and a short random run. Left out:
//! the store, HTTP, and anything with IO.

pub mod mutate;
pub mod seeds;
mod targets;

pub use targets::{NAMES, Target, named};

#[cfg(test)]
mod tests;
