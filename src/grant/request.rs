//! Requests to a token or revocation endpoint: parameters and client authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, header};
use serde::Serializer;
use tokenkeeper_actors::values::ClientSecret;
use tokenkeeper_actors::values::record::{Client, ClientAuth};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::endpoint;
use crate::http::Body;

/// The encoding of the parameters in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded` (RFC 6749 section 6).
    #[default]
    Form,
    /// A JSON object of strings (Atlassian).
    Json,
}

/// Builds a request with these parameters, authenticated by the method of `client` only. Returns `None` if that method
/// is not supported or the endpoint may not receive secrets.
pub(crate) fn build<'a>(
    endpoint: &str,
    client: &'a Client,
    mut parameters: Vec<(&'a str, &'a str)>,
    format: BodyFormat,
) -> Option<Request<Body>> {
    let mut authorization = None;
    match (client.auth, &client.secret) {
        (ClientAuth::None, _) => parameters.push(("client_id", &client.id)),
        (ClientAuth::Post, Some(secret)) => {
            parameters.extend([("client_id", client.id.as_str()), ("client_secret", secret.expose())]);
        }
        (ClientAuth::Basic, Some(secret)) => authorization = Some(basic(&client.id, secret)?),
        (ClientAuth::Post | ClientAuth::Basic, None) | (ClientAuth::PrivateKeyJwt, _) => return None,
    }
    let (body, kind) = match format {
        BodyFormat::Form => (form(&parameters), "application/x-www-form-urlencoded"),
        BodyFormat::Json => (json(&parameters)?, "application/json"),
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint::allowed(endpoint)?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    Some(request)
}

/// `client_secret_basic`: both halves form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(id: &str, secret: &ClientSecret) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (id.len() + secret.expose().len()) + 1));
    pair.extend(byte_serialize(id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose().as_bytes()));
    let mut value = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut value);
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn form(parameters: &[(&str, &str)]) -> Body {
    // Reserves room for the whole body. A growing buffer leaves copies behind, even though they are wiped.
    let mut body = Body::with_capacity(parameters.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum());
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            body.extend(b"&");
        }
        byte_serialize(name.as_bytes()).for_each(|piece| body.extend(piece.as_bytes()));
        body.extend(b"=");
        byte_serialize(value.as_bytes()).for_each(|piece| body.extend(piece.as_bytes()));
    }
    body
}

fn json(parameters: &[(&str, &str)]) -> Option<Body> {
    let mut body = Body::with_capacity(
        2 + parameters.iter().map(|(name, value)| 2 * (name.len() + value.len()) + 6).sum::<usize>(),
    );
    serde_json::Serializer::new(&mut body).collect_map(parameters.iter().copied()).ok()?;
    Some(body)
}
