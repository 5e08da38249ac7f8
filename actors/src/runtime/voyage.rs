//! The driver of one flight: carries out what the flight machine wants, in a task that no actor's end ends (law 5).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::core::Core;
use super::news;
use super::shutdown::Unsaved;
use super::slot::Slot;
use super::timer;
use crate::law::flight::{Flight, FlightEffect, FlightEvent, Order, Report};
use crate::ports::observer::EffectName;
use crate::ports::permit::{Permission, Permit};
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope};
use crate::values::FlightId;

/// No sleep is longer than this (law 14).
const LONGEST: Duration = Duration::from_secs(60);

/// Begins the flight that `order` asks for.
pub(crate) fn depart(core: &Arc<Core>, slot: &Arc<Slot>, order: Order) {
    let told = slot.take_off(order.flight);
    if core.is_stopping() {
        slot.tell_flights(Some(order.flight), &FlightEvent::Shutdown);
    }
    // Not below whoever ordered it: what it does is done for everyone who waits.
    let span = tracing::info_span!(parent: None, "flight", identity = %slot.identity, id = %order.flight);
    let (machine, effects) = Flight::start(order, Arc::clone(&slot.plan.equipment));
    let voyage = Voyage {
        id: machine.id(),
        machine,
        core: Arc::clone(core),
        slot: Arc::clone(slot),
        told,
        answers: FuturesUnordered::new(),
        duties: FuturesUnordered::new(),
        claim: None,
        permit: None,
        over: false,
    };
    core.chore(voyage.run(effects).instrument(span));
}

/// What the flight waits for.
enum Answer {
    Event(FlightEvent),
    /// Leave was given for the request stamped so.
    Permit(FlightEvent, Permit),
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A flight under way. Dropped before its end, by a panic or with its runtime, it leaves its mark and ends its claim.
struct Voyage {
    id: FlightId,
    machine: Flight,
    core: Arc<Core>,
    slot: Arc<Slot>,
    told: mpsc::UnboundedReceiver<FlightEvent>,
    answers: FuturesUnordered<Pending<Answer>>,
    /// What is to be done before the end, and tells the machine nothing.
    duties: FuturesUnordered<Pending<()>>,
    /// What the machine holds: it is given back should the flight break off.
    claim: Option<Claim>,
    permit: Option<Permit>,
    over: bool,
}

impl Voyage {
    async fn run(mut self, effects: Vec<FlightEffect>) {
        self.perform(effects);
        while !self.machine.is_over() {
            let event = self.next().await;
            let effects = self.machine.handle(event, self.core.now());
            self.perform(effects);
        }
        self.over = true;
        self.tell(None);
        while self.duties.next().await.is_some() {}
    }

    /// What happens next: what the flight is told goes first, then answers, then time.
    async fn next(&mut self) -> FlightEvent {
        let now = self.core.ports.clock.now().elapsed;
        let wait = self.machine.next_wake().map_or(LONGEST, |wake| wake.since(now)).min(LONGEST);
        let answer = tokio::select! {
            biased;
            Some(event) = self.told.recv() => return event,
            Some(answer) = self.answers.next(), if !self.answers.is_empty() => answer,
            Some(()) = self.duties.next(), if !self.duties.is_empty() => return FlightEvent::Tick,
            () = timer::pause(wait) => return FlightEvent::Tick,
        };
        match answer {
            Answer::Permit(event, permit) => {
                self.permit = Some(permit);
                event
            }
            Answer::Event(event) => {
                if let FlightEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) = &event {
                    self.claim = Some(claim.clone());
                }
                event
            }
        }
    }

    fn perform(&mut self, effects: Vec<FlightEffect>) {
        for effect in effects {
            self.observe_before(effect.name());
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: FlightEffect) {
        let name = effect.name();
        let (store, identity, id) = (Arc::clone(&self.core.ports.store), self.slot.identity.clone(), self.id);
        match effect {
            FlightEffect::AskPermit { op, issuer, urgency } => {
                let permits = Arc::clone(&self.core.ports.permits);
                self.await_answer(name, async move {
                    match permits.ask(issuer.as_ref(), urgency).await {
                        Permission::Granted(permit) => Answer::Permit(FlightEvent::Permitted(op), permit),
                        Permission::Held(span) => Answer::Event(FlightEvent::Held(op, span)),
                    }
                });
            }
            FlightEffect::ReturnPermit { throttle } => {
                if let Some(permit) = self.permit.take() {
                    permit.give_back(throttle);
                }
                self.observe_after(name);
            }
            FlightEffect::Load(op) => {
                self.await_event(name, async move { FlightEvent::Loaded(op, store.load(&identity).await) });
            }
            FlightEffect::Claim { op, epoch, at_least } => self.await_event(name, async move {
                FlightEvent::Claimed(op, store.claim(&identity, ClaimScope::Spend(epoch), id, at_least).await)
            }),
            FlightEffect::Renew { op, claim, at_least } => self.await_event(name, async move {
                FlightEvent::Renewed(op, store.renew(&identity, &claim, at_least).await)
            }),
            FlightEffect::EndClaim { claim, ending } => {
                self.claim.take_if(|held| *held == claim);
                let observed = self.observer(name);
                self.duties.push(Box::pin(async move {
                    if let Err(fault) = store.end_claim(&identity, &claim, ending).await {
                        tracing::debug!(%fault, "a claim could not be ended");
                    }
                    observed();
                }));
            }
            FlightEffect::Change(op, change) => {
                self.await_event(name, async move { FlightEvent::Changed(op, store.change(&identity, change).await) });
            }
            FlightEffect::Send(op, request) => {
                let source = Arc::clone(&self.slot.plan.source);
                self.await_event(name, async move { FlightEvent::Sent(op, source.request(&identity, *request).await) });
            }
            FlightEffect::Revoke(revocation) => {
                let source = Arc::clone(&self.slot.plan.source);
                let observed = self.observer(name);
                self.duties.push(Box::pin(async move {
                    let revoked = source.revoke(&identity, *revocation).await;
                    tracing::debug!(revoked, "revoked what nobody will use");
                    observed();
                }));
            }
            FlightEffect::Report(report) => {
                news::tell_report(&self.core, &self.slot, id, &report);
                if let Report::Lost { noted } = report {
                    self.core.note_unsaved(Unsaved { identity, noted });
                }
                self.tell(Some(report));
                self.observe_after(name);
            }
        }
    }

    fn tell(&self, report: Option<Report>) {
        if self.slot.report(self.id, report) {
            self.core.start(&self.slot);
        }
    }

    fn await_event(&mut self, name: EffectName, work: impl Future<Output = FlightEvent> + Send + 'static) {
        self.await_answer(name, async move { Answer::Event(work.await) });
    }

    fn await_answer(&mut self, name: EffectName, work: impl Future<Output = Answer> + Send + 'static) {
        let observed = self.observer(name);
        self.answers.push(Box::pin(async move {
            let answer = work.await;
            observed();
            answer
        }));
    }

    // Observers.

    fn observe_before(&self, name: EffectName) {
        if let Some(observer) = &self.core.ports.observer {
            observer.before(&self.slot.identity, self.id, name);
        }
    }

    fn observe_after(&self, name: EffectName) {
        self.observer(name)();
    }

    /// Tells the observer that `name` was carried out.
    fn observer(&self, name: EffectName) -> impl FnOnce() + Send + 'static {
        let observer = self.core.ports.observer.clone().map(|observer| (observer, self.slot.identity.clone(), self.id));
        move || {
            if let Some((observer, identity, id)) = observer {
                observer.after(&identity, id, name);
            }
        }
    }
}

impl Drop for Voyage {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Its mark stays, so that whoever comes next knows that the token may be spent; its claim is of no use any more,
        // and one that is on its way must not stay behind either. What is being written is written.
        let (store, identity) = (Arc::clone(&self.core.ports.store), self.slot.identity.clone());
        let (held, mut answers) = (self.claim.take(), std::mem::take(&mut self.answers));
        let mut duties = std::mem::take(&mut self.duties);
        self.core.chore(async move {
            let mut claims: Vec<Claim> = held.into_iter().collect();
            while let Some(answer) = answers.next().await {
                if let Answer::Event(FlightEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim)))) = answer {
                    claims.push(claim);
                }
            }
            for claim in claims {
                // It runs out by itself, or with this process.
                let _ = store.end_claim(&identity, &claim, ClaimEnding::Abandoned).await;
            }
            while duties.next().await.is_some() {}
        });
        self.tell(None);
    }
}
