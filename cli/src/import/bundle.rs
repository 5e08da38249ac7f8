//! The object that `tokenkeeper import` reads.

use std::time::Duration;

use serde::Deserialize;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{Account, Login, LoginError, ServerIdentity, grant};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{when, who};

/// The longest lifetime that an access token may have. A time in milliseconds, read as seconds, is tens of thousands of
/// years ahead.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A login as the input describes it. Every member is optional here, so that the error can name a missing one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    server: Option<String>,
    account: Option<String>,
    issuer: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    token_endpoint_auth_method: Option<String>,
    resource: Option<String>,
    scope: Option<String>,
    refresh_token: Option<Zeroizing<String>>,
    access_token: Option<Zeroizing<String>>,
    expires_at: Option<Time>,
}

/// A time in either accepted notation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(serde_json::Number),
    Text(String),
}

impl Bundle {
    /// Parses the object. The errors repeat no value, because it may be a secret.
    pub(super) fn read(json: &[u8]) -> Result<Self, Failure> {
        if json.trim_ascii().is_empty() {
            return Err(Failure::Usage(
                "standard input is empty: give one JSON object (tokenkeeper import --help lists its members)"
                    .to_owned(),
            ));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let read = serde_path_to_error::deserialize(&mut reader);
        read.map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.inner());
            let place = format!("line {}, column {}", inner.line(), inner.column());
            Failure::Usage(match inner.classify() {
                serde_json::error::Category::Data if path == "." => {
                    format!("standard input is no JSON object ({place}): see tokenkeeper import --help")
                }
                serde_json::error::Category::Data => {
                    format!("the member {path:?} is unknown, or of another kind than it should be ({place})")
                }
                _ => format!("standard input is not whole JSON ({place})"),
            })
        })
        .and_then(|bundle| match reader.end() {
            Ok(()) => Ok(bundle),
            Err(_) => Err(Failure::Usage("something follows the JSON object on standard input".to_owned())),
        })
    }

    /// The server identity that the login is for.
    pub(super) fn identity(&self) -> Result<ServerIdentity, Failure> {
        let account = self.account.as_deref().unwrap_or(Account::default().as_str()).to_owned();
        who::identity(required(self.server.as_deref(), "server")?, &account)
    }

    /// The login, with the profile of the named provider if there is one.
    pub(super) fn login(&self, provider: Option<&str>, never_replay: bool, now: WallTime) -> Result<Login, Failure> {
        let refresh = required(self.refresh_token.as_ref().map(|token| token.as_str()), "refresh_token")?;
        let mut login = Login::at(self.issuer_settings(provider, never_replay)?)
            .granted(self.scope.iter().flat_map(|scope| scope.split_ascii_whitespace()))
            .refresh_token(refresh);
        if let Some((token, expires)) = self.access(now)? {
            login = login.access_token(token, expires.map(|expires| expires.since(now)));
        }
        Ok(login)
    }

    /// The authorization server's issuer identifier.
    pub(super) fn issuer(&self) -> Result<&str, Failure> {
        let issuer = required(self.issuer.as_deref(), "issuer")?;
        if grant::may_receive_secrets(issuer) {
            return Ok(issuer);
        }
        Err(Failure::Usage(
            "the issuer is no https URL (or http on loopback) that stands alone: give the authorization server's \
             issuer identifier"
                .to_owned(),
        ))
    }

    /// When the access token expires. `None` if that is unknown or the token is not worth keeping.
    pub(super) fn expires_at(&self, now: WallTime) -> Result<Option<WallTime>, Failure> {
        Ok(self.access(now)?.and_then(|(_, expires)| expires))
    }

    fn issuer_settings(&self, provider: Option<&str>, never_replay: bool) -> Result<IssuerSettings, Failure> {
        let token_endpoint = endpoint(required(self.token_endpoint.as_deref(), "token_endpoint")?, "token_endpoint")?;
        let usage = |error: LoginError| Failure::Usage(error.to_string());
        let mut issuer = IssuerSettings::new(self.issuer()?, token_endpoint, self.client()?).map_err(usage)?;
        if let Some(url) = self.revocation_endpoint.as_deref() {
            issuer = issuer.revocation_endpoint(endpoint(url, "revocation_endpoint")?).map_err(usage)?;
        }
        if let Some(resource) = self.resource.as_deref() {
            issuer = issuer.resource(resource);
        }
        if let Some(provider) = provider {
            issuer = issuer.provider(provider).map_err(usage)?;
        }
        Ok(if never_replay { issuer.never_replay() } else { issuer })
    }

    fn client(&self) -> Result<Client, Failure> {
        let id = required(self.client_id.as_deref(), "client_id")?;
        let secret = self.client_secret.as_ref().map(|secret| secret.as_str());
        match (self.token_endpoint_auth_method.as_deref(), secret) {
            (None, None) | (Some("none"), _) => Ok(Client::public(id)),
            (None | Some("client_secret_basic"), Some(secret)) => Ok(Client::secret_basic(id, secret)),
            (Some("client_secret_post"), Some(secret)) => Ok(Client::secret_post(id, secret)),
            (Some("client_secret_basic" | "client_secret_post"), None) => {
                Err(Failure::Usage("the token_endpoint_auth_method needs a client_secret, which is missing".to_owned()))
            }
            (Some(_), _) => {
                let known = "none, client_secret_basic and client_secret_post";
                Err(Failure::Usage(format!("the token_endpoint_auth_method is not one of {known}")))
            }
        }
    }

    /// The access token with its expiry, unless it has expired.
    fn access(&self, now: WallTime) -> Result<Option<(&str, Option<WallTime>)>, Failure> {
        let Some(token) = &self.access_token else { return Ok(None) };
        let Some(time) = &self.expires_at else { return Ok(Some((token.as_str(), None))) };
        let left = time.left(now)?;
        Ok(if left.is_zero() { None } else { Some((token.as_str(), Some(now.after(left)))) })
    }
}

impl Time {
    /// The time from now until the access token expires.
    fn left(&self, now: WallTime) -> Result<Duration, Failure> {
        let (read, hint) = match self {
            Self::Seconds(number) => (when::read(&number.to_string()), "a number counts the seconds since 1970"),
            Self::Text(text) => (when::read(text), "leave it out where the token has no end"),
        };
        let wrong = || "expires_at is neither RFC 3339 (2026-01-31T12:00:00Z) nor seconds since 1970".to_owned();
        match read.ok_or_else(wrong).map_err(Failure::Usage)?.since(now) {
            left if left > LONGEST => Err(Failure::Usage(format!("expires_at is more than ten years ahead: {hint}"))),
            left => Ok(left),
        }
    }
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, Failure> {
    let missing = || Failure::Usage(format!("the member {name:?} is missing: see tokenkeeper import --help"));
    value.filter(|value| !value.is_empty()).ok_or_else(missing)
}

fn endpoint(url: &str, name: &str) -> Result<String, Failure> {
    if grant::may_receive_secrets(url) {
        Ok(url.to_owned())
    } else {
        Err(Failure::Usage(format!("the {name} is no https URL (or http on loopback): secrets are not sent there")))
    }
}
