//! What law 10 says of an answer, and what becomes of a host that gets it, at whichever server.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::InDoubt;
use tokenkeeper::engine::values::TokenError;
use tokenkeeper::engine::values::record::Refresh;

use super::Host;

/// What law 10 says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The refresh token was not spent, and callers are told this.
    Unspent(Reason),
    /// It was not spent, and the issuer does not know the client.
    ClientRejected,
    /// It is dead.
    Dead,
    /// Nobody knows.
    Doubt,
}

impl Law {
    /// What callers were `told`, what the store knows, and what goes on being served: `access`, from the refresh before,
    /// as long as the client may use it. Why only a login helps now, where that is so.
    pub async fn assert_kept(
        self,
        policy: InDoubt,
        told: TokenError,
        host: &Host,
        access: &str,
        story: &str,
    ) -> Option<Reason> {
        let (reason, presentations) = match (self, policy) {
            (Law::Unspent(reason), _) => (reason, 0),
            (Law::ClientRejected, _) => (Reason::ClientRejected, 0),
            (Law::Dead, _) => (Reason::GrantEnded, 0),
            (Law::Doubt, InDoubt::NeverReplay) => (Reason::MaybeConsumed, 1),
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
