//! The law: pure state machines, and the pure rules that they share. No I/O, no clock, no randomness, no runtime.
//!
//! - [`session`]: answers to callers, and when a flight begins.
//! - [`flight`]: claim, re-read, decide, mark, send, classify, save, release, report.
//! - [`issuer`]: permits for token requests, per issuer.
//! - [`ledger`]: the writes to a record, and their conditions.
//! - [`login`]: the attempt to sign in, from the wish to the stored login.
//! - [`profile`]: the effect of a server's answer on the refresh token.

pub mod flight;
pub mod issuer;
pub mod ledger;
pub(crate) mod line;
pub mod login;
pub mod profile;
pub mod session;
