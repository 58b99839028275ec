//! Messages after they were received: found, looked into, read again, tried out, traced back.
//!
//! The requests are in `server/src/admin/messages`; here is what they ask for.

pub mod place;
pub mod preview;
pub mod regression;
pub mod replay;
pub mod shared;
pub mod trace;

pub use shared::{OnError, Shared};
