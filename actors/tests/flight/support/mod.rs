//! A flight as a story. See [`Story`].

mod fixtures;
mod questions;
mod results;
mod story;

pub(crate) use std::time::Duration;

pub(crate) use fixtures::*;
pub(crate) use questions::granted;
pub(crate) use story::{Setup, Story};
pub(crate) use tokenkeeper_actors::law::flight::{Adopt, ConnectFault, FlightEffect, FlightEvent, Outcome, Spending};
pub(crate) use tokenkeeper_actors::law::ledger::{Change, Changed};
pub(crate) use tokenkeeper_actors::ports::observer::EffectName;
pub(crate) use tokenkeeper_actors::ports::store::{ClaimAnswer, Predecessor, Renewed};
pub(crate) use tokenkeeper_actors::values::{Cause, Epoch, Generation, Reason, StoreFault};
