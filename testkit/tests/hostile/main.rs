//! The hostile authorization server does what it documents, and counts it, over reqwest and over bare sockets.
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod answers;
mod client;
mod faults;
mod frames;
mod holding;
mod storm;
mod strict;
#[path = "../../../actors/tests/common/within.rs"]
mod within;
