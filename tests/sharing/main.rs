//! The public types in the threads and tasks of a host (docs/concurrency.md), as the compiler checks it.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod ends;
mod futures;
mod types;
#[path = "../../actors/tests/common/within.rs"]
mod within;

use within::within;
