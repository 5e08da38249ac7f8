//! The decision, from one read of the record (law 2): adopt, present, wait, or give up.

use std::time::Duration;

use super::{Adopt, Doubt, Spending};
use crate::law::profile::{InDoubt, Profile};
use crate::ports::store::Predecessor;
use crate::values::record::{Content, Mark, MarkState, Record, Refresh, RefreshCredential};
use crate::values::{Moment, Reason};

/// The decision from one read of the record, with or without the claim.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// Its token can be used.
    Adopt,
    /// Only a login helps.
    LoginRequired(Reason),
    /// Its refresh token may be presented, if the mark allows.
    Present { credential: RefreshCredential, mark: Option<Mark> },
    /// A repeatable source may mint.
    Mint,
}

/// Decides from `record` as far as possible without knowing which flight holds the claim.
pub(super) fn decide(record: Option<&Record>, adopt: Adopt, spending: Spending, now: &Moment) -> Decision {
    let repeatable = spending == Spending::Repeatable;
    let Some(record) = record else {
        return if repeatable { Decision::Mint } else { Decision::LoginRequired(Reason::NeverSignedIn) };
    };
    let grant = match &record.content {
        Content::Tombstone => return Decision::LoginRequired(Reason::LoggedOut),
        Content::Grant(grant) => grant,
    };
    if let Some(parked) = grant.parked {
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
    let Adopt::Above { floor, margin } = adopt else { return false };
    let served = record.grant().is_some_and(|grant| grant.parked.is_none());
    served
        && record.lease().is_some_and(|lease| {
            floor.is_none_or(|floor| lease.generation().supersedes(&floor)) && lease.validity().is_good(margin, now)
        })
}

/// Whether a token may be presented that another flight has marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// The token may be presented again, within `grace` of its first presentation if one is given.
    Replay { grace: Option<Duration> },
    /// The marked request may still be in flight. Decide again after this time.
    Wait(Duration),
    /// The token may never be presented again.
    Refuse,
}

/// Resolves the doubt about a token that another flight marked (law 10). To be called under the claim.
///
/// `doubt` states when this process first saw the mark. That is the only reliable measure of the age of a mark that was
/// written in another boot or by another host.
pub(super) fn resolve(
    mark: &Mark,
    predecessor: Predecessor,
    profile: &Profile,
    send_within: Duration,
    doubt: Option<Doubt>,
    now: &Moment,
) -> Resolution {
    let in_flight = in_flight(mark, doubt, now);
    if let InDoubt::RetryWithin(grace) = profile.in_doubt
        && within(mark, grace, in_flight.unwrap_or_default().saturating_add(send_within), now)
    {
        return in_flight.map_or(Resolution::Replay { grace: Some(grace) }, Resolution::Wait);
    }
    match (predecessor, in_flight) {
        // The mark's flight may still commit, which ends the doubt.
        (Predecessor::MayLive, Some(left)) => Resolution::Wait(left),
        (Predecessor::MayLive, None) => Resolution::Refuse,
        (Predecessor::Gone, left) if profile.in_doubt == InDoubt::RetryOnce && mark.presentations < 2 => {
            left.map_or(Resolution::Replay { grace: None }, Resolution::Wait)
        }
        (Predecessor::Gone, _) => Resolution::Refuse,
    }
}

/// Whether a presentation that is sent after `delay` falls into the issuer's grace period, by the clock that shows more
/// time. After a reboot it never does, because the age of the first presentation is unknown.
pub(super) fn within(mark: &Mark, grace: Duration, delay: Duration, now: &Moment) -> bool {
    now.at_most_since(&mark.first).is_some_and(|age| age.saturating_add(delay) < grace)
}

/// The longest time for which the marked request may still be in flight; `None` once its time-out has certainly passed.
fn in_flight(mark: &Mark, doubt: Option<Doubt>, now: &Moment) -> Option<Duration> {
    let seen = doubt.filter(|doubt| doubt.flight == mark.flight).map(|doubt| now.elapsed.since(doubt.seen));
    let age = now.elapsed_since(&mark.latest).or(seen).unwrap_or_default();
    let left = mark.timeout.saturating_sub(age);
    (!left.is_zero()).then_some(left)
}
