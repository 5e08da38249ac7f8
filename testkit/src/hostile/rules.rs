//! What the server does when nothing is wrong.

use std::time::Duration;

/// How the server behaves, faults aside. The default is strict. Change it while the server runs with
/// [`HostileAs::rules`](super::HostileAs::rules); what was issued before keeps what it was issued with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long an access token lives. Default 1 h.
    pub access_lifetime: Duration,
    /// What answers say of that lifetime. Default: the truth.
    pub announced: Announced,
    /// What a refresh does to the refresh token. Default: [`Rotation::Strict`].
    pub rotation: Rotation,
    /// Whether a refresh kills the access tokens issued before in its chain. Default: they live out their time.
    pub old_access_dies: bool,
    /// Whether each token request must name the resource of its grant (RFC 8707). Default: it must, exactly once and to
    /// the byte; otherwise `invalid_target`.
    pub checks_resource: bool,
    /// How long the server takes for each answer of the token endpoint, between its work and the first byte. Default 0.
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

/// What `expires_in` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announced {
    /// The lifetime, in whole seconds.
    #[default]
    Truth,
    /// Nothing: the member is left out.
    Nothing,
    /// This many seconds, whatever is true.
    Lie(i64),
}

/// What a refresh does to the refresh token that was presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// It is spent, and another takes its place. Presented again, it ends the whole chain (RFC 9700 section 4.14.2).
    #[default]
    Strict,
    /// As above, but for this long after it was spent it may be presented again, and is answered with a new pair.
    Grace(Duration),
    /// It stays as it is, and answers bring no refresh token.
    None,
}

impl Rules {
    /// Whether a refresh token that was spent at `spent` may be presented again.
    pub(super) fn in_grace(&self, spent: Duration, now: Duration) -> bool {
        match self.rotation {
            Rotation::Grace(grace) => now.saturating_sub(spent) < grace,
            // What rotation has spent stays spent when rotation is turned off.
            Rotation::Strict | Rotation::None => false,
        }
    }
}
