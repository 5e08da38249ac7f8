//! The ports, the traits through which the drivers of the state machines reach the outside (clock, store, authorization
//! server, tasks). They are object safe, and small enough for tests to fake.
//!
//! Every future is `Send`, and safe to drop at any await unless its method says otherwise.

pub mod clock;
pub mod login;
pub mod observer;
pub mod permit;
pub mod source;
pub mod spawner;
pub mod store;
