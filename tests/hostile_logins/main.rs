//! Logins at hostile servers, whose answers are in a script.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod answers;
mod migrating;
mod pages;
#[path = "../../actors/tests/common/within.rs"]
mod within;
mod world;
