//! A host that has signed in at the rig and refreshed there once.

use std::sync::Arc;

use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::values::record::Client;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::{InstallError, Reason};

use crate::authority::{Authority, Grant, Tally};
use crate::support::Host;
pub(crate) use crate::support::LONG_ENOUGH;

pub(crate) struct Scene<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) host: Host,
    pub(crate) client: Client,
    /// The access token of the first refresh, which is good for an hour.
    pub(crate) access: String,
}

impl<'a> Scene<'a> {
    /// Resets the rig's counters first, so that they count this scene alone.
    pub(crate) async fn new(authority: &'a Authority, client: Client, profile: Profile) -> Self {
        authority.tell("/reset", &serde_json::json!({}));
        let http = Arc::new(ReqwestClient::new().unwrap());
        let host = Host::new(authority.resource(), http, profile).await;
        install(&host, authority.sign_in(&client).await).await.unwrap();
        let access = host.token().await.unwrap();
        Self { authority, host, client, access }
    }

    /// Asserts the rig's counts of refreshes that arrived, refreshes that rotated, used tokens presented, and chains
    /// that have ended.
    pub(crate) fn assert_counts(&self, (posts, rotations, replays, revoked): (u64, u64, u64, u64), story: &str) {
        let expected = Tally { posts, rotations, consumed: replays, reuse: replays, revoked };
        assert_eq!(self.authority.tally(), expected, "{story}: {:#}", self.authority.stats());
    }

    /// Asserts that a flight fails for this reason, and that the access token is served all the same.
    pub(crate) async fn assert_refused(&self, reason: Reason, story: &str) {
        assert_eq!(self.host.try_to_renew().await.map_err(|error| error.reason()), Err(reason), "{story}");
        assert_eq!(self.host.token().await.as_ref(), Ok(&self.access), "{story}");
    }

    /// Renews twice, which only the newest refresh tokens can do. So nothing was lost, and nothing presented twice.
    /// `posts` refreshes arrived before, of which `rotations` were processed.
    pub(crate) async fn assert_whole(self, (posts, rotations): (u64, u64), story: &str) {
        for more in 1..=2 {
            assert!(self.host.renew().await.is_ok_and(|token| token != self.access), "{story}");
            self.assert_counts((posts + more, rotations + more, 0, 0), story);
            assert_eq!(self.host.mark().await, None, "{story}");
        }
        let [chain] = &self.authority.chains()[..] else { panic!("one chain: {story}") };
        assert_eq!((chain.rotations, chain.reuse, chain.revoked), (rotations + 2, 0, false), "{story}");
        self.host.shut_down().await;
    }

    /// Asserts that only a login helps, for this reason. No process presents anything any more, and a login does help.
    pub(crate) async fn assert_over(self, reason: Reason, story: &str) {
        let before = self.authority.tally();
        let told = self.host.renew().await.unwrap_err();
        assert_eq!((told.reason(), told.is_login_required()), (reason, true), "{story}");
        self.host.clock.pass(LONG_ENOUGH);
        let other = self.host.another_process().await;
        assert_eq!(other.renew().await.unwrap_err().reason(), reason, "{story}");
        other.shut_down().await;
        assert_eq!(self.authority.tally(), before, "{story}");
        self.assert_revived(story).await;
    }

    /// Asserts that a login brings a new chain, which is whole.
    pub(crate) async fn assert_revived(self, story: &str) {
        let before = self.authority.tally();
        install(&self.host, self.authority.sign_in(&self.client).await).await.unwrap();
        for more in 1..=2 {
            assert!(self.host.renew().await.is_ok(), "{story}");
            let expected = Tally { posts: before.posts + more, rotations: before.rotations + more, ..before };
            assert_eq!(self.authority.tally(), expected, "{story}");
        }
        self.host.shut_down().await;
    }
}

/// Stores a login that brought no access token.
pub(crate) async fn install(host: &Host, grant: Grant) -> Result<(), InstallError> {
    host.install(grant.binding, &grant.scope, grant.refresh).await
}
