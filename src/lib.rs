//! front door
pub use tokenkeeper_actors as engine;
