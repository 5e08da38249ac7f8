//! Refreshes without a waiting caller, in early windows and to keep refresh tokens alive (law 14).

use std::time::Duration;

use super::RefreshPolicy;
use super::machine::Session;
use crate::values::{BootId, Cause, ElapsedTime, Generation, Lease, Moment, Now, Validity, Window};

/// How long a token of another boot or host is left alone before a background refresh. If the clocks of two hosts
/// disagree, each would otherwise take the other's new token for an old one and refresh without end.
const FOREIGN: Duration = Duration::from_secs(60);

/// How long after a resume a background refresh counts as caused by it.
const RESUME: Duration = Duration::from_secs(30);

/// The state that decides about background refreshes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pacing {
    /// The early window of the current lease, drawn once for each lease.
    window: Option<EarlyWindow>,
    /// Whether the lease was handed out since it was minted.
    used: bool,
    /// Whether a caller got the lease within its early window.
    early_wanted: bool,
    /// When the machine last woke from suspend.
    resumed: Option<ElapsedTime>,
}

/// The early window of one lease.
#[derive(Clone, Copy, Debug)]
struct EarlyWindow {
    generation: Generation,
    /// A validity that ends where the early window begins.
    before: Validity,
    /// When a background refresh of this lease may begin.
    background_from: ElapsedTime,
}

impl Pacing {
    /// The window in which a hit may hand out the current lease, which ends where the early window begins.
    pub(super) fn hit_window(&self, boot: BootId) -> Option<Window> {
        self.window.map(|window| Window::of(&window.before, boot))
    }

    /// The lease was handed out.
    pub(super) fn mark_used(&mut self) {
        self.used = true;
    }

    /// A flight has begun, so the wish for an early refresh is met.
    pub(super) fn flight_begun(&mut self) {
        self.early_wanted = false;
    }

    /// The machine woke from suspend.
    pub(super) fn resume(&mut self, now: ElapsedTime) {
        self.resumed = Some(now);
    }

    /// Whether the machine woke from suspend a short time ago.
    pub(super) fn has_just_resumed(&self, now: ElapsedTime) -> bool {
        self.resumed.is_some_and(|resumed| now.since(resumed) < RESUME)
    }
}

impl Session {
    /// The lease was handed out to a caller.
    pub(super) fn handed_out(&mut self, now: Now) {
        self.pacing.used = true;
        self.pacing.early_wanted |= self.in_early_window(now);
    }

    /// Why a token is wanted without a waiting caller; `None` if none is.
    pub(super) fn background_cause(&self, now: Now) -> Option<Cause> {
        if self.pacing.window.is_some_and(|window| window.background_from > now.elapsed()) {
            return None;
        }
        if self.refreshes_alone() && self.in_early_window(now) {
            return Some(Cause::Early);
        }
        match self.policy.refresh {
            RefreshPolicy::KeepWarm { .. } if self.lease().is_none() => Some(self.cause_of_want()),
            RefreshPolicy::KeepWarm { inactivity: Some(span) }
                if self.unused_for(now) >= Some(keep_alive_after(span)) =>
            {
                Some(Cause::KeepAlive)
            }
            _ => None,
        }
    }

    /// How long the refresh token has not been used.
    fn unused_for(&self, now: Now) -> Option<Duration> {
        self.knowledge.refresh_since().map(|since| age(&since, &now.moment))
    }

    /// Whether the session refreshes without a waiting caller.
    pub(super) fn refreshes_alone(&self) -> bool {
        match self.policy.refresh {
            RefreshPolicy::OnDemand => self.pacing.early_wanted,
            RefreshPolicy::WhileInUse => self.pacing.used || self.pacing.early_wanted,
            RefreshPolicy::KeepWarm { .. } => true,
        }
    }

    /// When the next background refresh may be due.
    pub(super) fn background_wake(&self, now: Now) -> Option<ElapsedTime> {
        if !self.refreshes_alone() || self.flights.is_running() || self.login_required(now).is_some() || self.stopping {
            return None;
        }
        let window = self.pacing.window.and_then(|window| window.before.remaining(&now.moment));
        let foreign = self.pacing.window.map(|window| window.background_from.since(now.elapsed()));
        let unused = match self.policy.refresh {
            RefreshPolicy::KeepWarm { inactivity: Some(span) } => {
                self.unused_for(now).map(|unused| keep_alive_after(span).saturating_sub(unused))
            }
            _ => None,
        };
        let next = window.into_iter().chain(unused).chain(foreign).filter(|span| !span.is_zero()).min();
        next.map(|span| now.elapsed().after(span))
    }

    /// Draws, once for each lease, where its early window begins. That is between half and all of `early_window` before
    /// expiry, so that siblings do not refresh at the same time. The window is never more than a quarter of the
    /// lifetime (law 14).
    pub(super) fn draw_window(&mut self, now: Now) {
        let Some(lease) = self.lease() else {
            self.pacing.window = None;
            return;
        };
        let (generation, validity) = (lease.generation(), lease.validity());
        if self.pacing.window.is_some_and(|window| window.generation == generation) {
            return;
        }
        let early = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.early_window.min(lifetime / 4));
        let least = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.safety_margin.min(lifetime / 4));
        let margin = (early - now.jitter.of(early / 2)).max(least);
        let foreign = validity.anchored().boot != now.moment.boot;
        let pause = validity.lifetime().map_or(FOREIGN, |lifetime| FOREIGN.min(lifetime / 4));
        let background_from = if foreign { now.elapsed().after(pause) } else { now.elapsed() };
        self.pacing.window = Some(EarlyWindow { generation, before: validity.shortened(margin), background_from });
        self.pacing.early_wanted = false;
        // The new lease was neither wanted early nor used yet, whichever process obtained it.
        self.pacing.used = false;
    }

    pub(super) fn in_early_window(&self, now: Now) -> bool {
        let drawn = self.pacing.window.filter(|window| self.lease().map(Lease::generation) == Some(window.generation));
        drawn.is_some_and(|window| !window.before.outlasts(Duration::ZERO, &now.moment))
    }
}

/// After how long without use a refresh token is refreshed, if the server ends it after `inactivity`. Never less than a
/// minute.
fn keep_alive_after(inactivity: Duration) -> Duration {
    (inactivity / 4 * 3).max(Duration::from_secs(60))
}

/// How long ago `then` was, by the elapsed clock, or by the wall clock if the boots differ.
fn age(then: &Moment, now: &Moment) -> Duration {
    now.elapsed_since(then).unwrap_or_else(|| now.wall.since(then.wall))
}
