//! The decision, from one read of the record (law 2): adopt, present, wait, or give up.

use std::time::Duration;

use super::{Adopt, Doubt, Spending};
use crate::law::profile::Profile;
use crate::ports::store::Predecessor;
use crate::values::record::{Content, Mark, MarkState, Parked, Record, Refresh, RefreshCredential};
use crate::values::{ATTEMPT_PAUSES, ExponentialBackoff, Jitter, Moment, Reason};

/// The decision from one read of the record, with or without the claim.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// The record's access token can be used.
    Adopt,
    /// Only a login helps.
    LoginRequired(Reason),
    /// The record's refresh token may be presented, if the mark allows.
    Present { credential: RefreshCredential, mark: Option<Mark> },
    /// A repeatable source may mint.
    Mint,
}

/// Decides from `record`, as far as that is possible without knowing which flight holds the claim.
pub(super) fn decide(record: Option<&Record>, adopt: Adopt, spending: Spending, now: &Moment) -> Decision {
    let repeatable = spending == Spending::Repeatable;
    let vacant = if repeatable { Decision::Mint } else { Decision::LoginRequired(Reason::NeverSignedIn) };
    let Some(record) = record else { return vacant };
    let grant = match &record.content {
        Content::Vacant => return vacant,
        Content::Tombstone => return Decision::LoginRequired(Reason::LoggedOut),
        Content::Grant(grant) => grant,
    };
    if let Some(parked) = grant.parked
        && !(parked == Parked::ClientRejected && matches!(adopt, Adopt::Since { .. }))
    {
        // A caller that insists may try a rejected client again, because some servers reject one only for a time.
        return Decision::LoginRequired(parked.reason());
    }
    if adoptable(record, adopt, now) {
        return Decision::Adopt;
    }
    match &grant.refresh {
        _ if repeatable => Decision::Mint,
        Refresh::None => Decision::LoginRequired(Reason::NotRefreshable),
        Refresh::Ended(_) => Decision::LoginRequired(Reason::GrantEnded),
        Refresh::Held(held) if record.dead.contains(&held.credential.digest()) => {
            Decision::LoginRequired(Reason::GrantEnded)
        }
        Refresh::Held(held) => match &held.mark {
            Some(mark) if mark.state == MarkState::Spent => Decision::LoginRequired(Reason::MaybeConsumed),
            mark => Decision::Present { credential: held.credential.clone(), mark: mark.clone() },
        },
    }
}

/// Whether the record's token makes the flight unnecessary.
pub(super) fn adoptable(record: &Record, adopt: Adopt, now: &Moment) -> bool {
    let served = record.grant().is_some_and(|grant| grant.parked.is_none());
    served
        && record.lease().is_some_and(|lease| match adopt {
            Adopt::Above { floor, margin } => {
                floor.is_none_or(|floor| lease.generation().supersedes(&floor)) && lease.validity().is_good(margin, now)
            }
            Adopt::Since { since, margin } => {
                let requested = lease.validity().anchored();
                // The order of two times within one millisecond is unknown.
                let is_later = requested.boot == since.boot && requested.elapsed > since.elapsed;
                is_later && lease.validity().is_good(margin, now)
            }
        })
}

/// Whether a marked token may be presented again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// It may be presented now.
    Present,
    /// The marked request may still be in flight, or the pause after it lasts. Decide again after this time.
    Wait(Duration),
    /// It may never be presented again.
    Refuse,
}

/// Resolves the doubt about a marked token (law 10). To be called under the claim. `delay` is the longest time from now to
/// the presentation.
///
/// `predecessor` states whether the earlier holder of the claim is certainly gone. It is `Gone` for a flight's own mark.
/// `doubt` states when this process first saw the mark. That is the only reliable measure of the age of a mark that was
/// written in another boot or by another host.
pub(super) fn resolve(
    mark: &Mark,
    predecessor: Predecessor,
    profile: &Profile,
    delay: Duration,
    doubt: Option<Doubt>,
    now: &Moment,
) -> Resolution {
    let age = age(mark, doubt, now);
    let wait = match predecessor {
        // The mark's flight may still commit, which ends the doubt.
        Predecessor::MayLive => mark.timeout.saturating_sub(age),
        Predecessor::Gone => Duration::ZERO,
    };
    let wait = wait.max(pause_after(mark.presentations).saturating_sub(age));
    if !profile.may_present_again(&mark.first, wait.saturating_add(delay), now) {
        // Even so, the flight waits for a holder that may live, because that holder's answer may be on its way.
        return match predecessor {
            Predecessor::MayLive if mark.timeout > age => Resolution::Wait(mark.timeout.saturating_sub(age)),
            _ => Resolution::Refuse,
        };
    }
    if wait.is_zero() { Resolution::Present } else { Resolution::Wait(wait) }
}

/// The number of presentations after which the pauses grow further.
const SHORT_PAUSES: u32 = 8;

/// The pauses after the short ones.
const LONG_PAUSES: ExponentialBackoff = ExponentialBackoff::new(ATTEMPT_PAUSES.max, Duration::from_secs(60));

/// The pause between the latest of `presentations` and the next one, for all processes. There is no pause after the
/// first, because a server's grace period is short. The later pauses double up to 5 s, and after the eighth up to a
/// minute.
pub(super) fn pause_after(presentations: u32) -> Duration {
    match presentations {
        0 | 1 => Duration::ZERO,
        2..=SHORT_PAUSES => ATTEMPT_PAUSES.pause(presentations),
        _ => LONG_PAUSES.pause(presentations - SHORT_PAUSES + 1),
    }
}

/// The pause before a flight repeats its own presentation, with the server's `Retry-After`; `None` if the server asks for
/// a longer pause than the claim should be held for.
pub(super) fn pause_before_repeat(retry_after: Option<Duration>, jitter: Jitter) -> Option<Duration> {
    let pause = ATTEMPT_PAUSES.jittered(1, jitter);
    match retry_after {
        Some(asked) if asked > ATTEMPT_PAUSES.max => None,
        Some(asked) => Some(asked.max(pause)),
        None => Some(pause),
    }
}

/// The time that has certainly passed since the marked request began.
fn age(mark: &Mark, doubt: Option<Doubt>, now: &Moment) -> Duration {
    let is_of_mark = |doubt: &Doubt| (doubt.flight, doubt.presentations) == (mark.flight, mark.presentations);
    let seen = doubt.filter(is_of_mark).map(|doubt| now.elapsed.since(doubt.seen));
    now.elapsed_since(&mark.latest).or(seen).unwrap_or_default()
}
