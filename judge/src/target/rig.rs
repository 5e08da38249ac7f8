//! A rig that runs already, a real authorization server (oidc-provider) with counters and an admin interface.

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

use super::events::EndpointLog;
use super::{ANSWER_DELAY, TargetCounts, TargetLogin};
use crate::transport;

/// The rig's public client, which may redirect to any port on loopback.
const CLIENT: &str = "rig-public";
const REDIRECT: &str = "http://127.0.0.1:1/callback";
const SCOPE: &str = "mcp:tools";
/// RFC 7636 section 4.1. A constant will do, because a rig's tokens protect nothing.
const VERIFIER: &str = "a-storm-is-over-when-it-is-over-a-storm-is-over";

/// The parts of a ready line that are used here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RigReady {
    issuer: String,
    admin: String,
    mcp: String,
    as_metadata: String,
}

impl RigReady {
    pub(super) fn parse(line: &str) -> io::Result<Self> {
        serde_json::from_str(line).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "this is not the line a rig prints when it is ready (an object with issuer, admin, mcp, as_metadata)",
            )
        })
    }
}

/// The first line with text in this file, or the first line of standard input where the path is `-`.
pub(super) fn ready_line(path: &Path) -> io::Result<String> {
    if path.as_os_str() == "-" {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        return Ok(line);
    }
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(named)?;
    Ok(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned())
}

pub(crate) struct RigTarget {
    ready: RigReady,
    endpoints: Endpoints,
    http: reqwest::Client,
    log: Arc<EndpointLog>,
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

impl RigTarget {
    /// Resets the counters and configures the rig.
    pub(super) async fn reset(ready: RigReady, lifetime: Duration) -> io::Result<Self> {
        let http = transport::client().build().map_err(unreachable)?;
        let answer = http.get(&ready.as_metadata).send().await.map_err(unreachable)?;
        let endpoints = body(answer).await?;
        let rig = Self { ready, endpoints, http, log: Arc::new(EndpointLog::new()), sign_ins: 0, lifetime };
        rig.post_admin("reset", &json!({})).await?;
        rig.post_admin("config", &json!({ "autoConsent": true, "accessTokenTtl": lifetime.as_secs() })).await?;
        let delay = u64::try_from(ANSWER_DELAY.as_millis()).unwrap_or_default();
        // Without a delay before the work the rig finishes each request before it reads the next.
        rig.post_admin("delay", &json!({ "ms": delay, "when": "before", "grant": "refresh_token" })).await?;
        Ok(rig)
    }

    pub(super) fn resource(&self) -> &str {
        &self.ready.mcp
    }

    pub(super) fn log(&self) -> Arc<EndpointLog> {
        Arc::clone(&self.log)
    }

    /// Signs in as the rig's user, who consents to everything (`autoConsent`).
    pub(super) async fn sign_in(&mut self) -> io::Result<TargetLogin> {
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
        let answer = self.http.get(url).send().await.map_err(unreachable)?;
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
        let tokens: Tokens = body(answer.map_err(unreachable)?).await?;
        Ok(TargetLogin {
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

    /// Expires all access tokens, as the clock of a rig cannot be put forward.
    pub(super) async fn expire_all(&self) -> io::Result<()> {
        self.post_admin("expire-all", &json!({})).await.map(drop)
    }

    pub(super) async fn counts(&self) -> io::Result<TargetCounts> {
        let answer = self.http.get(format!("{}/stats", self.ready.admin)).send().await.map_err(unreachable)?;
        let stats: Value = body(answer).await?;
        let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let refused = stats.pointer("/token/by_grant/refresh_token/error").and_then(Value::as_object);
        let refused: u64 = refused.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        let chains_revoked = number("/chains/revoked");
        let rotations = number("/token/by_grant/refresh_token/success");
        Ok(TargetCounts {
            token_requests: rotations + refused,
            // Each refresh is delayed, by the configuration of `reset`.
            arrived: number("/token/delayed"),
            most_concurrent: number("/token/max_concurrent_refresh"),
            rotations,
            // The first counter misses replays that arrive together, the second all but the first replay of a chain.
            replays: number("/refresh/consumed_rt_presented").max(number("/refresh/reuse_detected")),
            faults: 0,
            chains_revoked,
            // A login comes only after its predecessor's chain has ended.
            alive: self.sign_ins > chains_revoked,
        })
    }

    /// Ends the delay. The counters stay.
    pub(super) async fn close(&self) -> io::Result<()> {
        self.post_admin("delay", &json!({ "ms": 0 })).await.map(drop)
    }

    async fn post_admin(&self, name: &str, with: &Value) -> io::Result<Value> {
        let request = self.http.post(format!("{}/{name}", self.ready.admin));
        let answer = request.header("content-type", "application/json").body(with.to_string()).send().await;
        body(answer.map_err(unreachable)?).await
    }
}

/// The body of a successful answer.
async fn body<T: DeserializeOwned>(answer: reqwest::Response) -> io::Result<T> {
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    if !status.is_success() {
        return Err(io::Error::other(format!("the rig answered {status} at {path}")));
    }
    let bytes = answer.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&bytes).map_err(|error| io::Error::other(format!("the rig's answer at {path}: {error}")))
}

fn unreachable(error: reqwest::Error) -> io::Error {
    io::Error::other(format!("the rig cannot be reached: {error}"))
}
