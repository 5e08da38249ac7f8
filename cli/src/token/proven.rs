//! The headers of a request whose token is bound to a key (DPoP, RFC 9449).

use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use tokenkeeper::{AuthSession, CallError, Next, OperationKey};

use crate::failure::Failure;

/// The header with a nonce (section 8.1).
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The challenge of a server that wants a nonce (section 9).
const WANTS_NONCE: &str = "DPoP error=\"use_dpop_nonce\"";

/// The headers of one request with this method to the server of `session`, whose token is bound. `nonce` is the nonce of the
/// server's challenge, if the person gives one.
pub(super) async fn headers(session: &AuthSession, method: &Method, nonce: Option<&str>) -> Result<Value, Failure> {
    let server = session.identity().resource();
    let server = server.ok_or_else(|| Failure::Usage("the session is with no MCP server".to_owned()))?;
    let to = session.destination(server.as_str()).map_err(|error| Failure::Usage(error.to_string()))?;
    let refused = |error: CallError| Failure::Refused(error.to_string());
    let mut call = session.call(OperationKey::of("token"));
    let mut authorization = call.authorize(&to, method).await.map_err(refused)?;
    if let Some(nonce) = nonce {
        // The characters that a nonce may have (RFC 9449 section 8.1).
        let is_one = nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) && !nonce.is_empty();
        let nonce = HeaderValue::from_str(nonce).ok().filter(|_| is_one);
        let nonce = nonce.ok_or_else(|| Failure::Usage("--dpop-nonce: no server sends such a nonce".to_owned()))?;
        let challenge = [(NONCE, nonce), (WWW_AUTHENTICATE, HeaderValue::from_static(WANTS_NONCE))];
        let challenge: HeaderMap = challenge.into_iter().collect();
        if call.next(StatusCode::UNAUTHORIZED, &challenge).await.map_err(refused)? == Next::Again {
            authorization = call.authorize(&to, method).await.map_err(refused)?;
        }
    }
    let mut headers = HeaderMap::new();
    if let Some(authorization) = authorization {
        authorization.apply(&mut headers);
    }
    let text = |name: &str| headers.get(name)?.to_str().ok().map(|value| Value::from(value.to_owned()));
    let shown = [("Authorization", text("authorization")), ("DPoP", text("dpop"))];
    let shown: Map<_, _> = shown.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(shown.into())
}
