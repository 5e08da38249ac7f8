//! Worker processes on one home, for the soak and for the tests of several processes.
//!
//! A parent starts its workers as [`WorkerProcess`]es and exchanges one JSON value a line with them: [`report`] and
//! [`read_requests`] are the worker's side of that. A worker has a runtime on the [`SharedHome`]. Its [`FlightObserver`]
//! reports how far a flight has come, and holds a flight at a [`FlightPoint`] so that the process can be killed or
//! stopped exactly there.

mod home;
mod messages;
mod observer;
mod obtained;
mod worker_process;

pub use home::{HomeIdentity, SharedHome, login};
pub use messages::{read_requests, report};
pub use observer::{FlightObserver, FlightPoint, ObserverEvent};
pub use obtained::ObtainedTokens;
pub use worker_process::{WorkerOutput, WorkerProcess};
