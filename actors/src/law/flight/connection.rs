//! The connection for the next request (laws 8 and 10). It is established before the mark is written, so that a server
//! that cannot be reached costs no write.

use super::machine::FlightCore;
use super::phase::Phase;
use super::{ConnectFault, FlightEffect, Op, Outcome};
use crate::law::profile::{Evidence, Judgement, NotSent, Trouble};
use crate::values::record::{Grant, RenewalPlan};
use crate::values::{ElapsedTime, Now, Reason};

/// The connection for the next request of a flight.
#[derive(Clone, Debug, Default)]
pub(super) enum Connection {
    /// There is none.
    #[default]
    None,
    /// It is being established, until `limit` at the latest.
    Pending { op: Op, to: Destination, limit: ElapsedTime },
    /// It stands.
    Standing { op: Op, to: Destination },
    /// It could not be established.
    Failed { to: Destination, fault: ConnectFault },
}

/// The far end of a connection, and the source that establishes it. A refresh token goes only to the token endpoint of its
/// own record (law 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    endpoint: String,
    plan: RenewalPlan,
}

impl Destination {
    fn of(grant: &Grant) -> Self {
        Self { endpoint: grant.binding.token_endpoint.clone(), plan: grant.renewal.clone() }
    }
}

/// Whether there is a connection that a request can be sent over.
pub(super) enum Readiness {
    /// There is one, or none is needed.
    Ready,
    /// The flight waits for the answer to this effect, until the limit.
    Awaited(Op, ElapsedTime),
    /// There is none, and the flight ends.
    Failed(ConnectFault),
}

impl FlightCore {
    /// Begins to connect to the token endpoint of `grant`. An earlier connection is dropped.
    pub(super) fn connect(&mut self, grant: &Grant, now: Now, effects: &mut Vec<FlightEffect>) {
        let op = self.next_op();
        effects.push(FlightEffect::Connect(op, Box::new(grant.clone())));
        let limit = now.elapsed().after(self.profile.connect_timeout);
        self.connection = Connection::Pending { op, to: Destination::of(grant), limit };
    }

    /// Whether a request for `grant` has its connection. Begins to connect, unless that was begun for the same destination.
    pub(super) fn connection_to(&mut self, grant: &Grant, now: Now, effects: &mut Vec<FlightEffect>) -> Readiness {
        let wanted = Destination::of(grant);
        let known = match &self.connection {
            Connection::None => false,
            Connection::Pending { to, .. } | Connection::Standing { to, .. } | Connection::Failed { to, .. } => {
                *to == wanted
            }
        };
        if !known {
            self.connect(grant, now, effects);
        }
        match &self.connection {
            Connection::Pending { op, limit, .. } => Readiness::Awaited(*op, *limit),
            Connection::Failed { fault, .. } => Readiness::Failed(*fault),
            Connection::None | Connection::Standing { .. } => Readiness::Ready,
        }
    }

    /// The source has answered. Only the answer to the latest effect counts.
    pub(super) fn connected(
        &mut self,
        phase: Phase,
        answered: Op,
        answer: Result<(), ConnectFault>,
        now: Now,
        effects: &mut Vec<FlightEffect>,
    ) -> Phase {
        match std::mem::take(&mut self.connection) {
            Connection::Pending { op, to, .. } if op == answered => {
                self.connection = match answer {
                    Ok(()) => Connection::Standing { op, to },
                    Err(fault) => Connection::Failed { to, fault },
                };
            }
            other => {
                self.connection = other;
                return phase;
            }
        }
        match phase {
            Phase::Connecting { claim, record, credential, earlier, .. } => {
                self.limit = None;
                self.present(claim, record, credential, earlier, now, effects)
            }
            phase => phase,
        }
    }

    /// Takes the connection for a request for `grant`, if it stands. Any other connection is dropped.
    pub(super) fn take_connection(&mut self, grant: Option<&Grant>) -> Option<Op> {
        match (std::mem::take(&mut self.connection), grant) {
            (Connection::Standing { op, to }, Some(grant)) if to == Destination::of(grant) => Some(op),
            _ => None,
        }
    }

    /// The outcome of a flight that could not connect. It has presented nothing since its last mark.
    pub(super) fn unconnected(&self, fault: ConnectFault) -> Outcome {
        Outcome::without(match fault {
            ConnectFault::Throttled(span) => Trouble { reason: Reason::Throttled, retry_after: Some(span) },
            ConnectFault::NotSent(why) => match self.profile.judge(Evidence::NotSent(why)) {
                Judgement::Unspent(trouble) => trouble,
                _ => Trouble::new(Reason::Unreachable),
            },
        })
    }
}

/// Replaces the answer of a source that did not answer in time.
pub(super) const UNANSWERED: ConnectFault = ConnectFault::NotSent(NotSent::Unreachable);
