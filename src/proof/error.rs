//! The errors of requests that have no proof of possession, or one that the server refuses.

use std::fmt;

use tokenkeeper_actors::values::WallTime;

/// The largest difference between clocks that is not corrected, in seconds. `Date` has whole seconds, and an answer needs time
/// to arrive.
const TOLERANCE: i64 = 5;

/// The reason why a request whose token is bound to a key (DPoP, RFC 9449) has no proof that the server accepts. The token is
/// never presented as a bearer token in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// This program was built without the feature `dpop`.
    #[error("the session's token needs a proof of possession (DPoP): build the program with the feature `dpop`")]
    Unsupported,
    /// The session has no key, or one that is no P-256 key.
    #[error("the session's token is bound to a key (DPoP) that is missing or cannot be used: sign in again")]
    NoKey,
    /// The session was bound to a key, and its token is a bearer token.
    #[error("the session's token is not bound to its key (DPoP), and is not used: sign in again")]
    NotBound,
    /// The token is for another program, which does not get the key.
    #[error(
        "the session's token is bound to a key (DPoP) that other programs do not get: send requests through this one"
    )]
    KeyKept,
    /// The server refused the proof, and also a corrected one.
    #[error("the server refuses the session's proof of possession (DPoP){}", advice(*.skew))]
    Refused {
        /// How far the server's clock is from this machine's, if it differs.
        skew: Option<ClockSkew>,
    },
}

fn advice(skew: Option<ClockSkew>) -> String {
    match skew {
        Some(skew) => format!(", and {skew}: correct the clock that is wrong"),
        None => ": check that the server knows the URL by which it is called".to_owned(),
    }
}

/// The difference between the clock of a server and the one of this machine, in whole seconds. `Display` states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew(i64);

impl ClockSkew {
    /// The difference between the two clocks, unless it is too small for a correction.
    pub(super) fn between(ours: WallTime, theirs: WallTime) -> Option<Self> {
        let seconds = |time: WallTime| i64::try_from(time.as_millis() / 1_000).unwrap_or(i64::MAX);
        let difference = seconds(theirs).saturating_sub(seconds(ours));
        (difference.saturating_abs() > TOLERANCE).then_some(Self(difference))
    }

    /// Whether the two differences are so far apart that a proof dated by one may be refused by a server with the other.
    pub(super) fn differ(one: Option<Self>, other: Option<Self>) -> bool {
        let seconds = |skew: Option<Self>| skew.map_or(0, Self::seconds);
        seconds(one).saturating_sub(seconds(other)).saturating_abs() > TOLERANCE
    }

    /// The number of seconds by which the server's clock is ahead. Negative if it is behind.
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.0 < 0 { "ahead of" } else { "behind" };
        write!(f, "this machine's clock is {} s {side} the server's", self.0.saturating_abs())
    }
}
