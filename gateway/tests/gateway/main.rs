//! The gateway on real sockets, before a strict upstream, with sign-ins, tokens, inbound requests, attacks, and the faults of
//! other gateways by name.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod admission;
#[path = "../../../tests/support/ahead.rs"]
mod ahead;
mod attacks;
#[cfg(unix)]
mod browser;
#[cfg(unix)]
#[path = "../../../tests/rigs/chromium.rs"]
mod chromium;
mod conformance;
mod documents;
mod faults;
mod forgetting;
mod inbound;
mod linked;
mod metadata;
mod restarts;
mod rig;
#[path = "../../../tests/rigs/mod.rs"]
mod rigs;
mod sdks;
mod signing_in;
mod tokens;
#[path = "../../../actors/tests/common/within.rs"]
mod within;
