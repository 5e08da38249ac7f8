//! A family of tokens, which is everything that descends from one authorization code.
//!
//! A refresh token consists of its family and a number. The store keeps the number of the newest one, so that a presented token
//! is judged by comparing two numbers. The grace period is [`Limits::grace`].
//!
//! | presented | is | answer |
//! |---|---|---|
//! | the newest | the ordinary refresh | the next one |
//! | the one before, within the grace period, and the newest was not used | a repetition, because the answer was lost or callers raced | the newest one again |
//! | the one before, within the grace period, if it was revoked meanwhile | from the slower of two processes of one client | refused, and the family goes on |
//! | any other before the newest | a replay | refused, and the family ends |
//! | any after the newest | a sign that the store lost a change that it had acknowledged | as the newest, because only this gateway can have issued it |
//!
//! An ended family is removed, and a token without a family is refused. The revocation of the newest token ends the family.
//! The revocation of an older one ends the tokens up to that one, so that a client which revokes the token it has just replaced
//! keeps the new one. None of these rules changes an upstream session.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokenkeeper::engine::values::WallTime;

/// The lifetimes of a gateway's tokens. Defaults in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The lifetime of an access token (10 min). At least a second, and at most an hour.
    pub access_lifetime: Duration,
    /// How long after a refresh the previous refresh token is answered with the same successor again (30 s). At most five
    /// minutes. With zero, each repetition counts as a replay.
    pub grace: Duration,
    /// The time after its last refresh at which a family ends (30 days).
    pub idle_lifetime: Duration,
    /// The time after which a family ends in any case (90 days). The person then signs in again.
    pub family_lifetime: Duration,
    /// The lifetime of an authorization code (60 s). At most ten minutes (RFC 6749 section 4.1.2).
    pub code_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            access_lifetime: Duration::from_secs(600),
            grace: Duration::from_secs(30),
            idle_lifetime: Duration::from_secs(30 * DAY),
            family_lifetime: Duration::from_secs(90 * DAY),
            code_lifetime: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The same limits, each within its bounds.
    pub(crate) fn bounded(self) -> Self {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            access_lifetime: self.access_lifetime.clamp(second, hour),
            grace: self.grace.min(Duration::from_secs(300)),
            code_lifetime: self.code_lifetime.clamp(second, Duration::from_secs(600)),
            ..self
        }
    }
}

/// The permission that a person gave a client. It holds for the whole family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The client.
    pub client: String,
    /// The subject, as the gateway names it.
    pub subject: String,
    /// The resource that access tokens are for (RFC 8707).
    pub resource: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// Whether refresh tokens are issued.
    pub refreshable: bool,
}

/// A family as it is stored. It holds no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The person's permission.
    pub grant: Grant,
    /// When the code was issued, in milliseconds of wall time.
    pub began: u64,
    /// The phase.
    pub phase: Phase,
}

/// The phase of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Phase {
    /// The code was issued, and was not presented.
    Offered {
        /// The challenge of the client's verifier (RFC 7636, `S256`).
        challenge: String,
        /// The redirect address that the code went to.
        redirect: String,
    },
    /// Tokens were issued.
    Live {
        /// The number of the newest refresh token.
        number: u32,
        /// When that token was issued for the first time, in milliseconds of wall time.
        rotated: u64,
        /// The lowest number whose tokens were not revoked.
        floor: u32,
    },
}

/// A request that concerns a family. The client that it names has authenticated already. There is no `Debug`, because a
/// verifier may be in it.
#[derive(Clone, Copy)]
pub(crate) enum Question<'a> {
    /// The code, for tokens. OAuth 2.1 does not require the redirect address, so that it is compared only if it was sent.
    Redeem { client: &'a str, redirect: Option<&'a str>, verifier: &'a str, resource: Option<&'a str> },
    /// The refresh token of this number, for further tokens.
    Refresh { client: &'a str, number: u32, resource: Option<&'a str>, scopes: &'a [String] },
    /// The revocation of the tokens of this number.
    Revoke { client: &'a str, number: u32 },
}

/// The judgement of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The change to be stored before the answer is given.
    pub(crate) change: Change,
    pub(crate) answer: Result<Issue, Refusal>,
}

/// The change of the stored family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Store(Family),
    Remove,
}

/// The tokens to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    /// The number of the refresh token.
    pub(crate) number: u32,
    /// Whether that refresh token was issued before.
    pub(crate) repeated: bool,
    /// When the access token expires.
    pub(crate) expires: WallTime,
    /// The remaining lifetime of the access token.
    pub(crate) lifetime: Duration,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token or code belongs to another client, or the request's verifier or redirect address does not fit the code.
    NotYours,
    /// The family has expired.
    Expired,
    /// The code or refresh token was presented before. The family ends.
    Replayed,
    /// The token is for another resource (RFC 8707).
    OtherResource,
    /// The request names a scope that was not granted.
    MoreScopes,
    /// The client has no refresh tokens.
    NotRefreshable,
    /// The token is revoked, by this request or by one before it.
    Revoked,
}

impl Family {
    /// When the family ends by itself, in wall time.
    pub fn expires(&self, limits: &Limits) -> WallTime {
        let began = WallTime::from_millis(self.began);
        match self.phase {
            Phase::Offered { .. } => began.after(limits.code_lifetime),
            Phase::Live { rotated, .. } if self.grant.refreshable => {
                WallTime::from_millis(rotated).after(limits.idle_lifetime).min(began.after(limits.family_lifetime))
            }
            Phase::Live { rotated, .. } => WallTime::from_millis(rotated).after(limits.access_lifetime),
        }
    }

    /// When the family was used last, in milliseconds of wall time.
    pub(crate) fn used(&self) -> u64 {
        match self.phase {
            Phase::Offered { .. } => self.began,
            Phase::Live { rotated, .. } => rotated,
        }
    }

    /// Judges a request. Even a refusal may come with a change to be stored.
    pub(crate) fn judge(&self, question: Question<'_>, now: WallTime, limits: &Limits) -> Verdict {
        let (Question::Redeem { client, .. } | Question::Refresh { client, .. } | Question::Revoke { client, .. }) =
            question;
        // A token in another client's hands ends nothing, so that a client cannot end the families of another.
        if client != self.grant.client {
            return Verdict::refused(Change::None, Refusal::NotYours);
        }
        if now >= self.expires(limits) {
            return Verdict::refused(Change::Remove, Refusal::Expired);
        }
        match question {
            Question::Redeem { redirect, verifier, resource, .. } => {
                let Phase::Offered { challenge, redirect: wanted } = &self.phase else {
                    return Verdict::refused(Change::Remove, Refusal::Replayed);
                };
                // A code that comes without its verifier or from another address is in wrong hands, and is void from now on.
                if redirect.is_some_and(|redirect| redirect != wanted) || !is_verifier_of(verifier, challenge) {
                    return Verdict::refused(Change::Remove, Refusal::NotYours);
                }
                if !self.is_for(resource) {
                    return Verdict::refused(Change::Remove, Refusal::OtherResource);
                }
                self.advance(1, now, limits)
            }
            Question::Refresh { number, resource, scopes, .. } => self.refresh(number, resource, scopes, now, limits),
            Question::Revoke { number, .. } => match self.phase {
                Phase::Live { number: newest, rotated, floor } if number < newest => {
                    let phase = Phase::Live { number: newest, rotated, floor: floor.max(number + 1) };
                    Verdict::refused(Change::Store(Self { phase, ..self.clone() }), Refusal::Revoked)
                }
                _ => Verdict::refused(Change::Remove, Refusal::Revoked),
            },
        }
    }

    /// Judges a refresh by the table of this module.
    fn refresh(
        &self,
        number: u32,
        resource: Option<&str>,
        scopes: &[String],
        now: WallTime,
        limits: &Limits,
    ) -> Verdict {
        if !self.grant.refreshable {
            return Verdict::refused(Change::None, Refusal::NotRefreshable);
        }
        let (newest, rotated, floor) = match self.phase {
            // A refresh token exists, so that the code was redeemed. The store has lost that change.
            Phase::Offered { .. } => (0, now.as_millis(), 0),
            Phase::Live { number, rotated, floor } => (number, rotated, floor),
        };
        let in_grace = !limits.grace.is_zero() && now.since(WallTime::from_millis(rotated)) <= limits.grace;
        let is_repeated = number.checked_add(1) == Some(newest) && in_grace;
        // Another process of the client got the successor and revoked this token, as it should. That is no theft.
        if is_repeated && number < floor {
            return Verdict::refused(Change::None, Refusal::Revoked);
        }
        if number < newest && !is_repeated {
            return Verdict::refused(Change::Remove, Refusal::Replayed);
        }
        if !self.is_for(resource) {
            return Verdict::refused(Change::None, Refusal::OtherResource);
        }
        if scopes.iter().any(|scope| !self.grant.scopes.contains(scope)) {
            return Verdict::refused(Change::None, Refusal::MoreScopes);
        }
        if is_repeated {
            return Verdict { change: Change::None, answer: Ok(self.issue(newest, true, now, limits)) };
        }
        match number.checked_add(1) {
            Some(next) => self.advance(next, now, limits),
            None => Verdict::refused(Change::Remove, Refusal::Expired),
        }
    }

    /// Whether `resource` accepts the family's access token of this number now.
    pub(crate) fn admits(&self, number: u32, resource: &str, now: WallTime, limits: &Limits) -> bool {
        let is_live = matches!(self.phase, Phase::Live { floor, .. } if number >= floor);
        is_live && self.grant.resource == resource && now < self.expires(limits)
    }

    /// Whether the family's tokens are for `resource`. A request that names no resource means theirs.
    fn is_for(&self, resource: Option<&str>) -> bool {
        resource.is_none_or(|resource| resource == self.grant.resource)
    }

    /// Issues the tokens of this number, as the newest ones.
    fn advance(&self, number: u32, now: WallTime, limits: &Limits) -> Verdict {
        let floor = if let Phase::Live { floor, .. } = self.phase { floor } else { 0 };
        let phase = Phase::Live { number, rotated: now.as_millis(), floor };
        let next = Self { phase, ..self.clone() };
        let answer = Ok(next.issue(number, false, now, limits));
        Verdict { change: Change::Store(next), answer }
    }

    /// The tokens of this number, as they are issued now.
    fn issue(&self, number: u32, repeated: bool, now: WallTime, limits: &Limits) -> Issue {
        let expires = now.after(limits.access_lifetime).min(self.expires(limits));
        Issue { number, repeated, expires, lifetime: expires.since(now) }
    }
}

impl Verdict {
    fn refused(change: Change, refusal: Refusal) -> Self {
        Self { change, answer: Err(refusal) }
    }
}

/// Whether `challenge` is the `S256` challenge of `verifier` (RFC 7636 section 4.6). The comparison need not take a constant
/// time, because the challenge is public, and a wrong verifier voids the code.
fn is_verifier_of(verifier: &str, challenge: &str) -> bool {
    let is_verifier = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    is_verifier && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests;
