//! A client for the official MCP conformance suite, over the public API alone. tests/conformance runs it.
//!
//! The suite starts it with the MCP server's URL as its last argument, and with the revision of the protocol and a context
//! in the environment. It signs in when the server asks for it, lists the tools and calls each of them.

use std::time::Duration;

use http::{HeaderMap, Method};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use tokenkeeper::discovery::Challenge;
use tokenkeeper::grant::ClientKey;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::machine::{MachineGrant, SubjectToken};
use tokenkeeper::registration::{Clients, MetadataDocument};
use tokenkeeper::{
    AuthRuntime, AuthSession, Call, CallError, Destination, Dpop, Login, LoginCause, LoginMethod, LoginProgress,
    LoginSettings, LoginWish, Next, OfferedPrompt, OperationKey, SessionSpec, callback, stores,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The longest that the suite is kept waiting.
const TIMEOUT: Duration = Duration::from_secs(25);

/// The address that the authorization server redirects to. The suite follows no redirect, so nothing listens there.
const REDIRECT: &str = "http://127.0.0.1:3000/callback";

/// The address of the client ID metadata document that the suite expects.
const DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";

/// The suite's context, which has the credentials of the client. They decide how it obtains its tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    client_id: String,
    client_secret: Option<String>,
    /// The authorization server at which a person's client is registered.
    issuer: Option<String>,
    private_key_pem: Option<String>,
    /// The workload's own token.
    valid_jwt: Option<String>,
    idp_issuer: Option<String>,
    idp_token_endpoint: Option<String>,
    idp_client_id: Option<String>,
    idp_id_token: Option<String>,
}

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "the suite kills a client that takes longer, and nothing is stored")]
async fn main() -> Result<(), Failure> {
    tokio::time::timeout(TIMEOUT, run()).await?
}

async fn run() -> Result<(), Failure> {
    let url = std::env::args().next_back().ok_or("the last argument is the MCP server's URL")?;
    let context: Context = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(context) => serde_json::from_str(&context)?,
        Err(_) => Context::default(),
    };
    let revision = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_else(|_| "2025-11-25".to_owned());

    let settings = LoginSettings::default().clients(clients(&context)?).dpop(Dpop::WhereAnnounced);
    let http = std::sync::Arc::new(ReqwestClient::new()?);
    let auth = AuthRuntime::builder(stores::memory::open()?).http(http).login(settings).spawn().await?;
    let mut spec = SessionSpec::mcp(&url)?;
    if let Some(grant) = machine_grant(&auth, &context).await? {
        spec = spec.renewal(grant.plan());
    }
    let session = auth.session(spec);
    let to = session.destination(&url)?;
    let mut server = Server { to, session, revision, mcp_session: None, http: http_client()? };

    server.begin().await?;
    let tools = server.request("tools/list", json!({})).await?;
    for tool in tools["tools"].as_array().into_iter().flatten() {
        server.request("tools/call", json!({ "name": tool["name"], "arguments": {} })).await?;
    }
    assert!(auth.shutdown(Duration::from_secs(5)).await.is_clean());
    Ok(())
}

fn clients(context: &Context) -> Result<Clients, Failure> {
    let clients = Clients::default().metadata_document(MetadataDocument::new(DOCUMENT, [REDIRECT])?);
    Ok(match (&context.client_secret, &context.issuer) {
        (Some(secret), Some(issuer)) => {
            let client = Client::secret_basic(&context.client_id, secret.as_str());
            clients.pre_registered(issuer, client, [REDIRECT])
        }
        _ => clients,
    })
}

/// The grant that the client's credentials are for, if no person signs in.
async fn machine_grant(auth: &AuthRuntime, context: &Context) -> Result<Option<MachineGrant>, Failure> {
    let id = context.client_id.as_str();
    let client = context.client_secret.as_deref().map(|secret| Client::secret_basic(id, secret));
    if let (Some(token), Some(issuer), Some(endpoint), Some(client)) =
        (&context.idp_id_token, &context.idp_issuer, &context.idp_token_endpoint, &client)
    {
        let at_idp = Client::public(context.idp_client_id.as_deref().unwrap_or_default());
        let settings = IssuerSettings::new(issuer, endpoint, at_idp)?.identity_provider();
        let idp = auth.session(SessionSpec::idp(issuer)?);
        idp.install(Login::at(settings).id_token(token.as_str())).await?;
        return Ok(Some(MachineGrant::enterprise(idp.identity().clone(), client.clone())));
    }
    if let Some(token) = &context.valid_jwt {
        return Ok(Some(MachineGrant::jwt_bearer(SubjectToken::fixed(token.as_str()))));
    }
    if let Some(pem) = &context.private_key_pem {
        let client = Client::private_key_jwt(id, &ClientKey::from_pem(pem)?);
        return Ok(Some(MachineGrant::client_credentials(client)));
    }
    Ok(client.filter(|_| context.issuer.is_none()).map(MachineGrant::client_credentials))
}

fn http_client() -> Result<reqwest::Client, Failure> {
    Ok(reqwest::Client::builder().redirect(Policy::none()).build()?)
}

/// An MCP server, and the session with which it is called.
struct Server {
    to: Destination,
    session: AuthSession,
    revision: String,
    mcp_session: Option<String>,
    http: reqwest::Client,
}

impl Server {
    /// Whether each request stands for itself (2026-07-28), so that there is no session.
    fn is_stateless(&self) -> bool {
        self.revision.as_str() >= "2026-07-28"
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        if self.is_stateless() {
            self.request("server/discover", json!({})).await?;
            return Ok(());
        }
        let client = json!({ "name": "tokenkeeper-conformance", "version": env!("CARGO_PKG_VERSION") });
        let hello = json!({ "protocolVersion": self.revision, "capabilities": {}, "clientInfo": client });
        self.request("initialize", hello).await?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), "notifications/initialized")
            .await?;
        Ok(())
    }

    /// Sends a request and returns its result.
    async fn request(&mut self, method: &str, mut parameters: Value) -> Result<Value, Failure> {
        if self.is_stateless() {
            parameters["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientInfo": { "name": "tokenkeeper-conformance", "version": "0" },
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
        let answer = self.send(&request, method).await?;
        if let Some(error) = answer.get("error") {
            return Err(format!("{method}: {error}").into());
        }
        Ok(answer["result"].clone())
    }

    /// Sends a message, signs in or steps up as the server asks for it, and returns the answer.
    async fn send(&mut self, message: &Value, method: &str) -> Result<Value, Failure> {
        let operation = OperationKey::of(method);
        let answer = loop {
            let mut call = self.session.call(operation);
            let error = match self.call(&mut call, message, method).await {
                Ok(answer) => break answer,
                Err(error) => *error.downcast::<CallError>()?,
            };
            let redirect = LoginMethod::Redirect(REDIRECT.to_owned());
            let progress = match error {
                CallError::StepUp(step_up) => step_up.begin(redirect, TIMEOUT).await?,
                error if error.is_login_required() => {
                    let scopes = error.challenge().and_then(Challenge::scopes).unwrap_or_default();
                    let wish = LoginWish { scopes, method: redirect, same_subject: false, extends: false };
                    let cause = LoginCause::Operation { refused: call.generation(), operation };
                    self.session.begin_login(wish, cause, TIMEOUT).await?
                }
                error => return Err(error.into()),
            };
            self.sign_in(progress).await?;
        };
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{method}: {status}: {}", answer.text().await?).into());
        }
        let id = answer.headers().get("mcp-session-id").and_then(|id| id.to_str().ok());
        self.mcp_session = self.mcp_session.take().or(id.map(str::to_owned));
        Ok(read(&answer.text().await?))
    }

    /// Sends a message as often as its call asks for.
    async fn call(&self, call: &mut Call, message: &Value, method: &str) -> Result<reqwest::Response, Failure> {
        loop {
            let mut headers = HeaderMap::new();
            if let Some(authorization) = call.authorize(&self.to, &Method::POST).await? {
                authorization.apply(&mut headers);
            }
            let mut request = self
                .http
                .post(self.to.url())
                .headers(headers)
                .header("accept", "application/json, text/event-stream")
                .header("content-type", "application/json")
                .header("mcp-protocol-version", &self.revision)
                .body(message.to_string());
            if self.is_stateless() {
                request = request.header("mcp-method", method);
                if let Some(name) = message["params"]["name"].as_str() {
                    request = request.header("mcp-name", name);
                }
            }
            if let Some(id) = &self.mcp_session {
                request = request.header("mcp-session-id", id);
            }
            let answer = request.send().await?;
            if call.next(answer.status(), answer.headers()).await? == Next::Done {
                return Ok(answer);
            }
        }
    }

    /// Does what a person and a browser do. The suite's authorization server consents at once.
    async fn sign_in(&self, progress: LoginProgress) -> Result<(), Failure> {
        let LoginProgress::Offered { offer, .. } = progress else { return Ok(()) };
        let OfferedPrompt::Browser { url } = &offer.prompt else { return Err("no page to open".into()) };
        let answer = self.http.get(url.as_str()).send().await?;
        let location = answer.headers().get("location").ok_or("the authorization server did not redirect")?;
        let callback = callback::read(location.to_str()?)?;
        Ok(self.session.complete_login(callback, TIMEOUT).await?)
    }
}

/// The message in an answer, which is JSON or an event stream.
fn read(answer: &str) -> Value {
    let events = answer.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut messages =
        std::iter::once(answer).chain(events).filter_map(|text| serde_json::from_str::<Value>(text).ok());
    messages.find(Value::is_object).unwrap_or_default()
}
