//! A server, and a host that has refreshed once already.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::http::HttpClient;
use tokenkeeper_testkit::hostile::{Counts, Fault, Grant, HostileAs, When};

pub(crate) use crate::support::LONG_ENOUGH;
use crate::support::wire::Wire;
use crate::support::within::within;
use crate::support::{Host, time_runs_out};

pub(crate) struct Scene {
    pub(crate) server: HostileAs,
    pub(crate) grant: Grant,
    pub(crate) host: Host,
    /// The access token of the first refresh, which is good for an hour.
    pub(crate) access: String,
}

impl Scene {
    pub(crate) async fn new(wire: Wire, profile: Profile) -> Self {
        Self::with(wire.client(), profile, Fault::pass()).await
    }

    /// A scene in which the first refresh is answered with `first`.
    pub(crate) async fn with(http: Arc<dyn HttpClient>, profile: Profile, first: Fault) -> Self {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        let host = Host::new(&server.resource(), http, profile).await;
        host.sign_in(&grant).await.unwrap();
        server.next(When::After, first);
        let access = host.token().await.unwrap();
        Self { server, grant, host, access }
    }

    /// Makes each of the next `requests` time out as soon as the server has received it, without waiting for the real
    /// time-out.
    pub(crate) async fn time_out(&self, requests: u64) {
        let before = self.server.counts().faults;
        for received in 1..=requests {
            let faults = before + received;
            within("what the server is to count", self.server.until(|counts| counts.faults >= faults)).await;
            // Some of the answer may get through by then, if there is one.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            time_runs_out().await;
            // The clock of the machines has not moved, and no real request times out within a millisecond.
            self.pass(Duration::from_secs(1));
        }
    }

    /// Lets `span` pass, here and at the server.
    pub(crate) fn pass(&self, span: Duration) {
        self.host.clock.pass(span);
        self.server.advance(span);
    }

    /// The server's counts, once it has no request in progress.
    pub(crate) async fn counts(&self) -> Counts {
        within("what the server is to count", self.server.until(|counts| counts.concurrent == 0)).await
    }

    /// Asserts the server's counts of requests, processed refreshes and replays.
    pub(crate) async fn assert_counts(&self, expected: (u64, u64, u64), story: &str) {
        let counts = self.counts().await;
        let counted = (counts.token_requests, counts.rotations, counts.replays);
        assert_eq!(counted, expected, "{story}: {:#?}", self.server.snapshot().timeline);
        assert_eq!(counts.redirects_followed, 0, "{story}");
    }

    /// Asserts that a flight fails for this reason, and that the access token is served all the same.
    pub(crate) async fn assert_refused(&self, reason: Reason, story: &str) {
        assert_eq!(self.host.try_to_renew().await.map_err(|error| error.reason()), Err(reason), "{story}");
        assert_eq!(self.host.token().await.as_ref(), Ok(&self.access), "{story}");
    }

    /// Renews twice, which only the newest refresh tokens can do. So nothing was lost, and nothing presented twice.
    /// `requests` arrived before.
    pub(crate) async fn assert_whole(&self, requests: u64, story: &str) {
        for more in 1..=2 {
            assert!(self.host.renew().await.is_ok_and(|token| token != self.access), "{story}");
            assert_eq!(self.counts().await.token_requests, requests + more, "{story}");
            assert_eq!(self.host.mark().await, None, "{story}");
        }
        assert!(self.server.is_alive(self.grant.chain), "{story}");
        assert_eq!(self.counts().await.replays, 0, "{story}");
        self.host.shut_down().await;
    }

    /// Asserts that only a login helps, for this reason. No process presents anything any more, and a login does help.
    pub(crate) async fn assert_over(mut self, reason: Reason, story: &str) {
        let before = self.counts().await;
        let told = self.host.renew().await.unwrap_err();
        assert_eq!((told.reason(), told.is_login_required()), (reason, true), "{story}");
        self.pass(LONG_ENOUGH);
        let other = self.host.another_process().await;
        assert_eq!(other.renew().await.unwrap_err().reason(), reason, "{story}");
        other.shut_down().await;
        assert_eq!(self.counts().await, before, "{story}");
        let newer = self.server.grant();
        self.host.sign_in(&newer).await.unwrap();
        self.grant = newer;
        let replays = before.replays;
        for more in 1..=2 {
            assert!(self.host.renew().await.is_ok(), "{story}");
            let counts = self.counts().await;
            assert_eq!((counts.token_requests, counts.replays), (before.token_requests + more, replays), "{story}");
        }
        assert!(self.server.is_alive(self.grant.chain), "{story}");
        self.host.shut_down().await;
    }
}
