//! The engine in a tokio runtime: actors, flights, supervision and handles, over a store in memory and a strict server.

#![allow(clippy::expect_used, clippy::panic, reason = "a story that cannot go on is a failed test")]

mod cohort;
mod lifecycle;
mod support;
