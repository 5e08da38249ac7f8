//! A rig that runs already: a real authorization server (oidc-provider) with counters and knobs of its own.

use std::fs;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper::{AccessToken, RefreshToken};
use url::{Url, form_urlencoded};

use super::super::wire;
use super::log::Log;
use super::{ANSWER_DELAY, Grant, Tally};

/// The rig's own public client: any port on loopback is a redirect address of it.
const CLIENT: &str = "rig-public";
const REDIRECT: &str = "http://127.0.0.1:1/callback";
const SCOPE: &str = "mcp:tools";
/// A rig's tokens are worth nothing, and neither is what protects their codes (RFC 7636 section 4.1).
const VERIFIER: &str = "a-storm-is-over-when-it-is-over-a-storm-is-over";

/// What a rig prints when it is ready, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub(in super::super) struct Ready {
    issuer: String,
    admin: String,
    mcp: String,
    as_metadata: String,
}

impl Ready {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let line = if path.as_os_str() == "-" {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line)?;
            line
        } else {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let text = fs::read_to_string(path).map_err(named)?;
            text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
        };
        serde_json::from_str(&line).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "this is not the line a rig prints when it is ready (an object with issuer, admin, mcp, as_metadata)",
            )
        })
    }
}

pub(in super::super) struct Rig {
    ready: Ready,
    endpoints: Endpoints,
    http: reqwest::Client,
    log: Arc<Log>,
    sign_ins: u64,
    lifetime: Duration,
}

/// RFC 8414.
#[derive(Deserialize)]
struct Endpoints {
    authorization_endpoint: String,
    token_endpoint: String,
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
    scope: Option<String>,
}

impl Rig {
    /// Resets its counters, and turns its knobs.
    pub(super) async fn reset(ready: Ready, lifetime: Duration) -> io::Result<Self> {
        let http = wire::plain().build().map_err(told)?;
        let answer = http.get(&ready.as_metadata).send().await.map_err(told)?;
        let endpoints = body(answer).await?;
        let rig = Self { ready, endpoints, http, log: Arc::new(Log::new()), sign_ins: 0, lifetime };
        rig.ask("reset", &json!({})).await?;
        rig.ask("config", &json!({ "autoConsent": true, "accessTokenTtl": lifetime.as_secs() })).await?;
        let delay = u64::try_from(ANSWER_DELAY.as_millis()).unwrap_or_default();
        // Before the work: without a delay the rig finishes each request before it reads the next.
        rig.ask("delay", &json!({ "ms": delay, "when": "before", "grant": "refresh_token" })).await?;
        Ok(rig)
    }

    pub(super) fn resource(&self) -> &str {
        &self.ready.mcp
    }

    pub(super) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// Signs in as its user, who consents to everything (`autoConsent`).
    pub(super) async fn grant(&mut self) -> io::Result<Grant> {
        self.sign_ins += 1;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let parameters = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("scope", SCOPE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &self.ready.mcp),
        ];
        let url =
            Url::parse_with_params(&self.endpoints.authorization_endpoint, parameters).map_err(io::Error::other)?;
        let answer = self.http.get(url).send().await.map_err(told)?;
        let location = answer.headers().get("location").and_then(|location| location.to_str().ok()).unwrap_or_default();
        let code = Url::parse(location)
            .ok()
            .and_then(|url| url.query_pairs().find(|(name, _)| name == "code").map(|(_, code)| code.into_owned()))
            .ok_or_else(|| io::Error::other("the rig gave no authorization code"))?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", &code)
            .append_pair("redirect_uri", REDIRECT)
            .append_pair("client_id", CLIENT)
            .append_pair("code_verifier", VERIFIER)
            .append_pair("resource", &self.ready.mcp)
            .finish();
        let request = self.http.post(&self.endpoints.token_endpoint);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await;
        let tokens: Tokens = body(answer.map_err(told)?).await?;
        Ok(Grant {
            binding: Binding {
                issuer: Issuer(self.ready.issuer.clone()),
                client: Client { id: CLIENT.to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
                token_endpoint: self.endpoints.token_endpoint.clone(),
                revocation_endpoint: None,
                resource: Some(self.ready.mcp.clone()),
            },
            scope: tokens.scope.unwrap_or_default(),
            access: AccessToken::new(tokens.access_token),
            refresh: RefreshToken::new(tokens.refresh_token),
            lifetime: self.lifetime,
        })
    }

    /// Expires all access tokens; its clock cannot be put forward.
    pub(super) async fn expire_all(&self) -> io::Result<()> {
        self.ask("expire-all", &json!({})).await.map(drop)
    }

    pub(super) async fn tally(&self) -> io::Result<Tally> {
        let answer = self.http.get(format!("{}/stats", self.ready.admin)).send().await.map_err(told)?;
        let stats: Value = body(answer).await?;
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let refused = stats.pointer("/token/by_grant/refresh_token/error").and_then(Value::as_object);
        let refused: u64 = refused.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        let chains_revoked = number("/chains/revoked");
        let rotations = number("/token/by_grant/refresh_token/success");
        Ok(Tally {
            token_requests: rotations + refused,
            most_concurrent: number("/token/max_concurrent_refresh"),
            rotations,
            // The former misses those that arrive together, the latter all but the first of a chain.
            replays: number("/refresh/consumed_rt_presented").max(number("/refresh/reuse_detected")),
            chains_revoked,
            // Nobody signs in while a chain is alive.
            alive: self.sign_ins > chains_revoked,
        })
    }

    /// Takes the delay back. The counters stay, for whoever reads them next.
    pub(super) async fn close(&self) -> io::Result<()> {
        self.ask("delay", &json!({ "ms": 0 })).await.map(drop)
    }

    async fn ask(&self, what: &str, with: &Value) -> io::Result<Value> {
        let request = self.http.post(format!("{}/{what}", self.ready.admin));
        let answer = request.header("content-type", "application/json").body(with.to_string()).send().await;
        body(answer.map_err(told)?).await
    }
}

/// A whole answer, if it is a good one.
async fn body<T: DeserializeOwned>(answer: reqwest::Response) -> io::Result<T> {
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    if !status.is_success() {
        return Err(io::Error::other(format!("the rig answered {status} at {path}")));
    }
    let bytes = answer.bytes().await.map_err(told)?;
    serde_json::from_slice(&bytes).map_err(|error| io::Error::other(format!("the rig's answer at {path}: {error}")))
}

fn told(error: reqwest::Error) -> io::Error {
    io::Error::other(format!("the rig cannot be asked: {error}"))
}
