//! A gateway before a strict upstream, a browser and an MCP client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::routing::any;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenkeeper::stores::memory::MemoryStore;
use tokenkeeper::{AuthRuntime, AuthSession, SessionSpec, stores};
use tokenkeeper_gateway::store::MemoryGatewayStore;
use tokenkeeper_gateway::{
    Gateway, GatewayBuilder, GatewayKey, Identify, IdentifyError, Inbound, Upstream, UpstreamTrouble, UpstreamUser,
};
use tokenkeeper_testkit::hostile::{TokenVerdict, Verifier};
use tokenkeeper_testkit::login_server::{Browser as Person, LoginServer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ahead::Ahead;

pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const BACK: &str = "http://127.0.0.1:7777/callback";

/// Asks the upstream whose token it is.
#[derive(Clone)]
pub(crate) struct Directory {
    upstream: Arc<LoginServer>,
    verifier: Verifier,
    resource: String,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    /// The person of an upstream access token.
    pub(crate) fn person(&self, token: &str) -> Option<String> {
        let header = format!("Bearer {token}");
        let verdict = self.verifier.admit(Some(header.as_bytes()), &self.resource, &[]);
        let TokenVerdict::Admitted(admission) = verdict else { return None };
        let grants = self.upstream.grants();
        grants.into_iter().find(|grant| Some(grant.chain) == admission.chain).map(|grant| grant.subject)
    }
}

#[async_trait]
impl Identify for Directory {
    async fn identify(&self, session: &AuthSession) -> Result<UpstreamUser, IdentifyError> {
        let lease = session.token().await.map_err(|_| IdentifyError::Unavailable { retry_after: None })?;
        let subject = self.person(lease.token().expose()).ok_or(IdentifyError::NoPerson)?;
        Ok(UpstreamUser { issuer: self.upstream.issuer(), subject })
    }
}

pub(crate) struct Rig {
    pub(crate) upstream: Arc<LoginServer>,
    pub(crate) gateway: Gateway,
    pub(crate) origin: String,
    pub(crate) store: MemoryGatewayStore,
    pub(crate) clock: Ahead,
    pub(crate) runtime: AuthRuntime,
    /// The runtime's store.
    pub(crate) records: MemoryStore,
    /// The clock of the upstream sessions.
    pub(crate) upstream_clock: Ahead,
    pub(crate) http: reqwest::Client,
    pub(crate) key: GatewayKey,
    directory: Directory,
    tasks: JoinSet<()>,
}

/// The resource. Its answer names the sender, the person of the upstream token, and the MCP session.
async fn resource(
    Extension(inbound): Extension<Inbound>,
    Extension(directory): Extension<Directory>,
    headers: HeaderMap,
) -> Result<([(&'static str, &'static str); 1], String), UpstreamTrouble> {
    let lease = inbound.upstream("up")?.token().await?;
    let person = directory.person(lease.token().expose());
    let session = headers.get("mcp-session-id").map(|id| id.to_str().unwrap());
    let authorization = headers.contains_key(AUTHORIZATION);
    let cookie = headers.get("cookie").map(|cookie| cookie.to_str().unwrap());
    let told = json!({
        "subject": inbound.subject(),
        "upstream": person,
        "session": session,
        "authorization": authorization,
        "cookie": cookie,
    });
    Ok(([("mcp-session-id", "session-1")], told.to_string()))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap()
}

async fn runtime(records: &MemoryStore, clock: &Ahead) -> AuthRuntime {
    AuthRuntime::builder(records.clone()).clock(Arc::new(clock.clone())).spawn().await.unwrap()
}

fn builder(
    origin: &str,
    runtime: &AuthRuntime,
    key: &GatewayKey,
    directory: &Directory,
    clock: &Ahead,
) -> GatewayBuilder {
    let spec = SessionSpec::mcp(&directory.resource).unwrap();
    Gateway::builder(origin, runtime.clone(), key.clone())
        .name("Test Gateway")
        .upstream(Upstream::new("up", spec).label("Upstream & Co"))
        .resource(format!("{origin}/mcp"))
        .scopes(["read", "write"])
        .identify(Arc::new(directory.clone()))
        .clock(Arc::new(clock.clone()))
}

fn serve(gateway: &Gateway, listener: TcpListener, origin: &str, routes: Router, directory: &Directory) -> JoinSet<()> {
    let layer = gateway.layer(&format!("{origin}/mcp")).unwrap();
    let app = gateway.router().merge(routes.layer(layer).layer(Extension(directory.clone())));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    tasks
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(LoginServer::start().await.unwrap(), |builder| builder).await
    }

    pub(crate) async fn with(upstream: LoginServer, settings: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let target = upstream.resource_url();
        Self::before(upstream, &target, settings, |_| Router::new().route("/mcp", any(resource))).await
    }

    /// A gateway before an upstream that protects `target`, with these routes of its own.
    pub(crate) async fn before(
        upstream: LoginServer,
        target: &str,
        settings: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
        routes: impl FnOnce(reqwest::Client) -> Router,
    ) -> Self {
        let upstream = Arc::new(upstream);
        let http = client();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let key = GatewayKey::random().unwrap();
        let (store, clock, upstream_clock) = (MemoryGatewayStore::default(), Ahead::new(), Ahead::new());
        let records = stores::memory::open().unwrap();
        let runtime = runtime(&records, &upstream_clock).await;
        let (verifier, resource) = (upstream.verifier(), target.to_owned());
        let directory = Directory { verifier, resource, upstream: Arc::clone(&upstream) };
        let builder = builder(&origin, &runtime, &key, &directory, &clock).store(Arc::new(store.clone()));
        let gateway = settings(builder).build().unwrap();
        let tasks = serve(&gateway, listener, &origin, routes(http.clone()), &directory);
        Self { upstream, gateway, origin, store, clock, runtime, records, upstream_clock, http, key, directory, tasks }
    }

    /// The runtime of another replica, which shares the upstream sessions.
    pub(crate) async fn other_runtime(&self) -> AuthRuntime {
        runtime(&self.records.process(), &self.upstream_clock).await
    }

    /// Ends the gateway, and starts another one at the same address, with this rig's key.
    pub(crate) async fn restart(&mut self, settings: impl FnOnce(GatewayBuilder) -> GatewayBuilder) {
        self.tasks.shutdown().await;
        // No connection to the earlier gateway is used again.
        self.http = client();
        let builder = builder(&self.origin, &self.runtime, &self.key, &self.directory, &self.clock);
        self.gateway = settings(builder.store(Arc::new(self.store.clone()))).build().unwrap();
        let listener = TcpListener::bind(self.origin.trim_start_matches("http://")).await.unwrap();
        let routes = Router::new().route("/mcp", any(resource));
        self.tasks = serve(&self.gateway, listener, &self.origin, routes, &self.directory);
    }

    /// A replica that protects `/other` too.
    pub(crate) fn other_resource(&self) -> Gateway {
        let spec = SessionSpec::mcp(&self.upstream.resource_url()).unwrap();
        Gateway::builder(&self.origin, self.runtime.clone(), self.key.clone())
            .store(Arc::new(self.store.clone()))
            .upstream(Upstream::new("up", spec))
            .resource(self.url("/mcp"))
            .resource(self.url("/other"))
            .identify(Arc::new(self.directory.clone()))
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        [&self.origin, path].concat()
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { http: self.http.clone(), cookies: BTreeMap::new() }
    }

    /// Registers a client, and returns its identifier.
    pub(crate) async fn register(&self) -> String {
        self.register_at(BACK).await
    }

    pub(crate) async fn register_at(&self, redirect: &str) -> String {
        let metadata = json!({ "redirect_uris": [redirect], "client_name": "Test <Client>", "token_endpoint_auth_method": "none" });
        let answer = self.http.post(self.url("/oauth/register")).body(metadata.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["client_id"].as_str().unwrap().to_owned()
    }

    /// An authorization URL with these parameters in the place of the usual ones. An empty one is left out.
    pub(crate) fn authorize(&self, client: &str, changes: &[(&str, &str)]) -> String {
        let resource = self.url("/mcp");
        let mut parameters = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", BACK),
            ("state", "st"),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ]);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        parameters.insert("code_challenge", &challenge);
        parameters.extend(changes.iter().copied());
        let given = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        url::Url::parse_with_params(&self.url("/oauth/authorize"), given).unwrap().into()
    }

    /// Signs the browser's person in for a client, through the page of consent and the upstream, and returns the code.
    pub(crate) async fn code(&self, browser: &mut Browser, client: &str) -> String {
        let page = browser.get(&self.authorize(client, &[])).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let callback = browser.allow(self, &page).await;
        query(&callback, "code").unwrap_or_else(|| panic!("no code: {callback}"))
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(self.url("/oauth/token"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    pub(crate) async fn redeem(&self, client: &str, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", BACK),
        ];
        self.token(&form).await
    }

    pub(crate) async fn refresh(&self, client: &str, token: &str) -> (u16, Value) {
        self.token(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)]).await
    }

    pub(crate) async fn revoke(&self, client: &str, token: &str) -> u16 {
        let form = [("client_id", client), ("token", token)];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(self.url("/oauth/revoke"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        request.send().await.unwrap().status().as_u16()
    }

    /// The tokens of a person who signs in with a browser of their own.
    pub(crate) async fn signed_in(&self, client: &str) -> Tokens {
        let code = self.code(&mut self.browser(), client).await;
        let (status, answer) = self.redeem(client, &code).await;
        assert_eq!(status, 200, "{answer}");
        Tokens::of(&answer)
    }

    /// Lets the upstream's access tokens expire.
    pub(crate) fn expire_upstream(&self) {
        let span = Duration::from_secs(2 * 3600);
        self.upstream_clock.pass(span);
        self.upstream.advance(span);
    }

    pub(crate) async fn call(&self, token: &str) -> Answer {
        self.call_with(token, &[]).await
    }

    pub(crate) async fn call_with(&self, token: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(self.url("/mcp")).header(AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of the form's hidden field.
    pub(crate) fn form(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"form\" value=\"").expect("a form");
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// A browser with cookies, which follows no redirect by itself.
pub(crate) struct Browser {
    http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        let request = self.http.get(url);
        self.send(request).await
    }

    /// Presses the button of the page at which a login at an upstream begins.
    pub(crate) async fn login(&mut self, rig: &Rig, upstream: &str) -> Answer {
        let url = rig.url(&format!("/oauth/login/{upstream}"));
        let page = self.get(&url).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("form", &page.form()).finish();
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        self.send(request).await
    }

    /// Answers a page of consent.
    pub(crate) async fn press(&mut self, rig: &Rig, form: &str, answer: &str, headers: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("form", form), ("answer", answer)])
            .finish();
        let request = self.http.post(rig.url("/oauth/consent"));
        let mut request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Allows what a page asks for, signs in at the upstream, and returns the address at which the client is called back.
    pub(crate) async fn allow(&mut self, rig: &Rig, page: &Answer) -> String {
        let away = self.press(rig, &page.form(), "allow", &[]).await;
        self.at_upstream(rig, &away).await
    }

    /// Signs in at the upstream to which `away` leads.
    pub(crate) async fn at_upstream(&mut self, rig: &Rig, away: &Answer) -> String {
        assert_eq!(away.status, 303, "{}", away.body);
        if !away.location().starts_with(rig.upstream.origin()) {
            return away.location().to_owned();
        }
        let visit = Person::open(away.location()).await.unwrap();
        let back = self.get(&visit.callback.expect("an answer of the upstream")).await;
        assert_eq!(back.status, 303, "{}", back.body);
        back.location().to_owned()
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = Answer::of(request.header("cookie", cookies.join("; ")).send().await.unwrap()).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match attributes.contains("Max-Age=0;") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }
}

/// A parameter of a URL.
pub(crate) fn query(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
