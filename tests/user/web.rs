//! Providers that answer by URL, without sockets.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use serde_json::Value;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::values::{BootId, ElapsedTime, Moment, WallTime};
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, Reach};
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokio::time::Instant;

use super::*;

pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
pub(crate) const TOKEN: &str = "https://as.example.com/token";

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) reach: Reach,
}

/// Makes the answer to a request.
type Route = Box<dyn Fn(&Sent) -> (u16, Value) + Send + Sync>;

/// All servers of a test.
#[derive(Default)]
pub(crate) struct Web {
    routes: Mutex<BTreeMap<String, Route>>,
    sent: Mutex<Vec<Sent>>,
    refreshes: Mutex<u32>,
    /// The number of times that other tasks run before an answer.
    turns: u32,
    /// The headers of the answers, by URL.
    headers: Mutex<BTreeMap<String, HeaderMap>>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

impl Web {
    /// Servers before whose answers other tasks run this often.
    pub(crate) fn slow(turns: u32) -> Self {
        Self { turns, ..Self::default() }
    }

    /// Answers requests to `url` from now on.
    pub(crate) fn on(&self, url: &str, route: impl Fn(&Sent) -> (u16, Value) + Send + Sync + 'static) -> &Self {
        self.routes.lock().unwrap().insert(url.to_owned(), Box::new(route));
        self
    }

    /// Always answers requests to `url` with this object.
    pub(crate) fn json(&self, url: &str, answer: Value) -> &Self {
        self.on(url, move |_| (200, answer.clone()))
    }

    /// Adds a header to all answers of `url`.
    pub(crate) fn header(&self, url: &str, name: &'static str, value: &str) -> &Self {
        let mut headers = self.headers.lock().unwrap();
        headers.entry(url.to_owned()).or_default().insert(HeaderName::from_static(name), value.parse().unwrap());
        self
    }

    /// The requests that were sent, without those for tokens.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.url).collect()
    }

    /// The number of token requests.
    pub(crate) fn refreshes(&self) -> u32 {
        *self.refreshes.lock().unwrap()
    }

    fn answer(&self, sent: &Sent) -> (u16, Value) {
        if sent.body.contains("grant_type") {
            let mut refreshes = self.refreshes.lock().unwrap();
            *refreshes += 1;
            let tokens = json!({
                "access_token": format!("at-{refreshes}"),
                "refresh_token": format!("rt-{refreshes}"),
                "token_type": "Bearer",
                "expires_in": 3_600,
            });
            return (200, tokens);
        }
        self.sent.lock().unwrap().push(sent.clone());
        let routes = self.routes.lock().unwrap();
        routes.get(&sent.url).map_or((404, json!({})), |route| route(sent))
    }
}

#[async_trait]
impl HttpClient for Web {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        let (head, body) = exchange.request.into_parts();
        let text = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let sent = Sent {
            method: head.method.to_string(),
            url: head.uri.to_string(),
            token: text("authorization").trim_start_matches("Bearer ").to_owned(),
            headers: head.headers.keys().map(|name| (name.to_string(), text(name.as_str()))).collect(),
            body: String::from_utf8_lossy(body.as_bytes()).into_owned(),
            reach: exchange.reach,
        };
        for _ in 0..self.turns {
            tokio::task::yield_now().await;
        }
        let (status, answer) = self.answer(&sent);
        // A text is sent as it is.
        let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        let mut response = Response::new(Body::new(text));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().extend(self.headers.lock().unwrap().get(&sent.url).cloned().unwrap_or_default());
        Ok(response)
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

/// A clock that shows tokio's time, which tests pause.
#[derive(Clone, Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        let passed = u64::try_from(self.0.elapsed().as_millis()).unwrap();
        let (wall, elapsed) = (1_800_000_000_000 + passed, 1_000_000 + passed);
        Moment { wall: WallTime::from_millis(wall), elapsed: ElapsedTime::from_millis(elapsed), boot: BootId(1) }
    }
}

/// A runtime whose servers are all in `web`, with a paused clock.
pub(crate) async fn runtime_in(
    web: &Arc<Web>,
    configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> AuthRuntime {
    let store = MemoryStore::new(digest_key());
    let builder = AuthRuntime::builder(store).http(Arc::clone(web) as _).clock(Arc::new(TokioClock::new()));
    configure(builder).spawn().await.unwrap()
}

/// A login at `provider` with an access token.
pub(crate) fn login(provider: Option<&str>, issuer: &str, access: &str) -> Login {
    login_at(provider, issuer, TOKEN, access)
}

/// A login at the vendor's own server.
pub(crate) fn login_of(vendor: &str, access: &str) -> Login {
    let providers = Providers::builtin();
    let facts = providers.named(vendor).unwrap();
    let (issuer, token) = (facts.issuer.as_deref().unwrap(), facts.endpoints.token.as_deref().unwrap());
    login_at(Some(vendor), issuer, token, access)
}

pub(crate) fn login_at(provider: Option<&str>, issuer: &str, token_endpoint: &str, access: &str) -> Login {
    let settings = IssuerSettings::new(issuer, token_endpoint, Client::public("host")).unwrap();
    let settings = match provider {
        Some(provider) => settings.provider(provider).unwrap(),
        None => settings,
    };
    Login::at(settings).refresh_token(format!("rt-of-{access}")).access_token(access, Some(Duration::from_secs(3_600)))
}

/// The metadata of `issuer`, which names this userinfo endpoint.
pub(crate) fn metadata(web: &Web, issuer: &str, userinfo: &str) {
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": userinfo,
        "code_challenge_methods_supported": ["S256"],
    });
    web.json(&format!("{issuer}/.well-known/oauth-authorization-server"), document);
}

/// A JWT with these claims and no real signature.
pub(crate) fn jwt(claims: &Value) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
}
