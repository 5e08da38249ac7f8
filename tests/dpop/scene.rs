//! A login server that binds tokens to keys, and a host with one session there.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::{
    AuthRuntime, AuthSession, Call, CallError, Destination, Dpop, Lease, LoginCause, LoginMethod, LoginProgress,
    LoginReason, LoginSettings, LoginWish, Next, OfferedPrompt, OperationKey, Scopes, SessionSpec, SignInError,
    TokenError, TokenKind, TokenOptions, callback,
};
use tokenkeeper_testkit::hostile::{ProofCounts, ProofRules};
use tokenkeeper_testkit::login_server::{Browser, LoginServer, LoginServerBuilder};

use crate::within::within;

pub(crate) const WAIT: Duration = Duration::from_secs(25);

const REDIRECT: &str = "http://127.0.0.1:7/callback";

/// One process.
pub(crate) struct Host {
    pub(crate) runtime: AuthRuntime,
    pub(crate) session: AuthSession,
    pub(crate) to: Destination,
    client: reqwest::Client,
}

pub(crate) struct Scene {
    pub(crate) server: LoginServer,
    pub(crate) store: MemoryStore,
    pub(crate) host: Host,
}

impl Scene {
    pub(crate) async fn new(server: LoginServerBuilder, dpop: Dpop) -> Self {
        let server = server.start().await.unwrap();
        let store = MemoryStore::new(DigestKey::new([7; 32]));
        let host = Host::over(Arc::new(store.process()), &server.resource_url(), dpop).await;
        Self { server, store, host }
    }

    /// A host that is signed in at a server that announces proofs and has these rules.
    pub(crate) async fn signed_in(rules: impl FnOnce(&mut ProofRules)) -> Self {
        let scene = Self::new(LoginServer::builder().dpop(), Dpop::WhereAnnounced).await;
        scene.server.hostile().proof_rules(rules);
        scene.host.sign_in().await.unwrap();
        scene
    }

    /// Another process on the store.
    pub(crate) async fn restarted(&self, dpop: Dpop) -> Host {
        Host::over(Arc::new(self.store.process()), &self.server.resource_url(), dpop).await
    }

    pub(crate) fn proofs(&self) -> ProofCounts {
        self.server.hostile().proof_counts()
    }

    /// The requests at the token endpoint and at the resource, and the rotations.
    pub(crate) fn requests(&self) -> (u64, u64, u64) {
        let counts = self.server.hostile().counts();
        (counts.token_requests, counts.resource_requests, counts.rotations)
    }

    /// Asserts that nothing was replayed, presented as a bearer token, or refused for its form.
    pub(crate) fn assert_clean(&self) {
        let (proofs, counts) = (self.proofs(), self.server.hostile().counts());
        assert_eq!((proofs.replays, proofs.bearer, proofs.refused.len(), counts.replays), (0, 0, 0, 0), "{proofs:?}");
    }
}

impl Host {
    pub(crate) async fn over(store: Arc<dyn TokenStore>, resource: &str, dpop: Dpop) -> Self {
        let builder = AuthRuntime::builder_over(store).login(LoginSettings::default().dpop(dpop));
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        Self::of(runtime, SessionSpec::mcp(resource).unwrap())
    }

    pub(crate) fn of(runtime: AuthRuntime, spec: SessionSpec) -> Self {
        let url = spec.identity().resource().unwrap().as_str().to_owned();
        let session = runtime.session(spec);
        let to = session.destination(&url).unwrap();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        // The rig closes connections that were idle for two seconds.
        let client = client.retry(reqwest::retry::never()).pool_idle_timeout(Duration::from_secs(1));
        Self { runtime, session, to, client: client.build().unwrap() }
    }

    /// The page of a login.
    pub(crate) async fn page(&self) -> Result<String, LoginReason> {
        let method = LoginMethod::Redirect(REDIRECT.to_owned());
        let wish = LoginWish { scopes: Scopes::default(), method, same_subject: false, extends: false };
        let begun = within("a page", self.session.begin_login(wish, LoginCause::Again, WAIT)).await;
        match begun.map_err(|error: SignInError| error.reason())? {
            LoginProgress::Offered { offer, .. } => match offer.prompt {
                OfferedPrompt::Browser { url } => Ok(url.as_str().to_owned()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Hands the answer of the page over.
    pub(crate) async fn complete(&self, callback: &str) -> Result<(), LoginReason> {
        let callback = callback::read(callback).unwrap();
        let done = within("the login", self.session.complete_login(callback, WAIT)).await;
        done.map_err(|error| error.reason())
    }

    /// A whole login.
    pub(crate) async fn sign_in(&self) -> Result<(), LoginReason> {
        let visit = within("the browser", Browser::open(&self.page().await?)).await.unwrap();
        self.complete(&visit.callback.unwrap()).await
    }

    pub(crate) async fn token(&self) -> Result<Lease, TokenError> {
        within("a token", self.session.token()).await
    }

    /// A token of a refresh that begins now.
    pub(crate) async fn renewed(&self) -> Result<Lease, TokenError> {
        let options = TokenOptions { force: true, timeout: WAIT, ..TokenOptions::default() };
        let lease = within("a token", self.session.token_with(options)).await?;
        assert_eq!(lease.kind(), TokenKind::Dpop);
        Ok(lease)
    }

    pub(crate) fn call(&self) -> Call {
        self.session.call(OperationKey::of("tools/call"))
    }

    /// Sends one attempt of a call.
    pub(crate) async fn attempt(&self, call: &mut Call, body: &str) -> Result<(StatusCode, HeaderMap), CallError> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = within("an authorization", call.authorize(&self.to, &Method::POST)).await? {
            authorization.apply(&mut headers);
        }
        let request = self.client.post(self.to.url()).headers(headers).header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream").body(body.to_owned());
        let answer = within("an answer", request.send()).await.unwrap();
        Ok((answer.status(), answer.headers().clone()))
    }

    /// Sends a request as often as its call asks for it. Returns the status.
    pub(crate) async fn send(&self) -> Result<u16, CallError> {
        self.send_in(&mut self.call(), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await
    }

    pub(crate) async fn send_in(&self, call: &mut Call, body: &str) -> Result<u16, CallError> {
        loop {
            let (status, headers) = self.attempt(call, body).await?;
            match within("a decision", call.next(status, &headers)).await? {
                Next::Again => {}
                Next::Done => return Ok(status.as_u16()),
            }
        }
    }

    /// The key of the session's tokens.
    pub(crate) async fn key(&self) -> String {
        self.token().await.unwrap().proof_key().unwrap().expose().to_owned()
    }
}
