//! A server, and a host whose access token is gone.

use std::time::Duration;

use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::ports::store::EventKind;
use tokenkeeper::engine::runtime::EventStream;
use tokenkeeper::{Reason, TokenOptions};
use tokenkeeper_testkit::hostile::{Counts, Fault, Grant, HostileAs, Rotation};

use crate::support::wire::Wire;
use crate::support::within::within;
use crate::support::{Host, LONGEST_PAUSE};

/// The lifetime of access tokens.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3_600);

pub(crate) struct Scene {
    pub(crate) server: HostileAs,
    pub(crate) grant: Grant,
    pub(crate) host: Host,
}

/// A token as text, or the reason of the error with its `retry_after`.
pub(crate) type Outcome = Result<String, (Reason, Option<Duration>)>;

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Profile::default(), Rotation::Strict).await
    }

    pub(crate) async fn with(profile: Profile, rotation: Rotation) -> Self {
        let server = HostileAs::start().await.unwrap();
        server.rules(|rules| rules.rotation = rotation);
        let grant = server.grant();
        let host = Host::new(&server.resource(), Wire::Shipped.client(), profile).await;
        host.sign_in(&grant).await.unwrap();
        Self { server, grant, host }
    }

    /// Asks for a token, as a caller with this patience.
    pub(crate) async fn ask(&self, timeout: Duration) -> Outcome {
        self.ask_with(TokenOptions { timeout, ..TokenOptions::default() }).await
    }

    /// Asks for a token, as a caller that takes the first failure.
    pub(crate) async fn ask_fast(&self) -> Outcome {
        self.ask_with(TokenOptions { fail_fast: true, ..TokenOptions::default() }).await
    }

    async fn ask_with(&self, options: TokenOptions) -> Outcome {
        let lease = self.host.session.token_with(options).await;
        lease.map(|lease| lease.token().expose().to_owned()).map_err(|error| (error.reason(), error.retry_after()))
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
        assert_eq!((counts.most_concurrent, counts.redirects_followed), (1, 0), "{story}");
    }

    /// Asserts that the newest refresh token is stored, without a mark. `requests` arrived before.
    pub(crate) async fn assert_whole(&self, requests: u64, story: &str) {
        assert_eq!(self.host.mark().await, None, "{story}");
        for more in 1..=2 {
            assert!(self.host.renew().await.is_ok(), "{story}");
            assert_eq!(self.counts().await.token_requests, requests + more, "{story}");
        }
        assert!(self.server.is_alive(self.grant.chain), "{story}");
        assert_eq!(self.counts().await.replays, 0, "{story}");
        self.host.shut_down().await;
    }

    /// The pauses that the session begins from now on.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses { host: &self.host, events: self.host.runtime.events() }
    }
}

/// The pauses between the attempts of a session.
pub(crate) struct Pauses<'a> {
    host: &'a Host,
    events: EventStream,
}

impl Pauses<'_> {
    /// Waits for the next pause, and returns the reason for it.
    pub(crate) async fn next(&mut self) -> Reason {
        loop {
            let event = within("a pause", self.events.next()).await.unwrap().unwrap();
            if event.kind == EventKind::Retrying {
                return event.reason.unwrap();
            }
        }
    }

    /// Skips the next `pauses`, each begun for `reason`.
    pub(crate) async fn skip(mut self, pauses: u32, reason: Reason) {
        for _ in 0..pauses {
            assert_eq!(self.next().await, reason);
            self.host.skip(LONGEST_PAUSE).await;
        }
    }

    /// The kinds of the events that were published and not read yet.
    pub(crate) async fn rest(mut self) -> Vec<(EventKind, Option<Reason>)> {
        let mut kinds = Vec::new();
        loop {
            tokio::select! {
                biased;
                event = self.events.next() => {
                    let event = event.unwrap().unwrap();
                    kinds.push((event.kind, event.reason));
                }
                () = std::future::ready(()) => break,
            }
        }
        kinds
    }
}

/// Faults that leave open whether the request was processed, and that a gateway or a firewall may cause.
pub(crate) fn doubts() -> Vec<Fault> {
    let pages = [301, 403, 404, 408, 500, 502, 503, 504, 530].map(|status| Fault::status(status).html());
    let bare = [500, 503].map(Fault::status);
    let broken = [Fault::reset(), Fault::close(), Fault::pass().halved(), Fault::garbage()];
    pages.into_iter().chain(bare).chain(broken).collect()
}
