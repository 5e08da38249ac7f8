//! The reference for the answers that a caller may get. It derives them from past events alone. Covers laws 4, 6, 7,
//! 8, 12, 13 and 14 from the caller's side.

use std::time::Duration;

use tokenkeeper_actors::law::session::{Ask, WaiterId};
use tokenkeeper_actors::values::{ElapsedTime, FlightId, Lease, Reason, TokenError};

use crate::Millis;
use crate::process::{Awaited, Pid};
use crate::server::Server;
use crate::tally::Kind;
use crate::world::World;

/// The event that a session was handling when it produced its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    Asked(WaiterId, Ask),
    Tick(ElapsedTime),
    /// One of the session's own flights returned without a token.
    Failed(Failed),
    Other,
}

/// The end of a flight without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) flight: FlightId,
    /// The reason, with the server's `Retry-After`; `None` if a login is required.
    pub(crate) trouble: Option<(Reason, Option<Duration>)>,
    /// Whether the flight goes on to save.
    pub(crate) keeping: bool,
    /// Its token requests.
    pub(crate) requests: u32,
}

/// The time for which a process may not know a record's state, while its watch works and the store answers.
const NEWS: Millis = 5_000;

/// The same time while a watch, a store or a machine is in trouble.
const LATE_NEWS: Millis = 400_000;

/// The time after a standstill during which a caller may get the result of a flight that began before it.
const AGED: Millis = 120_000;

impl World {
    pub(crate) fn check_answer(
        &mut self,
        pid: Pid,
        identity: usize,
        caller: usize,
        answer: &Result<Lease, TokenError>,
    ) {
        match answer {
            Ok(lease) => {
                let known = &self.processes[pid.process].slots[identity].known;
                if known.failed.is_some() {
                    self.count(Kind::SparedByLease);
                }
                self.check_lease(pid, identity, lease, self.callers[caller].asked_step);
                self.check_lease_for(pid, caller, lease);
            }
            Err(error) => self.check_error(pid, identity, caller, error),
        }
    }

    /// Whether a lease may be handed out to a caller that asked in `step`.
    pub(crate) fn check_lease(&mut self, pid: Pid, identity: usize, lease: &Lease, step: u64) {
        let generation = lease.generation();
        let at = Server::number(lease.token().expose()).and_then(|at| self.server.ats.get(at));
        let Some(at) = at.filter(|at| at.identity == identity).cloned() else {
            return self.breach("13", "a lease of another identity is handed out", || generation.to_string());
        };
        if at.foreign {
            self.breach("13", "a token of another subject is handed out", || generation.to_string());
        }
        let ours = at.flight.and_then(|flight| self.truth.flight(flight)).is_some_and(|(owner, _)| owner == pid);
        let ours = ours || at.owner == Some(pid);
        let excused = at.save_failed && ours || self.store_was_down(pid, identity, generation.nonce.0 != 0);
        if !at.durable && !excused {
            self.breach("4", "a token is handed out before it is stored", || generation.to_string());
        }
        let known = &self.processes[pid.process].slots[identity].known;
        let logged_out =
            known.logged_out.iter().find(|(epoch, answered)| *answered < step && generation.epoch <= *epoch);
        let logged_out =
            logged_out.map(|(epoch, _)| *epoch).or(known.logging_out.filter(|epoch| generation.epoch <= *epoch));
        // A login that is not stored belongs to the epoch it replaces until it is.
        let base = at.base.filter(|_| !at.durable);
        let over = |base, begun| {
            known.logged_out.iter().any(|(epoch, answered)| (begun..step).contains(answered) && base <= *epoch)
        };
        let outlived = base
            .filter(|(base, begun)| over(*base, *begun) || known.logging_out.is_some_and(|epoch| *base <= epoch))
            .map(|(base, _)| base);
        let logged_out = logged_out.or(outlived);
        let parked = known.parked.max(known.barred).filter(|epoch| generation.epoch <= *epoch);
        if let Some(refused) = known.refuses(&generation, step) {
            self.breach("6", "a refused lease, or an older one, is handed out", || {
                format!("{generation} after {refused}")
            });
        }
        if let Some(epoch) = logged_out {
            self.breach("12", "a lease is handed out after its epoch was logged out", || {
                format!("{generation}, {epoch:?}")
            });
        }
        if let Some(epoch) = parked {
            self.breach("9", "a lease of a parked grant is handed out", || format!("{generation}, {epoch:?}"));
        }
        self.check_alive(pid, lease, at.asked, at.boot);
    }

    /// Whether a token may be minted without a store. It may only be while the store is unusable.
    fn store_was_down(&self, pid: Pid, identity: usize, unstored: bool) -> bool {
        let met = &self.processes[pid.process].slots[identity].known.met;
        unstored && self.config.repeatable() && met.contains_key(&Reason::StoreTrouble)
    }

    /// Law 14: the lease is valid on both clocks of its host, and in true time if it was requested in this boot.
    fn check_alive(&mut self, pid: Pid, lease: &Lease, asked: Millis, boot: tokenkeeper_actors::values::BootId) {
        let Some(lifetime) = lease.validity().lifetime() else { return };
        let (moment, anchor) = (self.moment(pid.process), lease.validity().anchored());
        let wall = moment.wall.as_millis().saturating_sub(anchor.wall.as_millis());
        let lifetime = lifetime.as_millis() as Millis;
        let elapsed = moment.elapsed.as_millis().saturating_sub(anchor.elapsed.as_millis());
        let same = moment.boot == anchor.boot;
        if wall >= lifetime || same && elapsed >= lifetime || boot == moment.boot && self.t - asked >= lifetime {
            let generation = lease.generation();
            self.breach("14", "a lease is handed out past its expiry", || {
                format!("{generation}: {wall} ms by the wall, {elapsed} ms elapsed (same boot: {same}), of {lifetime}")
            });
        }
    }

    /// Whether the lease meets this caller's request.
    fn check_lease_for(&mut self, pid: Pid, caller: usize, lease: &Lease) {
        let generation = lease.generation();
        let at = Server::number(lease.token().expose()).and_then(|at| self.server.ats.get(at)).cloned();
        let at = at.as_ref();
        let by = at.and_then(|at| at.flight).and_then(|flight| self.truth.flight(flight));
        let begun = by.map(|(_, step)| step);
        let asker = &self.callers[caller];
        let (spec, handled, asked_at, asked_step) = (asker.spec, asker.handled, asker.asked_at, asker.asked_step);
        let installed = at.is_some_and(|at| at.flight.is_none() && at.asked >= asked_at);
        // The request of another process's flight counts, because a caller can know no more of that flight.
        let requested = at.is_some_and(|at| at.asked >= asked_at) && by.is_some_and(|(by, _)| by != pid);
        if spec.force && begun.is_none_or(|begun| begun < handled) && !installed && !requested {
            self.breach("6", "a caller that insists gets a token that was under way before", || generation.to_string());
        }
        let Some(lifetime) = lease.validity().lifetime() else { return };
        let need = self.need_of(spec.min_lifetime, lifetime);
        let left = lease.validity().remaining(&self.moment(pid.process)).unwrap_or_default();
        // A token is no longer fresh when a standstill delayed its flight.
        let aged = self.processes[pid.process].stood.1 > asked_at.saturating_sub(AGED);
        let fresh = aged || at.is_some_and(|at| at.asked >= asked_at) || begun.is_some_and(|begun| begun >= asked_step);
        if left + Duration::from_millis(1) < need && !fresh && !self.was_under_way(caller, lease) {
            self.breach("7", "a lease with too little left is handed out", || {
                format!("{generation}: {left:?} of {need:?}")
            });
        }
    }

    /// The remaining lifetime that a caller with this minimum gets. It never exceeds the remaining lifetime that a new
    /// token can offer.
    fn need_of(&self, min_lifetime: Millis, lifetime: Duration) -> Duration {
        let margin = self.config.policy.safety_margin.min(lifetime / 4);
        Duration::from_millis(min_lifetime).min(lifetime / 4 * 3).max(margin)
    }

    /// Whether the lease came from a flight that was running when the caller asked. The caller cannot get a better
    /// one.
    fn was_under_way(&self, caller: usize, lease: &Lease) -> bool {
        let at = Server::number(lease.token().expose()).and_then(|at| self.server.ats.get(at));
        let asked = self.callers[caller].asked_at;
        at.is_some_and(|at| at.asked + 2 * self.config.profile.request_timeout.as_millis() as Millis >= asked)
    }

    fn check_error(&mut self, pid: Pid, identity: usize, caller: usize, error: &TokenError) {
        let reason = error.reason();
        match reason {
            Reason::DeadlinePassed => self.count(Kind::DeadlinePassed),
            Reason::TooManyWaiters => self.count(Kind::TooManyWaiters),
            reason if reason.is_login_required() => self.count(Kind::LoginRequired),
            _ => {}
        }
        if error.retry_after().is_some() && self.callers[caller].handled == self.step {
            self.count(Kind::BackedOff);
        }
        self.check_not_arriving(pid.process, identity, caller, reason);
        if !self.is_supported(pid, identity, caller, reason) {
            self.breach("8", "an error is answered that nothing explains", || format!("c{caller}: {error:?}"));
        }
        self.check_not_spared(pid, identity, caller, reason);
    }

    /// Law 8: a caller gets no error while a valid token could serve it.
    fn check_not_spared(&mut self, pid: Pid, identity: usize, caller: usize, reason: Reason) {
        let spec = self.callers[caller].spec;
        // A list of issuers may exclude the issuer of a newer login, too.
        if spec.force || matches!(reason, Reason::ShuttingDown | Reason::LoggedOut | Reason::IssuerChanged) {
            return;
        }
        let moment = self.moment(pid.process);
        let known = &self.processes[pid.process].slots[identity].known;
        let Some(lease) = &known.lease else { return };
        if self.config.repeatable() && known.met.contains_key(&Reason::StoreTrouble) {
            // A repeatable source's token may have two names when the store fails.
            return;
        }
        let generation = lease.generation();
        let barred = known.barred.max(known.parked).is_some_and(|epoch| generation.epoch <= epoch);
        let closed = known.logging_out.max(known.owed).is_some_and(|epoch| generation.epoch <= epoch);
        let gone = known.logged_out.iter().any(|(epoch, _)| generation.epoch <= *epoch);
        let above = known.refused.iter().all(|(refused, _)| generation.supersedes(refused));
        // A process's own token and the store's may have the same number. Neither is newer then.
        let twin = self.processes[pid.process].slots[identity].published.residue.unstored.as_ref();
        let twin = twin.is_some_and(|twin| !generation.supersedes(&twin.generation()));
        let closing = self.processes[pid.process].slots[identity].published.residue.closing.is_some();
        if barred || closed || gone || twin || closing || !above {
            return;
        }
        let lifetime = lease.validity().lifetime().unwrap_or(Duration::MAX);
        let need = self.need_of(spec.min_lifetime, lifetime);
        if lease.validity().outlasts(need, &moment) {
            self.breach("8", "a caller gets an error though a valid token is at hand", || {
                format!("c{caller}: {reason:?} instead of {generation}")
            });
        }
    }

    /// Whether an earlier event explains an error.
    fn is_supported(&self, pid: Pid, identity: usize, caller: usize, reason: Reason) -> bool {
        let process = &self.processes[pid.process];
        let slot = &process.slots[identity];
        let asked = self.callers[caller].asked_at;
        // Where a server binds tokens, a session calls a bearer token that has expired on arrival by this name. A source that
        // spends nothing makes such tokens here for sessions that once had a key.
        let reason = match reason {
            Reason::NotBound if self.server.config.nonces => Reason::ExpiredOnArrival,
            reason => reason,
        };
        let met = slot.known.met.contains_key(&reason);
        match reason {
            Reason::ShuttingDown => process.stopping,
            Reason::TooManyWaiters => {
                slot.actor.as_ref().is_some_and(|actor| actor.waiters.len() >= self.config.policy.max_waiters)
            }
            Reason::DeadlinePassed => {
                let elapsed = self.moment(pid.process).elapsed;
                elapsed >= self.callers[caller].ask().deadline()
            }
            Reason::Throttled => met || slot.known.throttled.is_some() || !process.permits.throttled.is_empty(),
            Reason::InDoubt => met || self.truth.was(identity, self.knows_since(pid, asked), |state| state.marked),
            reason if reason.is_login_required() => {
                let since = self.knows_since(pid, asked);
                let evident = met && !matches!(reason, Reason::MaybeConsumed);
                let logs_out = slot.actor.iter().flat_map(|actor| actor.replies.values());
                let logs_out = logs_out.into_iter().any(|reply| matches!(reply, Awaited::Logout { .. }));
                let closing = reason == Reason::LoggedOut
                    && (logs_out || slot.published.residue.closing.is_some() || !slot.known.logged_out.is_empty());
                evident || closing || self.truth.was(identity, since, |state| self.justifies(state, reason))
            }
            // When the store fails, a repeatable source mints tokens besides the stored ones.
            Reason::ExpiredOnArrival if self.config.repeatable() => {
                met || slot.known.met.contains_key(&Reason::StoreTrouble)
            }
            _ => met,
        }
    }

    /// The time since which a process may have missed changes to a record. The caller asked at `asked`.
    pub(crate) fn knows_since(&self, pid: Pid, asked: Millis) -> Millis {
        let calm = self.weather().store_fails == 0 && self.store_troubles.is_empty() && !self.config.flaky_watch;
        let process = &self.processes[pid.process];
        let steady = process.stood.1 == 0 && process.deaf_until.is_none();
        if calm && steady {
            return asked.saturating_sub(NEWS);
        }
        let asleep = asked < process.stood.1 + LATE_NEWS;
        let known = if asleep { asked.min(process.stood.0) } else { asked };
        known.saturating_sub(LATE_NEWS)
    }
}
