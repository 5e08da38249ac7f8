//! Requests whose token is at hand, which are sent without a wait. Scripted sessions have none at hand, so these tests have
//! sessions of a real runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use tokenkeeper::engine::law::flight::{Revocation, TokenRequest};
use tokenkeeper::engine::law::profile::{Evidence, Tokens};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::source::{NotRevoked, TokenSource};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{
    AccessToken, AuthRuntime, AuthSession, Login, RefreshToken, Scopes, ServerIdentity, SessionSpec, SourceName,
    Spending, TokenKind, Validity, stores,
};
use tokenkeeper_tower::SessionLayer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt};

use crate::readiness::OneConnection;
use crate::server::{Server, Stream};
use crate::within::{until, within};
use crate::{INVALID, URL, post};

const HOUR: Duration = Duration::from_secs(3_600);

/// An authorization server that refreshes to `new`.
#[derive(Debug)]
struct Source {
    clock: SystemClock,
    requests: AtomicUsize,
}

#[async_trait]
impl TokenSource for Source {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _: &ServerIdentity, _: TokenRequest) -> Evidence {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new("new"),
            kind: TokenKind::Bearer,
            validity: Validity::new(self.clock.now(), Some(HOUR)),
            refresh: Some(RefreshToken::new(format!("refresh-{number}"))),
            granted: Some(Scopes::default()),
            subject: None,
            binding: None,
        }))
    }

    async fn revoke(&self, _: &ServerIdentity, _: Revocation) -> Result<(), NotRevoked> {
        Err(NotRevoked::NotOffered)
    }
}

struct Host {
    _runtime: AuthRuntime,
    session: AuthSession,
    source: Arc<Source>,
}

impl Host {
    /// A host with the token `old` at hand.
    async fn new() -> Self {
        let source = Arc::new(Source { clock: SystemClock::new().unwrap(), requests: AtomicUsize::new(0) });
        let builder = AuthRuntime::builder(stores::memory::open().unwrap());
        let builder = builder.source(SourceName::REFRESH_TOKEN, Arc::clone(&source) as _);
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(URL).unwrap());
        let issuer = IssuerSettings::new("https://as.example", "https://as.example/token", Client::public("client"));
        let login = Login::at(issuer.unwrap()).refresh_token("refresh").access_token("old", Some(HOUR));
        within("the login", session.install(login)).await.unwrap();
        assert!(session.at_hand().is_some());
        Self { _runtime: runtime, session, source }
    }

    fn token_requests(&self) -> usize {
        self.source.requests.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_same_request_sent_again() {
    let (host, server) = (Host::new().await, Server::accepting("new"));
    // Its answers occupy its only connection until they are dropped.
    let client = SessionLayer::new(host.session.clone()).layer(OneConnection(server.clone()));
    for requests in [2, 3] {
        let answer = within("an answer", client.clone().oneshot(post("https://mcp.example.com/mcp?session=1"))).await;
        assert_eq!((answer.unwrap().status(), server.count()), (StatusCode::OK, requests));
    }
    let seen = server.seen();
    assert!(seen[0].has("old") && seen[1].has("new") && seen[2].has("new"), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.url == "https://mcp.example.com/mcp?session=1" && seen.body == "{}"));
    assert_eq!(host.token_requests(), 1);
}

#[tokio::test]
async fn a_request_that_cannot_be_had_again_gets_the_401_and_the_next_one_a_new_token() {
    let (host, server) = (Host::new().await, Server::accepting("new"));
    let layer = SessionLayer::once(host.session.clone()).resend(|request: &Request<Stream>| {
        assert!(request.headers().is_empty(), "the copy is made before the token is put in");
        None
    });
    let client = layer.layer(server.clone());
    for expected in [StatusCode::UNAUTHORIZED, StatusCode::OK] {
        let request = Request::post(URL).body(Stream::new("streamed")).unwrap();
        let answer = within("an answer", client.clone().oneshot(request)).await.unwrap();
        assert_eq!(answer.status(), expected);
    }
    assert_eq!((server.count(), host.token_requests()), (2, 1));
}

#[tokio::test]
async fn other_answers_and_errors_are_the_callers() {
    let host = Host::new().await;
    let send = async |answer| {
        let server = Server::new(move |seen| {
            assert!(seen.has("old"));
            answer
        });
        let client = SessionLayer::new(host.session.clone()).layer(server.clone());
        let end = within("an answer", client.oneshot(post(URL))).await;
        assert_eq!(server.count(), 1);
        end
    };
    for status in [200, 307, 403, 404, 500] {
        assert_eq!(send((status, Some(INVALID))).await.unwrap().status().as_u16(), status);
    }
    assert!(send((0, None)).await.unwrap_err().inner().is_some());
    let missing = Some("Bearer error=\"insufficient_scope\"");
    for status in [401, 403] {
        assert!(send((status, missing)).await.unwrap_err().step_up().is_some());
    }
    assert_eq!(host.token_requests(), 0);
}

#[tokio::test]
async fn a_refusal_is_noted_although_its_request_is_dropped() {
    let (host, server) = (Host::new().await, Server::accepting("new"));
    let client = SessionLayer::new(host.session.clone()).layer(server.clone());
    let before = host.session.at_hand();
    {
        // One poll brings the refusal.
        let request = std::pin::pin!(client.clone().oneshot(post(URL)));
        assert!(matches!(futures_util::poll!(request), Poll::Pending));
    }
    assert_eq!(server.count(), 1);
    until("the report", || host.session.at_hand() != before).await;
    assert_eq!(within("an answer", client.oneshot(post(URL))).await.unwrap().status(), StatusCode::OK);
    assert_eq!((server.count(), host.token_requests()), (2, 1));
}

#[tokio::test]
async fn a_refused_crowd_keeps_to_a_limit_and_takes_one_refresh() {
    for at_once in [1, 2, 7] {
        let (host, server) = (Host::new().await, Server::accepting("new"));
        let client = SessionLayer::new(host.session.clone()).layer(ConcurrencyLimit::new(server.clone(), at_once));
        let requests = join_all((0..50).map(|_| client.clone().oneshot(post(URL))));
        let answers = within("all answers", requests).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == StatusCode::OK));
        assert_eq!(host.token_requests(), 1);
        assert!((51..=100).contains(&server.count()), "{}", server.count());
    }
}

#[tokio::test]
async fn a_session_that_was_logged_out_sends_nothing() {
    let (host, server) = (Host::new().await, Server::accepting("old"));
    let client = SessionLayer::new(host.session.clone()).layer(server.clone());
    assert_eq!(within("an answer", client.clone().oneshot(post(URL))).await.unwrap().status(), StatusCode::OK);
    within("the logout", host.session.logout()).await.unwrap();
    assert!(within("an answer", client.oneshot(post(URL))).await.unwrap_err().is_login_required());
    assert_eq!(server.count(), 1);
}
