//! The installation of a login. Its refresh token is reserved for this identity first, and then the login is written (law 12
//! in `docs/laws.md`).

use super::machine::{Output, STORE_TIMEOUT, Session};
use super::{ReplyId, SessionEffect};
use crate::law::flight::Op;
use crate::law::ledger::{Change, Changed, Login};
use crate::ports::store::Reservation;
use crate::values::record::View;
use crate::values::{ElapsedTime, Epoch, InstallError, Now, StoreFault};

/// A login that is being installed.
#[derive(Clone, Debug)]
pub(super) struct Installing {
    reply: ReplyId,
    /// The store operation whose answer is awaited, a reservation or a write.
    op: Op,
    /// When that operation times out.
    deadline: ElapsedTime,
    /// The login while its refresh token is being reserved. `None` once its write has begun.
    unwritten: Option<Box<Login>>,
    /// Whether the session knew of an earlier login or logout when this installation began. If the write then meets no
    /// record, the store was emptied meanwhile.
    had_record: bool,
}

impl Installing {
    /// When the awaited store operation times out.
    pub(super) fn deadline(&self) -> ElapsedTime {
        self.deadline
    }

    /// Whether the login waits for this store operation.
    pub(super) fn waits_for(&self, op: Op) -> bool {
        self.op == op
    }
}

impl Session {
    /// Installs a login. Its refresh token is reserved first, so that no two identities ever hold the same one.
    pub(super) fn install(&mut self, reply: ReplyId, login: Box<Login>, now: Now, out: &mut Output) {
        if self.stopping {
            return out.answer_install(reply, Err(InstallError::ShuttingDown));
        }
        if self.installing.is_some() {
            return out.answer_install(reply, Err(InstallError::Busy));
        }
        let op = self.next_op();
        let deadline = now.elapsed().after(STORE_TIMEOUT);
        let unwritten = match &login.refresh {
            Some(refresh) => {
                out.effects.push(SessionEffect::Reserve(op, refresh.digest()));
                Some(login)
            }
            None => {
                out.effects.push(SessionEffect::Change(op, Box::new(Change::Install(login))));
                None
            }
        };
        let had_record = self.knowledge.newest_generation().epoch != Epoch::default();
        self.installing = Some(Installing { reply, op, deadline, unwritten, had_record });
    }

    /// Processes the store's answer to the reservation. If it was granted, the write begins.
    pub(super) fn reserved(&mut self, op: Op, answer: Result<Reservation, StoreFault>, now: Now, out: &mut Output) {
        let reserves = |installing: &mut Installing| installing.waits_for(op) && installing.unwritten.is_some();
        let Some(Installing { reply, unwritten: Some(login), had_record, .. }) = self.installing.take_if(reserves)
        else {
            return;
        };
        let error = match answer {
            Ok(Reservation::Reserved) => {
                let op = self.next_op();
                let deadline = now.elapsed().after(STORE_TIMEOUT);
                out.effects.push(SessionEffect::Change(op, Box::new(Change::Install(login))));
                self.installing = Some(Installing { reply, op, deadline, unwritten: None, had_record });
                return;
            }
            Ok(Reservation::HeldBy(_)) => InstallError::HeldElsewhere,
            Err(fault) => InstallError::StoreTrouble(fault),
        };
        out.answer_install(reply, Err(error));
    }

    /// Fails an installation that the store has not answered in time. A read shows whether it took effect.
    pub(super) fn time_out_install(&mut self, now: Now, out: &mut Output) {
        if let Some(unanswered) = self.installing.take_if(|installing| installing.deadline <= now.elapsed()) {
            out.answer_install(unanswered.reply, Err(InstallError::StoreTrouble(StoreFault::TimedOut)));
            self.read(now, out);
        }
    }

    /// Processes the store's answer to the write. [`changed`](Self::changed) has removed `installing` from the session.
    pub(super) fn installed(
        &mut self,
        installing: &Installing,
        answer: Result<Changed, StoreFault>,
        now: Now,
        out: &mut Output,
    ) {
        let answer = match answer {
            Ok(Changed::Applied { before, after }) => {
                let view = after.view();
                self.reset_for_new_epoch();
                if before.is_none() && installing.had_record {
                    // The store lost the earlier record. The session's knowledge of it does not apply to the new one.
                    self.forget_record();
                }
                self.supersede_logout(view.version, out);
                self.update(view.clone(), now, out);
                Ok(Box::new(view))
            }
            Ok(Changed::Conflict { why, current }) => {
                self.update(current.map_or_else(View::vacant, |record| record.view()), now, out);
                Err(why.into())
            }
            Err(fault) => {
                self.read(now, out);
                Err(InstallError::StoreTrouble(fault))
            }
        };
        out.answer_install(installing.reply, answer);
    }

    /// The runtime shuts down. A login whose write has begun may take effect all the same, so its caller gets the error of a
    /// store that did not answer.
    pub(super) fn stop_installing(&mut self, out: &mut Output) {
        let Some(installing) = self.installing.take() else { return };
        let error = match installing.unwritten {
            Some(_) => InstallError::ShuttingDown,
            None => InstallError::StoreTrouble(StoreFault::TimedOut),
        };
        out.answer_install(installing.reply, Err(error));
    }
}
