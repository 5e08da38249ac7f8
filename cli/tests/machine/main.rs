//! `tokenkeeper login` without a person: as a client, with a workload's token, by an identity provider, and by a command.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]
#![allow(clippy::expect_used, reason = "a test of processes")]

mod bound;
mod credentials;
mod enterprise;
#[allow(dead_code, reason = "the front door's tests use all of it")]
#[path = "../../../tests/machine/jwt.rs"]
mod jwt;
mod scene;
#[allow(dead_code, reason = "the front door's tests use all of it")]
#[path = "../../../tests/machine/server.rs"]
mod server;
#[path = "../../../actors/tests/common/within.rs"]
mod within;
mod workloads;

use within::within;
