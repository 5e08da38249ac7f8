//! `tokenkeeper call` and `tokenkeeper tools` at MCP servers of both wires.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

#[allow(dead_code, reason = "the proxy's tests take more of it")]
#[path = "../proxy/client.rs"]
mod client;
mod ends;
mod failures;
mod lists;
mod logins;
mod results;
mod scene;
#[allow(dead_code, reason = "the proxy's tests take more of it")]
#[path = "../proxy/server.rs"]
mod server;
mod storms;
