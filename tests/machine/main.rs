//! Grants without a login of a person at the server, from callers to sockets and back.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

#[path = "../support/ahead.rs"]
mod ahead;
mod command_faults;
mod commands;
mod credentials;
mod enterprise;
mod faults;
mod host;
mod interaction;
mod jwt;
mod kills;
mod server;
mod sign_on;
mod store;
mod storm;
mod subjects;
#[path = "../../actors/tests/common/within.rs"]
mod within;
mod workloads;

use within::within;
