//! The verdict of law 10 on an answer, and the checks of a host that gets it, at any server.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Reuse;
use tokenkeeper::engine::values::TokenError;
use tokenkeeper::engine::values::record::Refresh;

use super::Host;

/// The verdict of law 10 on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The refresh token was not spent, and callers get this reason.
    Unspent(Reason),
    /// The refresh token was not spent, and the issuer does not know the client.
    ClientRejected,
    /// The refresh token is dead.
    Dead,
    /// It is unknown whether the refresh token was spent.
    Doubt,
}

impl Law {
    /// Asserts which error the callers were `told`, the record in the store, and that `access`, the token of the
    /// refresh before, is still served while the client may use it. Returns the reason if only a login helps now.
    pub async fn assert_kept(
        self,
        policy: Reuse,
        told: TokenError,
        host: &Host,
        access: &str,
        story: &str,
    ) -> Option<Reason> {
        let (reason, presentations) = match (self, policy) {
            (Law::Unspent(reason), _) => (reason, 0),
            (Law::ClientRejected, _) => (Reason::ClientRejected, 0),
            (Law::Dead, _) => (Reason::GrantEnded, 0),
            (Law::Doubt, Reuse::EndsMore) => (Reason::MaybeConsumed, 1),
            (Law::Doubt, _) => (Reason::InDoubt, 1),
        };
        assert_eq!((told.reason(), host.presentations().await), (reason, presentations), "{story}");
        let served = if self == Law::ClientRejected { Err(reason) } else { Ok(access.to_owned()) };
        assert_eq!(host.token().await.map_err(|error| error.reason()), served, "{story}");
        let record = host.record().await;
        let ended = matches!(record.grant().unwrap().refresh, Refresh::Ended(_));
        assert_eq!(ended, self == Law::Dead, "{story}");
        reason.is_login_required().then_some(reason)
    }
}
