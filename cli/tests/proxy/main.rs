//! `tokenkeeper proxy` between a client on its standard input and output and servers that send any bytes.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test of processes")]

mod bytes;
mod client;
mod elicitations;
mod ends;
mod errors;
mod listen;
mod logins;
mod modern;
mod options;
mod order;
mod server;
mod sessions;
mod streams;
mod tokens;
