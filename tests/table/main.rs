//! Law 10 on real sockets, row by row. Each row is an event of a token request, and its meaning for the refresh token.
//!
//! Each row is tested with a request that the server has processed and with one that it has not, over the client that
//! ships and over clients that keep their connections (HTTP/1.1 and HTTP/2), under each policy for a token in doubt.
//! The server counts the requests that arrive. The follow-up is the one that the law demands, whether or not the server
//! had processed the request.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

mod holders;
mod nonce;
mod policies;
mod reuse;
mod row;
mod rows;
mod scene;
mod throttling;
mod unsent;
