//! `tokenkeeper proxy` below hosts on the official SDKs, and before the reference server of the MCP project.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

#[allow(dead_code, reason = "the proxy's tests take more of it")]
#[path = "../proxy/client.rs"]
mod client;
mod configs;
mod conversation;
mod everything;
mod gate;
mod host;
mod lifetimes;
mod login;
#[path = "../../../tests/support/ports.rs"]
mod ports;
mod python;
#[path = "../../../tests/rigs/mod.rs"]
mod rigs;
