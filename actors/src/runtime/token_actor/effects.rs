//! Carries out the effects of an actor's session machine.

use std::sync::Arc;

use super::TokenState;
use crate::law::flight::{FlightEvent, Urgency};
use crate::law::login::{LoginConclusion, LoginReport};
use crate::law::session::{LoggedOut, Published, SessionEffect, SessionEvent};
use crate::ports::store::{EventKind, TokenStore};
use crate::runtime::messages::TokenMessage;
use crate::runtime::state::SessionState;
use crate::runtime::{events, flight_task, login_task};
use crate::values::{LoginReason, Now, ServerIdentity};

impl TokenState {
    pub(super) fn perform(&mut self, effects: Vec<SessionEffect>, now: Now) {
        for effect in effects {
            if self.superseded {
                return;
            }
            self.carry_out(effect, now);
        }
    }

    fn carry_out(&mut self, effect: SessionEffect, now: Now) {
        match effect {
            SessionEffect::Publish(published) => self.publish(*published),
            SessionEffect::Answer(id, answer) => {
                if let Ok(lease) = &answer {
                    lease.belongs_to(&self.slot.identity);
                    self.slot.usage.note();
                }
                if let Some(request) = self.waiters.leave(id) {
                    request.answer_token(answer);
                }
            }
            SessionEffect::AnswerRefusal(id, answer) => {
                if let Some(request) = self.replies.leave(id) {
                    request.answer_refusal(answer);
                }
            }
            SessionEffect::AnswerInstall(id, answer) => {
                if let Ok(view) = &answer {
                    let generation = view.lease.as_ref().map(|lease| lease.generation());
                    events::publish(&self.core, &self.slot, None, EventKind::LoggedIn, None, generation);
                }
                if let Some(request) = self.replies.leave(id) {
                    request.answer_install(answer);
                }
            }
            SessionEffect::AnswerLogout(id, answer) => {
                if answer.is_ok() {
                    events::publish(&self.core, &self.slot, None, EventKind::LoggedOut, None, None);
                }
                let revoking = self.revoking.take();
                match (self.replies.leave(id), answer, revoking) {
                    (Some(request), Ok(done), Some(revoking)) if done.revocation.is_some() => {
                        let timeout = self.slot.plan.policy.revocation_timeout;
                        self.core.spawn_tracked(async move {
                            let revocation = Some(revoking.outcome(timeout).await);
                            request.answer_logout(Ok(LoggedOut { revocation, ..done }));
                        });
                    }
                    (Some(request), answer, _) => request.answer_logout(answer),
                    (None, ..) => {}
                }
            }
            SessionEffect::AnswerConfigure(id, answer) => {
                if let Some(request) = self.replies.leave(id) {
                    request.answer_configure(answer);
                }
            }
            SessionEffect::Fly(order) => {
                self.background_flight = (order.urgency != Urgency::Callers).then_some(order.flight);
                flight_task::spawn(&self.core, &self.slot, *order);
            }
            SessionEffect::TellLoggedOut(flight, epoch) => {
                self.slot.notify_flights(Some(flight), &FlightEvent::LoggedOut(epoch));
            }
            SessionEffect::AnswerLogin(id, answer) => {
                if let Some(request) = self.replies.leave(id) {
                    request.answer_login(answer);
                }
            }
            SessionEffect::SignIn(order) => match &self.slot.plan.login {
                Some(source) => login_task::spawn(&self.core, &self.slot, Arc::clone(source), *order),
                None => {
                    let result = Err(LoginReason::SourceMissing);
                    let conclusion = LoginConclusion { result, view: None, unstored: None };
                    let report = LoginReport::Concluded(Box::new(conclusion));
                    self.slot.report_attempt(order.attempt, Some(report));
                }
            },
            SessionEffect::TellAttempt(attempt, event) => self.slot.notify_attempts(Some(attempt), &event),
            SessionEffect::DropLogins => {
                let (store, identity) = self.store();
                self.core.spawn_tracked(async move {
                    if let Err(fault) = store.drop_logins(&identity).await {
                        tracing::debug!(%identity, %fault, "pending logins were left behind");
                    }
                });
            }
            SessionEffect::Load(op) => {
                self.reading = Some(op);
                let (store, identity) = self.store();
                self.core.spawn(self.notified(async move {
                    let answer = store.load(&identity).await;
                    SessionEvent::Loaded(op, answer.map(|record| record.map(|record| Box::new(record.view()))))
                }));
            }
            SessionEffect::Reserve(op, digest) => {
                let (store, identity) = self.store();
                self.core.spawn(self.notified(async move {
                    SessionEvent::Reserved(op, store.reserve(&identity, digest, now.moment).await)
                }));
            }
            SessionEffect::Change(op, change) => {
                let (store, identity) = self.store();
                self.core.spawn_tracked(
                    self.notified(async move { SessionEvent::Changed(op, store.change(&identity, *change).await) }),
                );
            }
            SessionEffect::Note(flight, failure) => {
                events::flight_failed(&self.core, &self.slot, flight, failure);
            }
            SessionEffect::Revoke(revocation) => {
                let (sources, identity) = (Arc::clone(&self.slot.plan.sources), self.slot.identity.clone());
                let (work, revoking) = self.core.revocations.begin(sources, identity, *revocation);
                self.core.spawn_tracked(work);
                self.revoking = Some(revoking);
            }
        }
    }

    /// Writes the published value to the cell, for hits and successors.
    fn publish(&mut self, published: Published) {
        if let Some(hit) = &published.hit {
            hit.lease.belongs_to(&self.slot.identity);
        }
        if let Some(hit) = published.hit.as_ref().filter(|_| self.slot.plan.follows_use()) {
            self.slot.usage.begin(hit.lease.generation());
        }
        self.superseded = !self.slot.cell.publish(self.incarnation, published);
        // The watchers are looked up after the write. A watch that began before the write is notified, and a later one
        // reads the new state.
        if let Some(watchers) = self.slot.watchers.get().filter(|_| !self.superseded) {
            watchers.send_replace(SessionState::from(&**self.slot.cell.read()));
        }
    }

    fn store(&self) -> (Arc<dyn TokenStore>, ServerIdentity) {
        (Arc::clone(&self.core.ports.store), self.slot.identity.clone())
    }

    /// Sends the outcome of `work` to this incarnation. The outcome is lost if this incarnation has ended by then.
    fn notified(
        &self,
        work: impl Future<Output = SessionEvent> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (slot, incarnation) = (Arc::clone(&self.slot), self.incarnation);
        async move {
            let event = work.await;
            slot.notify_incarnation(incarnation, TokenMessage::event(event));
        }
    }
}
