//! The ports, the traits through which the engine reaches the outside. They are object safe, and small enough for tests
//! to fake.
//!
//! Every future is `Send`, and safe to drop at any await unless its method says otherwise.

pub mod clock;
pub mod login;
pub mod observer;
pub mod permit;
pub mod source;
pub mod spawner;
pub mod store;
