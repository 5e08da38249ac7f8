//! The rig as an authorization server: its clients, its logins and its counters.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenkeeper::engine::values::ClientSecret;
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper::{AccessToken, RefreshToken};
use url::{Url, form_urlencoded};

use crate::rigs::Rig;

/// The lifetime of its access tokens in seconds.
pub(crate) const LIFETIME: u64 = 3600;

const REDIRECT: &str = "http://127.0.0.1:1/callback";
const SCOPE: &str = "mcp:tools";
/// The verifier of RFC 7636 appendix B, which is public. It protects nothing of value here.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A running rig.
pub(crate) struct Authority {
    rig: Rig,
    http: reqwest::Client,
    endpoints: Endpoints,
}

/// RFC 8414.
#[derive(Deserialize)]
struct Endpoints {
    authorization_endpoint: String,
    token_endpoint: String,
    registration_endpoint: String,
    revocation_endpoint: String,
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Tokens {
    refresh_token: String,
    scope: String,
}

/// The tokens and the client of a login.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) binding: Binding,
    pub(crate) scope: String,
    pub(crate) refresh: RefreshToken,
}

/// The rig's counts since it was reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Refreshes that arrived.
    pub(crate) posts: u64,
    /// Refreshes that were processed with success.
    pub(crate) rotations: u64,
    /// Presentations of used refresh tokens, by a list of all exchanged ones.
    pub(crate) consumed: u64,
    /// Chains ended because of reuse.
    pub(crate) reuse: u64,
    /// Chains that have ended for any reason.
    pub(crate) revoked: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.posts += other.posts;
        self.rotations += other.rotations;
        self.consumed += other.consumed;
        self.reuse += other.reuse;
        self.revoked += other.revoked;
    }
}

/// One chain of refresh tokens, as the rig reports it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) rotations: u64,
    pub(crate) reuse: u64,
    pub(crate) revoked: bool,
}

impl Authority {
    /// Returns `None`, and prints a loud notice, on a machine without Node.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(&[]).await
    }

    /// Like [`start`](Self::start), with these environment variables for the rig.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Option<Self> {
        let lifetime = LIFETIME.to_string();
        let usual = [("AUTO_CONSENT", "1"), ("AT_TTL", lifetime.as_str())];
        let rig = Rig::start(&[&usual[..], variables].concat())?;
        let http = reqwest::Client::builder()
            .no_proxy()
            // Nothing that the rig is asked takes nearly as long.
            .timeout(std::time::Duration::from_secs(30))
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            // The rig closes connections that were idle for two seconds. No request may meet that.
            .pool_idle_timeout(std::time::Duration::from_secs(1))
            .build()
            .unwrap();
        let answer = http.get(rig.ready["as_metadata"].as_str().unwrap()).send().await.unwrap();
        let endpoints = body(answer).await;
        Some(Self { rig, http, endpoints })
    }

    /// The MCP server behind it.
    pub(crate) fn resource(&self) -> &str {
        self.rig.ready["mcp"].as_str().unwrap()
    }

    /// Another MCP server behind it, for which no login here has consent.
    pub(crate) fn other_resource(&self) -> &str {
        self.rig.ready["mcp2"].as_str().unwrap()
    }

    /// The token endpoint.
    pub(crate) fn token_endpoint(&self) -> &str {
        &self.endpoints.token_endpoint
    }

    /// The revocation endpoint (RFC 7009).
    pub(crate) fn revocation_endpoint(&self) -> &str {
        &self.endpoints.revocation_endpoint
    }

    /// Posts to an admin endpoint.
    pub(crate) fn tell(&self, path: &str, what: &Value) {
        self.rig.post(path, what);
    }

    // --- clients and logins ------------------------------------------------------------------------------------------

    /// The rig's own public client.
    pub(crate) fn public() -> Client {
        Client { id: "rig-public".into(), secret: None, auth: ClientAuth::None, secret_expires_at: None }
    }

    /// The rig's own client that authenticates with `client_secret_basic`.
    pub(crate) fn basic() -> Client {
        let secret = Some(ClientSecret::new("rig-basic-secret"));
        Client { id: "rig-basic".into(), secret, auth: ClientAuth::Basic, secret_expires_at: None }
    }

    /// The rig's own client that authenticates with `client_secret_post`.
    pub(crate) fn post() -> Client {
        let secret = Some(ClientSecret::new("rig-post-secret"));
        Client { id: "rig-post".into(), secret, auth: ClientAuth::Post, secret_expires_at: None }
    }

    /// A client that registers (RFC 7591), and can be forgotten.
    pub(crate) async fn register(&self, auth: ClientAuth) -> Client {
        let method = match auth {
            ClientAuth::Basic => "client_secret_basic",
            ClientAuth::Post => "client_secret_post",
            _ => "none",
        };
        let metadata = json!({
            "application_type": "native",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": method,
        });
        let request = self.http.post(&self.endpoints.registration_endpoint);
        let request = request.header("content-type", "application/json").body(metadata.to_string());
        let registered: Value = body(request.send().await.unwrap()).await;
        assert_eq!(registered["token_endpoint_auth_method"], method);
        let secret = registered["client_secret"].as_str().map(ClientSecret::new);
        Client { id: registered["client_id"].as_str().unwrap().into(), secret, auth, secret_expires_at: None }
    }

    /// Signs a user in with this client, with consent.
    pub(crate) async fn sign_in(&self, client: &Client) -> Grant {
        let parameters = [
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", REDIRECT),
            ("scope", SCOPE),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", self.resource()),
        ];
        let url = Url::parse_with_params(&self.endpoints.authorization_endpoint, parameters).unwrap();
        let answer = self.http.get(url).send().await.unwrap();
        let back = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        let code = back.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let code = code.unwrap_or_else(|| panic!("no code in {back}"));
        let mut request = self.http.post(&self.endpoints.token_endpoint);
        let form = {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "authorization_code").append_pair("code", &code);
            form.append_pair("redirect_uri", REDIRECT).append_pair("code_verifier", VERIFIER);
            form.append_pair("resource", self.resource());
            match (client.auth, &client.secret) {
                (ClientAuth::Basic, Some(secret)) => request = request.basic_auth(&client.id, Some(secret.expose())),
                (_, secret) => {
                    form.append_pair("client_id", &client.id);
                    form.extend_pairs(secret.iter().map(|secret| ("client_secret", secret.expose())));
                }
            }
            form.finish()
        };
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let tokens: Tokens = body(request.send().await.unwrap()).await;
        Grant {
            binding: Binding {
                issuer: Issuer(self.rig.ready["issuer"].as_str().unwrap().to_owned()),
                client: client.clone(),
                token_endpoint: self.endpoints.token_endpoint.clone(),
                revocation_endpoint: None,
                resource: Some(self.resource().to_owned()),
            },
            scope: tokens.scope,
            refresh: RefreshToken::new(tokens.refresh_token),
        }
    }

    /// Presents a refresh token of the rig's public client, as a thief would, and returns the answer's status.
    pub(crate) async fn present(&self, refresh: &str) -> u16 {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh)
            .append_pair("client_id", "rig-public")
            .append_pair("resource", self.resource())
            .finish();
        let request = self.http.post(&self.endpoints.token_endpoint);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        status
    }

    /// Gets a token in the name of the rig's own client that authenticates with `client_secret_post`.
    pub(crate) async fn client_credentials(&self) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("client_id", "rig-post");
        form.append_pair("client_secret", "rig-post-secret").append_pair("resource", self.resource());
        let request = self.http.post(&self.endpoints.token_endpoint);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        let tokens: Value = body(request.send().await.unwrap()).await;
        assert!(tokens["access_token"].is_string());
    }

    /// Calls the MCP server with this token, and returns the answer's status.
    pub(crate) async fn call(&self, token: &AccessToken) -> u16 {
        let request = self.http.post(self.resource()).bearer_auth(token.expose());
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("content-type", "application/json");
        let answer = request.body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).send().await.unwrap();
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        status
    }

    // --- what it counted ---------------------------------------------------------------------------------------------

    pub(crate) fn stats(&self) -> Value {
        self.rig.get("/stats")
    }

    pub(crate) fn tally(&self) -> Tally {
        let stats = self.stats();
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let refused = stats.pointer("/token/by_grant/refresh_token/error").and_then(Value::as_object);
        let refused: u64 = refused.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        Tally {
            posts: number("/token/by_grant/refresh_token/success") + refused,
            rotations: number("/refresh/success"),
            consumed: number("/refresh/consumed_rt_presented"),
            reuse: number("/refresh/reuse_detected"),
            revoked: number("/chains/revoked"),
        }
    }

    /// All chains since the reset, those with more rotations first.
    pub(crate) fn chains(&self) -> Vec<Chain> {
        let mut chains: Vec<Chain> = self.chains_by_id().into_values().collect();
        chains.sort_by_key(|chain| std::cmp::Reverse(chain.rotations));
        chains
    }

    /// Like [`chains`](Self::chains), each under the rig's own name for it.
    pub(crate) fn chains_by_id(&self) -> BTreeMap<String, Chain> {
        serde_json::from_value(self.rig.get("/chains")).unwrap()
    }
}

/// The body of an answer, which must be a success.
async fn body<T: DeserializeOwned>(answer: reqwest::Response) -> T {
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&bytes));
    serde_json::from_slice(&bytes).unwrap()
}
