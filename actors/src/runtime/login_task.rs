//! The task of one login attempt. It drives the attempt machine, and outlives the actors (laws 5 and 21).

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::core::Core;
use super::events;
use super::shutdown::Unsaved;
use super::slot::Slot;
use super::timer;
use crate::law::login::{LoginAttempt, LoginEffect, LoginEvent, LoginOrder, LoginReport};
use crate::ports::login::{LoginSource, Polled, Redeemed};
use crate::ports::observer::LoginEffectName;
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding};
use crate::values::{AttemptId, LoginReason, MAX_SLEEP, StoreFault};

/// The time limit of background work, such as ending a claim or revoking a token.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a store operation that panicked. It may have taken effect.
const UNKNOWN: StoreFault = StoreFault::TimedOut;

/// Spawns the attempt that `order` describes, with `source`.
pub(crate) fn spawn(core: &Arc<Core>, slot: &Arc<Slot>, source: Arc<dyn LoginSource>, order: LoginOrder) {
    let messages = slot.register_attempt(order.attempt);
    if let Some(until) = core.stops_at() {
        slot.notify_attempts(Some(order.attempt), &LoginEvent::Shutdown(until));
    }
    let span = tracing::info_span!(parent: None, "login", identity = %slot.identity, id = %order.attempt);
    let equipment = Arc::clone(&slot.plan.login_equipment);
    let (machine, effects) = LoginAttempt::start(slot.identity.clone(), order, equipment, core.now());
    let task = LoginTask {
        id: machine.id(),
        machine,
        core: Arc::clone(core),
        slot: Arc::clone(slot),
        source,
        messages,
        answers: FuturesUnordered::new(),
        background: FuturesUnordered::new(),
        claims: Vec::new(),
        over: false,
    };
    core.spawn_tracked(task.run(effects).instrument(span));
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A running attempt. If it is dropped before its end, by a panic or with its tokio runtime, its prompt stays, and its
/// operations in flight go on.
struct LoginTask {
    id: AttemptId,
    machine: LoginAttempt,
    core: Arc<Core>,
    slot: Arc<Slot>,
    source: Arc<dyn LoginSource>,
    messages: mpsc::UnboundedReceiver<LoginEvent>,
    answers: FuturesUnordered<Pending<LoginEvent>>,
    /// Work that must be done before the task ends, and whose result the machine does not get.
    background: FuturesUnordered<Pending<()>>,
    /// The claims that the machine holds. They are ended if the attempt is dropped.
    claims: Vec<Claim>,
    over: bool,
}

impl LoginTask {
    async fn run(mut self, effects: Vec<LoginEffect>) {
        self.perform(effects);
        while !self.machine.is_over() {
            let event = self.next().await;
            let effects = self.machine.handle(event, self.core.now());
            self.perform(effects);
        }
        self.over = true;
        self.report(None);
        while self.background.next().await.is_some() {}
    }

    /// Waits for the next event. Messages come first, then answers, then timers.
    async fn next(&mut self) -> LoginEvent {
        let now = self.core.ports.clock.now().elapsed;
        let wait = self.machine.next_wake().map_or(MAX_SLEEP, |wake| wake.since(now)).min(MAX_SLEEP);
        let event = tokio::select! {
            biased;
            Some(message) = self.messages.recv() => message,
            Some(event) = self.answers.next(), if !self.answers.is_empty() => event,
            Some(()) = self.background.next(), if !self.background.is_empty() => LoginEvent::Tick,
            () = timer::pause(wait) => LoginEvent::Tick,
        };
        if let LoginEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) = &event {
            self.claims.push(claim.clone());
        }
        event
    }

    fn perform(&mut self, effects: Vec<LoginEffect>) {
        for effect in effects {
            let name = effect.name();
            self.observe(name, true);
            self.carry_out(effect, name);
        }
    }

    fn carry_out(&mut self, effect: LoginEffect, name: LoginEffectName) {
        let (store, identity, id) = (Arc::clone(&self.core.ports.store), self.slot.identity.clone(), self.id);
        let (source, now) = (Arc::clone(&self.source), self.core.ports.clock.now());
        match effect {
            LoginEffect::Claim { op, scope, at_least } => {
                let work = async move { store.claim(&identity, scope, id.holder(), at_least).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Claimed(op, answer));
            }
            LoginEffect::Renew { op, claim, at_least } => {
                let work = async move { store.renew(&identity, &claim, at_least).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Renewed(op, answer));
            }
            LoginEffect::EndClaim(claim) => {
                self.claims.retain(|held| held.scope != claim.scope);
                self.run_in_background(name, async move {
                    if let Err(fault) = store.end_claim(&identity, &claim, ClaimEnding::Released).await {
                        tracing::debug!(%fault, "a claim could not be ended");
                    }
                });
            }
            LoginEffect::Load(op) => {
                let work = async move { store.load(&identity).await };
                self.await_answer(name, work, Err(StoreFault::Failed), move |answer| LoginEvent::Loaded(op, answer));
            }
            LoginEffect::Prepare(op, preparation) => {
                let work = async move { source.prepare(&identity, *preparation).await };
                let broken = Err(LoginReason::Aborted);
                self.await_answer(name, work, broken, move |answer| LoginEvent::Prepared(op, answer));
            }
            LoginEffect::Put(op, key, pending) => {
                let work = async move { store.put_login(key, *pending).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Put(op, answer));
            }
            LoginEffect::Peek(op, key) => {
                let work = async move { Ok(store.peek_login(&key, now).await?.map(Box::new)) };
                self.await_answer(name, work, Err(StoreFault::Failed), move |answer| LoginEvent::Peeked(op, answer));
            }
            LoginEffect::Take(op, key) => {
                let work = async move { Ok(store.take_login(&key, now).await?.map(Box::new)) };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Taken(op, answer));
            }
            LoginEffect::Discard(key) => self.run_in_background(name, async move {
                drop(store.take_login(&key, now).await);
            }),
            LoginEffect::Show(op, pending) => {
                let work = async move { source.offer(&pending) };
                let broken = Err(LoginReason::Aborted);
                self.await_answer(name, work, broken, move |answer| LoginEvent::Shown(op, answer));
            }
            LoginEffect::Judge(op, pending, callback) => {
                let work = async move { source.read(&pending, &callback).await };
                let broken = Err(LoginReason::Aborted);
                self.await_answer(name, work, broken, move |answer| LoginEvent::Judged(op, answer));
            }
            LoginEffect::Redeem(op, redemption) => {
                let work = async move { source.redeem(&identity, *redemption).await };
                self.await_answer(name, work, Redeemed::Lost, move |answer| LoginEvent::Redeemed(op, answer));
            }
            LoginEffect::Poll(op, pending) => {
                let broken = Polled::Pending;
                let late = Polled::Pending;
                let work = async move {
                    tokio::select! {
                        biased;
                        polled = source.poll(&identity, &pending) => polled,
                        () = timer::pause(BACKGROUND_TIMEOUT) => late,
                    }
                };
                self.await_answer(name, work, broken, move |answer| LoginEvent::Polled(op, answer));
            }
            LoginEffect::Reserve(op, digest) => {
                let work = async move { store.reserve(&identity, digest, now).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Reserved(op, answer));
            }
            LoginEffect::Change(op, change) => {
                let work = async move { store.change(&identity, change).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| LoginEvent::Changed(op, answer));
            }
            LoginEffect::Revoke(revocation) => {
                let sources = Arc::clone(&self.slot.plan.sources);
                let (work, _) = self.core.revocations.begin(sources, identity, *revocation);
                self.run_in_background(name, work);
            }
            LoginEffect::Report(report) => {
                // A panic in the host's log subscriber must not end the attempt.
                catch_panic(|| events::login_reported(&self.core, &self.slot, id, &report));
                if matches!(report, LoginReport::Lost) {
                    self.core.note_unsaved(Unsaved { identity, noted: false });
                }
                self.report(Some(report));
                self.observe(name, false);
            }
        }
    }

    /// Reports to the session. `None` reports the end.
    fn report(&self, report: Option<LoginReport>) {
        if self.slot.report_attempt(self.id, report) {
            self.core.start(&self.slot);
        }
    }

    /// Runs work whose answer the machine waits for. If the port panics, the answer is `broken`, because a defect of a port
    /// must not end the machine, which may hold the only copy of a login.
    fn await_answer<T: Send + 'static>(
        &mut self,
        name: LoginEffectName,
        work: impl Future<Output = T> + Send + 'static,
        broken: T,
        event: impl FnOnce(T) -> LoginEvent + Send + 'static,
    ) {
        let observed = self.observed(name);
        self.answers.push(Box::pin(async move {
            let answer = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(broken);
            observed();
            event(answer)
        }));
    }

    /// Runs work with a time limit. Only the end of the attempt waits for it.
    fn run_in_background(&mut self, name: LoginEffectName, work: impl Future<Output = ()> + Send + 'static) {
        let observed = self.observed(name);
        self.background.push(Box::pin(async move {
            tokio::select! {
                biased;
                _ = AssertUnwindSafe(work).catch_unwind() => {}
                () = timer::pause(BACKGROUND_TIMEOUT) => {}
            }
            observed();
        }));
    }

    // Observers.

    fn observe(&self, name: LoginEffectName, before: bool) {
        if let Some(observer) = &self.core.ports.observer {
            catch_panic(|| match before {
                true => observer.before_login(&self.slot.identity, self.id, name),
                false => observer.after_login(&self.slot.identity, self.id, name),
            });
        }
    }

    /// Returns a function that notifies the observer that `name` was carried out.
    fn observed(&self, name: LoginEffectName) -> impl FnOnce() + Send + 'static {
        let observer = self.core.ports.observer.clone().map(|observer| (observer, self.slot.identity.clone(), self.id));
        move || {
            if let Some((observer, identity, id)) = observer {
                catch_panic(|| observer.after_login(&identity, id, name));
            }
        }
    }
}

/// Calls code of the host, and catches a panic, which must not end the machine.
fn catch_panic(call: impl FnOnce()) {
    drop(std::panic::catch_unwind(AssertUnwindSafe(call)));
}

impl Drop for LoginTask {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // The prompt stays in the record, and shows whether an answer was being redeemed. The operations in flight go
        // on, and the claims are kept until these operations have ended.
        let (store, identity) = (Arc::clone(&self.core.ports.store), self.slot.identity.clone());
        let (mut claims, mut answers) = (std::mem::take(&mut self.claims), std::mem::take(&mut self.answers));
        let mut background = std::mem::take(&mut self.background);
        let rest = async move {
            while let Some(event) = answers.next().await {
                if let LoginEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) = event {
                    claims.push(claim);
                }
            }
            for claim in claims {
                // A claim that cannot be ended runs out by itself, or ends with this process.
                let _ = store.end_claim(&identity, &claim, ClaimEnding::Released).await;
            }
            while background.next().await.is_some() {}
        };
        // The panic may have come from the spawner, and a second panic would end the process.
        catch_panic(|| self.core.spawn_tracked(rest));
        self.report(None);
    }
}
