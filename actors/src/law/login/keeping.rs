//! The last part of a login attempt, which stores the tokens that a redemption or a poll has brought (laws 12, 20 and 21). A
//! method that handles a completion takes the data of the phase that waited for it, and returns the next phase.

use super::machine::AttemptCore;
use super::phase::{KeepStep, Keeping, Phase};
use super::{LoginEffect, LoginReport};
use crate::law::flight::{Op, Revocation};
use crate::law::ledger::{BegunOn, Change, Changed, Conflict, Login};
use crate::ports::login::IssuedLogin;
use crate::ports::store::{PendingLogin, Reservation};
use crate::values::record::{Content, PromptEnd, Record, RefreshCredential};
use crate::values::{Cause, ExponentialBackoff, Generation, Lease, LeaseParts, LoginKey, LoginReason, Now, StoreFault};

/// The longest pause between two writes while the process stops, as a multiple of the first pause. It is short, so that a
/// write succeeds if the store works again before the process ends.
const MAX_PAUSES: u32 = 4;

impl AttemptCore {
    /// Begins to store the tokens that the server has issued for `pending`.
    pub(super) fn keep(
        &mut self,
        key: LoginKey,
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
            // The store compares the record with this before it installs the login (law 20).
            begun_on: Some(BegunOn {
                epoch: pending.epoch,
                attempt: pending.attempt,
                same_subject: pending.same_subject,
            }),
        });
        let keeping = Keeping {
            login,
            key,
            epoch: pending.epoch,
            since: self.next_op(),
            step: KeepStep::Resting { until: now.elapsed() },
            failures: 0,
            concluded: false,
            maybe_stored: false,
        };
        self.reserve(keeping, now, out)
    }

    /// Reserves the refresh token, or writes the login at once if it has none.
    pub(super) fn reserve(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if self.is_logged_out(&keeping) {
            return self.drop_logged_out(&keeping.login, out);
        }
        let Some(credential) = &keeping.login.refresh else { return self.write(keeping, now, out) };
        let op = self.next_op();
        let limit = now.elapsed().after(self.equipment.timeouts.store_timeout);
        out.push(LoginEffect::Reserve(op, credential.digest()));
        Phase::Keeping(Keeping { step: KeepStep::Reserving { op, limit }, ..keeping })
    }

    /// Whether the session was logged out of the epoch that the login is to replace, or of the next one, in which its
    /// unstored lease is served.
    fn is_logged_out(&self, keeping: &Keeping) -> bool {
        self.logged_out.is_some_and(|epoch| epoch == keeping.epoch || epoch == keeping.epoch.next())
    }

    /// Revokes the new tokens, because the session was logged out meanwhile. The session's logout writes the tombstone.
    fn drop_logged_out(&mut self, login: &Login, out: &mut Vec<LoginEffect>) -> Phase {
        self.revoke(login, out);
        self.conclude(Err(LoginReason::LoggedOut), out)
    }

    fn write(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if self.is_logged_out(&keeping) {
            return self.drop_logged_out(&keeping.login, out);
        }
        let op = self.next_op();
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
            // Two identities that spent one refresh token would look like theft to the server. The other identity keeps it.
            Ok(Reservation::HeldBy(_)) => {
                self.end_prompt(keeping.key, PromptEnd::Failed, LoginReason::HeldElsewhere, now, out)
            }
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
        if op <= keeping.since {
            // A late answer to a write of an earlier phase.
            return Phase::Keeping(keeping);
        }
        // A success of any try counts, and a failure only of the latest.
        let is_latest = matches!(keeping.step, KeepStep::Writing { op: latest, .. } if latest == op);
        match answer {
            Ok(Changed::Applied { after, .. }) => {
                self.learn(Some(after), now, out);
                self.conclude(Ok(()), out)
            }
            // The record is damaged, so the login is written without a comparison.
            Ok(Changed::Conflict { why: Conflict::Moved, current: None }) | Err(StoreFault::Unreadable)
                if is_latest && self.unreadable && keeping.login.begun_on.is_some() =>
            {
                let login = Box::new(Login { begun_on: None, ..*keeping.login });
                self.write(Keeping { login, ..keeping }, now, out)
            }
            Ok(Changed::Conflict { why, current }) if is_latest => {
                self.learn(current, now, out);
                self.overtaken_by(keeping, why, now, out)
            }
            Err(fault) if is_latest => {
                let maybe_stored = keeping.maybe_stored || fault == StoreFault::TimedOut;
                self.unwritten(Keeping { maybe_stored, ..keeping }, now, out)
            }
            _ => Phase::Keeping(keeping),
        }
    }

    /// The store has refused the login, because it does not fit the current record.
    fn overtaken_by(&mut self, keeping: Keeping, why: Conflict, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        let reason = match (why, self.record.as_deref()) {
            // An earlier try succeeded after all.
            (_, Some(record)) if is_stored(record, &keeping) => return self.conclude(Ok(()), out),
            (Conflict::OtherSubject, _) => {
                // The grant of the person who is signed in stays as it was.
                self.revoke(&keeping.login, out);
                LoginReason::SubjectChanged
            }
            // After a logout the new tokens are revoked. After another login they are not, because at some servers the
            // revocation would end the tokens of that login too. A record that is gone was removed after a logout.
            (Conflict::Moved, None | Some(Record { content: Content::Tombstone, .. })) => {
                self.revoke(&keeping.login, out);
                return self.conclude(Err(LoginReason::LoggedOut), out);
            }
            (Conflict::Moved, _) => return self.conclude(Err(LoginReason::Superseded), out),
            (Conflict::Refused | Conflict::Replaced | Conflict::Dead | Conflict::Marked, _) => LoginReason::Refused,
        };
        self.end_prompt(keeping.key, PromptEnd::Failed, reason, now, out)
    }

    /// The store could not be written. The callers get the login's lease all the same, and the login is written again with
    /// backoff (law 21).
    fn unwritten(&mut self, mut keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        if self.is_logged_out(&keeping) {
            return self.drop_logged_out(&keeping.login, out);
        }
        if !keeping.concluded && self.is_anothers(&keeping.login) {
            // The store would refuse the login, and the session serves no token of another person meanwhile (law 20).
            return self.overtaken_by(keeping, Conflict::OtherSubject, now, out);
        }
        if !std::mem::replace(&mut keeping.concluded, true) {
            let lease = self.unstored_lease(&keeping);
            self.report(Ok(()), lease, out);
        }
        keeping.failures += 1;
        let timeouts = &self.equipment.timeouts;
        // The time of the last write. A later one would not be answered before the process ends.
        let last = self.closing.map(|closing| closing.before(timeouts.store_timeout));
        if last.is_some_and(|last| last <= now.elapsed()) {
            if !keeping.maybe_stored {
                self.revoke(&keeping.login, out);
            }
            out.push(LoginEffect::Report(LoginReport::Lost));
            self.end_claims(out);
            return Phase::Over;
        }
        let longest = match last {
            Some(_) => timeouts.save_pause * MAX_PAUSES,
            None => timeouts.max_save_pause,
        };
        let pause = ExponentialBackoff::new(timeouts.save_pause, longest).jittered(keeping.failures, now.jitter);
        let until = now.elapsed().after(pause);
        let until = last.map_or(until, |last| until.min(last));
        Phase::Keeping(Keeping { step: KeepStep::Resting { until }, ..keeping })
    }

    /// Whether the login belongs to a person other than the one who is signed in, according to the last read of the record.
    fn is_anothers(&self, login: &Login) -> bool {
        let permits = |record: &Record| login.begun_on.map(|begun_on| begun_on.permits(record, login));
        self.record.as_deref().and_then(permits) == Some(Err(Conflict::OtherSubject))
    }

    pub(super) fn keep_tick(&mut self, keeping: Keeping, now: Now, out: &mut Vec<LoginEffect>) -> Phase {
        match keeping.step {
            KeepStep::Resting { until } if until <= now.elapsed() => self.reserve(keeping, now, out),
            KeepStep::Reserving { limit, .. } if limit <= now.elapsed() => self.unwritten(keeping, now, out),
            KeepStep::Writing { limit, .. } if limit <= now.elapsed() => {
                self.unwritten(Keeping { maybe_stored: true, ..keeping }, now, out)
            }
            _ => Phase::Keeping(keeping),
        }
    }

    /// The lease of a login that is not stored. Its number follows the newest one that this process knows.
    fn unstored_lease(&self, keeping: &Keeping) -> Option<Lease> {
        let Keeping { login, epoch, .. } = keeping;
        let access = login.access.as_ref()?;
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

    fn revoke(&self, login: &Login, out: &mut Vec<LoginEffect>) {
        let (binding, renewal, refresh) = (login.binding.clone(), login.renewal.clone(), login.refresh.clone());
        let access = login.access.as_ref().map(|access| access.token.clone());
        out.push(LoginEffect::Revoke(Box::new(Revocation { binding, renewal, refresh, access })));
    }
}

/// Whether `record` holds the tokens of the login that is being kept.
fn is_stored(record: &Record, keeping: &Keeping) -> bool {
    let login = &keeping.login;
    let Some(grant) = record.grant().filter(|_| record.epoch == keeping.epoch.next()) else { return false };
    match &login.refresh {
        Some(credential) => record.held().is_some_and(|held| held.credential == *credential),
        None => grant.access.as_ref().map(|access| &access.token) == login.access.as_ref().map(|access| &access.token),
    }
}
