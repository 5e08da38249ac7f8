//! The engine of tokenkeeper, in which the OAuth state of each server identity has one owner.
//!
//! This crate contains no HTTP and no OAuth message format. Its documentation refers by number to the laws, the invariants
//! of the engine that `docs/laws.md` lists, and uses the words of `docs/glossary.md`. It contains
//!
//! - [`values`]: the values that the machines and the ports exchange, such as tokens, times and records,
//! - [`law`]: the pure state machines and the rules they share,
//! - [`ports`]: the traits through which drivers reach the outside,
//! - `memory`: the store in memory (feature `memory`, on by default),
//! - `runtime`: the actors that drive the machines in a host (feature `runtime`, on by default),
//! - [`sync`]: a lock for drivers and stores,
//! - `system`: this machine's clocks, tokio and randomness behind the ports (feature `system`, on by default).

pub mod law;
#[cfg(feature = "memory")]
pub mod memory;
pub mod ports;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod sync;
#[cfg(feature = "system")]
pub mod system;
pub mod values;
