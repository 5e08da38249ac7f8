//! The runtime: actors and tasks that drive the machines.

pub mod issuer;
