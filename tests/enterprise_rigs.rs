//! Enterprise-managed authorization at servers by other authors: FastMCP, and Cloudflare's OAuth provider for Workers. Both check
//! the ID-JAG's signature, audience, client, resource and single use. The folder of each rig has a README.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of a test")]

#[path = "rigs/mod.rs"]
mod rigs;
#[path = "../actors/tests/common/within.rs"]
mod within;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::{
    AuthRuntime, AuthSession, ChallengeKey, Lease, Login, OperationKey, Reason, SessionSpec, TokenError, TokenOptions,
    stores,
};
use tokio::task::JoinSet;

use rigs::{Program, Rig};
use within::within;

const PATIENCE: Duration = Duration::from_secs(25);
const CALLERS: usize = 100;
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

struct Scene {
    rig: Rig,
    http: reqwest::Client,
    auth: AuthRuntime,
    idp: AuthSession,
    session: AuthSession,
}

impl Scene {
    /// A host that is signed on at the identity provider, and has no token of the MCP server. `None` if the rig cannot run
    /// here.
    async fn at(program: Program, method: &str) -> Option<Self> {
        let rig = tokio::task::spawn_blocking(move || Rig::start_program(program, &[])).await.unwrap()?;
        let text = |member: &str| rig.ready[member].as_str().unwrap().to_owned();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let client = register(&http, &text("mcp"), method).await;
        configure(&http, &rig, &client.0).await;

        let auth = within("a runtime", AuthRuntime::builder(stores::memory::open().unwrap()).spawn()).await.unwrap();
        let idp = auth.session(SessionSpec::idp(&text("idp")).unwrap());
        let endpoint = format!("{}/token", text("idp"));
        let settings = IssuerSettings::new(text("idp"), endpoint, Client::public("desktop")).unwrap();
        let login = Login::at(settings.identity_provider()).refresh_token("rt-0").id_token(text("id_token"));
        within("a sign-on", idp.install(login)).await.unwrap();
        let client = match client.1 {
            Some(secret) => Client::secret_basic(client.0, secret),
            None => Client::public(client.0),
        };
        let grant = MachineGrant::enterprise(idp.identity().clone(), client).scopes(["mcp:tools"]);
        let session = auth.session(SessionSpec::mcp(&text("mcp")).unwrap().renewal(grant.plan()));
        Some(Self { rig, http, auth, idp, session })
    }

    /// The tokens that callers get who ask at the same time, all of which are one.
    async fn crowd(&self) -> Lease {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let session = self.session.clone();
            callers.spawn(async move { token(&session, false).await.unwrap() });
        }
        let mut leases = within("the crowd", callers.join_all()).await;
        let lease = leases.pop().unwrap();
        assert!(leases.iter().all(|other| *other == lease));
        lease
    }

    /// The refreshes, exchanges and replays at the identity provider, and the requests at the server's token endpoint.
    async fn counts(&self) -> [u64; 4] {
        let stats: Value = self.admin("stats").send().await.unwrap().json().await.unwrap();
        ["refresh", "exchange", "replay", "grant"].map(|name| stats[name].as_u64().unwrap_or_default())
    }

    fn admin(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}/{path}", self.rig.admin()))
    }

    /// The status of the MCP server's answer to a request with this token.
    async fn call(&self, lease: &Lease) -> StatusCode {
        let version =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": version});
        let request = self.http.post(self.rig.ready["mcp"].as_str().unwrap()).bearer_auth(lease.token().expose());
        let request = request.header("accept", "application/json, text/event-stream").json(&message);
        within("an answer", request.send()).await.unwrap().status()
    }
}

async fn token(session: &AuthSession, force: bool) -> Result<Lease, TokenError> {
    let options = TokenOptions { force, timeout: PATIENCE, ..TokenOptions::default() };
    within("a token", session.token_with(options)).await
}

/// A client of the MCP server's authorization server, with its secret if it has one.
async fn register(http: &reqwest::Client, mcp: &str, method: &str) -> (String, Option<String>) {
    // FastMCP adds the grant by itself, and refuses a registration that names it.
    let grants = match method {
        "none" => vec!["authorization_code", "refresh_token"],
        _ => vec!["authorization_code", "refresh_token", JWT_BEARER],
    };
    let wanted = json!({
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": grants,
        "token_endpoint_auth_method": method,
    });
    let endpoint = mcp.replace("/mcp", "/register");
    let answer = within("a registration", http.post(endpoint).json(&wanted).send()).await.unwrap();
    let client: Value = answer.error_for_status().unwrap().json().await.unwrap();
    let member = |name: &str| client[name].as_str().map(str::to_owned);
    (member("client_id").unwrap(), member("client_secret"))
}

/// Tells the identity provider for which client its assertions are.
async fn configure(http: &reqwest::Client, rig: &Rig, client: &str) {
    let request = http.post(format!("{}/config", rig.admin())).json(&json!({ "client_id": client }));
    within("the settings", request.send()).await.unwrap().error_for_status().unwrap();
}

async fn one_exchange_serves_a_crowd(program: Program, method: &str) {
    let Some(scene) = Scene::at(program, method).await else { return };
    let lease = scene.crowd().await;
    assert_eq!(scene.counts().await, [0, 1, 0, 1]);
    assert_eq!(scene.call(&lease).await, StatusCode::OK);

    // All of them are refused. The ID token is still good.
    let (operation, challenge) = (OperationKey::of("tools/call"), ChallengeKey::default());
    let mut refusals = JoinSet::new();
    for _ in 0..CALLERS {
        let (session, lease) = (scene.session.clone(), lease.clone());
        refusals.spawn(async move { session.invalidate(&lease, operation, challenge).await.unwrap() });
    }
    within("the refusals", refusals.join_all()).await;
    let next = scene.crowd().await;
    assert_ne!(next, lease);
    assert_eq!(scene.counts().await, [0, 2, 0, 2]);
    assert_eq!(scene.call(&next).await, StatusCode::OK);

    // The provider rotates its refresh token, and its new ID token is exchanged as well.
    token(&scene.idp, true).await.unwrap();
    let last = token(&scene.session, true).await.unwrap();
    assert_eq!(scene.counts().await, [1, 3, 0, 3]);
    assert_eq!(scene.call(&last).await, StatusCode::OK);
    assert!(within("a shutdown", scene.auth.shutdown(PATIENCE)).await.is_clean());
}

async fn an_assertion_for_another_client_is_refused(program: Program, method: &str) {
    let Some(scene) = Scene::at(program, method).await else { return };
    configure(&scene.http, &scene.rig, "another").await;
    let error = token(&scene.session, false).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CredentialRejected, "{error}");
    assert!(!error.is_login_required());
    assert_eq!(scene.counts().await[2], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastmcp_gives_tokens_for_assertions() {
    one_exchange_serves_a_crowd(Program::FastMcp, "none").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workers_provider_gives_tokens_for_assertions() {
    one_exchange_serves_a_crowd(Program::WorkersProvider, "client_secret_basic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastmcp_refuses_an_assertion_for_another_client() {
    an_assertion_for_another_client_is_refused(Program::FastMcp, "none").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workers_provider_refuses_an_assertion_for_another_client() {
    an_assertion_for_another_client_is_refused(Program::WorkersProvider, "client_secret_basic").await;
}
