//! The verdict of law 10 on an answer, and the checks of a host that gets it, at any server.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper::engine::values::TokenError;
use tokenkeeper::engine::values::record::Refresh;

use super::Host;

/// The grace period of a server that has one.
pub const GRACE: Duration = Duration::from_secs(30 * 60);

/// The verdict of law 10 on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The refresh token was not spent, and callers get this reason.
    Unspent(Reason),
    /// The refresh token was not spent, and the issuer does not know the client.
    ClientRejected,
    /// The refresh token is dead.
    Dead,
    /// It is unknown whether the refresh token was spent. Callers get this reason, and `unrotated` at an issuer that never
    /// rotates, where no refresh token is spent.
    Doubt { reason: Reason, unrotated: Reason },
}

/// An issuer's conduct towards a refresh token that was consumed, as its profile states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Reuse ends the lineage. This is the default.
    EndsLineage,
    /// Reuse ends more than the lineage.
    EndsMore,
    /// Reuse ends more than the lineage, except within [`GRACE`].
    Grace,
    /// The issuer never rotates.
    NeverRotates,
}

impl Policy {
    /// This profile, with this conduct.
    pub fn applied(self, profile: Profile) -> Profile {
        match self {
            Policy::EndsLineage => profile,
            Policy::EndsMore => Profile { reuse: Reuse::EndsMore, ..profile },
            Policy::Grace => Profile { reuse: Reuse::EndsMore, grace: Some(GRACE), ..profile },
            Policy::NeverRotates => Profile { rotates: false, ..profile },
        }
    }

    /// Whether a server of this conduct answers a consumed refresh token like any other, as long as tests last.
    pub fn forgives(self) -> bool {
        matches!(self, Policy::Grace | Policy::NeverRotates)
    }
}

impl Law {
    /// The answer is lost, or is a page of a server in trouble or of a gateway.
    pub const DOUBT: Law = Law::Doubt { reason: Reason::InDoubt, unrotated: Reason::ServerTrouble };
    /// A refusal in the words of the protocol.
    pub const DOUBT_OF_A_REFUSAL: Law =
        Law::Doubt { reason: Reason::RequestRefused, unrotated: Reason::RequestRefused };

    /// Whether the flight that meets this answer for the first time presents the refresh token once more by itself.
    pub fn repeats(self, policy: Policy) -> bool {
        matches!(self, Law::Doubt { .. }) && matches!(policy, Policy::EndsLineage | Policy::Grace)
    }

    /// The reason that callers get which take the first failure.
    pub fn reason(self, policy: Policy) -> Reason {
        match (self, policy) {
            (Law::Unspent(reason), _) => reason,
            (Law::ClientRejected, _) => Reason::ClientRejected,
            (Law::Dead, _) => Reason::GrantEnded,
            (Law::Doubt { .. }, Policy::EndsMore) => Reason::MaybeConsumed,
            (Law::Doubt { unrotated, .. }, Policy::NeverRotates) => unrotated,
            (Law::Doubt { reason, .. }, _) => reason,
        }
    }

    /// Whether the callers that have the patience wait for another request. Otherwise the first flight is the last.
    pub fn is_waited_out(self, policy: Policy) -> bool {
        let passes = matches!(self.reason(policy), Reason::Throttled | Reason::ServerTrouble | Reason::InDoubt);
        passes || self.repeats(policy)
    }

    /// Asserts which error the callers got that take the first failure, the record in the store, and that `access`, the
    /// token of the refresh before, is still served while the client may use it. Returns the reason if only a login helps
    /// now.
    pub async fn assert_kept(
        self,
        policy: Policy,
        error: TokenError,
        host: &Host,
        access: &str,
        story: &str,
    ) -> Option<Reason> {
        let reason = self.reason(policy);
        let presentations = match (self, policy) {
            (Law::Doubt { .. }, Policy::EndsMore) => 1,
            _ if self.repeats(policy) => 2,
            _ => 0,
        };
        assert_eq!((error.reason(), host.presentations().await), (reason, presentations), "{story}");
        assert_eq!(error.retry_after().is_some(), !reason.is_login_required(), "{story}");
        let served = if self == Law::ClientRejected { Err(reason) } else { Ok(access.to_owned()) };
        assert_eq!(host.token().await.map_err(|error| error.reason()), served, "{story}");
        let record = host.record().await;
        let ended = matches!(record.grant().unwrap().refresh, Refresh::Ended(_));
        assert_eq!(ended, self == Law::Dead, "{story}");
        // A caller that insists tries a rejected client again, because some servers reject one only for a time.
        (reason.is_login_required() && self != Law::ClientRejected).then_some(reason)
    }
}
