//! Clients at a server that answers by a script, over a store in memory.
#![expect(clippy::disallowed_methods, reason = "the tests' own sleeps and clock, on tokio's paused time")]

mod agreeing;
mod asking;
mod choosing;
mod faulty;
mod forgotten;
pub(super) mod rig;
#[cfg(feature = "reqwest")]
mod sockets;
