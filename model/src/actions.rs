//! The actions that are possible in a state.

use tokenkeeper_actors::law::flight::{FlightEffect, Op};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, FlightId};

use crate::bounds::Span;
use crate::config::Config;
use crate::identity::process_of;
use crate::session::Session;
use crate::state::{Seat, State, is_commit, op};
use crate::store::Manner;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A process begins a flight and carries out its first read. Its session has read the record first, or uses its
    /// present knowledge.
    Begin {
        /// The process.
        process: usize,
        /// Whether its session reads the record first.
        informed: bool,
    },
    /// The session of a process with a running flight learns that a login was installed.
    Learn(usize),
    /// A pending effect of a flight is carried out, and the flight gets the result.
    Perform(FlightId, Op),
    /// A flight's claim is ended, as the flight requested.
    EndClaim(FlightId),
    /// A flight gets a tick with the present time.
    Tick(FlightId),
    /// The server processes a request, and the flight gets the answer if it still waits for it.
    Process(FlightId, Op),
    /// A request cannot be sent, because the server is unreachable.
    Unsent(FlightId),
    /// The store reports that it failed to write a flight's commit.
    FailSave(FlightId),
    /// The connection of a request breaks. The server may still process it.
    LoseAnswer(FlightId),
    /// A store operation that was given up takes effect.
    Land(FlightId, Op),
    /// A process crashes and restarts.
    Crash(usize),
    /// The claim of an epoch is lost.
    LoseClaim(Epoch),
    /// A login is installed.
    Login,
    /// Time passes.
    Pass(Span),
}

/// Whether an action is certain to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The action happens sooner or later.
    Due,
    /// The action may happen.
    Chance,
}

impl State {
    /// Collects all possible actions in a fixed order. A state with a broken law has none.
    pub(crate) fn actions(&self, config: &Config, out: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        self.steps(config, &mut |_, action| out.push(action));
    }

    /// Whether no action is due, and no flight or session waits for time to pass.
    pub(crate) fn is_at_rest(&self, config: &Config) -> bool {
        let busy = self.seats().any(|(_, seat)| !seat.pending.is_empty());
        if busy || self.wire.iter().any(|request| request.awaited) || self.waits_for_time() {
            return false;
        }
        let mut due = false;
        self.steps(config, &mut |kind, _| due |= kind == Kind::Due);
        !due
    }

    fn steps(&self, config: &Config, out: &mut impl FnMut(Kind, Action)) {
        let mut due = false;
        let mut step = |kind, action| {
            due |= kind == Kind::Due;
            out(kind, action);
        };
        for (number, process) in self.processes.iter().enumerate() {
            let version = self.store.record.version();
            // A session that knows only an older epoch would learn of the new one with its first read.
            if process.session.may_fly(self.elapsed()) && !process.session.is_overtaken(version) {
                step(Kind::Due, Action::Begin { process: number, informed: false });
            }
            if process.session.is_behind(version) && self.informed(&process.session).may_fly(self.elapsed()) {
                step(Kind::Due, Action::Begin { process: number, informed: true });
            }
            // Before its flight holds the claim, the session's knowledge makes no difference.
            let overtaken = process.session.current.is_some() && process.session.is_overtaken(version);
            let claimed = process.seats.iter().any(|seat| seat.claim.is_some());
            if self.left.lessons > 0 && overtaken && process.session.flights > 0 && claimed {
                step(Kind::Chance, Action::Learn(number));
            }
            for seat in &process.seats {
                self.steps_of(seat, config, &mut step);
            }
            if self.left.crashes > 0 && self.leaves_a_trace(number) {
                step(Kind::Chance, Action::Crash(number));
            }
        }
        for request in &self.wire {
            if !request.late || self.left.late_requests > 0 {
                step(if request.awaited { Kind::Due } else { Kind::Chance }, Action::Process(request.by, request.op));
            }
            if request.awaited && self.left.lost_answers > 0 {
                step(Kind::Chance, Action::LoseAnswer(request.by));
            }
        }
        for late in &self.late {
            if let Some(op) = op(&late.effect) {
                step(Kind::Chance, Action::Land(late.flight, op));
            }
        }
        if self.left.claim_losses > 0 {
            for (epoch, _) in self.store.holders().filter(|(epoch, _)| self.may_claim(*epoch)) {
                step(Kind::Chance, Action::LoseClaim(epoch));
            }
        }
        if self.left.logins > 0 {
            step(Kind::Chance, Action::Login);
        }
        for span in Span::ALL {
            if self.may_pass(span, due) {
                out(Kind::Chance, Action::Pass(span));
            }
        }
    }

    /// The session after it has read the record.
    fn informed(&self, session: &Session) -> Session {
        let mut informed = session.clone();
        informed.absorb(self.store.record.view(), self.elapsed());
        informed
    }

    /// Whether a crash of the process would leave a trace. If not, the crash is the same as not having begun.
    fn leaves_a_trace(&self, process: usize) -> bool {
        // A crash before its claim is granted is the same as one just after.
        let asks =
            |seat: &Seat| seat.pending.iter().any(|pending| !matches!(pending.effect, FlightEffect::Claim { .. }));
        let acts = |seat: &Seat| seat.claim.is_some() || seat.landed || asks(seat);
        self.processes[process].seats.iter().any(acts)
            || self.late.iter().any(|late| process_of(late.flight) == process)
    }

    fn steps_of(&self, seat: &Seat, config: &Config, step: &mut impl FnMut(Kind, Action)) {
        let flight = seat.flight.id();
        for pending in &seat.pending {
            match (&pending.effect, op(&pending.effect)) {
                (FlightEffect::EndClaim { .. }, _) => step(Kind::Due, Action::EndClaim(flight)),
                (effect, Some(op)) => {
                    step(Kind::Due, Action::Perform(flight, op));
                    if matches!(effect, FlightEffect::Send { .. } | FlightEffect::Connect(..)) && self.left.unsent > 0 {
                        step(Kind::Chance, Action::Unsent(flight));
                    }
                    if is_commit(effect) && self.left.failed_saves > 0 {
                        step(Kind::Chance, Action::FailSave(flight));
                    }
                }
                _ => {}
            }
        }
        // The short pause before a flight presents its token once more is over whenever the model ticks.
        let woken = seat.is_repeating() || seat.flight.next_wake().is_some_and(|wake| wake <= self.elapsed());
        let waits = seat.is_pausing() && !self.is_worth_waking(seat, config);
        let gives_up = self.gives_up(seat, config);
        if woken && !waits && (!gives_up || self.left.timeouts > 0) {
            step(if gives_up { Kind::Chance } else { Kind::Due }, Action::Tick(flight));
        }
    }

    /// Whether a tick makes the flight give up a store operation.
    pub(crate) fn gives_up(&self, seat: &Seat, config: &Config) -> bool {
        let limit = config.timeouts().store_timeout;
        seat.pending.iter().any(|pending| is_store_op(&pending.effect) && pending.since.after(limit) <= self.elapsed())
    }

    /// Whether a flight that pauses for a held claim would do anything but pause again.
    fn is_worth_waking(&self, seat: &Seat, config: &Config) -> bool {
        let wait = config.timeouts().claim_wait;
        let wait_over = seat.claiming.is_some_and(|since| since.after(wait) <= self.elapsed());
        wait_over
            || self.store.is_free(seat.epoch, seat.flight.id(), Manner { config, now: self.elapsed() })
            || seat.seen != Some(self.store.record.version())
    }

    /// Whether a flight or a session waits for time to pass.
    pub(crate) fn waits_for_time(&self) -> bool {
        let version = self.store.record.version();
        self.seats().any(|(_, seat)| seat.is_pausing())
            || self.processes.iter().any(|process| process.session.rests(version, self.elapsed()))
    }

    /// Whether a session waits for at most a second.
    fn waits_briefly(&self) -> bool {
        let version = self.store.record.version();
        let soon = ElapsedTime::from_millis(self.now + Span::Second.millis());
        self.processes
            .iter()
            .any(|process| process.session.rests_until(version, self.elapsed()).is_some_and(|until| until <= soon))
    }

    /// Whether this much time may pass. The bounds must allow it, or nothing else may be due while a flight or a
    /// session waits for it. No request whose answer is awaited outlasts its time-out.
    fn may_pass(&self, span: Span, due: bool) -> bool {
        let until = ElapsedTime::from_millis(self.now + span.millis());
        let overdue = self.wire.iter().filter(|request| request.awaited && request.ends <= until).count();
        if overdue > usize::from(self.left.lost_answers) {
            return false;
        }
        let works = |seat: &Seat| seat.pending.iter().any(|pending| op(&pending.effect).is_some());
        let busy = self.seats().any(|(_, seat)| works(seat) || seat.is_repeating());
        let marked = self.store.record.held().is_some_and(|held| held.mark.is_some());
        let version = self.store.record.version();
        let resting = self.processes.iter().any(|process| process.session.rests(version, self.elapsed()));
        let pausing = self.seats().any(|(_, seat)| seat.is_pausing());
        match span {
            Span::Second => !due && self.waits_briefly(),
            Span::Lull => self.left.lulls > 0 && busy,
            Span::Wait => self.left.waits > 0 && (marked || !self.wire.is_empty()),
            Span::Pause if self.left.pauses > 0 => marked || busy || resting || pausing || self.store.has_claims(),
            Span::Pause => !due && self.waits_for_time() && !self.waits_briefly(),
        }
    }
}

/// Whether an effect is a store operation that a flight waits for, and gives up after its time-out.
pub(crate) fn is_store_op(effect: &FlightEffect) -> bool {
    matches!(
        effect,
        FlightEffect::Load(_) | FlightEffect::Claim { .. } | FlightEffect::Change(..) | FlightEffect::Renew { .. }
    )
}
