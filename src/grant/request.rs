//! Requests to a token or revocation endpoint: parameters and client authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, header};
use serde::{Deserialize, Serialize, Serializer};
use tokenkeeper_actors::values::record::{Client, ClientAuth};
use tokenkeeper_actors::values::{ClientSecret, WallTime};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::endpoint;
use crate::http::Body;

/// The value of `client_assertion_type` (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The encoding of the parameters in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded` (RFC 6749 section 6).
    #[default]
    Form,
    /// A JSON object of strings (Atlassian).
    Json,
}

/// The server that a request goes to, and the time, for a client that signs its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signing<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) now: WallTime,
}

/// Builds a request with these parameters, authenticated by the method of `client` only. Returns `None` if that method
/// is not supported or the endpoint may not receive secrets.
pub(crate) fn build(
    endpoint: &str,
    client: &Client,
    parameters: Vec<(&str, &str)>,
    format: BodyFormat,
    signing: Signing<'_>,
) -> Option<Request<Body>> {
    let assertion = match client.auth {
        ClientAuth::PrivateKeyJwt => Some(sign(endpoint, client, signing)?),
        ClientAuth::None | ClientAuth::Basic | ClientAuth::Post => None,
    };
    build_with(endpoint, client, parameters, format, assertion.as_ref().map(|assertion| assertion.as_str()))
}

/// Makes a client assertion for one request.
#[cfg(feature = "assertions")]
fn sign(endpoint: &str, client: &Client, Signing { issuer, now }: Signing<'_>) -> Option<Zeroizing<String>> {
    use super::assertion::{ClientKey, Statement};
    let mut id = [0; 16];
    #[expect(clippy::disallowed_methods, reason = "the identifier of an assertion differs in every process")]
    getrandom::fill(&mut id).ok()?;
    let key = ClientKey::open(client.secret.as_ref()?)?;
    let id = u128::from_be_bytes(id);
    key.assertion(&Statement { client_id: &client.id, issuer, token_endpoint: endpoint, now, id })
}

#[cfg(not(feature = "assertions"))]
fn sign(_: &str, _: &Client, Signing { issuer, now }: Signing<'_>) -> Option<Zeroizing<String>> {
    let _of_an_assertion = (issuer, now);
    None
}

/// Builds a request, with a client assertion if there is one.
fn build_with<'a>(
    endpoint: &str,
    client: &'a Client,
    mut parameters: Vec<(&'a str, &'a str)>,
    format: BodyFormat,
    assertion: Option<&'a str>,
) -> Option<Request<Body>> {
    let mut authorization = None;
    match (client.auth, &client.secret) {
        // A grant without a client, such as the assertion of a workload (RFC 7521 section 4.1).
        (ClientAuth::None, _) if client.id.is_empty() => {}
        (ClientAuth::None, _) => parameters.push(("client_id", &client.id)),
        (ClientAuth::Post, Some(secret)) => {
            parameters.extend([("client_id", client.id.as_str()), ("client_secret", secret.expose())]);
        }
        (ClientAuth::Basic, Some(secret)) => authorization = Some(basic(&client.id, secret)?),
        (ClientAuth::PrivateKeyJwt, _) => {
            parameters.push(("client_assertion_type", ASSERTION_TYPE));
            parameters.push(("client_assertion", assertion?));
        }
        (ClientAuth::Post | ClientAuth::Basic, None) => return None,
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
pub(super) fn basic(id: &str, secret: &ClientSecret) -> Option<HeaderValue> {
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
    // Reserves room for the whole body, because a growing buffer would copy the secrets.
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

pub(super) fn json(parameters: &[(&str, &str)]) -> Option<Body> {
    let mut body = Body::with_capacity(
        2 + parameters.iter().map(|(name, value)| 2 * (name.len() + value.len()) + 6).sum::<usize>(),
    );
    serde_json::Serializer::new(&mut body).collect_map(parameters.iter().copied()).ok()?;
    Some(body)
}
