//! The login server does what it documents, and counts it, over real sockets.
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod browser;
mod client;
mod codes;
mod devices;
mod discovery;
mod faults;
mod flaws;
mod grants;
mod pushed;
mod registration;
mod scopes;
#[path = "../../../actors/tests/common/within.rs"]
mod within;
