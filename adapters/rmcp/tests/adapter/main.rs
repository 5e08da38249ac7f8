//! The adapter, below rmcp's transports and alone.
#![allow(unreachable_pub, clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tasks and time of tests")]

mod auth_client;
mod cancellations;
#[path = "../common/clock.rs"]
mod clock;
mod connecting;
mod errors;
mod examples;
mod forwarding;
mod host;
mod importing;
mod redirects;
mod refusals;
mod requests;
mod scripted;
mod standing;
mod storms;
mod streams;
#[path = "../../../../actors/tests/common/within.rs"]
mod within;
