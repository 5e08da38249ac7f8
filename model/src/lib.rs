//! stub
mod actions;
mod bounds;
mod chance;
mod config;
mod identity;
mod laws;
mod model;
mod perform;
mod reading;
mod report;
mod server;
mod session;
mod sightings;
mod state;
mod step;
mod store;
mod story;

pub use actions::Action;
pub use bounds::{Bounds, Span};
pub use config::{Claims, Config, Fault};
pub use laws::Law;
pub use model::TwoProcesses;
pub use report::{Broken, Report, check};
pub use sightings::{Sight, Sightings};
pub use state::State;
