//! The server's behaviour without faults.

use std::time::Duration;

/// The server's behaviour without faults. The default is strict. [`HostileAs::rules`](super::HostileAs::rules) changes
/// it while the server runs. Tokens issued earlier keep their properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The lifetime of an access token. Default 1 h.
    pub access_lifetime: Duration,
    /// The lifetime that answers announce. Default: the truth.
    pub announced: Announced,
    /// The effect of a refresh on the refresh token. Default: [`Rotation::Strict`].
    pub rotation: Rotation,
    /// Whether a refresh kills the earlier access tokens of its chain. Default: no.
    pub old_access_dies: bool,
    /// Whether each token request must name the resource of its grant (RFC 8707). Default: yes, exactly once and byte
    /// for byte; otherwise `invalid_target`.
    pub checks_resource: bool,
    /// The pause between processing and the first byte of each answer of the token endpoint. Default 0.
    pub answer_delay: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            access_lifetime: Duration::from_secs(3600),
            announced: Announced::Truth,
            rotation: Rotation::Strict,
            old_access_dies: false,
            checks_resource: true,
            answer_delay: Duration::ZERO,
        }
    }
}

/// The value of `expires_in`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announced {
    /// The lifetime, in whole seconds.
    #[default]
    Truth,
    /// The member is left out.
    Nothing,
    /// This many seconds, regardless of the lifetime.
    Lie(i64),
}

/// The effect of a refresh on the presented refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// It is spent and replaced. A replay ends the whole chain (RFC 9700 section 4.14.2).
    #[default]
    Strict,
    /// As above, but for this long after it was spent it may be presented again. The answer is then a new pair.
    Grace(Duration),
    /// It stays valid, and answers contain no refresh token.
    None,
}

impl Rules {
    /// Whether a refresh token that was spent at `spent` may be presented again.
    pub(super) fn in_grace(&self, spent: Duration, now: Duration) -> bool {
        match self.rotation {
            Rotation::Grace(grace) => now.saturating_sub(spent) < grace,
            // Tokens spent under rotation stay spent when rotation is turned off.
            Rotation::Strict | Rotation::None => false,
        }
    }
}
