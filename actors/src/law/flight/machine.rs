//! Machine.
use super::{FlightEffect, FlightEvent, Order, Spending, Terms};
use crate::law::profile::Profile;
use crate::values::{DigestKey, ElapsedTime, FlightId, Now};
use std::sync::Arc;

/// What all flights of an identity share.
#[derive(Clone, Debug)]
pub struct Equipment {
    /// The issuer's profile.
    pub profile: Profile,
    /// How patient a flight is with the store.
    pub terms: Terms,
    /// The store's digest key.
    pub digests: DigestKey,
    /// Whether presenting spends.
    pub spending: Spending,
}

/// The flight machine.
#[derive(Debug, Clone)]
pub struct Flight {}
impl Flight {
    /// Begins.
    pub fn start(_order: Order, _equipment: Arc<Equipment>, _now: Now) -> (Self, Vec<FlightEffect>) {
        todo!()
    }
    /// The flight's name.
    pub fn id(&self) -> FlightId {
        todo!()
    }
    /// What happens next.
    pub fn handle(&mut self, _event: FlightEvent, _now: Now) -> Vec<FlightEffect> {
        todo!()
    }
    /// When to tick.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        todo!()
    }
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        todo!()
    }
}
