//! The task of one flight. It drives the flight machine, and outlives the actors (law 5).

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use super::core::Core;
use super::events;
use super::shutdown::Unsaved;
use super::slot::{FlightMessage, Slot};
use super::timer;
use crate::law::flight::{ConnectFault, Flight, FlightEffect, FlightEvent, Op, Order, Report, Urgency};
use crate::law::profile::{Evidence, Lost, NotSent, Refused};
use crate::ports::observer::EffectName;
use crate::ports::permit::{Permission, Permit};
use crate::ports::source::SourceConnection;
use crate::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope};
use crate::values::record::{Grant, Issuer, RenewalPlan};
use crate::values::{FlightId, MAX_SLEEP, StoreFault};

/// The time limit of background work, such as ending a claim or revoking a token.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a store operation that panicked. It may have taken effect.
const UNKNOWN: StoreFault = StoreFault::TimedOut;

/// Spawns the flight that `order` describes.
pub(crate) fn spawn(core: &Arc<Core>, slot: &Arc<Slot>, order: Order) {
    let messages = slot.register_flight(order.flight);
    if let Some(until) = core.stops_at() {
        slot.stop_flights(Some(order.flight), slot.has_callers(), until);
    }
    // The span has no parent, because a flight belongs to all waiters, and not only to the caller that caused it.
    let span = tracing::info_span!(parent: None, "flight", identity = %slot.identity, id = %order.flight);
    let plan = order.renewal.clone();
    let (machine, effects) = Flight::start(order, Arc::clone(&slot.plan.equipment));
    let flight_task = FlightTask {
        id: machine.id(),
        machine,
        core: Arc::clone(core),
        slot: Arc::clone(slot),
        messages,
        plan,
        asking: None,
        connecting: None,
        connection: None,
        answers: FuturesUnordered::new(),
        background: FuturesUnordered::new(),
        claim: None,
        unanswered: 0,
        ending: watch::Sender::new(0),
        permit: None,
        issuer: None,
        is_unused: false,
        wanted: None,
        landed: false,
        over: false,
    };
    core.spawn_tracked(flight_task.run(effects).instrument(span));
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A running flight. If it is dropped before its end, by a panic or with its tokio runtime, its mark stays, and its
/// claim is ended after its request and its writes.
struct FlightTask {
    id: FlightId,
    machine: Flight,
    core: Arc<Core>,
    slot: Arc<Slot>,
    messages: mpsc::UnboundedReceiver<FlightMessage>,
    /// The plan of the order, for which the source prepares.
    plan: RenewalPlan,
    /// The pending request for a permit.
    asking: Option<PendingPermit>,
    /// The pending connection.
    connecting: Option<PendingConnection>,
    /// The connection that was established, with the effect that asked for it.
    connection: Option<(Op, Box<dyn SourceConnection>)>,
    answers: FuturesUnordered<Pending<FlightEvent>>,
    /// Work that must be done before the task ends, and whose result the machine does not get.
    background: FuturesUnordered<Pending<()>>,
    /// The claim that the machine holds. It is ended if the flight is dropped.
    claim: Option<Claim>,
    /// The number of requests and writes that have begun and have no answer yet.
    unanswered: usize,
    /// The number of claims that are being ended in the background.
    ending: watch::Sender<usize>,
    permit: Option<Permit>,
    /// The issuer that the latest permit is for.
    issuer: Option<Issuer>,
    /// Whether nothing was sent since the latest permit was granted.
    is_unused: bool,
    /// Whether callers were waiting when the runtime began to stop; `None` while it runs.
    wanted: Option<bool>,
    landed: bool,
    over: bool,
}

/// A pending request for a permit.
struct PendingPermit {
    op: Op,
    issuer: Option<Issuer>,
    answer: Pending<Permission>,
}

/// A connection that is being established.
struct PendingConnection {
    op: Op,
    answer: Pending<Result<Option<Box<dyn SourceConnection>>, ConnectFault>>,
}

impl FlightTask {
    async fn run(mut self, effects: Vec<FlightEffect>) {
        self.perform(effects);
        while !self.machine.is_over() {
            let event = self.next().await;
            self.step(event);
            // A permit that is granted after the landing would only be returned.
            if let Some(asking) = self.asking.take_if(|_| self.landed) {
                self.step(FlightEvent::Held(asking.op, Duration::ZERO));
            }
        }
        self.over = true;
        self.report(None);
        while self.background.next().await.is_some() {}
    }

    /// Waits for the next event. Messages come first, then answers, then timers.
    async fn next(&mut self) -> FlightEvent {
        let now = self.core.ports.clock.now().elapsed;
        let wait = self.machine.next_wake().map_or(MAX_SLEEP, |wake| wake.since(now)).min(MAX_SLEEP);
        let event = tokio::select! {
            biased;
            Some(message) = self.messages.recv() => match message {
                FlightMessage::Event(event) => event,
                FlightMessage::Shutdown { wanted, until } => {
                    self.wanted.get_or_insert(wanted);
                    FlightEvent::Shutdown(until)
                }
                FlightMessage::Expedite => self.expedite(),
            },
            permission = answer(&mut self.asking) => self.permitted(permission),
            connection = connection(&mut self.connecting) => self.connected(connection),
            Some(event) = self.answers.next(), if !self.answers.is_empty() => event,
            Some(()) = self.background.next(), if !self.background.is_empty() => FlightEvent::Tick,
            () = timer::pause(wait) => FlightEvent::Tick,
        };
        match &event {
            FlightEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim))) => {
                self.claim = Some(claim.clone());
                self.look_for_throttle();
            }
            event if needs_claim(event) => self.unanswered -= 1,
            _ => {}
        }
        event
    }

    /// Hands an event to the machine, and carries out its effects.
    fn step(&mut self, event: FlightEvent) {
        let effects = self.machine.handle(event, self.core.now());
        self.perform(effects);
    }

    /// Asks again for the permit that is pending, with the urgency of callers.
    fn expedite(&mut self) -> FlightEvent {
        if let Some(asking) = self.asking.take() {
            self.ask(asking.op, asking.issuer, Urgency::Callers);
        }
        FlightEvent::Tick
    }

    fn ask(&mut self, op: Op, issuer: Option<Issuer>, urgency: Urgency) {
        let (permits, asked) = (Arc::clone(&self.core.ports.permits), issuer.clone());
        let (sources, slot, plan) = (Arc::clone(&self.slot.plan.sources), Arc::clone(&self.slot), self.plan.clone());
        let answer = Box::pin(async move {
            let prepare = sources.prepare(&slot.identity, &plan, asked.as_ref());
            drop(AssertUnwindSafe(prepare).catch_unwind().await);
            permits.ask(asked.as_ref(), urgency).await
        });
        self.asking = Some(PendingPermit { op, issuer, answer });
    }

    fn permitted(&mut self, permission: Permission) -> FlightEvent {
        let (op, issuer) = self.asking.take().map_or_else(Default::default, |asking| (asking.op, asking.issuer));
        self.observe_after(EffectName::AskPermit);
        match permission {
            Permission::Granted(permit) => {
                self.permit = Some(permit);
                self.issuer = issuer;
                self.is_unused = true;
                FlightEvent::Permitted(op)
            }
            Permission::Held(span) => FlightEvent::Held(op, span),
            Permission::Unavailable => FlightEvent::NoPermit(op),
        }
    }

    /// Connects ahead of the request, unless the issuer was throttled after the permit was granted. An earlier connection
    /// is dropped.
    fn connect(&mut self, op: Op, grant: Grant) {
        let (sources, identity) = (Arc::clone(&self.slot.plan.sources), self.slot.identity.clone());
        let throttled = self.throttle();
        self.connection = None;
        let answer = Box::pin(async move {
            if let Some(left) = throttled {
                return Err(ConnectFault::Throttled(left));
            }
            let connected = AssertUnwindSafe(sources.connect(&identity, &grant)).catch_unwind().await;
            connected.unwrap_or(Err(NotSent::Unreachable)).map_err(ConnectFault::NotSent)
        });
        self.connecting = Some(PendingConnection { op, answer });
    }

    fn connected(&mut self, answer: Result<Option<Box<dyn SourceConnection>>, ConnectFault>) -> FlightEvent {
        let op = self.connecting.take().map_or_else(Op::default, |connecting| connecting.op);
        self.observe_after(EffectName::Connect);
        let connected = answer.map(|connection| self.connection = connection.map(|connection| (op, connection)));
        FlightEvent::Connected(op, connected)
    }

    /// Looks for a throttle that began while the flight waited for its claim. The next steps of the flight do not wait
    /// for this.
    fn look_for_throttle(&mut self) {
        let (permits, issuer) = (Arc::clone(&self.core.ports.permits), self.issuer.clone());
        self.answers.push(Box::pin(async move {
            let look = permits.look_for_throttle(issuer.as_ref());
            drop(AssertUnwindSafe(look).catch_unwind().await);
            FlightEvent::Tick
        }));
    }

    /// The answer to a request that is not sent, because the issuer was throttled after the permit was granted.
    fn throttled(&mut self) -> Option<Evidence> {
        let retry_after = self.throttle();
        self.is_unused = false;
        retry_after.map(|left| Evidence::Refused(Refused { status: 429, error: None, retry_after: Some(left) }))
    }

    /// The remaining time of a throttle that holds the next request back. A repetition after a sent request is not held back.
    fn throttle(&self) -> Option<Duration> {
        let throttle = catch_panic(|| self.core.ports.permits.throttled(self.issuer.as_ref()));
        throttle.flatten().filter(|_| self.is_unused)
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
            FlightEffect::AskPermit { op, issuer, urgency } => self.ask(op, issuer, urgency),
            FlightEffect::ReturnPermit { throttle } => {
                if let Some(permit) = self.permit.take() {
                    catch_panic(|| permit.give_back(throttle));
                }
                self.observe_after(name);
            }
            FlightEffect::Throttle(span) => {
                catch_panic(|| self.core.ports.permits.throttle(self.issuer.as_ref(), span));
                self.observe_after(name);
            }
            FlightEffect::Load(op) => {
                let work = async move { store.load(&identity).await };
                self.await_answer(name, work, Err(StoreFault::Failed), move |answer| FlightEvent::Loaded(op, answer));
            }
            FlightEffect::Claim { op, epoch, at_least } => {
                let mut ending = self.ending.subscribe();
                let work = async move {
                    // This waits until no claim is being ended, because the end of an earlier claim of this flight would
                    // also end the new one.
                    drop(ending.wait_for(|ending| *ending == 0).await);
                    store.claim(&identity, ClaimScope::Spend(epoch), id, at_least).await
                };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| FlightEvent::Claimed(op, answer));
            }
            FlightEffect::Renew { op, claim, at_least } => {
                let work = async move { store.renew(&identity, &claim, at_least).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| FlightEvent::Renewed(op, answer));
            }
            FlightEffect::Change(op, change) => {
                self.unanswered += 1;
                let work = async move { store.change(&identity, change).await };
                self.await_answer(name, work, Err(UNKNOWN), move |answer| FlightEvent::Changed(op, answer));
            }
            FlightEffect::Connect(op, grant) => self.connect(op, *grant),
            FlightEffect::Send { op, request, connection } => {
                self.unanswered += 1;
                let (sources, throttled) = (Arc::clone(&self.slot.plan.sources), self.throttled());
                let standing = self.connection.take().filter(|(standing, _)| Some(*standing) == connection);
                let work = async move {
                    match (throttled, standing) {
                        (Some(refused), _) => refused,
                        (None, Some((_, connection))) => connection.request(&identity, *request).await,
                        (None, None) => sources.request(&identity, *request).await,
                    }
                };
                let lost = Evidence::Lost(Lost::Aborted);
                self.await_answer(name, work, lost, move |evidence| FlightEvent::Sent(op, evidence));
            }
            FlightEffect::EndClaim { claim, ending } => {
                self.claim.take_if(|held| *held == claim);
                let (permits, issuer) = (Arc::clone(&self.core.ports.permits), self.issuer.clone());
                let running = Ending::begin(&self.ending);
                self.run_in_background(name, async move {
                    let _running = running;
                    // The next holder of the claim must see the throttle.
                    drop(AssertUnwindSafe(permits.until_shared(issuer.as_ref())).catch_unwind().await);
                    if let Err(fault) = store.end_claim(&identity, &claim, ending).await {
                        tracing::debug!(%fault, "a claim could not be ended");
                    }
                });
            }
            FlightEffect::Revoke(revocation) => {
                let sources = Arc::clone(&self.slot.plan.sources);
                let (work, _) = self.core.revocations.begin(sources, identity, *revocation);
                self.run_in_background(name, work);
            }
            FlightEffect::Report(report) => {
                // A panic in the host's log subscriber must not end the flight.
                let wanted = self.wanted.unwrap_or(true);
                catch_panic(|| events::flight_reported(&self.core, &self.slot, id, &report, wanted));
                if let Report::Lost { noted } = report {
                    self.core.note_unsaved(Unsaved { identity, noted });
                }
                self.landed = true;
                (self.connecting, self.connection) = (None, None);
                self.report(Some(report));
                self.observe_after(name);
            }
        }
    }

    /// Reports to the session. `None` reports the end.
    fn report(&self, report: Option<Report>) {
        if self.slot.report(self.id, report) {
            self.core.start(&self.slot);
        }
    }

    /// Runs work whose answer the machine waits for. If the port panics, the answer is `broken`, because a defect of a
    /// port must not end the machine, which may hold the only copy of a token.
    fn await_answer<T: Send + 'static>(
        &mut self,
        name: EffectName,
        work: impl Future<Output = T> + Send + 'static,
        broken: T,
        event: impl FnOnce(T) -> FlightEvent + Send + 'static,
    ) {
        let observed = self.observer(name);
        self.answers.push(Box::pin(async move {
            let answer = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(broken);
            observed();
            event(answer)
        }));
    }

    /// Runs work with a time limit. Only the end of the flight waits for it.
    fn run_in_background(&mut self, name: EffectName, work: impl Future<Output = ()> + Send + 'static) {
        let observed = self.observer(name);
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

    fn observe_before(&self, name: EffectName) {
        if let Some(observer) = &self.core.ports.observer {
            catch_panic(|| observer.before(&self.slot.identity, self.id, name));
        }
    }

    fn observe_after(&self, name: EffectName) {
        self.observer(name)();
    }

    /// Returns a function that notifies the observer that `name` was carried out.
    fn observer(&self, name: EffectName) -> impl FnOnce() + Send + 'static {
        let observer = self.core.ports.observer.clone().map(|observer| (observer, self.slot.identity.clone(), self.id));
        move || {
            if let Some((observer, identity, id)) = observer {
                catch_panic(|| observer.after(&identity, id, name));
            }
        }
    }
}

/// Waits for the answer to the pending request for a permit. Waits for ever if there is no such request.
async fn answer(asking: &mut Option<PendingPermit>) -> Permission {
    match asking {
        Some(asking) => (&mut asking.answer).await,
        None => std::future::pending().await,
    }
}

/// Waits for the pending connection. Waits for ever if there is no such connection.
async fn connection(
    connecting: &mut Option<PendingConnection>,
) -> Result<Option<Box<dyn SourceConnection>>, ConnectFault> {
    match connecting {
        Some(connecting) => (&mut connecting.answer).await,
        None => std::future::pending().await,
    }
}

/// Whether `event` answers a request or a write, which the flight makes under its claim.
fn needs_claim(event: &FlightEvent) -> bool {
    matches!(event, FlightEvent::Sent(..) | FlightEvent::Changed(..))
}

/// Counts a claim as being ended until this is dropped.
struct Ending(watch::Sender<usize>);

impl Ending {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Calls code of the host, and catches a panic, which must not end the machine. Returns `None` if it panics.
fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).ok()
}

impl Drop for FlightTask {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // The mark stays, so that the next flight knows that the token may be spent. The request and the writes that
        // have begun go on. The claim is kept until they have ended, because the next flight takes its end as proof
        // that no other request of this lineage is in flight, and that this flight commits nothing more (laws 1 and
        // 10). A claim that is still being acquired is ended too.
        let (store, identity) = (Arc::clone(&self.core.ports.store), self.slot.identity.clone());
        let (mut held, mut answers) = (self.claim.take(), std::mem::take(&mut self.answers));
        let (mut unanswered, mut background) = (self.unanswered, std::mem::take(&mut self.background));
        let rest = async move {
            // A claim that cannot be ended runs out by itself, or ends with this process.
            loop {
                if unanswered == 0
                    && let Some(claim) = held.take()
                {
                    let _ = store.end_claim(&identity, &claim, ClaimEnding::Abandoned).await;
                }
                match answers.next().await {
                    Some(FlightEvent::Claimed(_, Ok(ClaimAnswer::Granted(claim)))) => {
                        let _ = store.end_claim(&identity, &claim, ClaimEnding::Abandoned).await;
                    }
                    Some(event) if needs_claim(&event) => unanswered -= 1,
                    Some(_) => {}
                    None => break,
                }
            }
            while background.next().await.is_some() {}
        };
        // The panic may have come from the spawner, and a second panic would end the process.
        catch_panic(|| self.core.spawn_tracked(rest));
        self.report(None);
    }
}
