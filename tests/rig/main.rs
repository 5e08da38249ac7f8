//! Tests against a real authorization server, oidc-provider in the rig of `tests/rigs`, judged by its own counters.
//!
//! It rotates refresh tokens, takes the second presentation of one for theft, and has no grace period. It counts itself
//! how many requests were processed, how many tokens were presented twice, and how the chain ended. On a machine
//! without Node these tests print that they were skipped. With `CI=true` they fail instead.
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
