//! The object that `tokenkeeper import` reads.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::{AccessToken, Account, Login, LoginError, RefreshToken, ServerIdentity, Target, grant};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{when, who};

/// The maximum remaining lifetime of an access token. A longer one shows that the time was given in milliseconds, because
/// such a number, read as seconds, is tens of thousands of years ahead.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A login as the input describes it. Every member is optional here, so that the error can name a missing one. An empty
/// text counts as missing.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    pub(super) server: Option<String>,
    pub(super) account: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Zeroizing<String>>,
    pub(super) client_secret_expires_at: Option<Time>,
    pub(super) token_endpoint_auth_method: Option<String>,
    pub(super) resource: Option<Resource>,
    pub(super) scope: Option<Scope>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) expires_at: Option<Time>,
    /// Whether the MCP server has named the authorization server. The input has no such member.
    #[serde(skip)]
    pub(super) is_server_named: bool,
}

/// A time, as a number (seconds since 1970) or as text (RFC 3339, or such a number).
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Time {
    Seconds(serde_json::Number),
    Text(String),
}

/// The resource of token requests, or whether requests name one at all.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Resource {
    Url(String),
    IsSent(bool),
}

/// Scopes, as one text or as a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Scope {
    Text(String),
    List(Vec<String>),
}

impl Bundle {
    /// Parses the object. The errors repeat no value, because it may be a secret.
    pub(super) fn read(input: &[u8]) -> Result<Self, Failure> {
        if input.starts_with(b"\xff\xfe") || input.starts_with(b"\xfe\xff") {
            return Err(Failure::Usage("standard input is UTF-16: write it as UTF-8".to_owned()));
        }
        // Editors and shells of Windows write a byte order mark.
        let json = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
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
        let account = present(self.account.as_deref()).unwrap_or(Account::default().as_str()).to_owned();
        who::identity(required(self.server.as_deref(), "server")?, &account)
    }

    /// The login, with the profile of the named provider if there is one.
    pub(super) fn login(&self, provider: Option<&str>, never_replay: bool, now: WallTime) -> Result<Login, Failure> {
        let mut login = Login::at(self.issuer_settings(provider, never_replay)?).granted(self.scopes());
        let (refresh, access) = (self.refresh_token()?, self.access(now)?);
        match (&refresh, &access) {
            (None, None) if present_secret(&self.access_token).is_some() => {
                return Err(Failure::Usage(
                    "the access token has expired, and there is no refresh token to renew it with".to_owned(),
                ));
            }
            (None, None) => return Err(Failure::Usage(LoginError::NoToken.to_string())),
            _ => {}
        }
        if let Some(token) = refresh {
            login = login.refresh_token(token);
        }
        if let Some((token, expires)) = access {
            login = login.access_token(token, expires.map(|expires| expires.since(now)));
        }
        Ok(login)
    }

    /// Whether the login has a refresh token.
    pub(super) fn is_renewable(&self) -> bool {
        present_secret(&self.refresh_token).is_some()
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

    /// The time at which the access token expires. `None` if that is unknown, or if there is no access token that is still
    /// valid.
    pub(super) fn expires_at(&self, now: WallTime) -> Result<Option<WallTime>, Failure> {
        Ok(self.access(now)?.and_then(|(_, expires)| expires))
    }

    fn issuer_settings(&self, provider: Option<&str>, never_replay: bool) -> Result<IssuerSettings, Failure> {
        let token_endpoint = endpoint(required(self.token_endpoint.as_deref(), "token_endpoint")?, "token_endpoint")?;
        let usage = |error: LoginError| Failure::Usage(error.to_string());
        let mut issuer = IssuerSettings::new(self.issuer()?, token_endpoint, self.client()?).map_err(usage)?;
        if let Some(url) = present(self.revocation_endpoint.as_deref()) {
            issuer = issuer.revocation_endpoint(endpoint(url, "revocation_endpoint")?).map_err(usage)?;
        }
        match &self.resource {
            Some(Resource::Url(url)) if !url.is_empty() => issuer = issuer.resource(url),
            Some(Resource::IsSent(false)) => issuer = issuer.without_resource(),
            _ => {}
        }
        if matches!(self.identity()?.target(), Target::Idp { .. }) {
            if present_secret(&self.access_token).is_some() {
                let told = "the session at an identity provider has an ID token and no access token: leave access_token \
                            out, and the first use brings the ID token";
                return Err(Failure::Usage(told.to_owned()));
            }
            issuer = issuer.identity_provider();
        }
        if let Some(provider) = provider {
            issuer = issuer.provider(provider).map_err(usage)?;
        }
        let issuer = if self.is_server_named { issuer.server_named() } else { issuer };
        Ok(if never_replay { issuer.never_replay() } else { issuer })
    }

    fn scopes(&self) -> Vec<&str> {
        match &self.scope {
            None => Vec::new(),
            Some(Scope::Text(text)) => grant::split_scopes(text).collect(),
            Some(Scope::List(list)) => list.iter().flat_map(|text| grant::split_scopes(text)).collect(),
        }
    }

    fn client(&self) -> Result<Client, Failure> {
        let client = self.client_without_expiry()?;
        match &self.client_secret_expires_at {
            // Zero means that the secret does not expire (RFC 7591 section 3.2.1).
            Some(time) if !time.is_absent() => {
                let at = time.read("client_secret_expires_at")?.as_millis();
                Ok(if at == 0 { client } else { client.secret_expires_at(UNIX_EPOCH + Duration::from_millis(at)) })
            }
            _ => Ok(client),
        }
    }

    fn client_without_expiry(&self) -> Result<Client, Failure> {
        let id = required(self.client_id.as_deref(), "client_id")?;
        let secret = present_secret(&self.client_secret);
        if [Some(id), secret].into_iter().flatten().any(|text| text.contains(char::is_control)) {
            return Err(Failure::Usage(
                "the client_id or the client_secret contains a line end or another control character: remove it"
                    .to_owned(),
            ));
        }
        match (present(self.token_endpoint_auth_method.as_deref()), secret) {
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

    /// The refresh token, if the login has one.
    pub(super) fn refresh_token(&self) -> Result<Option<RefreshToken>, Failure> {
        let token = present_secret(&self.refresh_token).map(RefreshToken::new);
        well_formed(token, "refresh token", RefreshToken::is_well_formed)
    }

    /// The access token with its expiry, unless it has expired.
    fn access(&self, now: WallTime) -> Result<Option<(AccessToken, Option<WallTime>)>, Failure> {
        let token = present_secret(&self.access_token).map(AccessToken::new);
        let Some(token) = well_formed(token, "access token", AccessToken::is_well_formed)? else { return Ok(None) };
        let Some(time) = self.expires_at.as_ref().filter(|time| !time.is_absent()) else {
            return Ok(Some((token, None)));
        };
        let left = time.left(now)?;
        Ok(if left.is_zero() { None } else { Some((token, Some(now.after(left)))) })
    }
}

fn well_formed<T>(token: Option<T>, member: &'static str, is: fn(&T) -> bool) -> Result<Option<T>, Failure> {
    match token {
        Some(token) if !is(&token) => Err(Failure::Usage(LoginError::MalformedToken { member }.to_string())),
        token => Ok(token),
    }
}

impl Time {
    /// The time from now until the access token expires.
    fn left(&self, now: WallTime) -> Result<Duration, Failure> {
        let hint = match self {
            Self::Seconds(_) => "a number counts the seconds since 1970",
            Self::Text(_) => "leave it out where the token has no end",
        };
        match self.read("expires_at")?.since(now) {
            left if left > MAX_LIFETIME => {
                Err(Failure::Usage(format!("expires_at is more than ten years ahead: {hint}")))
            }
            left => Ok(left),
        }
    }

    /// The time that the member `name` states.
    fn read(&self, name: &str) -> Result<WallTime, Failure> {
        let read = match self {
            Self::Seconds(number) => when::read(&number.to_string()),
            Self::Text(text) => when::read(text),
        };
        let wrong = || format!("{name} is neither RFC 3339 (2026-01-31T12:00:00Z) nor seconds since 1970");
        read.ok_or_else(|| Failure::Usage(wrong()))
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, Failure> {
    let missing = || Failure::Usage(format!("the member {name:?} is missing: see tokenkeeper import --help"));
    present(value).ok_or_else(missing)
}

fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn present_secret(value: &Option<Zeroizing<String>>) -> Option<&str> {
    present(value.as_ref().map(|value| value.as_str()))
}

fn endpoint(url: &str, name: &str) -> Result<String, Failure> {
    if grant::may_receive_secrets(url) {
        Ok(url.to_owned())
    } else {
        Err(Failure::Usage(format!("the {name} is no https URL (or http on loopback): secrets are not sent there")))
    }
}
