//! Servers in a script behind public `https` addresses, and a host with one session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::engine::values::record::Record;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, Reach};
use tokenkeeper::{
    AuthRuntime, AuthSession, LoginCause, LoginKey, LoginMethod, LoginProgress, LoginReason, LoginSettings, LoginWish,
    OfferedPrompt, Scopes, SessionSpec, callback,
};

use crate::within::within;

pub(crate) const WAIT: Duration = Duration::from_secs(25);
pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
pub(crate) const ISSUER: &str = "https://as.example.com";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:7/callback";

/// A request that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) url: String,
    pub(crate) body: String,
    pub(crate) reach: Reach,
}

/// Statuses and bodies by URL.
type Answers = BTreeMap<String, (u16, Vec<u8>)>;

/// Servers with set answers. Any other URL has status 404.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    answers: Arc<Mutex<Answers>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    /// The challenge of the resource.
    challenge: Arc<Mutex<Option<String>>>,
    store: Option<MemoryStore>,
}

impl World {
    /// An MCP server and its authorization server, which registers public clients.
    pub(crate) fn new() -> Self {
        let world = Self { store: Some(MemoryStore::new(DigestKey::new([7; 32]))), ..Self::default() };
        world.on("https://mcp.example.com/mcp", 401, json!({}));
        world.on(
            "https://mcp.example.com/.well-known/oauth-protected-resource/mcp",
            200,
            json!({ "resource": RESOURCE, "authorization_servers": [ISSUER] }),
        );
        world.metadata(|_| {});
        world.on("https://as.example.com/register", 201, json!({ "client_id": "c1" }));
        world.on(
            "https://as.example.com/token",
            200,
            json!({
                "access_token": "at-1", "refresh_token": "rt-1", "token_type": "Bearer", "expires_in": 3600,
            }),
        );
        world
    }

    /// The authorization server's metadata, as `change` changes it.
    pub(crate) fn metadata(&self, change: impl FnOnce(&mut Value)) {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://as.example.com/authorize",
            "token_endpoint": "https://as.example.com/token",
            "registration_endpoint": "https://as.example.com/register",
            "device_authorization_endpoint": "https://as.example.com/device",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        });
        change(&mut document);
        self.on("https://as.example.com/.well-known/oauth-authorization-server", 200, document);
    }

    /// The resource lists this authorization server, which registers clients too, and nothing is kept in memory.
    pub(crate) fn moves_to(&self, issuer: &str) {
        self.on(
            "https://mcp.example.com/.well-known/oauth-protected-resource/new",
            200,
            json!({ "resource": RESOURCE, "authorization_servers": [issuer] }),
        );
        let named = r#"Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/new""#;
        *self.challenge.lock().unwrap() = Some(named.to_owned());
        let document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "registration_endpoint": format!("{issuer}/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
        });
        self.on(&format!("{issuer}/.well-known/oauth-authorization-server"), 200, document);
        self.on(&format!("{issuer}/register"), 201, json!({ "client_id": "c2" }));
    }

    pub(crate) fn on(&self, url: &str, status: u16, body: Value) {
        self.on_text(url, status, body.to_string());
    }

    pub(crate) fn on_text(&self, url: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.answers.lock().unwrap().insert(url.to_owned(), (status, body.into()));
    }

    /// The requests to `url`.
    pub(crate) fn sent_to(&self, url: &str) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|sent| sent.url == url).cloned().collect()
    }

    pub(crate) async fn session(&self, settings: LoginSettings) -> (AuthRuntime, AuthSession) {
        let store = self.store.as_ref().unwrap().process();
        let builder = AuthRuntime::builder(store).http(Arc::new(self.clone())).login(settings);
        let runtime = within("a runtime", builder.spawn()).await.unwrap();
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
        (runtime, session)
    }

    pub(crate) async fn record(&self, session: &AuthSession) -> Option<Record> {
        self.store.as_ref().unwrap().load(session.identity()).await.unwrap().map(|record| *record)
    }
}

#[async_trait]
impl HttpClient for World {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let (parts, body) = exchange.request.into_parts();
        let url = parts.uri.to_string();
        let body = String::from_utf8(body.as_bytes().to_vec()).unwrap();
        self.sent.lock().unwrap().push(Sent { url: url.clone(), body, reach: exchange.reach });
        let (status, body) = self.answers.lock().unwrap().get(&url).cloned().unwrap_or((404, Vec::new()));
        let mut answer = Response::new(Body::new(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(challenge) = self.challenge.lock().unwrap().as_ref().filter(|_| url == RESOURCE) {
            answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        }
        Ok(answer)
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

pub(crate) fn wish(method: LoginMethod) -> LoginWish {
    LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false }
}

/// Begins a login, and returns what the person is to see.
pub(crate) async fn begin(
    session: &AuthSession,
    method: LoginMethod,
) -> Result<(LoginKey, OfferedPrompt), LoginReason> {
    let progress = within("a prompt", session.begin_login(wish(method), LoginCause::Person, WAIT)).await;
    match progress.map_err(|error| error.reason())? {
        LoginProgress::Offered { key, offer, .. } => Ok((key, offer.prompt)),
        other => panic!("nothing to show: {other:?}"),
    }
}

/// Begins a login by a page, and returns its address.
pub(crate) async fn page(session: &AuthSession) -> Result<url::Url, LoginReason> {
    match begin(session, LoginMethod::Redirect(REDIRECT.to_owned())).await?.1 {
        OfferedPrompt::Browser { url } => Ok(url::Url::parse(url.as_str()).unwrap()),
        other => panic!("no page: {other:?}"),
    }
}

/// The values of a parameter of a page's address.
pub(crate) fn parameter(page: &url::Url, name: &str) -> Vec<String> {
    page.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect()
}

/// Answers the page with a code.
pub(crate) async fn answer(session: &AuthSession, page: &url::Url) -> Result<(), LoginReason> {
    let state = parameter(page, "state").remove(0);
    let callback = callback::read(&format!("{REDIRECT}?code=code-1&state={state}")).unwrap();
    let done = within("the end", session.complete_login(callback, WAIT)).await;
    done.map_err(|error| error.reason())
}
