//! A careless client. It checks nothing that a server names, so that each test sees the server's own behaviour.

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokenkeeper_testkit::login_server::{Browser, LoginServer, Visit};

/// A verifier with its challenge (RFC 7636 appendix B).
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:1/callback";

/// One registration at one server.
pub(crate) struct Careless<'a> {
    pub(crate) server: &'a LoginServer,
    pub(crate) http: Client,
    pub(crate) id: String,
    pub(crate) registration: Value,
}

pub(crate) fn http() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

impl<'a> Careless<'a> {
    /// Registers a public client that may refresh.
    pub(crate) async fn register(server: &'a LoginServer) -> Self {
        let body = json!({
            "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "application_type": "native",
        });
        let registration = json(post_json(&format!("{}/register", server.origin()), &body).await).await;
        let id = word(&registration, "client_id").to_owned();
        Self { server, http: http(), id, registration }
    }

    /// The parameters of a good authorization request.
    pub(crate) fn parameters(&self, scope: &str) -> Vec<(&'static str, String)> {
        vec![
            ("response_type", "code".into()),
            ("client_id", self.id.clone()),
            ("redirect_uri", REDIRECT.into()),
            ("code_challenge", CHALLENGE.into()),
            ("code_challenge_method", "S256".into()),
            ("state", "state-1".into()),
            ("scope", scope.into()),
            ("resource", self.server.resource_url()),
        ]
    }

    pub(crate) fn url(&self, scope: &str) -> String {
        self.url_of(&self.parameters(scope))
    }

    pub(crate) fn url_of(&self, parameters: &[(&'static str, String)]) -> String {
        format!("{}/authorize?{}", self.server.origin(), encoded(parameters))
    }

    /// Asks for an authorization, and returns the page at which the person has arrived.
    pub(crate) async fn ask(&self, scope: &str) -> Visit {
        Browser::open(&self.url(scope)).await.unwrap()
    }

    /// An authorization code.
    pub(crate) async fn code(&self, scope: &str) -> String {
        self.ask(scope).await.query("code").unwrap()
    }

    /// The parameters that exchange a code.
    pub(crate) fn exchange(&self, code: &str) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "authorization_code".into()),
            ("client_id", self.id.clone()),
            ("code", code.into()),
            ("code_verifier", VERIFIER.into()),
            ("redirect_uri", REDIRECT.into()),
            ("resource", self.server.resource_url()),
        ]
    }

    pub(crate) async fn token(&self, parameters: &[(&'static str, String)]) -> Response {
        self.form("/token", parameters).await
    }

    pub(crate) async fn form(&self, path: &str, parameters: &[(&'static str, String)]) -> Response {
        post_form(&format!("{}{path}", self.server.origin()), parameters).await
    }

    /// A whole login. Returns the answer of the token endpoint.
    pub(crate) async fn log_in(&self, scope: &str) -> Value {
        let code = self.code(scope).await;
        json(self.token(&self.exchange(&code)).await).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Response {
        self.token(&[
            ("grant_type", "refresh_token".into()),
            ("client_id", self.id.clone()),
            ("refresh_token", token.into()),
            ("resource", self.server.resource_url()),
        ])
        .await
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, access: &str) -> Response {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": tool } });
        let request = self.http.post(self.server.resource_url()).header("content-type", "application/json");
        let request = if access.is_empty() { request } else { request.bearer_auth(access) };
        request.body(body.to_string()).send().await.unwrap()
    }
}

pub(crate) async fn get(url: &str) -> Response {
    http().get(url).send().await.unwrap()
}

pub(crate) async fn post_form(url: &str, parameters: &[(&'static str, String)]) -> Response {
    let request = http().post(url).header("content-type", "application/x-www-form-urlencoded");
    request.body(encoded(parameters)).send().await.unwrap()
}

pub(crate) async fn post_json(url: &str, body: &Value) -> Response {
    http().post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

pub(crate) fn encoded(parameters: &[(&'static str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// The parameters with another value of one, or without it.
pub(crate) fn with(
    mut parameters: Vec<(&'static str, String)>,
    name: &'static str,
    value: Option<&str>,
) -> Vec<(&'static str, String)> {
    parameters.retain(|(known, _)| *known != name);
    parameters.extend(value.map(|value| (name, value.to_owned())));
    parameters
}

pub(crate) async fn json(answer: Response) -> Value {
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

pub(crate) async fn error(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, word(&json(answer).await, "error").to_owned())
}

pub(crate) fn challenge(answer: &Response) -> &str {
    answer.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap())
}
