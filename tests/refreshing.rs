//! The whole way from a caller to a socket and back, through the runtime, the refresh grant and the client over
//! reqwest, to a strict server.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../actors/tests/common/bounded.rs"]
mod bounded;
#[path = "../actors/tests/common/within.rs"]
mod within;

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::law::flight::Revocation;
use tokenkeeper::engine::law::ledger::Login;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::source::{NotRevoked, TokenSource};
use tokenkeeper::engine::runtime::{AuthRuntime, Settings};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::{ClientAuth, RefreshCredential};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::{Account, Reason, RenewalPlan, Scopes, ServerIdentity, Target, TokenOptions};
use tokenkeeper_testkit::hostile::{Fault, Grant, HostileAs, When};

use bounded::{BoundedRuntime, BoundedSession};
use within::within;

const KEY: [u8; 32] = [7; 32];

/// A host: a runtime with a stored login whose access token is gone.
struct Host {
    server: HostileAs,
    grant: Grant,
    session: BoundedSession,
    runtime: BoundedRuntime,
}

impl Host {
    async fn new() -> Self {
        Self::with(Profile::default(), ClientAuth::None).await
    }

    async fn with(profile: Profile, auth: ClientAuth) -> Self {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant_to(&server.register(auth));
        let clock = SystemClock::new().unwrap();
        let mut settings = Settings::new(source(&clock));
        settings.profiles = profile.into();
        settings.policy.initial_backoff = Duration::from_millis(10);
        settings.policy.max_backoff = Duration::from_millis(10);
        let key = DigestKey::new(KEY);
        let store = Arc::new(MemoryStore::new(key.clone()));
        let builder = AuthRuntime::builder(store, settings);
        let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.unwrap());
        let session = runtime.session(identity(&server));
        let login = Login {
            renewal: RenewalPlan::default(),
            binding: grant.binding.clone(),
            requested: Scopes::default(),
            granted: Scopes::new(grant.scope.split(' ')),
            subject: None,
            dpop_key: None,
            refresh: Some(RefreshCredential::new(grant.refresh_token.clone(), &key)),
            access: None,
            at: clock.now(),
            begun_on: None,
        };
        session.install(login).await.unwrap();
        Self { server, grant, session, runtime }
    }

    /// Returns a token from a flight that begins now.
    async fn renew(&self) -> Result<String, Reason> {
        let lease = self.session.token_with(TokenOptions { force: true, ..TokenOptions::default() }).await;
        lease.map(|lease| lease.token().expose().to_owned()).map_err(|error| error.reason())
    }

    /// Renews once more, which only the newest refresh token can do. So nothing was lost, and nothing presented twice.
    async fn is_whole_after(&self, requests: u64) {
        self.renew().await.unwrap();
        let counts = self.server.counts();
        assert_eq!((counts.token_requests, counts.replays), (requests + 1, 0), "{:?}", self.server.snapshot().timeline);
        assert!(self.server.is_alive(self.grant.chain));
        assert!(self.runtime.shutdown(Duration::from_secs(5)).await.is_clean());
    }
}

fn source(clock: &SystemClock) -> Arc<RefreshGrant> {
    Arc::new(RefreshGrant::new(Arc::new(ReqwestClient::new().unwrap()), Arc::new(clock.clone())))
}

fn identity(server: &HostileAs) -> ServerIdentity {
    ServerIdentity::new(Account::new("work").unwrap(), Target::mcp(&server.resource()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_callers_make_one_request() {
    let host = Host::new().await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let session = host.session.clone();
        #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
        callers.spawn(async move { session.token().await.unwrap() });
    }
    let leases = within("an answer for everyone", callers.join_all()).await;
    assert!(leases.iter().all(|lease| lease == &leases[0]), "one token for everyone");
    assert_eq!(leases[0].scopes().iter().collect::<Vec<_>>(), host.grant.scope.split(' ').collect::<Vec<_>>());
    host.is_whole_after(1).await;
}

#[tokio::test]
async fn every_way_a_client_authenticates_is_understood() {
    for auth in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
        let host = Host::with(Profile::default(), auth).await;
        host.renew().await.unwrap();
        host.is_whole_after(1).await;
    }
}

#[tokio::test]
async fn no_odd_answer_loses_the_rotated_token() {
    let json = "application/json";
    for (kind, body) in [
        (json, r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":"3600"}"#),
        (json, r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":-1,"scope":"a,b"}"#),
        (json, r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":1e999"#),
        (json, r#"{"ok":true,"authed_user":{"access_token":"{access_token}","refresh_token":"{refresh_token}"}}"#),
        ("text/html", r#"{"refresh_token":"{refresh_token}","access_token":"{access_token}"}<!-- 7 ms -->"#),
        ("application/x-www-form-urlencoded", "access_token={access_token}&refresh_token={refresh_token}&scope="),
        (json, "access_token={access_token}&refresh_token={refresh_token}"),
    ] {
        let host = Host::new().await;
        host.server.next(When::After, Fault::body(kind, body));
        assert!(!host.renew().await.unwrap().is_empty(), "{body}");
        host.is_whole_after(1).await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_alone_is_kept_and_its_callers_get_no_empty_token() {
    let host = Host::new().await;
    host.server.next(When::After, Fault::body("application/json", r#"{"refresh_token":"{refresh_token}"}"#));
    assert_eq!(host.renew().await, Err(Reason::ExpiredOnArrival));
    assert!(!host.session.token().await.unwrap().token().expose().is_empty());
    host.is_whole_after(2).await;
}

#[tokio::test]
async fn a_lost_answer_costs_one_request_where_reuse_ends_more_than_the_lineage() {
    let never = Profile { reuse: Reuse::EndsMore, ..Profile::default() };
    let faults = [
        Fault::reset(),
        Fault::close(),
        Fault::pass().halved(),
        Fault::garbage(),
        Fault::status(502).html(),
        Fault::redirect(),
    ];
    for fault in faults {
        let host = Host::with(never.clone(), ClientAuth::None).await;
        host.server.next(When::After, fault.clone());
        assert_eq!(host.renew().await, Err(Reason::MaybeConsumed), "{fault:?}");
        let counts = host.server.counts();
        assert_eq!((counts.token_requests, counts.replays, counts.redirects_followed), (1, 0, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_not_spent_is_presented_again() {
    let host = Host::new().await;
    host.server.next(When::Before, Fault::status(429));
    host.renew().await.unwrap();
    host.is_whole_after(2).await;
}

#[tokio::test]
async fn a_providers_own_word_ends_the_grant() {
    let host = Host::with(Providers::builtin().named("github").unwrap().profile(), ClientAuth::None).await;
    let dead = "error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect+or+expired.";
    host.server.next(When::Before, Fault::body("application/x-www-form-urlencoded", dead));
    assert_eq!(host.renew().await, Err(Reason::GrantEnded));
    assert_eq!(host.renew().await, Err(Reason::GrantEnded));
    assert_eq!(host.server.counts().token_requests, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_nothing_in_doubt() {
    let host = Host::new().await;
    let Host { server, session, runtime, .. } = host;
    drop(server);
    let request = TokenOptions { fail_fast: true, ..TokenOptions::default() };
    assert_eq!(session.token_with(request).await.unwrap_err().reason(), Reason::Unreachable);
    assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn revoking_ends_the_chain() {
    let server = HostileAs::start().await.unwrap();
    let grant = server.grant();
    let source = source(&SystemClock::new().unwrap());
    let refresh = Some(RefreshCredential::new(grant.refresh_token.clone(), &DigestKey::new(KEY)));
    let binding = grant.binding.clone();
    let revocation = Revocation { renewal: RenewalPlan::default(), binding, refresh, access: None };
    assert_eq!(within("a revocation", source.revoke(&identity(&server), revocation.clone())).await, Ok(()));
    assert!(!server.is_alive(grant.chain));

    server.next_revocation(1, When::Before, Fault::status(503));
    let revoked = within("a revocation", source.revoke(&identity(&server), revocation)).await;
    assert_eq!(revoked, Err(NotRevoked::Failed));
    assert_eq!(server.counts().revocation_requests, 2);
}
