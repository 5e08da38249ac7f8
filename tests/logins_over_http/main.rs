//! Logins over HTTP through the front door, against a login server with all its flaws on real sockets. The ordinary ways come
//! with exact counts, and each negative case has its own reason and leaves nothing stored. Others are about forgotten clients,
//! migrations and step-ups.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

#[path = "../support/ahead.rs"]
mod ahead;
mod answers;
mod clients;
mod configured;
mod devices;
mod flaws;
mod hosts;
mod logouts;
mod migration;
mod old_grants;
mod ordinary;
mod public;
mod rig;
mod scopes;
mod step_ups;
mod subjects;
mod terminal;
mod wire;
#[path = "../../actors/tests/common/within.rs"]
mod within;
