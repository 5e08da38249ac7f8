//! The revocation of tokens (RFC 7009), and the forms of it that some providers have instead.

use std::time::Duration;

use http::{HeaderValue, Method, Request, header};
use serde::Deserialize;
use tokenkeeper_actors::law::flight::Revocation;
use tokenkeeper_actors::ports::source::NotRevoked;
use tokenkeeper_actors::values::record::{Binding, Client};
use tokenkeeper_actors::values::{AccessToken, ServerIdentity};
use zeroize::Zeroizing;

use super::request::{self, Signing, basic};
use super::{BodyFormat, RefreshGrant, endpoint};
use crate::http::{Body, DEFAULT_ANSWER_MOST, Departure, Exchange, HttpError, decode};
use crate::issuers::RevocationForm;

/// The time-out of a revocation. A logout waits for a shorter time, and the request goes on after that.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The error codes of an answer which show that the token is no longer valid. Nothing is left to revoke then.
const DEAD_WORDS: [&str; 3] = ["token_revoked", "token_expired", "account_inactive"];

impl RefreshGrant {
    /// Revokes the refresh token. The server then also ends the access tokens of that grant (section 2.1). An access token without
    /// a refresh token is revoked itself. Some providers revoke access tokens alone, in a form of their own.
    pub(super) async fn revoke_tokens(
        &self,
        identity: &ServerIdentity,
        revocation: Revocation,
    ) -> Result<(), NotRevoked> {
        let Revocation { binding, renewal, refresh, access } = revocation;
        if refresh.is_none() && access.is_none() {
            return Ok(());
        }
        let endpoint = binding.revocation_endpoint.as_ref().ok_or(NotRevoked::NotOffered)?;
        let form = self.providers.revocation(renewal.provider.as_ref());
        let request = match (form, &refresh, &access) {
            (RevocationForm::Standard, Some(refresh), _) => {
                let format = self.providers.dialect(renewal.provider.as_ref()).body;
                self.standard(endpoint, &binding, refresh.token().expose(), "refresh_token", format)
            }
            (RevocationForm::Standard, None, Some(access)) => {
                let format = self.providers.dialect(renewal.provider.as_ref()).body;
                self.standard(endpoint, &binding, access.expose(), "access_token", format)
            }
            (RevocationForm::Bearer, _, Some(access)) => bearer(endpoint, access),
            // Such a request needs the client's secret.
            (RevocationForm::DeleteToken, _, _) if binding.client.secret.is_none() => {
                return Err(NotRevoked::NotOffered);
            }
            (RevocationForm::DeleteToken, _, Some(access)) => delete(endpoint, &binding.client, access),
            // The access token has expired, and the provider revokes no refresh tokens.
            (_, _, None) => return Err(NotRevoked::NotOffered),
        };
        let exchange = Exchange {
            request: request.ok_or(NotRevoked::Failed)?,
            timeout: REVOCATION_TIMEOUT,
            max_answer: DEFAULT_ANSWER_MOST,
            departure: Departure::at_any_time(),
            reach: self.reach_of(&renewal, identity),
        };
        let answer = self.http.send(exchange).await.and_then(|answer| {
            let decoded = decode(answer, DEFAULT_ANSWER_MOST);
            decoded.map_err(HttpError::MaybeSent)
        });
        match answer {
            Ok(answer)
                if answer.status().is_success() && !(form == RevocationForm::Bearer && refuses(answer.body())) =>
            {
                match (form, refresh) {
                    (RevocationForm::Bearer | RevocationForm::DeleteToken, Some(_)) => {
                        Err(NotRevoked::AccessTokenAlone)
                    }
                    _ => Ok(()),
                }
            }
            // The server does not revoke tokens of this type (RFC 7009 section 2.2.1).
            Ok(answer) if is_unsupported(answer.body()) => Err(NotRevoked::NotOffered),
            _ => Err(NotRevoked::Failed),
        }
    }

    fn standard(
        &self,
        endpoint: &str,
        binding: &Binding,
        token: &str,
        hint: &str,
        format: BodyFormat,
    ) -> Option<Request<Body>> {
        let parameters = vec![("token", token), ("token_type_hint", hint)];
        let signing = Signing { issuer: &binding.issuer.0, now: self.clock.now().wall };
        request::build(endpoint, &binding.client, parameters, format, signing)
    }
}

/// The request of the form [`Bearer`](RevocationForm::Bearer), in which the access token authenticates its own revocation.
fn bearer(endpoint: &str, access: &AccessToken) -> Option<Request<Body>> {
    let mut request = plain(Method::POST, endpoint, Body::default())?;
    let value = Zeroizing::new(["Bearer ", access.expose()].concat());
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    Some(request)
}

/// The request of the form [`DeleteToken`](RevocationForm::DeleteToken). The client authenticates it, and the token is in a
/// JSON body.
fn delete(endpoint: &str, client: &Client, access: &AccessToken) -> Option<Request<Body>> {
    // A provider with this form issues no client identifier that would need an escape in a path.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if client.id.is_empty() || client.id.starts_with('.') || !client.id.bytes().all(is_plain) {
        return None;
    }
    let body = request::json(&[("access_token", access.expose())])?;
    let endpoint = [endpoint.trim_end_matches('/'), "/", &client.id, "/token"].concat();
    let mut request = plain(Method::DELETE, &endpoint, body)?;
    request.headers_mut().insert(header::AUTHORIZATION, basic(&client.id, client.secret.as_ref()?)?);
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(request)
}

fn plain(method: Method, endpoint: &str, body: Body) -> Option<Request<Body>> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = endpoint::allowed(endpoint)?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(request)
}

/// Whether the body of a successful answer to a [`bearer`] request reports a refusal. A body without `ok` counts as a
/// refusal.
fn refuses(body: &Body) -> bool {
    #[derive(Deserialize)]
    struct Answer<'a> {
        ok: bool,
        error: Option<&'a str>,
        revoked: Option<bool>,
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body.as_bytes()) else { return true };
    match (answer.ok, answer.error) {
        (true, _) => answer.revoked == Some(false),
        (false, error) => !error.is_some_and(|word| DEAD_WORDS.contains(&word)),
    }
}

/// Whether the server revokes no tokens of this type.
fn is_unsupported(body: &Body) -> bool {
    #[derive(Deserialize)]
    struct Refusal<'a> {
        error: &'a str,
    }
    serde_json::from_slice::<Refusal<'_>>(body.as_bytes())
        .is_ok_and(|refusal| refusal.error == "unsupported_token_type")
}
