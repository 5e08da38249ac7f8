//! What moves the epoch, or parks the grant: logins, logouts, and an issuer that is no longer listed (laws 12 and 13).

use std::time::Duration;

use super::machine::{Bar, Installing, Output, STORE_TIMEOUT, Session};
use super::{Backoff, Futility, LoggedOut, PendingLogout, ReplyId, SessionEffect};
use crate::law::flight::{Op, Revocation};
use crate::law::ledger::{Change, Changed, Login};
use crate::ports::store::Reservation;
use crate::values::record::{Content, Issuer, Parked, Record, Renewal, View};
use crate::values::{ElapsedTime, Epoch, InstallError, LogoutError, Now, Reason, StoreFault, TokenError, Version};

/// The first pause before a tombstone that could not be written is tried again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest such pause.
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// A logout that has begun. Nothing is served any more.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    /// Who is to be told; `None` once they were.
    reply: Option<ReplyId>,
    /// The epoch that ends; `None` until the record is known.
    epoch: Option<Epoch>,
    step: Step,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Waits for the first read of the record.
    Reading,
    /// Writes the tombstone.
    Writing { op: Op, limit: ElapsedTime },
    /// Tries again then.
    Resting { until: ElapsedTime },
}

impl Closing {
    /// A logout whose tombstone a predecessor could not write.
    pub(super) fn resumed(pending: PendingLogout, now: ElapsedTime) -> Self {
        let (epoch, step) = match pending {
            PendingLogout::Unread => (None, Step::Reading),
            PendingLogout::Of(epoch) => (Some(epoch), Step::Resting { until: now }),
        };
        Self { reply: None, epoch, step, failures: 1 }
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
    /// A login is to be installed: its refresh token is reserved first, so that no two identities ever hold one.
    pub(super) fn install(&mut self, reply: ReplyId, login: Box<Login>, now: Now, out: &mut Output) {
        if self.stopping {
            return out.answer_install(reply, Err(InstallError::ShuttingDown));
        }
        if self.login.is_some() {
            return out.answer_install(reply, Err(InstallError::Busy));
        }
        let op = self.stamp();
        let limit = now.elapsed().after(STORE_TIMEOUT);
        let login = match &login.refresh {
            Some(refresh) => {
                out.effects.push(SessionEffect::Reserve(op, refresh.digest()));
                Some(login)
            }
            None => {
                out.effects.push(SessionEffect::Change(op, Box::new(Change::Install(login))));
                None
            }
        };
        let had_record = self.known.epoch != Epoch::default();
        self.login = Some(Installing { reply, op, limit, login, had_record });
    }

    pub(super) fn reserved(&mut self, op: Op, answer: Result<Reservation, StoreFault>, now: Now, out: &mut Output) {
        let Some(installing) = self.login.take_if(|installing| installing.op == op) else { return };
        let error = match (answer, installing.login) {
            (Ok(Reservation::Reserved), Some(login)) => {
                let op = self.stamp();
                let limit = now.elapsed().after(STORE_TIMEOUT);
                out.effects.push(SessionEffect::Change(op, Box::new(Change::Install(login))));
                self.login = Some(Installing { op, limit, login: None, ..installing });
                return;
            }
            (Ok(Reservation::HeldBy(_)), _) => InstallError::HeldElsewhere,
            (Ok(Reservation::Reserved), None) => InstallError::StoreTrouble(StoreFault::Failed),
            (Err(fault), _) => InstallError::StoreTrouble(fault),
        };
        out.answer_install(installing.reply, Err(error));
    }

    /// An install the store does not answer: whether it took effect, a read will tell.
    pub(super) fn install_late(&mut self, now: Now, out: &mut Output) {
        if let Some(late) = self.login.take_if(|installing| installing.limit <= now.elapsed()) {
            out.answer_install(late.reply, Err(InstallError::StoreTrouble(StoreFault::TimedOut)));
            self.read(now, out);
        }
    }

    /// The identity is to be logged out: from here on nothing is served.
    pub(super) fn logout(&mut self, reply: ReplyId, now: Now, out: &mut Output) {
        if self.closing.as_ref().is_some_and(|closing| closing.reply.is_some()) || self.login.is_some() {
            return out.answer_logout(reply, Err(LogoutError::Busy));
        }
        let failures = self.closing.as_ref().map_or(0, |closing| closing.failures);
        let known = self.epoch().filter(|_| self.knowledge.read);
        let epoch = self.closing.as_ref().map_or(known, |closing| closing.epoch);
        self.closing = Some(Closing { reply: Some(reply), epoch, step: Step::Reading, failures });
        self.dismiss_all(TokenError::new(Reason::LoggedOut), out);
        match epoch {
            Some(_) => self.write_tombstone(now, out),
            None => self.read(now, out),
        }
    }

    /// Whether a logout is under way for what is in force now. A newer login does not wait for the old one's end.
    pub(super) fn is_closing(&self) -> bool {
        let outlived = |epoch| self.epoch().is_some_and(|known| known > epoch);
        self.closing.as_ref().is_some_and(|closing| !closing.epoch.is_some_and(outlived))
    }

    /// The record is known at last, or has moved to another epoch.
    pub(super) fn new_view_for_closing(&mut self, now: Now, out: &mut Output) {
        let (Some(closing), Some(known)) = (&mut self.closing, self.knowledge.view.as_ref().map(View::epoch)) else {
            return;
        };
        match closing.epoch {
            None => {
                closing.epoch = Some(known);
                self.write_tombstone(now, out);
            }
            Some(epoch) if epoch < known && closing.reply.is_none() => self.closing = None,
            Some(_) => {}
        }
    }

    /// The record cannot be read: whoever waits for the logout is told. It goes on when the record can be read.
    pub(super) fn closing_unread(&mut self, fault: StoreFault, out: &mut Output) {
        if let Some(closing) = &mut self.closing
            && matches!(closing.step, Step::Reading)
            && let Some(reply) = closing.reply.take()
        {
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
    }

    fn write_tombstone(&mut self, now: Now, out: &mut Output) {
        let op = self.stamp();
        let Some(closing) = &mut self.closing else { return };
        let Some(epoch) = closing.epoch else { return };
        closing.step = Step::Writing { op, limit: now.elapsed().after(STORE_TIMEOUT) };
        out.effects.push(SessionEffect::Change(op, Box::new(Change::Clear { epoch })));
    }

    /// A tombstone that takes too long to write, or is due again.
    pub(super) fn close_late(&mut self, now: Now, out: &mut Output) {
        match self.closing.as_ref().map(|closing| closing.step) {
            Some(Step::Writing { limit, .. }) if limit <= now.elapsed() => {
                self.not_closed(StoreFault::TimedOut, now, out);
            }
            Some(Step::Resting { until }) if until <= now.elapsed() => self.write_tombstone(now, out),
            _ => {}
        }
    }

    /// The process stops: whoever waits for a logout is told that it may not be durable.
    pub(super) fn stop_closing(&mut self, out: &mut Output) {
        if let Some(closing) = &mut self.closing
            && let Some(reply) = closing.reply.take()
        {
            let fault = match closing.step {
                Step::Writing { .. } => StoreFault::TimedOut,
                Step::Reading | Step::Resting { .. } => StoreFault::Failed,
            };
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
    }

    /// The tombstone could not be written. The caller is told; the session, and a flight that holds unsaved tokens, go
    /// on trying.
    fn not_closed(&mut self, fault: StoreFault, now: Now, out: &mut Output) {
        if !self.is_closing() {
            return self.outlive_logout(out);
        }
        let Some(closing) = &mut self.closing else { return };
        if let Some(reply) = closing.reply.take() {
            out.answer_logout(reply, Err(LogoutError::NotDurable(fault)));
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << closing.failures.min(16)).min(PAUSE_MOST);
        closing.failures += 1;
        closing.step = Step::Resting { until: now.elapsed().after(pause / 2 + now.jitter.of(pause / 2)) };
        if let (Some(flight), Some(epoch)) = (&self.flight, closing.epoch) {
            out.effects.push(SessionEffect::TellLoggedOut(flight.id, epoch));
        }
    }

    /// The epoch is over, and whether it was our write that ended it will never be known.
    fn outlive_logout(&mut self, out: &mut Output) {
        let (Some(closing), Some(view)) = (self.closing.take(), &self.knowledge.view) else { return };
        let Some(reply) = closing.reply else { return };
        let answer = match view.renewal {
            Renewal::LoginRequired(Reason::LoggedOut) => Ok(LoggedOut { may_still_live: true }),
            _ => Err(LogoutError::Superseded(view.version)),
        };
        out.answer_logout(reply, answer);
    }

    /// A write of the session's own is done.
    pub(super) fn changed(&mut self, op: Op, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let closes = |closing: &Closing| matches!(closing.step, Step::Writing { op: writing, .. } if writing == op);
        if let Some(installing) = self.login.take_if(|installing| installing.op == op) {
            self.installed(&installing, answer, now, out);
        } else if self.configuring.as_ref().is_some_and(|configuring| configuring.writes(op)) {
            self.configured(answer, now, out);
        } else if self.closing.as_ref().is_some_and(closes) {
            self.closed(answer, now, out);
        } else {
            match answer {
                // A grant that was parked; or a write that was given up on has landed after all.
                Ok(Changed::Applied { before, after }) => {
                    if after.content == Content::Tombstone {
                        self.revoke(before.as_deref(), out);
                    }
                    self.saw(after.view(), now, out);
                }
                Ok(Changed::Conflict { .. }) => self.read(now, out),
                Err(_) => {}
            }
        }
    }

    fn installed(&mut self, installing: &Installing, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let answer = match answer {
            Ok(Changed::Applied { before, after }) => {
                let view = after.view();
                self.new_epoch();
                if before.is_none() && installing.had_record {
                    self.start_over();
                }
                self.overtake_logout(view.version, out);
                self.saw(view.clone(), now, out);
                Ok(Box::new(view))
            }
            Ok(Changed::Conflict { why, current }) => {
                self.saw(current.map_or_else(View::vacant, |record| record.view()), now, out);
                Err(why.into())
            }
            Err(fault) => {
                self.read(now, out);
                Err(InstallError::StoreTrouble(fault))
            }
        };
        out.answer_install(installing.reply, answer);
    }

    /// A logout that never learned which epoch it was for must not end the login that came after it.
    fn overtake_logout(&mut self, version: Version, out: &mut Output) {
        let overtaken = self.closing.take_if(|closing| closing.epoch.is_none());
        if let Some(reply) = overtaken.and_then(|closing| closing.reply) {
            out.answer_logout(reply, Err(LogoutError::Superseded(version)));
        }
    }

    fn closed(&mut self, answer: Result<Changed, StoreFault>, now: Now, out: &mut Output) {
        let in_the_air = self.flight.is_some();
        let known_empty = self.knowledge.view.as_ref().is_some_and(|view| {
            matches!(view.renewal, Renewal::LoginRequired(Reason::LoggedOut | Reason::NeverSignedIn))
        });
        let failures = self.closing.as_ref().map_or(0, |closing| closing.failures);
        let outcome = match answer {
            Err(fault) => return self.not_closed(fault, now, out),
            Ok(Changed::Applied { before, after }) => {
                let before = before.as_deref();
                let in_doubt = before.and_then(Record::held).is_some_and(|held| held.mark.is_some());
                self.revoke(before, out);
                self.end_closing(after.view(), now, out, Ok(LoggedOut { may_still_live: in_the_air || in_doubt }));
                return;
            }
            Ok(Changed::Conflict { current, .. }) => current,
        };
        match outcome.as_deref() {
            Some(record) if record.content != Content::Tombstone => {
                self.end_closing(record.view(), now, out, Err(LogoutError::Superseded(record.version())));
            }
            // Somebody logged out already: a sibling, or an earlier attempt of ours whose answer was lost. What they could
            // revoke, we do not know.
            current => {
                let view = current.map_or_else(View::vacant, Record::view);
                let may_still_live = in_the_air || failures > 0 || !known_empty;
                self.end_closing(view, now, out, Ok(LoggedOut { may_still_live }));
            }
        }
    }

    fn end_closing(&mut self, view: View, now: Now, out: &mut Output, answer: Result<LoggedOut, LogoutError>) {
        if let Some(reply) = self.closing.take().and_then(|closing| closing.reply) {
            out.answer_logout(reply, answer);
        }
        self.saw(view, now, out);
    }

    fn revoke(&self, before: Option<&Record>, out: &mut Output) {
        if let Some(record) = before
            && let (Some(grant), Some(held)) = (record.grant(), record.held())
        {
            let refresh = Some(held.credential.clone());
            let revocation = Revocation { binding: grant.binding.clone(), renewal: grant.renewal.clone(), refresh };
            out.effects.push(SessionEffect::Revoke(Box::new(revocation)));
        }
    }

    /// The epoch has moved: what was learned about the old one does not hold for the new one.
    pub(super) fn new_epoch(&mut self) {
        self.backoff = Backoff::default();
        self.futility = Futility::default();
        self.verdict = None;
    }

    /// The resource lists these issuers now. The bound one is kept while it is among them; otherwise nothing is served
    /// any more, and the grant is parked until a login is accepted.
    pub(super) fn issuers_listed(&mut self, issuers: Vec<Issuer>, now: Now, out: &mut Output) {
        let Some(view) = self.knowledge.view.as_ref().filter(|_| self.knowledge.read) else {
            self.listed = Some(issuers);
            return;
        };
        let Some(bound) = view.issuer.as_ref().filter(|_| view.closed().is_none()) else { return };
        if issuers.contains(bound) {
            self.barred = None;
        } else if self.barred.is_none() {
            self.barred = Some(Bar { epoch: view.epoch(), retry_at: now.elapsed() });
            self.dismiss_all(TokenError::new(Reason::IssuerChanged), out);
            self.park_late(now, out);
        }
    }

    /// Says durably that the grant is parked, as often as it takes.
    pub(super) fn park_late(&mut self, now: Now, out: &mut Output) {
        let Some(bar) = self.barred.filter(|bar| bar.retry_at <= now.elapsed()) else { return };
        let op = self.stamp();
        self.barred = Some(Bar { retry_at: now.elapsed().after(PAUSE_MOST), ..bar });
        let park = Change::Park { epoch: bar.epoch, why: Parked::IssuerChanged };
        out.effects.push(SessionEffect::Change(op, Box::new(park)));
    }
}
