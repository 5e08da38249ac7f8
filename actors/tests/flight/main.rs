//! Tests of the flight machine as stories, which give the events of a flight and compare all of its effects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the support of tests is test code too")]

mod adoption;
mod answers;
mod arbitrary;
mod calling_off;
mod claiming;
mod connecting;
mod departing;
mod doubts;
mod giving_up;
mod happy;
mod keeping;
mod late;
mod ledger;
mod logout;
mod marking;
mod outcomes;
mod plans;
mod profile;
mod renewing;
mod repeatable;
mod repeats;
mod shutdown;
mod stale;
mod store_faults;
mod support;
