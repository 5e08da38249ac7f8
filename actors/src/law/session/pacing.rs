//! When to refresh with nobody waiting: early windows, and keeping refresh tokens alive (law 14).

use std::time::Duration;

use super::RefreshPolicy;
use super::machine::Session;
use crate::values::{Cause, ElapsedTime, Generation, Lease, Moment, Now, Validity};

/// How long a token of another boot, or host, is left alone before it is refreshed with nobody waiting. Two hosts whose
/// clocks disagree would otherwise find each other's new token old, and refresh without end.
const FOREIGN: Duration = Duration::from_secs(60);

/// How long after a resume background work counts as set off by it.
pub(super) const RESUME: Duration = Duration::from_secs(30);

/// The early window of one lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlyWindow {
    pub(super) generation: Generation,
    /// Over when the early window begins.
    pub(super) before: Validity,
    /// When nobody-waiting work on this lease may begin.
    background_from: ElapsedTime,
}

impl Session {
    /// Why a token is wanted with nobody waiting, if one is.
    pub(super) fn background_cause(&self, now: Now) -> Option<Cause> {
        if self.window.is_some_and(|window| window.background_from > now.elapsed()) {
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

    /// How long the refresh token has lain unused.
    fn unused_for(&self, now: Now) -> Option<Duration> {
        self.knowledge.refresh_since().map(|since| age(&since, &now.moment))
    }

    /// Whether the session refreshes with nobody waiting.
    pub(super) fn refreshes_alone(&self) -> bool {
        match self.policy.refresh {
            RefreshPolicy::OnDemand => self.early_wanted,
            RefreshPolicy::WhileInUse => self.used || self.early_wanted,
            RefreshPolicy::KeepWarm { .. } => true,
        }
    }

    /// When the next refresh with nobody waiting may be due.
    pub(super) fn background_wake(&self, now: Now) -> Option<ElapsedTime> {
        if !self.refreshes_alone() || self.flight.is_some() || self.login_required(now).is_some() || self.stopping {
            return None;
        }
        let window = self.window.and_then(|window| window.before.remaining(&now.moment));
        let foreign = self.window.map(|window| window.background_from.since(now.elapsed()));
        let unused = match self.policy.refresh {
            RefreshPolicy::KeepWarm { inactivity: Some(span) } => {
                self.unused_for(now).map(|unused| keep_alive_after(span).saturating_sub(unused))
            }
            _ => None,
        };
        let next = window.into_iter().chain(unused).chain(foreign).filter(|span| !span.is_zero()).min();
        next.map(|span| now.elapsed().after(span))
    }

    /// Draws, once for each lease, where its early window begins: between half and all of the window before expiry, so
    /// that siblings do not come at once. The window is never more than a quarter of the lifetime (law 14).
    pub(super) fn draw_window(&mut self, now: Now) {
        let Some(lease) = self.lease() else {
            self.window = None;
            return;
        };
        let (generation, validity) = (lease.generation(), lease.validity());
        if self.window.is_some_and(|window| window.generation == generation) {
            return;
        }
        let early = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.early_window.min(lifetime / 4));
        let least = validity.lifetime().map_or(Duration::ZERO, |lifetime| self.policy.safety_margin.min(lifetime / 4));
        let margin = (early - now.jitter.of(early / 2)).max(least);
        let foreign = validity.anchored().boot != now.moment.boot;
        let timeout = validity.lifetime().map_or(FOREIGN, |lifetime| FOREIGN.min(lifetime / 4));
        let background_from = if foreign { now.elapsed().after(timeout) } else { now.elapsed() };
        self.window = Some(EarlyWindow { generation, before: validity.shortened(margin), background_from });
        self.early_wanted = false;
    }

    pub(super) fn in_early_window(&self, now: Now) -> bool {
        let drawn = self.window.filter(|window| self.lease().map(Lease::generation) == Some(window.generation));
        drawn.is_some_and(|window| !window.before.outlasts(Duration::ZERO, &now.moment))
    }
}

/// After how long without use a refresh token is refreshed, for a server that lets it lie for `inactivity`. Never less
/// than a minute.
fn keep_alive_after(inactivity: Duration) -> Duration {
    (inactivity / 4 * 3).max(Duration::from_secs(60))
}

/// How long ago `then` was: by the elapsed clock, or the wall clock across boots.
fn age(then: &Moment, now: &Moment) -> Duration {
    now.elapsed_since(then).unwrap_or_else(|| now.wall.since(then.wall))
}
