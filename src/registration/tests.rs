//! Clients at a server that answers by a script, over a store in memory.

mod agreeing;
mod asking;
mod choosing;
mod faulty;
mod forgotten;
pub(super) mod rig;
#[cfg(feature = "reqwest")]
mod sockets;
