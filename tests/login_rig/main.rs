//! Logins at a real authorization server, the rig of `tests/rigs/oidc-provider`. Its own counters show what reached it. The tests
//! use the public API alone.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod authority;
mod automatic;
mod clients;
mod device;
mod host;
mod issuers;
#[cfg(unix)]
mod pages;
mod person;
mod step_up;
mod storm;
mod web;

#[cfg(unix)]
#[path = "../rigs/chromium.rs"]
mod chromium;
#[path = "../rigs/mod.rs"]
mod rigs;
#[path = "../../actors/tests/common/within.rs"]
mod within;
