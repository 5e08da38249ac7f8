//! The law: pure machines, and the pure rules they share. No I/O, no clock, no randomness, no runtime.
//!
//! - [`session`]: what to answer, when to fly, when to give up.
//! - [`flight`]: claim, re-read, decide, mark, send, classify, save, release, report.
//! - [`issuer`]: who may make a token request, and when.
//! - [`ledger`]: what may replace what in a store.
//! - [`profile`]: what an answer on the wire means for the refresh token.

pub mod flight;
pub mod issuer;
pub mod ledger;
pub(crate) mod line;
pub mod profile;
pub mod session;
