//! The lifetime of an access token, from all members that name one.

use std::time::Duration;

use tokenkeeper_actors::values::WallTime;

use super::json::Value;
use super::jwt;
use crate::grant::time::{self, Time};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest lifetime that is believed.
///
/// Some providers issue tokens for 60 days (LinkedIn, Twitch), and some write "for ever" as ten years or as the largest
/// number that they have. A token that is believed for too long is handed out until it is refused. A token that is
/// believed for less than its lifetime is refreshed every 90 days.
pub(in crate::grant) const LONGEST: Duration = DAY.saturating_mul(90);

/// A lifetime above this is compared with all other members of the answer, because it may be in another unit.
const DOUBTFUL: Duration = DAY.saturating_mul(7);

/// The members of an answer that name a lifetime.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifetimes {
    /// `expires_in`, including zero.
    stated: Option<Duration>,
    /// A member whose name contains its unit, for example `expires_in_sec`.
    with_unit: Option<Duration>,
    /// The earliest expiry date.
    expiry: Option<WallTime>,
}

/// The members that name a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// `expires_in`.
    Seconds,
    /// `expires_in_sec`, `expires_in_seconds`.
    ExactSeconds,
    /// `expires_in_ms`.
    Millis,
    /// `expires`, `expires_at` or `expires_on`, which hold a date or a span.
    Expiry,
}

impl Lifetimes {
    /// Stores a member if it can be read.
    pub(super) fn take(&mut self, member: Member, value: &Value<'_>) {
        let text = value.plain();
        match member {
            Member::Seconds => match time::number(text) {
                // As seconds, this number would be 31 years. It is the time of the expiry, since 1970.
                Some(number) if number >= 1e9 => match Time::of(text) {
                    Some(Time::At(at)) => self.expires(at),
                    _ => self.stated = Some(Duration::MAX),
                },
                Some(number) => self.stated = Some(seconds(number)),
                None => match Time::of(text) {
                    Some(Time::In(span)) => self.stated = Some(span),
                    Some(Time::At(at)) => self.expires(at),
                    None => {}
                },
            },
            Member::ExactSeconds => self.with_unit = time::number(text).map(seconds).or(self.with_unit),
            Member::Millis => {
                self.with_unit = time::number(text).map(|millis| seconds(millis / 1e3)).or(self.with_unit)
            }
            Member::Expiry => match Time::of(text) {
                Some(Time::At(at)) => self.expires(at),
                Some(Time::In(span)) if !span.is_zero() => self.stated = self.stated.or(Some(span)),
                _ => {}
            },
        }
    }

    fn expires(&mut self, at: WallTime) {
        self.expiry = Some(self.expiry.map_or(at, |other| other.min(at)));
    }

    /// These members. If they name no lifetime at all, the members of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let none = self.stated.is_none() && self.with_unit.is_none() && self.expiry.is_none();
        if none { other } else { self }
    }

    /// The lifetime of the token `access`, or `None` if it is unknown. `now` is the server's time.
    ///
    /// - A member whose name contains its unit is used first, then `expires_in`, then the earliest date, then the `exp`
    ///   of a JWT.
    /// - Zero and negative numbers mean unknown, because servers write them for "no limit" and by mistake.
    /// - A JWT lives no longer than from its `iat` to its `exp`.
    /// - A lifetime of more than a week is replaced by the shortest that any member names. If there is no other member,
    ///   it may be in milliseconds (see [`in_millis`]).
    /// - A lifetime of more than 90 days counts as 90 days.
    pub(super) fn lifetime(&self, access: &str, now: WallTime) -> Option<Duration> {
        let jwt = jwt::lifetimes(access, now);
        let until_expiry = self.expiry.map(|at| at.since(now)).filter(|span| !span.is_zero());
        let named = self.with_unit.filter(|span| !span.is_zero()).or(self.stated);
        let span = match named {
            Some(span) if span.is_zero() => return None,
            Some(span) if span > DOUBTFUL => {
                let others = [self.stated, until_expiry, jwt.whole.or(jwt.left)].into_iter().flatten();
                let others: Vec<Duration> = others.filter(|other| *other != span && !other.is_zero()).collect();
                match others.iter().min() {
                    Some(other) => span.min(*other),
                    None => in_millis(span).unwrap_or(span),
                }
            }
            Some(span) => span,
            None => until_expiry.or(jwt.left)?,
        };
        Some(span.min(jwt.whole.unwrap_or(span)).min(LONGEST))
    }
}

/// Seconds as a span. Negative numbers become zero, and numbers too large for a span become the longest one.
fn seconds(number: f64) -> Duration {
    if number > 0.0 { Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX) } else { Duration::ZERO }
}

/// The lifetime if the number of seconds is taken for milliseconds, else `None`. It is taken for milliseconds if these
/// are whole minutes, up to a day, and the seconds are not whole days. `3600000`, for example, is an hour in
/// milliseconds, and 41 days and 16 hours in seconds. `5184000` is 60 days in seconds.
fn in_millis(span: Duration) -> Option<Duration> {
    let number = span.as_secs();
    let whole = span.subsec_nanos() == 0;
    let millis = Duration::from_millis(number);
    let meant = whole && number.is_multiple_of(60_000) && !number.is_multiple_of(DAY.as_secs()) && millis <= DAY;
    meant.then_some(millis)
}
