//! The engine in a tokio runtime, with actors, flights, supervision and handles, over a store in memory and a strict
//! server.

#![allow(clippy::expect_used, clippy::panic, reason = "a story that cannot go on is a failed test")]
#![allow(clippy::disallowed_methods, reason = "these tests are the host: they own their tasks and their time")]

mod address;
mod bounds;
mod cohort;
mod connecting;
mod cooldowns;
mod crowd;
mod foreign;
mod lifecycle;
mod plans;
mod secrets;
mod stress;
mod support;
mod throttle;
