//! Against a real authorization server: oidc-provider, in the rig of `tests/rigs`, judged by its own counters.
//!
//! It rotates refresh tokens, takes the second presentation of one for theft, and knows no grace. What was processed, what
//! was presented twice and what became of the chain, it counts itself. On a machine without Node these tests say that they
//! were skipped; with `CI=true` that is a failure.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../rigs/mod.rs"]
mod rigs;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the tests of processes take the rest")]
mod authority;
mod clients;
mod crowds;
mod row;
mod rows;
mod scene;
