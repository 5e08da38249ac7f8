//! What a resource's refusal of a lease means (laws 6 and 11).

use super::machine::{Output, Session};
use super::{Futility, Refusal, RefusalAnswer, ReplyId};
use crate::values::{Generation, Lease, Now, Reason, TokenError};

impl Session {
    /// A resource refused a lease. Before the first read nobody knows which lease that was, and why it was minted: the
    /// refusal is heard once the record is known, or cannot be read.
    pub(super) fn refuse(&mut self, reply: ReplyId, refusal: Refusal, now: Now, out: &mut Output) {
        let known = self.knowledge.view.is_some() || self.stopping;
        if known || self.unheard.len() >= self.policy.max_waiters {
            self.judge(reply, refusal, now, out);
        } else {
            self.unheard.push((reply, refusal));
        }
    }

    /// Hears the refusals that waited for the first read.
    pub(super) fn hear(&mut self, now: Now, out: &mut Output) {
        for (reply, refusal) in std::mem::take(&mut self.unheard) {
            self.judge(reply, refusal, now, out);
        }
    }

    fn judge(&mut self, reply: ReplyId, refusal: Refusal, now: Now, out: &mut Output) {
        let refused = refusal.generation;
        let current = self.lease().map(Lease::generation);
        let answer = match current {
            // The late caller gets the current lease; nothing changes for anybody else.
            Some(current) if current.supersedes(&refused) => RefusalAnswer::Superseded,
            // A token of one number may have two names: as it was minted, and as a write that was given up on stored it.
            Some(current) if !refused.supersedes(&current) => match self.futile(&refusal, now) {
                Some(error) => RefusalAnswer::Futile(error),
                None => RefusalAnswer::Noted,
            },
            _ => RefusalAnswer::Noted,
        };
        if !matches!(answer, RefusalAnswer::Futile(_)) {
            self.raise_floor(refused);
        }
        out.answer_refusal(reply, answer);
    }

    /// From now on nothing of this generation or older is served.
    pub(super) fn raise_floor(&mut self, refused: Generation) {
        if self.floor.is_none_or(|floor| refused.supersedes(&floor)) {
            self.floor = Some(refused);
        }
    }

    /// Whether refreshing is known, or shown by this refusal of the current lease, not to help.
    fn futile(&mut self, refusal: &Refusal, now: Now) -> Option<TokenError> {
        let key = (refusal.operation, refusal.challenge);
        let shown = self.lease().is_some_and(|lease| Futility::shows_in(lease, &now.moment));
        let pause = match self.futility.pause(key, now.elapsed()) {
            Some(pause) => pause,
            None if shown => self.futility.remember(key, self.policy.max_backoff, now.elapsed()),
            None => return None,
        };
        Some(TokenError::new(Reason::ResourceRefuses).with_retry_after(pause))
    }
}
