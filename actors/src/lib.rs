//! The engine of tokenkeeper: one owner for each server identity's OAuth state.
//!
//! This crate knows no HTTP and no OAuth wire format. It is
//!
//! - [`values`]: what the law speaks about,
//! - [`law`]: two pure state machines and the rules they share,
//! - [`ports`]: what the machines' drivers ask of the world,
//! - `memory`: the store in memory (feature `memory`, on by default),
//! - `runtime`: the actors (feature `runtime`, on by default),
//! - `system`: this machine's clocks, tokio and randomness behind the ports (feature `system`, on by default).

pub mod law;
#[cfg(feature = "memory")]
pub mod memory;
pub mod ports;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "system")]
pub mod system;
pub mod values;
