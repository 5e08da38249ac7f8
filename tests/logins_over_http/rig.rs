//! A login server, a store, and the runtimes on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::{Grant, Record};
use tokenkeeper::{
    AttemptId, AuthRuntime, AuthSession, LoginCause, LoginKey, LoginMethod, LoginProgress, LoginReason, LoginSettings,
    LoginWish, OfferedPrompt, Scopes, SessionSpec, SignInError, TokenOptions, callback,
};
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer, LoginServerBuilder, Visit};

use crate::ahead::Ahead;
use crate::wire::Recorder;
use crate::within::within;

pub(crate) const WAIT: Duration = Duration::from_secs(25);

/// A redirect address that no program serves. The answers are handed over by the tests.
pub(crate) const REDIRECT: &str = "http://127.0.0.1:7/callback";

/// A store, and everything that was sent by the runtimes on it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Ahead,
    pub(crate) wire: Recorder,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { store: MemoryStore::new(DigestKey::new([7; 32])), clock: Ahead::new(), wire: Recorder::default() }
    }

    /// A runtime of another process. It knows only the content of the store.
    pub(crate) async fn runtime(&self, settings: LoginSettings) -> AuthRuntime {
        let builder = AuthRuntime::builder(self.store.process())
            .http(Arc::new(self.wire.clone()))
            .clock(Arc::new(self.clock.clone()))
            .login(settings);
        within("a runtime", builder.spawn()).await.unwrap()
    }
}

/// A server, and a host with one session there.
pub(crate) struct Scene {
    pub(crate) server: LoginServer,
    pub(crate) place: Place,
    pub(crate) runtime: AuthRuntime,
    pub(crate) session: AuthSession,
}

impl Scene {
    pub(crate) async fn new(server: LoginServerBuilder) -> Self {
        Self::with(server, |_| LoginSettings::default()).await
    }

    /// A host with the settings that suit the started server.
    pub(crate) async fn with(server: LoginServerBuilder, settings: impl FnOnce(&LoginServer) -> LoginSettings) -> Self {
        let server = server.start().await.unwrap();
        let place = Place::new();
        let runtime = place.runtime(settings(&server)).await;
        let session = session(&runtime, &server.resource_url());
        Self { server, place, runtime, session }
    }

    /// Signs in at once.
    pub(crate) async fn signed_in(server: LoginServerBuilder) -> Self {
        let scene = Self::new(server).await;
        scene.log_in(LoginCause::Person).await.unwrap();
        scene
    }

    /// A whole login, by a page.
    pub(crate) async fn log_in(&self, cause: LoginCause) -> Result<(), LoginReason> {
        let asked = begin(&self.session, wish(&[]), cause).await?;
        answer(&self.session, &asked.url).await
    }

    pub(crate) async fn record(&self) -> Option<Record> {
        self.place.store.load(self.session.identity()).await.unwrap().map(|record| *record)
    }

    /// The stored grant.
    pub(crate) async fn grant(&self) -> Grant {
        self.record().await.unwrap().grant().unwrap().clone()
    }

    /// Checks that no login is stored, and that none waits.
    pub(crate) async fn has_nothing(&self) {
        assert!(self.record().await.is_none_or(|record| record.grant().is_none()), "a grant is stored");
        assert!(self.runtime.pending_logins().await.unwrap().is_empty(), "a login waits");
        assert!(!self.session.state().signing_in);
        self.session.token().await.unwrap_err();
    }

    /// Lets `span` pass at once, for the host and for tokio. Needs a runtime of one thread, all of whose timers fire.
    pub(crate) async fn skip(&self, span: Duration) {
        self.place.clock.pass(span);
        skip(span).await;
    }

    /// Calls a tool of the resource with the present token. Returns the status.
    pub(crate) async fn call(&self, tool: &str) -> u16 {
        call(&self.server.resource_url(), tool, Some(&token(&self.session).await)).await.status().as_u16()
    }
}

/// Lets `span` of tokio's time pass at once.
pub(crate) async fn skip(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

/// A call of a tool.
pub(crate) async fn call(url: &str, tool: &str, token: Option<&str>) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
    let request = client.post(url).header("content-type", "application/json").body(body);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    within("an answer of the resource", request.send()).await.unwrap()
}

pub(crate) fn session(runtime: &AuthRuntime, url: &str) -> AuthSession {
    runtime.session(SessionSpec::mcp(url).unwrap())
}

/// A wish to sign in by a page.
pub(crate) fn wish(scopes: &[&str]) -> LoginWish {
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    LoginWish { scopes: Scopes::new(scopes.iter().copied()), method, same_subject: true, extends: false }
}

/// A request to a person, by a page.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) attempt: AttemptId,
    pub(crate) key: LoginKey,
    pub(crate) url: String,
}

impl Asked {
    /// A parameter of the page's address.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(&self.url).unwrap();
        let mut found = url.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let value = found.next();
        assert_eq!(found.next(), None, "{name} comes twice");
        value
    }
}

pub(crate) async fn begin(session: &AuthSession, wish: LoginWish, cause: LoginCause) -> Result<Asked, LoginReason> {
    let progress = within("something to show", session.begin_login(wish, cause, WAIT)).await;
    progress.map(asked).map_err(|error: SignInError| error.reason())
}

pub(crate) fn asked(progress: LoginProgress) -> Asked {
    match progress {
        LoginProgress::Offered { attempt, key, offer, .. } => match offer.prompt {
            OfferedPrompt::Browser { url } => Asked { attempt, key, url: url.as_str().to_owned() },
            other => panic!("no page: {other:?}"),
        },
        other => panic!("nothing to show: {other:?}"),
    }
}

/// Opens the page in a browser, whose person answers as the server is set.
pub(crate) async fn open(url: &str) -> Visit {
    within("the page", Browser::open(url)).await.unwrap()
}

/// Opens the page, and hands its answer over.
pub(crate) async fn answer(session: &AuthSession, url: &str) -> Result<(), LoginReason> {
    let visit = open(url).await;
    deliver(session, &visit.callback.expect("the server calls back")).await
}

/// Hands an answer over.
pub(crate) async fn deliver(session: &AuthSession, redirect: &str) -> Result<(), LoginReason> {
    let answer = callback::read(redirect).unwrap();
    let done = within("the end of the login", session.complete_login(answer, WAIT)).await;
    done.map_err(|error| error.reason())
}

pub(crate) async fn token(session: &AuthSession) -> String {
    within("a token", session.token()).await.unwrap().token().expose().to_owned()
}

/// A token of a refresh that begins now.
pub(crate) async fn renewed(session: &AuthSession) -> String {
    let options = TokenOptions { force: true, ..TokenOptions::default() };
    within("a token", session.token_with(options)).await.unwrap().token().expose().to_owned()
}

/// The requests that a server got, by endpoint.
pub(crate) fn requests(server: &LoginServer) -> BTreeMap<Endpoint, u64> {
    server.counts().requests
}

/// The requests of one login. They are one challenge, one document of each server, one registration, one page, and one code.
pub(crate) fn of_one_login() -> BTreeMap<Endpoint, u64> {
    BTreeMap::from([
        (Endpoint::Resource, 1),
        (Endpoint::ResourceMetadata, 1),
        (Endpoint::ServerMetadata, 1),
        (Endpoint::Registration, 1),
        (Endpoint::Authorization, 1),
        (Endpoint::Token, 1),
    ])
}

/// These scopes in a fixed order.
pub(crate) fn sorted(scopes: &str) -> Vec<&str> {
    let mut scopes: Vec<&str> = scopes.split(' ').filter(|scope| !scope.is_empty()).collect();
    scopes.sort_unstable();
    scopes
}
