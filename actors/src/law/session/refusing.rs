//! Refusals of a lease by a resource (laws 6 and 11).

use super::machine::{Output, Session};
use super::{Futility, Refusal, RefusalAnswer, ReplyId, SessionEffect};
use crate::law::ledger::Change;
use crate::values::record::Renewal;
use crate::values::{Cause, Epoch, Generation, Lease, Now, Reason, TokenError, Version};

/// The refusals that a session remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// The newest generation that was refused.
    floor: Option<Generation>,
    /// The newest refused generation of an epoch before that of the floor. It becomes the floor again if the floor's
    /// epoch, which only an unstored login has begun, is forgotten.
    floor_before: Option<Generation>,
    /// Refusals that wait for a read of the record.
    deferred: Vec<(ReplyId, Refusal)>,
    futility: Futility,
    /// The version of the record for which this session last tried to remove a refused token.
    discarded: Option<Version>,
}

impl Refusals {
    /// The refusals that the previous actor knew of.
    pub(super) fn inherited(floor: Option<Generation>, floor_before: Option<Generation>, futility: Futility) -> Self {
        Self { floor, floor_before, futility, ..Self::default() }
    }

    /// The newest generation that was refused.
    pub(super) fn floor(&self) -> Option<Generation> {
        self.floor
    }

    /// The newest refused generation of an epoch before that of the floor.
    pub(super) fn floor_before(&self) -> Option<Generation> {
        self.floor_before
    }

    /// Whether `generation` must not be served any more.
    pub(super) fn cover(&self, generation: &Generation) -> bool {
        self.floor.is_some_and(|floor| !generation.supersedes(&floor))
    }

    /// The operations for which a refresh does not help.
    pub(super) fn futility(&self) -> &Futility {
        &self.futility
    }

    /// Whether refusals wait for a read.
    pub(super) fn are_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    pub(super) fn forget_floor(&mut self) {
        (self.floor, self.floor_before) = (None, None);
    }

    /// Forgets the refusals of an unstored login, whose epoch is above the `newest` generation that is stored.
    pub(super) fn forget_floor_above(&mut self, newest: Generation) {
        if self.floor.is_some_and(|floor| floor.epoch > newest.epoch) {
            self.floor = self.floor_before.take();
        }
    }

    pub(super) fn forget_futility(&mut self) {
        self.futility = Futility::default();
    }

    /// Lowers a floor above the `newest` generation that is known. It was raised before the first read, by a refusal of
    /// a lease that this session does not know. Every generation that was known by then stays refused, because earlier
    /// refusals may have covered it.
    pub(super) fn lower_floor(&mut self, known_before: Generation, newest: Generation) {
        if self.floor.is_some_and(|floor| floor.supersedes(&newest)) {
            self.floor = Some(known_before).filter(|known| *known != Generation::default());
        }
    }

    /// No lease of this generation or older is served from now on. An epoch above the `stored` one belongs to a login
    /// that may never be stored, so the floor before it is kept.
    fn raise_floor(&mut self, refused: Generation, stored: Epoch) {
        let Some(floor) = self.floor else {
            self.floor = Some(refused);
            return;
        };
        if refused.supersedes(&floor) {
            if refused.epoch > stored && floor.epoch <= stored {
                self.floor_before = Some(floor);
            }
            self.floor = Some(refused);
        } else if floor.epoch > stored && self.floor_before.is_none_or(|before| refused.supersedes(&before)) {
            self.floor_before = Some(refused).filter(|refused| refused.epoch <= stored).or(self.floor_before);
        }
    }
}

impl Session {
    /// A resource refused a lease. Before the first read, the session does not know which lease that was, or why it was
    /// minted. A lease that is newer than any known one may be a sibling's. The refusal is therefore deferred until the
    /// record has been read, or cannot be read.
    pub(super) fn refuse(&mut self, reply: ReplyId, refusal: Refusal, now: Now, out: &mut Output) {
        let known = self.knowledge.view().is_some() && !self.is_unknown(refusal.generation);
        if known || self.stopping || self.refusals.deferred.len() >= self.policy.max_waiters {
            return self.decide_refusal(reply, refusal, now, out);
        }
        self.refusals.deferred.push((reply, refusal));
        if self.knowledge.view().is_some() {
            self.read(now, out);
        }
    }

    /// Whether this generation is newer than every known one.
    fn is_unknown(&self, refused: Generation) -> bool {
        refused.supersedes(&self.knowledge.newest_generation())
    }

    /// Answers the refusals of leases that are known by now. The others wait for the read.
    pub(super) fn answer_known_refusals(&mut self, now: Now, out: &mut Output) {
        for (reply, refusal) in std::mem::take(&mut self.refusals.deferred) {
            if self.is_unknown(refusal.generation) {
                self.refusals.deferred.push((reply, refusal));
            } else {
                self.decide_refusal(reply, refusal, now, out);
            }
        }
    }

    /// Answers all refusals that waited for a read.
    pub(super) fn answer_deferred_refusals(&mut self, now: Now, out: &mut Output) {
        for (reply, refusal) in std::mem::take(&mut self.refusals.deferred) {
            self.decide_refusal(reply, refusal, now, out);
        }
    }

    fn decide_refusal(&mut self, reply: ReplyId, refusal: Refusal, now: Now, out: &mut Output) {
        let refused = refusal.generation;
        // A floor above every known generation would also cover tokens that do not exist yet, even those of a new login.
        if self.knowledge.view().is_some() && self.is_unknown(refused) {
            return out.answer_refusal(reply, RefusalAnswer::Unknown);
        }
        let current = self.lease().map(Lease::generation);
        let answer = match current {
            // The report is late, because there is a newer lease already. Nothing changes for other callers.
            Some(current) if current.supersedes(&refused) => RefusalAnswer::Superseded,
            // The generations need not be equal. One token may have two with the same number, if it was handed out
            // unstored and a write that had timed out stored it later.
            Some(current) if !refused.supersedes(&current) => match self.futile(&refusal, now) {
                Some(error) => RefusalAnswer::Futile(error),
                None => RefusalAnswer::Noted,
            },
            // There is no lease to serve, or the refused lease is newer than it.
            _ => RefusalAnswer::Noted,
        };
        if !matches!(answer, RefusalAnswer::Futile(_)) {
            let stored = self.knowledge.epoch().unwrap_or(refused.epoch);
            self.refusals.raise_floor(refused, stored);
        }
        out.answer_refusal(reply, answer);
    }

    /// Removes a refused token from the record of a grant that has ended. No refresh will replace the token there, and
    /// other processes do not have this process's floor. The removal is tried once for each version of the record,
    /// because the floor holds here even if the write fails.
    pub(super) fn discard_refused(&mut self, out: &mut Output) {
        let (Some(view), Some(floor)) = (self.knowledge.stored_view(), self.refusals.floor) else { return };
        let (Renewal::LoginRequired(_), Some(lease)) = (&view.renewal, &view.lease) else { return };
        let (version, generation) = (view.version, lease.generation());
        if generation.supersedes(&floor) || self.refusals.discarded == Some(version) {
            return;
        }
        self.refusals.discarded = Some(version);
        let op = self.next_op();
        let discard = Change::Discard { epoch: generation.epoch, number: generation.number };
        out.effects.push(SessionEffect::Change(op, Box::new(discard)));
    }

    /// The error for a refusal of the current lease if a refresh does not help, as known before or shown by this
    /// refusal.
    fn futile(&mut self, refusal: &Refusal, now: Now) -> Option<TokenError> {
        let key = (refusal.operation, refusal.challenge);
        let shown = self.lease().is_some_and(|lease| {
            let epoch = lease.generation().epoch;
            let was_login = lease.cause() == Cause::Login && self.signing_in.was_in_vain(epoch, refusal.operation);
            Futility::shows_in(lease, &now.moment) || was_login && Futility::is_young(lease, &now.moment)
        });
        let pause = match self.refusals.futility.pause(key, now.elapsed()) {
            Some(pause) => pause,
            None if shown => self.refusals.futility.remember(key, self.policy.max_backoff, now.elapsed()),
            None => return None,
        };
        Some(TokenError::new(Reason::ResourceRefuses).with_retry_after(pause))
    }
}
