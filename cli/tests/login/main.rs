//! `tokenkeeper login` against a whole authorization server, with pages, pasted answers and codes for other devices.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

mod apis;
mod clients;
mod faults;
mod readme;
mod repeated;
mod scene;
#[cfg(target_os = "linux")]
mod terminal;
mod ways;
