//! Sessions whose tokens are bound to a key (DPoP, RFC 9449), against the testkit's login server and against a third-party one.
//! Both check each proof with libraries of their own, and count replays and bearer requests.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod adapters;
mod calls;
#[cfg(unix)]
mod kills;
mod logins;
mod machines;
mod refreshes;
mod rig;
mod scene;
mod users;

#[path = "../rigs/mod.rs"]
mod rigs;
#[path = "../../actors/tests/common/within.rs"]
mod within;
