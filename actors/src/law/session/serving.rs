//! The decision whether a caller gets a lease or an error, or waits.

use std::time::Duration;

use super::machine::{Output, Session};
use super::waiters::Waiter;
use super::{Ask, WaiterId};
use crate::law::flight::Spending;
use crate::values::record::{Renewal, View};
use crate::values::{Lease, Now, Reason, TokenError};

impl Session {
    /// A caller wants a token. It gets a lease or an error at once, or waits.
    pub(super) fn get_token(&mut self, waiter: WaiterId, ask: Ask, now: Now, out: &mut Output) {
        if !ask.force
            && !self.stopping
            && let Some(lease) = self.serve(ask.min_lifetime, now)
        {
            self.handed_out(now);
            return out.answer(waiter, Ok(lease));
        }
        let waiting = Waiter::new(&ask, self.flights.begun());
        let refusal = if ask.deadline() <= now.elapsed() {
            Some(TokenError::new(Reason::DeadlinePassed))
        } else {
            self.refusal(&waiting, now)
        };
        match refusal {
            Some(error) => out.answer(waiter, Err(error)),
            None if self.waiters.len() >= self.policy.max_waiters => {
                out.answer(waiter, Err(TokenError::new(Reason::TooManyWaiters)));
            }
            None => {
                if self.waiters.is_empty() && !self.flights.is_running() {
                    self.pauses.begin_cohort(now.elapsed());
                }
                self.pauses.caller_waits();
                self.waiters.insert(waiter, waiting);
            }
        }
    }

    /// The newest lease that is not refused or blocked, even if it has expired.
    pub(super) fn lease(&self) -> Option<&Lease> {
        if self.is_closing() || self.is_barred() {
            return None;
        }
        let lease = self.knowledge.newest_lease()?;
        (!self.refusals.cover(&lease.generation())).then_some(lease)
    }

    /// Whether no lease of the newest epoch may be served. A login that is not stored yet begins another epoch, and is
    /// not blocked.
    fn is_barred(&self) -> bool {
        let is_blocked = self.knowledge.epoch().is_some_and(|epoch| self.issuers.block(epoch));
        is_blocked && !self.knowledge.holds_unstored_login()
    }

    /// The lease for a caller that needs at least `min_lifetime` of it; `None` if there is none.
    pub(super) fn serve(&self, min_lifetime: Duration, now: Now) -> Option<Lease> {
        let lease = self.lease()?;
        let validity = lease.validity();
        let need = validity.lifetime().map_or(min_lifetime, |lifetime| min_lifetime.min(lifetime / 4 * 3));
        let good = validity.is_good(self.policy.safety_margin, &now.moment);
        (good && validity.outlasts(need, &now.moment)).then(|| lease.clone())
    }

    /// The lease for a waiting caller; `None` if there is none, or if the caller insists on a later flight.
    pub(super) fn serve_waiter(&self, waiter: &Waiter, now: Now) -> Option<Lease> {
        if waiter.insists() { None } else { self.serve(waiter.min_lifetime(), now) }
    }

    /// The error for a caller that waiting cannot help; `None` if it may help. A caller that insists needs a flight
    /// that has not begun yet.
    fn refusal(&self, waiter: &Waiter, now: Now) -> Option<TokenError> {
        if self.stopping {
            return Some(TokenError::new(Reason::ShuttingDown));
        }
        if self.is_arriving(now) {
            return None;
        }
        if let Some(reason) = self.login_required_for(waiter.insists(), now) {
            return Some(TokenError::new(reason));
        }
        if self.flights.is_keeping() || self.signing_in.is_keeping() {
            return Some(TokenError::new(Reason::StoreTrouble));
        }
        if self.flights.is_running() && !waiter.insists() {
            return None;
        }
        self.pauses.error_until(waiter.patience().unwrap_or(now.elapsed()), now.elapsed())
    }

    /// The reason why callers need a login, given whether one of them insists; `None` if they need none. A client that
    /// the server has rejected is tried again for a caller that insists, because some servers reject a client only for
    /// a time.
    pub(super) fn login_required_for(&self, insisting: bool, now: Now) -> Option<Reason> {
        self.login_required(now).filter(|reason| !(insisting && *reason == Reason::ClientRejected))
    }

    /// The reason why a login is required; `None` if none is.
    pub(super) fn login_required(&self, now: Now) -> Option<Reason> {
        if self.is_closing() {
            return Some(Reason::LoggedOut);
        }
        if self.knowledge.holds_unstored_login() {
            return None;
        }
        let view = self.knowledge.view()?;
        if self.issuers.block(view.epoch()) {
            return Some(Reason::IssuerChanged);
        }
        self.login_required_by(view).or_else(|| self.landings.login_required(view.version, now.elapsed()))
    }

    /// Whether no login is required now. That is also so while a lease without a refresh token is still good.
    pub(super) fn is_signed_in(&self, now: Now) -> bool {
        self.login_required(now).is_none() || self.serve(Duration::ZERO, now).is_some()
    }

    /// The reason why `view` requires a login; `None` if the grant in it can be renewed.
    fn login_required_by(&self, view: &View) -> Option<Reason> {
        let repeatable = self.renewal().spending == Spending::Repeatable;
        match &view.renewal {
            // A repeatable source needs no refresh token, so the end of the last one does not matter.
            Renewal::LoginRequired(Reason::NeverSignedIn | Reason::GrantEnded | Reason::MaybeConsumed)
                if repeatable =>
            {
                None
            }
            Renewal::LoginRequired(reason) => Some(*reason),
            Renewal::WithoutToken if !repeatable => Some(Reason::NotRefreshable),
            _ => None,
        }
    }

    /// Whether only a login can help while the record stays unchanged. The next actor learns this from the store.
    pub(super) fn awaits_login(&self) -> bool {
        self.knowledge
            .stored_view()
            .is_some_and(|view| self.login_required_by(view).is_some() || self.landings.found_consumed(view.version))
    }

    /// Answers every waiting caller for which there is a lease, or for which waiting no longer helps.
    pub(super) fn serve_waiters(&mut self, now: Now, out: &mut Output) {
        self.draw_window(now);
        let mut served = false;
        self.answer_waiters(out, |session, waiter| {
            let lease = session.serve_waiter(waiter, now);
            served |= lease.is_some();
            lease.map(Ok).or_else(|| session.refusal(waiter, now).map(Err))
        });
        if served {
            self.handed_out(now);
        }
    }

    /// Answers every waiting caller with `error`.
    pub(super) fn fail_waiters(&mut self, error: TokenError, out: &mut Output) {
        self.answer_waiters(out, |_, _| Some(Err(error)));
    }
}
