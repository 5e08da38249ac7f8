//! Faults that pass. A caller that has the patience gets a token, and the server sees no more requests than it takes.
//!
//! The server is strict unless a test states otherwise. A pause between two attempts is skipped once the session reports it
//! (`Retrying`), so no test waits for one. A flight that presents its token once more by itself pauses for a quarter of a
//! second at most, in real time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

mod conduct;
mod outages;
mod scene;
mod slow;
mod unreachable;
