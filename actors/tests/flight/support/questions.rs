//! The effects of a flight that wait for an answer, each with the ways to answer it.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{ConnectFault, FlightEffect, FlightEvent, Op, TokenRequest};
use tokenkeeper_actors::law::ledger::{Change, Changed, apply};
use tokenkeeper_actors::law::profile::Evidence;
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::StoreFault;
use tokenkeeper_actors::values::record::Grant;

use super::fixtures::{EPOCH, ME};
use super::story::Story;

impl Story {
    /// The next effect, which must be of this kind.
    pub(super) fn next(&mut self, wanted: EffectName) -> FlightEffect {
        let effect = self.emitted.pop_front();
        let effect = effect.unwrap_or_else(|| panic!("{wanted:?} was due, and nothing came: {:?}", self.flight));
        assert_eq!(effect.name(), wanted, "in the place of {effect:?}, before {:?}", self.emitted);
        effect
    }

    /// The issuer grants a permit.
    pub(crate) fn permit(&mut self) {
        let op = self.permit_asked();
        self.tell(FlightEvent::Permitted(op));
    }

    /// The issuer was asked and has not answered yet.
    pub(crate) fn permit_asked(&mut self) -> Op {
        match self.next(EffectName::AskPermit) {
            FlightEffect::AskPermit { op, .. } => op,
            other => panic!("{other:?}"),
        }
    }

    /// The store answers a read with its record.
    pub(crate) fn load(&mut self) {
        let op = self.load_asked();
        self.loaded(op);
    }

    pub(crate) fn load_fails(&mut self, fault: StoreFault) {
        let op = self.load_asked();
        self.tell(FlightEvent::Loaded(op, Err(fault)));
    }

    /// The store was asked and has not answered yet.
    pub(crate) fn load_asked(&mut self) -> Op {
        match self.next(EffectName::Load) {
            FlightEffect::Load(op) => op,
            other => panic!("{other:?}"),
        }
    }

    /// The store answers a read with its current record.
    pub(crate) fn loaded(&mut self, op: Op) {
        let record = self.record.clone().map(Box::new);
        self.tell(FlightEvent::Loaded(op, Ok(record)));
    }

    /// A claim is granted as a kernel lock, without a predecessor.
    pub(crate) fn claim(&mut self) {
        self.claim_after(Predecessor::Gone);
    }

    /// A claim is granted as a kernel lock.
    pub(crate) fn claim_after(&mut self, predecessor: Predecessor) {
        let op = self.claim_asked();
        self.claimed(op, granted(None, predecessor));
    }

    /// A claim is granted as a lease for `remaining`, without a predecessor.
    pub(crate) fn lease(&mut self, remaining: Duration) {
        let op = self.claim_asked();
        self.claimed(op, granted(Some(remaining), Predecessor::Gone));
    }

    pub(crate) fn claim_contended(&mut self) {
        let op = self.claim_asked();
        self.claimed(op, ClaimAnswer::Contended);
    }

    pub(crate) fn claim_fails(&mut self, fault: StoreFault) {
        let op = self.claim_asked();
        self.tell(FlightEvent::Claimed(op, Err(fault)));
    }

    /// The claim of the order's epoch was asked for, for the time of a request and its writes, and is not answered yet.
    pub(crate) fn claim_asked(&mut self) -> Op {
        match self.next(EffectName::Claim) {
            FlightEffect::Claim { op, .. } => op,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn claimed(&mut self, op: Op, answer: ClaimAnswer) {
        self.tell(FlightEvent::Claimed(op, Ok(answer)));
    }

    /// The next renewal is asked for, and answered.
    pub(crate) fn renew(&mut self, answer: Result<Renewed, StoreFault>) {
        let op = self.renewal_asked();
        self.tell(FlightEvent::Renewed(op, answer));
    }

    pub(crate) fn renewal_asked(&mut self) -> Op {
        match self.next(EffectName::Renew) {
            FlightEffect::Renew { op, claim, .. } => {
                assert_eq!(claim.holder, ME);
                op
            }
            other => panic!("{other:?}"),
        }
    }

    /// A write is carried out and answered.
    pub(crate) fn change(&mut self, name: EffectName) {
        let (op, change) = self.change_asked(name);
        let answer = self.write(&change);
        self.tell(FlightEvent::Changed(op, Ok(answer)));
    }

    /// A write fails and changes nothing.
    pub(crate) fn change_fails(&mut self, name: EffectName, fault: StoreFault) {
        let (op, _) = self.change_asked(name);
        self.tell(FlightEvent::Changed(op, Err(fault)));
    }

    /// A write is carried out, and answered with a time-out.
    pub(crate) fn change_lands_unheard(&mut self, name: EffectName) {
        let (op, change) = self.change_asked(name);
        assert!(matches!(self.write(&change), Changed::Applied { .. }), "{change:?} should land");
        self.tell(FlightEvent::Changed(op, Err(StoreFault::TimedOut)));
    }

    /// A write that was asked for is carried out and answered.
    pub(crate) fn written(&mut self, op: Op, change: &Change) {
        let answer = self.write(change);
        self.tell(FlightEvent::Changed(op, Ok(answer)));
    }

    /// A write was asked for, and is neither carried out nor answered yet.
    pub(crate) fn change_asked(&mut self, name: EffectName) -> (Op, Change) {
        match self.next(name) {
            FlightEffect::Change(op, change) => (op, change),
            other => panic!("{other:?}"),
        }
    }

    /// Carries a write out, by the rules that every store follows.
    pub(crate) fn write(&mut self, change: &Change) -> Changed {
        let before = self.record.clone().map(Box::new);
        match apply(before.as_deref(), change) {
            Ok(after) => {
                self.record = Some(after.clone());
                Changed::Applied { before, after: Box::new(after) }
            }
            Err(why) => Changed::Conflict { why, current: before },
        }
    }

    /// The token request is sent.
    pub(crate) fn send(&mut self) -> TokenRequest {
        self.send_over().0
    }

    /// The token request is sent. Returns it with the connection that it goes over.
    pub(crate) fn send_over(&mut self) -> (TokenRequest, Option<Op>) {
        match self.next(EffectName::Send) {
            FlightEffect::Send { op, request, connection } => {
                self.sending = Some(op);
                (*request, connection)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The source was asked to connect and has not answered yet, in a story that answers for its connections.
    pub(crate) fn connect_asked(&mut self) -> (Op, Grant) {
        match self.next(EffectName::Connect) {
            FlightEffect::Connect(op, grant) => (op, *grant),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn connected(&mut self, op: Op, answer: Result<(), ConnectFault>) {
        self.tell(FlightEvent::Connected(op, answer));
    }

    /// The token request is sent. Returns its op.
    pub(crate) fn send_asked(&mut self) -> Op {
        self.send();
        self.sending.expect("it was sent")
    }

    /// The source reports on the last request.
    pub(crate) fn answer(&mut self, evidence: Evidence) {
        let op = self.sending.expect("nothing was sent");
        self.tell(FlightEvent::Sent(op, evidence));
    }
}

/// A claim of this flight on [`EPOCH`].
pub(crate) fn granted(remaining: Option<Duration>, predecessor: Predecessor) -> ClaimAnswer {
    ClaimAnswer::Granted(Claim { holder: ME, scope: ClaimScope::Spend(EPOCH), remaining, predecessor })
}
