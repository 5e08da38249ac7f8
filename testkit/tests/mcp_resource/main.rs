//! The MCP resource behind the hostile server's tokens, over raw HTTP and with rmcp's own client.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod client;
mod cuts;
mod refusals;
mod sdk;
mod sessions;
mod verifier;
mod wire_2026;
#[path = "../../../actors/tests/common/within.rs"]
mod within;
