//! `tokenkeeper proxy` below hosts on the official SDKs, and before the reference server of the MCP project.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

#[allow(dead_code, reason = "the proxy's tests take more of it")]
#[path = "../proxy/client.rs"]
mod client;
mod host;
mod lifetimes;
#[path = "../../../tests/rigs/mod.rs"]
mod rigs;
