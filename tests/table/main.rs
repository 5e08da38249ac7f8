//! Law 10 on real sockets, row by row: what happens to a token request, and what it means for the refresh token.
//!
//! Each row is met by a request that the server has processed and by one that it has not, over the client that ships and
//! over clients that keep their connections (HTTP/1.1 and HTTP/2), under each policy for a token in doubt. The server
//! counts what arrives; the follow-up is what the law says, whatever the server did.
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
