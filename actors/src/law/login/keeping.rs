//! Storing what a login obtained, and noting how a request ended (laws 12, 20 and 21).

use super::machine::AttemptCore;
use super::phase::{Ending, KeepStep, Keeping, Phase};
use super::{LoginEffect, LoginReport};
use crate::law::flight::{Op, Revocation};
use crate::law::ledger::{BegunOn, Change, Changed, Conflict, Login};
use crate::ports::login::IssuedLogin;
use crate::ports::store::{PendingLogin, Reservation};
use crate::values::record::{Content, PromptEnd, Record, RefreshCredential, View};
use crate::values::{
    Cause, ElapsedTime, Epoch, ExponentialBackoff, Generation, Lease, LeaseParts, LoginReason, Now, StoreFault,
};

/// How often the end of a request is written. Other processes find out by its expiry otherwise.
const MAX_END_TRIES: u32 = 3;

impl AttemptCore {
    // The login.

    /// Begins to store the tokens that the server has issued for `pending`.
    pub(super) fn keep(
        &mut self,
        pending: &PendingLogin,
        issued: IssuedLogin,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        let refresh = issued.refresh.map(|token| RefreshCredential::new(token, &self.equipment.digests));
        let login = Box::new(Login {
            binding: issued.binding,
            requested: issued.requested,
            granted: issued.granted,
            subject: issued.subject,
            dpop_key: issued.dpop_key,
            renewal: issued.renewal,
            refresh,
            access: issued.access,
            at: now.moment,
            begun_on: Some(BegunOn {
                epoch: pending.epoch,
                attempt: pending.attempt,
                same_subject: pending.same_subject,
            }),
        });
        self.reserve(
            Keeping { login, step: KeepStep::Resting { until: now.elapsed() }, failures: 0, concluded: false },
            now,
            out,
        )
    }

    /// Reserves the refresh token, or writes the login at once if it has none.
    fn reserve(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if self.logged_out.is_some() && self.logged_out == epoch_of(&keeping.login) {
            // The logout could not be stored. Its tombstone is the session's to write. The new tokens go.
            self.revoke(&keeping.login, out);
            return self.finish(keeping, Err(LoginReason::LoggedOut), out);
        }
        let Some(credential) = &keeping.login.refresh else { return self.write(keeping, now, out) };
        let op = self.stamp();
        let limit = now.elapsed().after(self.equipment.timeouts.store_timeout);
        out.push(LoginEffect::Reserve(op, credential.digest()));
        Phase::Keeping(Keeping { step: KeepStep::Reserving { op, limit }, ..keeping })
    }

    fn write(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.stamp();
        let limit = now.elapsed().after(self.equipment.timeouts.store_timeout);
        out.push(LoginEffect::Change(op, Change::Install(keeping.login.clone())));
        Phase::Keeping(Keeping { step: KeepStep::Writing { op, limit }, ..keeping })
    }

    pub(super) fn reserved(
        &mut self,
        keeping: Keeping,
        op: Op,
        answer: Result<Reservation, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        match keeping.step {
            KeepStep::Reserving { op: asked, .. } if asked == op => {}
            _ => return Phase::Keeping(keeping),
        }
        match answer {
            Ok(Reservation::Reserved) => self.write(keeping, now, out),
            // Two owners of one refresh token would end it for both. The other one keeps it.
            Ok(Reservation::HeldBy(_)) if keeping.concluded => {
                self.finish(keeping, Err(LoginReason::HeldElsewhere), out)
            }
            Ok(Reservation::HeldBy(_)) => self.end_prompt(PromptEnd::Failed, LoginReason::HeldElsewhere, now, out),
            Err(_) => self.unwritten(keeping, now, out),
        }
    }

    pub(super) fn written(
        &mut self,
        keeping: Keeping,
        op: Op,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        // A success of any try counts, and a failure only of the latest.
        let is_latest = matches!(keeping.step, KeepStep::Writing { op: latest, .. } if latest == op);
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                self.record = Some(after);
                self.finish(keeping, Ok(()), out)
            }
            Ok(Changed::Conflict { why, current }) if is_latest => {
                self.record = current;
                self.overtaken_by(keeping, why, now, out)
            }
            Err(_) if is_latest => self.unwritten(keeping, now, out),
            _ => Phase::Keeping(keeping),
        }
    }

    /// The login does not apply to the record as it is now.
    fn overtaken_by(&mut self, keeping: Keeping, why: Conflict, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let reason = match (why, self.record.as_deref()) {
            // An earlier try succeeded after all.
            (_, Some(record)) if is_stored(record, &keeping.login) => return self.finish(keeping, Ok(()), out),
            (Conflict::OtherSubject, _) => {
                // The grant of the person who is signed in stays as it was.
                self.revoke(&keeping.login, out);
                LoginReason::SubjectChanged
            }
            // After a logout a revocation is always right. After a login it could end that one too.
            (Conflict::Moved, Some(Record { content: Content::Tombstone, .. })) => {
                self.revoke(&keeping.login, out);
                return self.finish(keeping, Err(LoginReason::LoggedOut), out);
            }
            (Conflict::Moved, _) => return self.finish(keeping, Err(LoginReason::Superseded), out),
            (Conflict::Refused | Conflict::Replaced | Conflict::Dead | Conflict::Marked, _) => LoginReason::Refused,
        };
        if keeping.concluded {
            return self.finish(keeping, Err(reason), out);
        }
        self.end_prompt(PromptEnd::Failed, reason, now, out)
    }

    /// The store could not be written. The callers get the login all the same, and it is saved with backoff (law 21).
    fn unwritten(&mut self, mut keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if !std::mem::replace(&mut keeping.concluded, true) {
            let lease = self.unstored_lease(&keeping.login);
            self.report(Ok(()), lease, out);
        }
        keeping.failures += 1;
        let timeouts = &self.equipment.timeouts;
        let backoff = ExponentialBackoff::new(timeouts.save_pause, timeouts.max_save_pause);
        let until = now.elapsed().after(backoff.jittered(keeping.failures, now.jitter));
        match self.closing {
            Some(closing) if until.after(timeouts.store_timeout) > closing => {
                // No other try would be answered before the process ends.
                self.revoke(&keeping.login, out);
                out.push(LoginEffect::Report(LoginReport::Lost));
                self.end_claims(out);
                Phase::Over
            }
            _ => Phase::Keeping(Keeping { step: KeepStep::Resting { until }, ..keeping }),
        }
    }

    pub(super) fn keep_tick(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match keeping.step {
            KeepStep::Resting { until } if until <= now.elapsed() => self.reserve(keeping, now, out),
            KeepStep::Reserving { limit, .. } | KeepStep::Writing { limit, .. } if limit <= now.elapsed() => {
                self.unwritten(keeping, now, out)
            }
            _ => Phase::Keeping(keeping),
        }
    }

    /// The lease of a login that is not stored. It counts on from the newest generation that this process knows.
    fn unstored_lease(&self, login: &Login) -> Option<Lease> {
        let access = login.access.as_ref()?;
        let epoch = epoch_of(login)?;
        let known = self.record.as_ref().map_or(0, |record| record.number).max(self.order.known.number);
        Some(Lease::new(LeaseParts {
            token: access.token.clone(),
            kind: access.kind,
            generation: Generation { epoch: epoch.next(), number: known.saturating_add(1), nonce: self.order.nonce },
            scopes: login.granted.clone(),
            validity: access.validity,
            cause: Cause::Login,
            proof_key: login.dpop_key.clone(),
        }))
    }

    /// Ends an attempt whose login was stored, or is not to be stored.
    fn finish(&mut self, keeping: Keeping, result: Result<(), LoginReason>, out: &mut Vec<LoginEffect>) -> Phase {
        if keeping.concluded {
            let view = self.record.as_ref().map_or_else(View::vacant, |record| record.view());
            self.end_claims(out);
            out.push(LoginEffect::Report(LoginReport::Settled(Box::new(view))));
            return Phase::Over;
        }
        self.conclude(result, out)
    }

    fn revoke(&self, login: &Login, out: &mut Vec<LoginEffect>) {
        let (binding, renewal, refresh) = (login.binding.clone(), login.renewal.clone(), login.refresh.clone());
        out.push(LoginEffect::Revoke(Box::new(Revocation { binding, renewal, refresh })));
    }

    // The end of a request.

    /// Writes how the request ended, for the processes that follow it, and then concludes.
    pub(super) fn end_prompt(
        &mut self,
        end: PromptEnd,
        reason: LoginReason,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.write_end(Ending { end, reason, tries: 1 }, now, out)
    }

    fn write_end(&mut self, ending: Ending, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let op = self.stamp_store_op(now);
        let change = Change::EndPrompt { attempt: self.asked_by, end: ending.end, at: now.moment };
        out.push(LoginEffect::Change(op, change));
        Phase::Ending { op, ending }
    }

    pub(super) fn end_written(
        &mut self,
        ending: Ending,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.limit = None;
        match answer {
            Ok(Changed::Applied { after, .. }) => self.learn(Some(after), out),
            Ok(Changed::Conflict { current, .. }) => self.learn(current, out),
            Err(_) if ending.tries < MAX_END_TRIES && self.closing.is_none() => {
                return self.write_end(Ending { tries: ending.tries + 1, ..ending }, now, out);
            }
            Err(_) => {}
        }
        self.conclude(Err(ending.reason), out)
    }

    // Endings from outside.

    /// The host or the person cancels. A code that is being presented is not called back.
    pub(super) fn cancel(&mut self, phase: Phase, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Open(open) => self.take(open.shown.key, None, now, out),
            Phase::Showing { .. } => {
                self.cancelled = true;
                phase
            }
            phase => self.stop_early(phase, LoginReason::Cancelled, out),
        }
    }

    /// The session is being logged out. A code that was not sent is not sent any more.
    pub(super) fn log_out(&mut self, phase: Phase, epoch: Epoch, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        self.logged_out = Some(epoch);
        if epoch != self.order.epoch {
            return phase;
        }
        match phase {
            Phase::Open(open) => {
                out.push(LoginEffect::Discard(open.shown.key));
                self.conclude(Err(LoginReason::LoggedOut), out)
            }
            Phase::Keeping(Keeping { step: KeepStep::Resting { .. }, login, failures, concluded }) => {
                let step = KeepStep::Resting { until: now.elapsed() };
                self.reserve(Keeping { step, login, failures, concluded }, now, out)
            }
            phase => self.stop_early(phase, LoginReason::LoggedOut, out),
        }
    }

    pub(super) fn shut_down(
        &mut self,
        phase: Phase,
        until: ElapsedTime,
        now: Now,
        out: &mut Vec<LoginEffect>,
    ) -> Phase {
        self.closing.get_or_insert(until);
        match phase {
            // The prompt stays open. Another process, or this one after its restart, takes it over.
            Phase::Open(_) => self.conclude(Err(LoginReason::ShuttingDown), out),
            Phase::Keeping(keeping) => match keeping.step {
                KeepStep::Resting { .. } => self.reserve(keeping, now, out),
                _ => Phase::Keeping(keeping),
            },
            phase => self.stop_early(phase, LoginReason::ShuttingDown, out),
        }
    }

    /// Ends an attempt that has nothing of value yet.
    fn stop_early(&mut self, phase: Phase, reason: LoginReason, out: &mut Vec<LoginEffect>) -> Phase {
        match phase {
            Phase::Claiming { .. }
            | Phase::Following { .. }
            | Phase::Reading { .. }
            | Phase::Awaiting { .. }
            | Phase::EndingStale { .. }
            | Phase::Peeking { .. }
            | Phase::Preparing { .. } => self.conclude(Err(reason), out),
            Phase::Putting { prepared, .. } => {
                out.push(LoginEffect::Discard(prepared.key));
                self.conclude(Err(reason), out)
            }
            // The prompt may be written already. It is ended, and the pending login goes.
            Phase::Asking { prepared, .. } if reason != LoginReason::ShuttingDown => {
                out.push(LoginEffect::Discard(prepared.key));
                self.conclude(Err(reason), out)
            }
            phase => phase,
        }
    }
}

fn epoch_of(login: &Login) -> Option<Epoch> {
    login.begun_on.map(|begun_on| begun_on.epoch)
}

/// Whether `record` holds the tokens of `login`.
fn is_stored(record: &Record, login: &Login) -> bool {
    let begun = epoch_of(login).map(Epoch::next);
    let Some(grant) = record.grant().filter(|_| Some(record.epoch) == begun) else { return false };
    match &login.refresh {
        Some(credential) => record.held().is_some_and(|held| held.credential == *credential),
        None => grant.access.as_ref().map(|access| &access.token) == login.access.as_ref().map(|access| &access.token),
    }
}
