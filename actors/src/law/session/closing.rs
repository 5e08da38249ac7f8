//! Logouts, and the answers to the session's own writes (law 12).

use std::time::Duration;

use super::machine::{Output, STORE_TIMEOUT, Session};
use super::{LoggedOut, PendingLogout, ReplyId, RevocationOutcome, SessionEffect};
use crate::law::flight::{Op, Revocation};
use crate::law::ledger::{Change, Changed};
use crate::law::login::LoginEvent;
use crate::values::record::{Content, Record, Renewal, View};
use crate::values::{
    ElapsedTime, Epoch, ExponentialBackoff, LogoutError, Now, Reason, StoreFault, TokenError, Version,
};

/// The pauses between attempts to write a tombstone.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// A logout that has begun. Nothing is served from its epoch any more.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    /// The request to answer; `None` once it was answered.
    reply: Option<ReplyId>,
    /// The epoch that ends; `None` until the record is known.
    epoch: Option<Epoch>,
    step: Step,
    failures: u32,
    /// Whether the tokens are revoked. A logout that another actor resumes revokes them.
    revokes: bool,
    /// Whether the running login attempts know of the logout.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Waits until the record has been read.
    Reading,
    /// Writes the tombstone.
    Writing { op: Op, limit: ElapsedTime },
    /// Tries again at `until`.
    Resting { until: ElapsedTime },
}

impl Closing {
    /// A logout whose tombstone the previous actor could not write.
    pub(super) fn resumed(pending: PendingLogout, now: ElapsedTime) -> Self {
        let (epoch, step) = match pending {
            PendingLogout::Unread => (None, Step::Reading),
            PendingLogout::Of(epoch) => (Some(epoch), Step::Resting { until: now }),
        };
        Self { reply: None, epoch, step, failures: 1, revokes: true, told: false }
    }

    pub(super) fn pending(&self) -> PendingLogout {
        self.epoch.map_or(PendingLogout::Unread, PendingLogout::Of)
    }

    pub(super) fn wake(&self) -> Option<ElapsedTime> {
        match self.step {
            Step::Reading => None,
            Step::Writing { limit, .. } => Some(limit),
            Step::Resting { until } => Some(until),
        }
    }
}

impl Session {
    /// Logs the identity out. Nothing is served from now on.
    pub(super) fn logout(&mut self, reply: ReplyId, revokes: bool, now: Now, out: &mut Output) {
        if self.closing.as_ref().is_some_and(|closing| closing.reply.is_some()) || self.installing.is_some() {
            return out.answer_logout(reply, Err(LogoutError::Busy));
        }
        let failures = self.closing.as_ref().map_or(0, |closing| closing.failures);
        let known = self.knowledge.stored_view().map(View::epoch);
        let epoch = self.closing.as_ref().map_or(known, |closing| closing.epoch);
        self.closing = Some(Closing { reply: Some(reply), epoch, step: Step::Reading, failures, revokes, told: false });
        self.fail_waiters(TokenError::new(Reason::LoggedOut), out);
        match epoch {
            Some(_) => self.write_tombstone(now, out),
            None => self.read(now, out),
        }
    }

    /// Whether a logout of the current epoch is in progress. A newer login does not wait for the logout of an old one.
    pub(super) fn is_closing(&self) -> bool {
        let outlived = |epoch| self.knowledge.epoch().is_some_and(|known| known > epoch);
        self.closing.as_ref().is_some_and(|closing| !closing.epoch.is_some_and(outlived))
    }

    /// The record has been read for the first time, or has another epoch now.
    pub(super) fn new_view_for_closing(&mut self, now: Now, out: &mut Output) {
        let (Some(closing), Some(known)) = (&mut self.closing, self.knowledge.epoch()) else {
            return;
        };
        match closing.epoch {
            // The logout ends the epoch that was read.
            None => {
                closing.epoch = Some(known);
                self.write_tombstone(now, out);
            }
            // The epoch has ended in another way, and no caller waits for the logout.
            Some(epoch) if epoch < known && closing.reply.is_none() => self.closing = None,
            Some(_) => {}
        }
    }

    /// The record cannot be read. The caller gets an error, and the logout goes on once the record can be read.
    pub(super) fn closing_unread(&mut self, fault: StoreFault, out: &mut Output) {
        if let Some(closing) = &mut self.closing
            && matches!(closing.step, Step::Reading)
            && let Some(reply) = closing.reply.take()
        {
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
    }

    fn write_tombstone(&mut self, now: Now, out: &mut Output) {
        let op = self.next_op();
        let Some(closing) = &mut self.closing else { return };
        let Some(epoch) = closing.epoch else { return };
        closing.step = Step::Writing { op, limit: now.elapsed().after(STORE_TIMEOUT) };
        let is_first = !std::mem::replace(&mut closing.told, true);
        let was_asked = self.knowledge.view().is_some_and(|view| view.prompt.is_some());
        out.effects.push(SessionEffect::Change(op, Box::new(Change::Clear { epoch })));
        if is_first {
            // A login that began before the logout must not sign in again after it.
            self.tell_attempts(&LoginEvent::LoggedOut(epoch), out);
            if was_asked {
                out.effects.push(SessionEffect::DropLogins);
            }
        }
    }

    /// Ends a write of the tombstone that takes too long, and begins one that is due.
    pub(super) fn time_out_closing(&mut self, now: Now, out: &mut Output) {
        match self.closing.as_ref().map(|closing| closing.step) {
            Some(Step::Writing { limit, .. }) if limit <= now.elapsed() => {
                self.not_closed(StoreFault::TimedOut, now, out);
            }
            Some(Step::Resting { until }) if until <= now.elapsed() => self.write_tombstone(now, out),
            _ => {}
        }
    }

    /// The process stops. The caller of a logout learns that it may not be durable.
    pub(super) fn stop_closing(&mut self, out: &mut Output) {
        if let Some(closing) = &mut self.closing
            && let Some(reply) = closing.reply.take()
        {
            let fault = match closing.step {
                // The write may still take effect. `TimedOut` reports that its outcome is unknown.
                Step::Writing { .. } => StoreFault::TimedOut,
                Step::Reading | Step::Resting { .. } => StoreFault::Failed,
            };
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
    }

    /// The tombstone could not be written. The caller gets an error. The session goes on trying, and so does a flight
    /// that holds unsaved tokens.
    fn not_closed(&mut self, fault: StoreFault, now: Now, out: &mut Output) {
        if !self.is_closing() {
            return self.outlive_logout(out);
        }
        let Some(closing) = &mut self.closing else { return };
        if let Some(reply) = closing.reply.take() {
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
        closing.failures += 1;
        let pause = BACKOFF.jittered(closing.failures, now.jitter);
        closing.step = Step::Resting { until: now.elapsed().after(pause) };
        if let (Some(flight), Some(epoch)) = (self.flights.running(), closing.epoch) {
            out.effects.push(SessionEffect::TellLoggedOut(flight.id, epoch));
        }
    }

    /// Ends a logout whose epoch is over. It cannot be known whether this session's write ended the epoch.
    fn outlive_logout(&mut self, out: &mut Output) {
        let (Some(closing), Some(view)) = (self.closing.take(), self.knowledge.view()) else { return };
        let Some(reply) = closing.reply else { return };
        let answer = match view.renewal {
            Renewal::LoginRequired(Reason::LoggedOut) => Ok(LoggedOut { has_unknown_token: true, revocation: None }),
            _ => Err(LogoutError::Superseded(view.version)),
        };
        out.answer_logout(reply, answer);
    }

    /// Handles the store's answer to a write of this session.
    pub(super) fn changed(&mut self, op: Op, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let closes = |closing: &Closing| matches!(closing.step, Step::Writing { op: writing, .. } if writing == op);
        if let Some(installing) = self.installing.take_if(|installing| installing.waits_for(op)) {
            self.installed(&installing, answer, now, out);
        } else if self.configuring.as_ref().is_some_and(|configuring| configuring.writes(op)) {
            self.configured(answer, now, out);
        } else if self.closing.as_ref().is_some_and(closes) {
            self.closed(answer, now, out);
        } else {
            match answer {
                // The grant was parked, a refused token was removed, or a write that had timed out succeeded after all.
                Ok(Changed::Applied { before, after }) => {
                    let revokes = self.closing.as_ref().is_none_or(|closing| closing.revokes);
                    if after.content == Content::Tombstone && revokes {
                        self.revoke(before.as_deref(), now, out);
                    }
                    self.update(after.view(), now, out);
                }
                Ok(Changed::Conflict { current: Some(current), .. }) => self.update(current.view(), now, out),
                Ok(Changed::Conflict { current: None, .. }) => self.read(now, out),
                Err(_) => {}
            }
        }
    }

    /// Ends a logout that never learned its epoch, so that it does not end the login that came after it.
    pub(super) fn supersede_logout(&mut self, version: Version, out: &mut Output) {
        let overtaken = self.closing.take_if(|closing| closing.epoch.is_none());
        if let Some(reply) = overtaken.and_then(|closing| closing.reply) {
            out.answer_logout(reply, Err(LogoutError::Superseded(version)));
        }
    }

    /// Handles the store's answer to the write of the tombstone.
    fn closed(&mut self, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let flying = self.flights.is_running();
        let known_empty = self.knowledge.view().is_some_and(|view| {
            matches!(view.renewal, Renewal::LoginRequired(Reason::LoggedOut | Reason::NeverSignedIn))
        });
        let failures = self.closing.as_ref().map_or(0, |closing| closing.failures);
        let outcome = match answer {
            Err(fault) => return self.not_closed(fault, now, out),
            Ok(Changed::Applied { before, after }) => {
                let before = before.as_deref();
                let in_doubt = before.and_then(Record::held).is_some_and(|held| held.mark.is_some());
                let revokes = self.closing.as_ref().is_none_or(|closing| closing.revokes);
                let is_revoking = revokes && self.revoke(before, now, out);
                let revocation = is_revoking.then_some(RevocationOutcome::InTheAir);
                let answer = LoggedOut { has_unknown_token: flying || in_doubt, revocation };
                self.end_closing(after.view(), now, out, Ok(answer));
                return;
            }
            Ok(Changed::Conflict { current, .. }) => current,
        };
        match outcome.as_deref() {
            Some(record) if record.content != Content::Tombstone => {
                self.end_closing(record.view(), now, out, Err(LogoutError::Superseded(record.version())));
            }
            // A sibling has logged out already, or an earlier write of this session succeeded and its answer was lost.
            // It is unknown which tokens were revoked then.
            current => {
                let view = current.map_or_else(View::vacant, Record::view);
                let has_unknown_token = flying || failures > 0 || !known_empty;
                self.end_closing(view, now, out, Ok(LoggedOut { has_unknown_token, revocation: None }));
            }
        }
    }

    fn end_closing(&mut self, view: View, now: Now, out: &mut Output, answer: Result<LoggedOut, LogoutError>) {
        if let Some(reply) = self.closing.take().and_then(|closing| closing.reply) {
            out.answer_logout(reply, answer);
        }
        self.update(view, now, out);
    }

    /// Revokes the refresh token and the valid access token of a record. Returns whether there is a token to revoke.
    fn revoke(&self, before: Option<&Record>, now: Now, out: &mut Output) -> bool {
        let Some((record, grant)) = before.and_then(|record| Some((record, record.grant()?))) else { return false };
        let refresh = record.held().map(|held| held.credential.clone());
        let access = record.lease().filter(|lease| lease.validity().is_good(Duration::ZERO, &now.moment));
        let access = access.map(|lease| lease.token().clone());
        if refresh.is_none() && access.is_none() {
            return false;
        }
        let revocation = Revocation { binding: grant.binding.clone(), renewal: grant.renewal.clone(), refresh, access };
        out.effects.push(SessionEffect::Revoke(Box::new(revocation)));
        true
    }
}
