//! Machine.
use super::{Policy, Residue, SessionEffect, SessionEvent};
use crate::values::{ElapsedTime, FlightId, Nonce, Now};
/// The session machine.
#[derive(Debug, Clone)]
pub struct Session {}
impl Session {
    /// A session that goes on from `residue`. `seed` names its flights: each flight's id is drawn by the driver.
    pub fn start(_policy: Policy, _nonce: Nonce, _residue: Residue, _now: Now) -> (Self, Vec<SessionEffect>) {
        todo!()
    }
    /// What happens next.
    pub fn handle(&mut self, _event: SessionEvent, _now: Now) -> Vec<SessionEffect> {
        todo!()
    }
    /// When to tick.
    pub fn next_wake(&self) -> Option<ElapsedTime> {
        todo!()
    }
    /// x
    pub fn x(&self) -> Option<FlightId> {
        todo!()
    }
}
