//! x
mod authority;
mod form;
mod rules;
pub use authority::ChainId;
pub use rules::{Announced, Rotation, Rules};
