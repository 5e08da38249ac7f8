//! Tests of the attempt to sign in, as processes over one store, with a person and an authorization server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the support of tests is test code too")]

mod arbitrary;
mod codes;
mod crashes;
mod device;
mod faults;
mod guards;
mod no;
mod overtaken;
mod replaced;
mod showing;
mod siblings;
mod stale;
mod stopping;
mod support;
mod time;
