//! Dynamic client registration (RFC 7591).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenkeeper::engine::values::WallTime;

use super::{AuthMethod, CLIENT, Client, SECRET, redirect};
use crate::seal::{NoRandomness, Seal, Use, draw};
use crate::text::plain_name;

/// The maximum number of redirect addresses of one client. They are a part of its identifier, and so of URLs.
const MAX_REDIRECTS: usize = 8;

/// The maximum length of all redirect addresses of one client in bytes.
const MAX_REDIRECT_BYTES: usize = 640;

/// The content of a registered client's identifier.
#[derive(Serialize, Deserialize)]
pub(super) struct Registered {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "r")]
    redirects: Vec<String>,
    #[serde(rename = "a")]
    auth: AuthMethod,
    #[serde(rename = "f")]
    refreshes: bool,
    /// When it was registered, in seconds of wall time.
    #[serde(rename = "t")]
    at: u64,
    /// A random number, by which two registrations with the same metadata are two clients.
    #[serde(rename = "x")]
    nonce: u64,
}

impl Registered {
    /// The client that has the identifier `id` with this content.
    pub(super) fn into_client(self, id: &str) -> Client {
        let Self { name, redirects, auth, refreshes, .. } = self;
        Client { id: id.to_owned(), name, redirects, auth, refreshes }
    }
}

/// The secrets of a registered client, one for each key of the gateway, in the order of the keys.
pub(super) fn secrets(seal: &Seal, id: &str) -> impl Iterator<Item = String> {
    let digests = seal.digests(Use::ClientSecret, &[id]).collect::<Vec<_>>();
    digests.into_iter().map(|digest| [SECRET, &URL_SAFE_NO_PAD.encode(digest)].concat())
}

/// Why a registration was refused (RFC 7591 section 3.2.2).
#[derive(Debug)]
pub(crate) enum RegistrationError {
    /// A redirect address cannot be used.
    Redirect,
    /// Other metadata cannot be used.
    Metadata(&'static str),
    /// The operating system gives no randomness, so that nothing can be issued.
    NoRandomness(NoRandomness),
}

/// The members of a registration request that the gateway uses.
#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    client_name: Option<String>,
}

/// Registers the client that `body` describes. Returns the JSON of the answer, and the client. `apps` are schemes of redirect
/// addresses that are accepted too. Nothing is stored, so that a client which the host refuses afterwards leaves nothing
/// behind.
pub(crate) fn register(
    seal: &Seal,
    apps: &[String],
    body: &[u8],
    now: WallTime,
) -> Result<(Value, Client), RegistrationError> {
    let not_json = RegistrationError::Metadata("the body is not a JSON object with client metadata (RFC 7591)");
    let request: Request = serde_json::from_slice(body).map_err(|_| not_json)?;
    let Request { redirect_uris: redirects, client_name, .. } = request;
    let length: usize = redirects.iter().map(String::len).sum();
    if redirects.is_empty() || redirects.len() > MAX_REDIRECTS || length > MAX_REDIRECT_BYTES {
        return Err(RegistrationError::Redirect);
    }
    if !redirects.iter().all(|redirect| redirect::is_acceptable(redirect, apps)) {
        return Err(RegistrationError::Redirect);
    }
    let auth = match request.token_endpoint_auth_method.as_deref() {
        None | Some("client_secret_basic") => AuthMethod::Basic,
        Some("client_secret_post") => AuthMethod::Post,
        Some("none") => AuthMethod::None,
        Some(_) => return Err(RegistrationError::Metadata("token_endpoint_auth_method is not one of the metadata's")),
    };
    let grants = request.grant_types.as_deref();
    if grants.is_some_and(|grants| !grants.iter().any(|grant| grant == "authorization_code")) {
        return Err(RegistrationError::Metadata(
            "grant_types lacks authorization_code, which is the only way to a token",
        ));
    }
    // Clients that do not list grant types use refresh tokens. Without one, the person would sign in again every few minutes.
    let refreshes = grants.is_none_or(|grants| grants.iter().any(|grant| grant == "refresh_token"));
    if request.response_types.is_some_and(|types| !types.iter().any(|kind| kind == "code")) {
        return Err(RegistrationError::Metadata("response_types lacks code"));
    }
    let name = client_name.as_deref().and_then(plain_name);
    let nonce = u64::from_le_bytes(draw().map_err(RegistrationError::NoRandomness)?);
    let at = now.as_millis() / 1000;
    let registered = Registered { name, redirects, auth, refreshes, at, nonce };
    let id = [CLIENT, &seal.seal(Use::Client, &registered)].concat();
    let mut answer = json!({
        "client_id": id,
        "client_id_issued_at": at,
        "redirect_uris": registered.redirects,
        "token_endpoint_auth_method": auth,
        "grant_types": if refreshes { vec!["authorization_code", "refresh_token"] } else { vec!["authorization_code"] },
        "response_types": ["code"],
    });
    if let Some(name) = &registered.name {
        answer["client_name"] = Value::String(name.clone());
    }
    if auth != AuthMethod::None {
        answer["client_secret"] = secrets(seal, &id).next().map_or(Value::Null, Value::String);
        answer["client_secret_expires_at"] = Value::from(0);
    }
    Ok((answer, registered.into_client(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::GatewayKey;

    fn seal(key: u8) -> Seal {
        Seal::new(GatewayKey::new([key; 32]), Vec::new())
    }

    fn registered(body: &Value) -> Value {
        register(&seal(1), &[], body.to_string().as_bytes(), WallTime::from_millis(5000)).unwrap().0
    }

    fn client(seal: &Seal, id: &str) -> Option<Client> {
        let registered: Registered = seal.open(Use::Client, id.strip_prefix(CLIENT)?)?;
        Some(registered.into_client(id))
    }

    #[test]
    fn a_client_is_its_identifier() {
        let answer = registered(&json!({
            "redirect_uris": ["http://127.0.0.1/callback"],
            "client_name": "Our\u{202e} Host\n",
            "token_endpoint_auth_method": "none",
        }));
        assert_eq!(answer["client_id_issued_at"], 5);
        assert!(answer.get("client_secret").is_none());
        let id = answer["client_id"].as_str().unwrap();
        let found = client(&seal(1), id).unwrap();
        assert_eq!(found.name.as_deref(), Some("Our Host"));
        assert!(found.refreshes && found.allows("http://127.0.0.1:99/callback"));
        assert_eq!(client(&seal(2), id), None, "another gateway's client");
    }

    #[test]
    fn a_secret_belongs_to_one_client_and_its_method() {
        let metadata =
            json!({ "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "client_secret_post" });
        let (one, other) = (registered(&metadata), registered(&metadata));
        assert_ne!(one["client_id"], other["client_id"]);
        let (id, secret) = (one["client_id"].as_str().unwrap(), one["client_secret"].as_str());
        let found = client(&seal(1), id).unwrap();
        assert!(found.is_authenticated_by(&seal(1), AuthMethod::Post, secret));
        assert!(!found.is_authenticated_by(&seal(1), AuthMethod::Basic, secret));
        assert!(!found.is_authenticated_by(&seal(1), AuthMethod::Post, other["client_secret"].as_str()));
        assert!(!found.is_authenticated_by(&seal(1), AuthMethod::None, None));
    }

    #[test]
    fn a_registration_that_cannot_be_kept_is_refused() {
        let refused = |body: &str| register(&seal(1), &[], body.as_bytes(), WallTime::from_millis(0)).is_err();
        for body in [
            "",
            "[]",
            "{}",
            r#"{"redirect_uris":[]}"#,
            r#"{"redirect_uris":["javascript:alert(1)"]}"#,
            r#"{"redirect_uris":["https://a.example","http://evil.example"]}"#,
            &format!(r#"{{"redirect_uris":[{}]}}"#, [r#""https://a""#; MAX_REDIRECTS + 1].join(",")),
            r#"{"redirect_uris":["https://a"],"token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"redirect_uris":["https://a"],"grant_types":["client_credentials"]}"#,
            r#"{"redirect_uris":["https://a"],"response_types":["token"]}"#,
        ] {
            assert!(refused(body), "{body}");
        }
    }
}
