//! A host with one session, as programs use it.

use std::time::Duration;

use serde_json::{Value, json};
use tokenkeeper::discovery::Challenge;
use tokenkeeper::{
    AuthRuntime, AuthSession, InteractionError, Lease, LogIn, LoggedIn, LoggedOut, LoginSettings, OperationKey,
    RevocationOutcome, SessionSpec, TokenError, stores,
};
use tokio::task::JoinHandle;

use crate::authority::Authority;
use crate::person::Person;
use crate::web::{Answer, Web};
use crate::within::within;

/// A login that runs as a task of its own.
pub(crate) type Logging = JoinHandle<Result<LoggedIn, InteractionError>>;

/// A host.
pub(crate) struct Host {
    pub(crate) auth: AuthRuntime,
    pub(crate) session: AuthSession,
    pub(crate) web: Web,
    server: String,
}

impl Host {
    /// A host that registers by itself.
    pub(crate) async fn new(authority: &Authority) -> Self {
        Self::with(authority, LoginSettings::default()).await
    }

    pub(crate) async fn with(authority: &Authority, settings: LoginSettings) -> Self {
        let builder = AuthRuntime::builder(stores::memory::open().unwrap()).login(settings);
        let auth = within("a runtime", builder.spawn()).await.unwrap();
        let session = auth.session(SessionSpec::mcp(authority.resource()).unwrap());
        Self { auth, session, web: Web::new(), server: authority.resource().to_owned() }
    }

    /// Begins a login.
    pub(crate) fn log_in(&self, request: LogIn, person: &Person) -> Logging {
        log_in(&self.session, request, person)
    }

    /// Signs a person in whose consent is automatic, and returns the page that ends the login in the browser.
    pub(crate) async fn sign_in(&self, request: LogIn) -> String {
        let person = Person::new();
        let logging = self.log_in(request, &person);
        let callback = self.web.consent(&person.page().await).await;
        let page = self.web.open(&callback).await;
        assert_eq!(end(logging).await, Ok(LoggedIn::Here), "{page}");
        page
    }

    pub(crate) async fn token(&self) -> Result<Lease, TokenError> {
        within("a token", self.session.token()).await
    }

    /// Calls a tool, and once more with another token if the first one is refused.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        let first = self.token().await.unwrap();
        let answer = self.call_with(&first, tool, &arguments).await;
        if answer.status != 401 {
            return answer;
        }
        let second = self.replaced(&first, &answer, tool).await;
        self.call_with(&second, tool, &arguments).await
    }

    /// The next lease, after the MCP server has refused one with this answer.
    pub(crate) async fn replaced(&self, refused: &Lease, answer: &Answer, tool: &str) -> Lease {
        assert_eq!(answer.status, 401, "{answer:?}");
        let key = Challenge::key(&answer.challenges);
        within("the note", self.session.invalidate(refused, OperationKey::of(tool), key)).await.unwrap();
        let next = self.token().await.unwrap();
        assert!(next.generation().number > refused.generation().number);
        next
    }

    /// Calls a tool once.
    pub(crate) async fn call_with(&self, lease: &Lease, tool: &str, arguments: &Value) -> Answer {
        self.web.call(&self.server, lease, tool, arguments).await
    }

    /// Asserts that the MCP server accepts the session's tokens, also after it has refused one. It knows them as those of this
    /// person. Returns the client's identifier.
    pub(crate) async fn assert_served(&self, authority: &Authority, subject: &str) -> String {
        let refreshes = authority.counts().refreshes;
        for more in 0..2 {
            let answer = self.call("whoami", json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let person: Value = serde_json::from_str(answer.text()).unwrap();
            assert_eq!(person["sub"], subject);
            assert_eq!(authority.counts().refreshes, refreshes + more);
            if more == 1 {
                return person["client_id"].as_str().unwrap().to_owned();
            }
            authority.tell("/expire-all", &json!({}));
        }
        unreachable!()
    }

    /// Logs out, asserts that the server has nothing left of the session, and ends the host.
    pub(crate) async fn assert_leaves_nothing(self, authority: &Authority) {
        self.assert_leaves(authority, 0).await;
    }

    /// Logs out, asserts that the server has no more than this many refresh tokens left, each with a grant of its own, and ends
    /// the host.
    pub(crate) async fn assert_leaves(self, authority: &Authority, refresh_tokens: u64) {
        let lease = self.token().await.unwrap();
        let out = within("the logout", self.session.logout()).await.unwrap();
        let revocation = Some(RevocationOutcome::Done);
        assert_eq!(out, LoggedOut { has_unknown_token: false, revocation });
        assert_eq!(authority.live(), (0, refresh_tokens, refresh_tokens), "{:#}", authority.stats());
        assert!(self.token().await.unwrap_err().is_login_required());
        assert_eq!(self.call_with(&lease, "whoami", &json!({})).await.status, 401);
        self.end().await;
    }

    /// Ends the host, which has nothing left to save.
    pub(crate) async fn end(self) {
        assert!(within("the end", self.auth.shutdown(Duration::from_secs(5))).await.is_clean());
    }
}

/// Begins a login of a session.
pub(crate) fn log_in(session: &AuthSession, request: LogIn, person: &Person) -> Logging {
    let (session, person) = (session.clone(), person.clone());
    tokio::spawn(async move { session.log_in(request, &person).await })
}

/// The end of a login.
pub(crate) async fn end(logging: Logging) -> Result<LoggedIn, InteractionError> {
    within("the login", logging).await.unwrap()
}
