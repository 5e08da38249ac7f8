//! Faults and external events. These are crashes, losses, logins and the passing of time.

use std::sync::Arc;

use tokenkeeper_actors::law::flight::{ConnectFault, FlightEffect, FlightEvent};
use tokenkeeper_actors::law::ledger::{Change, Login, LoginAccess};
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent};
use tokenkeeper_actors::values::{AccessToken, Epoch, FlightId, RenewalPlan, Scopes, StoreFault, TokenKind, Validity};

use crate::bounds::Span;
use crate::identity;
use crate::model::binding;
use crate::session::Session;
use crate::sightings::Sight;
use crate::state::{Late, Process, is_commit};
use crate::step::Step;

impl Step<'_> {
    /// Reports a lost answer to the flight. The server may yet process the request.
    pub(crate) fn lose_answer(&mut self, flight: FlightId, how: Lost) {
        let Some(request) = self.state.wire.iter_mut().find(|request| request.by == flight && request.awaited) else {
            return;
        };
        request.awaited = false;
        let (op, rt) = (request.op, request.rt);
        Arc::make_mut(&mut self.state.server).lose(rt, flight);
        // The flight may write another mark.
        self.seat(flight).into_iter().for_each(|seat| seat.marked = false);
        self.feed(flight, FlightEvent::Sent(op, Evidence::Lost(how)));
    }

    /// Reports to the flight that the server is unreachable, to a connection or to a request. Nothing was sent.
    pub(crate) fn unsent(&mut self, flight: FlightId) {
        self.state.left.unsent -= 1;
        let goes_out = |effect: &FlightEffect| matches!(effect, FlightEffect::Send { .. } | FlightEffect::Connect(..));
        let why = NotSent::Unreachable;
        match self.take_pending(flight, goes_out) {
            Some(FlightEffect::Send { op, .. }) => self.feed(flight, FlightEvent::Sent(op, Evidence::NotSent(why))),
            Some(FlightEffect::Connect(op, _)) => {
                self.saw(Sight::Unconnected);
                self.feed(flight, FlightEvent::Connected(op, Err(ConnectFault::NotSent(why))));
            }
            _ => {}
        }
    }

    /// Reports to the flight that its commit was not written. It will not be written later either.
    pub(crate) fn fail_save(&mut self, flight: FlightId) {
        self.state.left.failed_saves -= 1;
        if let Some(FlightEffect::Change(op, _)) = self.take_pending(flight, is_commit) {
            self.feed(flight, FlightEvent::Changed(op, Err(StoreFault::Failed)));
        }
    }

    pub(crate) fn crash(&mut self, number: usize) {
        self.state.left.crashes -= 1;
        let leased = self.leased();
        let is_of_it = |flight: FlightId| identity::process_of(flight) == number;
        if self.state.wire.iter().any(|request| is_of_it(request.by) && request.awaited) {
            self.saw(Sight::CrashMidSend);
        }
        let crashed = Arc::clone(&self.state.processes[number]);
        for request in self.state.wire.iter_mut().filter(|request| is_of_it(request.by)) {
            request.awaited = false;
        }
        let writes = |effect: &FlightEffect| matches!(effect, FlightEffect::Change(..));
        self.state.late.retain(|late| !is_of_it(late.flight) || leased && writes(&late.effect));
        for seat in crashed.seats.iter().filter(|_| leased) {
            // A write that is on its way to another host may still arrive.
            let pending = seat.pending.iter().map(|pending| &pending.effect).filter(|effect| writes(effect));
            let flight = seat.flight.id();
            self.state.late.extend(pending.map(|effect| Late { flight, effect: effect.clone() }));
        }
        let claims = self.model.config.claims;
        self.store().0.died(is_of_it, claims);
        let (flights, begun) = (crashed.session.flights, crashed.session.begun);
        let session = Session::new(flights, begun, self.state.store.record.view(), self.state.elapsed());
        *self.process(number) = Process::new(session);
    }

    pub(crate) fn lose_claim(&mut self, epoch: Epoch) {
        self.state.left.claim_losses -= 1;
        let holder = self.state.store.holders().find(|(held, _)| *held == epoch);
        if self.state.wire.iter().any(|request| Some((epoch, request.by)) == holder) {
            self.saw(Sight::LostMidSend);
        }
        self.store().0.lose(epoch);
    }

    pub(crate) fn login(&mut self) {
        self.state.left.logins -= 1;
        if self.state.wire.iter().any(|request| request.awaited) {
            self.saw(Sight::LoginMidSend);
        }
        let rt = Arc::make_mut(&mut self.state.server).sign_in();
        let at = self.state.moment(0, false);
        let access =
            LoginAccess { token: AccessToken::new("at"), kind: TokenKind::Bearer, validity: Validity::new(at, None) };
        let login = Login {
            binding: binding(),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Some(rt.credential(&self.model.equipment.digests)),
            access: Some(access),
            at,
            begun_on: None,
        };
        self.change(&Change::Install(Box::new(login)), false);
    }

    /// Time passes. A request whose time-out has passed is no longer processed.
    pub(crate) fn pass(&mut self, span: Span) {
        let left = &mut self.state.left;
        match span {
            Span::Second => {}
            Span::Lull => left.lulls -= 1,
            Span::Wait => left.waits -= 1,
            Span::Pause => left.pauses = left.pauses.saturating_sub(1),
        }
        self.state.now += span.millis();
        let now = self.state.elapsed();
        let overdue: Vec<_> = self.state.wire.iter().filter(|request| request.ends <= now).cloned().collect();
        for request in overdue {
            if request.awaited {
                self.state.left.lost_answers -= 1;
                self.lose_answer(request.by, Lost::TimedOut);
            }
            self.state.wire.retain(|other| (other.by, other.op) != (request.by, request.op));
        }
    }
}
