//! The object that `tokenkeeper import` reads.

use std::time::Duration;

use serde::Deserialize;
use tokenkeeper::engine::law::ledger::{Login, LoginAccess};
use tokenkeeper::engine::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper::engine::values::{ClientSecret, Moment, WallTime};
use tokenkeeper::{
    AccessToken, Account, RefreshToken, RenewalPlan, Scopes, ServerIdentity, TokenKind, Validity, grant,
};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{when, who};

/// No access token lives so long. A time in milliseconds, read as seconds, is tens of thousands of years ahead.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A login, as somebody wrote it down. Each member is optional to read, so that what is missing is said by its name.
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

/// A time, written either way.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(serde_json::Number),
    Text(String),
}

impl Bundle {
    /// Reads the object. What is wrong with it is told without repeating a value: it may be a secret.
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

    /// Whose login it is.
    pub(super) fn identity(&self) -> Result<ServerIdentity, Failure> {
        let account = self.account.as_deref().unwrap_or(Account::default().as_str()).to_owned();
        who::identity(required(self.server.as_deref(), "server")?, &account)
    }

    /// What the login is about.
    pub(super) fn refresh_token(&self) -> Result<RefreshToken, Failure> {
        let token = required(self.refresh_token.as_ref().map(|token| token.as_str()), "refresh_token")?;
        Ok(RefreshToken::new(token.to_owned()))
    }

    /// The login but for its refresh token, which needs the home's own digest.
    pub(super) fn login(&self, now: Moment) -> Result<Login, Failure> {
        Ok(Login {
            binding: self.binding()?,
            requested: Scopes::default(),
            granted: Scopes::new(self.scope.iter().flat_map(|scope| scope.split_ascii_whitespace())),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: None,
            access: self.access(now)?,
            at: now,
        })
    }

    fn binding(&self) -> Result<Binding, Failure> {
        let token_endpoint = endpoint(required(self.token_endpoint.as_deref(), "token_endpoint")?, "token_endpoint")?;
        let revocation_endpoint = self.revocation_endpoint.as_deref();
        let revocation_endpoint = revocation_endpoint.map(|url| endpoint(url, "revocation_endpoint")).transpose()?;
        let server = required(self.server.as_deref(), "server")?;
        let identity = self.identity()?;
        let canonical = identity.resource().map_or(server, |resource| resource.as_str());
        Ok(Binding {
            issuer: self.issuer()?,
            client: Client {
                id: required(self.client_id.as_deref(), "client_id")?.to_owned(),
                secret: self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.as_str().to_owned())),
                auth: self.auth()?,
                secret_expires_at: None,
            },
            token_endpoint,
            revocation_endpoint,
            resource: Some(self.resource.as_deref().unwrap_or(canonical).to_owned()),
        })
    }

    /// An issuer identifier is a URL (RFC 8414 section 2).
    fn issuer(&self) -> Result<Issuer, Failure> {
        let issuer = required(self.issuer.as_deref(), "issuer")?;
        if !grant::may_receive_secrets(issuer) {
            return Err(Failure::Usage(
                "the issuer is no https URL (or http on loopback) that stands alone: give the authorization server's \
                 issuer identifier"
                    .to_owned(),
            ));
        }
        Ok(Issuer(issuer.to_owned()))
    }

    fn auth(&self) -> Result<ClientAuth, Failure> {
        let has_secret = self.client_secret.is_some();
        let auth = match self.token_endpoint_auth_method.as_deref() {
            None if has_secret => ClientAuth::Basic,
            None | Some("none") => ClientAuth::None,
            Some("client_secret_basic") => ClientAuth::Basic,
            Some("client_secret_post") => ClientAuth::Post,
            Some(_) => {
                let known = "none, client_secret_basic and client_secret_post";
                return Err(Failure::Usage(format!("the token_endpoint_auth_method is not one of {known}")));
            }
        };
        match (auth, has_secret) {
            (ClientAuth::Basic | ClientAuth::Post, false) => {
                Err(Failure::Usage("the token_endpoint_auth_method needs a client_secret, which is missing".to_owned()))
            }
            _ => Ok(auth),
        }
    }

    /// The access token, unless it is over.
    fn access(&self, now: Moment) -> Result<Option<LoginAccess>, Failure> {
        let Some(token) = &self.access_token else { return Ok(None) };
        let lifetime = match &self.expires_at {
            None => None,
            Some(time) => Some(time.left(now.wall)?),
        };
        if lifetime.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        Ok(Some(LoginAccess {
            token: AccessToken::new(token.as_str().to_owned()),
            kind: TokenKind::Bearer,
            validity: Validity::new(now, lifetime),
        }))
    }
}

impl Time {
    /// From now until then.
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
