//! Attempts to sign in over one store. See [`World`].

mod carrying;
mod fixtures;
mod rules;
mod server;
mod world;

pub(crate) use fixtures::*;
pub(crate) use rules::Rule;
pub(crate) use tokenkeeper_actors::law::ledger::Change;
pub(crate) use tokenkeeper_actors::law::login::{LoginEvent, LoginReport};
pub(crate) use tokenkeeper_actors::ports::login::{Polled, Redeemed};
pub(crate) use tokenkeeper_actors::ports::store::ClaimScope;
pub(crate) use tokenkeeper_actors::values::record::{PromptEnd, PromptState};
pub(crate) use tokenkeeper_actors::values::{Epoch, LoginReason, StoreFault};
pub(crate) use world::{Item, World};
