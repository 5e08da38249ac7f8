//! A token request in its wire format (RFC 6749 section 3.2).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::parse;
use tokenkeeper_actors::values::record::ClientAuth;

/// The parameters of a request to the token or revocation endpoint. No `Debug`, because it holds secrets.
#[derive(Default)]
pub(super) struct Form {
    pub(super) client: Credentials,
    pub(super) grant_type: Option<String>,
    pub(super) refresh_token: Option<String>,
    /// The token to revoke (RFC 7009 section 2.1).
    pub(super) token: Option<String>,
    pub(super) scope: Option<String>,
    /// RFC 8707. The only parameter that may be repeated.
    pub(super) resources: Vec<String>,
    /// All other parameters.
    pub(super) others: BTreeMap<String, String>,
}

/// The client's credentials in the request.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: Option<String>,
    pub(super) method: ClientAuth,
}

/// An unreadable request, which is answered with `invalid_request`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Form {
    /// Reads a request from its `Content-Type`, `Authorization` and body.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not a form, repeats a parameter, or authenticates in two ways.
    pub(super) fn read(content_type: &str, authorization: Option<&str>, body: &[u8]) -> Result<Self, Malformed> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Malformed);
        }
        let mut form = Self::default();
        let (mut id, mut secret) = (None, None);
        for (name, value) in parse(body) {
            let place = match &*name {
                "grant_type" => &mut form.grant_type,
                "refresh_token" => &mut form.refresh_token,
                "token" => &mut form.token,
                "scope" => &mut form.scope,
                "client_id" => &mut id,
                "client_secret" => &mut secret,
                "resource" => {
                    form.resources.push(value.into_owned());
                    continue;
                }
                other => {
                    if form.others.insert(other.to_owned(), value.into_owned()).is_some() {
                        return Err(Malformed);
                    }
                    continue;
                }
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Malformed);
            }
        }
        form.client = match (authorization, id, secret) {
            (Some(_), _, Some(_)) => return Err(Malformed),
            (Some(header), id, None) => basic(header, id.as_deref()).ok_or(Malformed)?,
            (None, id, Some(secret)) => {
                Credentials { id: id.unwrap_or_default(), secret: Some(secret), method: ClientAuth::Post }
            }
            (None, id, None) => Credentials { id: id.unwrap_or_default(), secret: None, method: ClientAuth::None },
        };
        Ok(form)
    }
}

/// HTTP Basic (RFC 6749 section 2.3.1). Both halves are form-encoded before they are joined. A `client_id` beside them
/// must agree.
fn basic(header: &str, id: Option<&str>) -> Option<Credentials> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let (user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    let credentials = Credentials { id: plain(user), secret: Some(plain(password)), method: ClientAuth::Basic };
    let agrees = id.is_none_or(|id| id == credentials.id);
    (scheme.eq_ignore_ascii_case("basic") && agrees).then_some(credentials)
}

fn plain(encoded: &str) -> String {
    // A form with one name and no value decodes to that name. A proper name has its separators escaped.
    parse(encoded.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn read(authorization: Option<&str>, body: &str) -> Result<Form, Malformed> {
        Form::read(FORM, authorization, body.as_bytes())
    }

    #[test]
    fn a_public_client_names_itself_in_the_body() {
        let form =
            read(None, "grant_type=refresh_token&refresh_token=a%2Bb&client_id=c&resource=x&resource=y").unwrap();
        assert_eq!(form.grant_type.as_deref(), Some("refresh_token"));
        assert_eq!(form.refresh_token.as_deref(), Some("a+b"));
        assert_eq!(form.resources, ["x", "y"]);
        assert_eq!(read(None, "code=a%2Bb").unwrap().others["code"], "a+b");
        assert_eq!((&*form.client.id, form.client.secret, form.client.method), ("c", None, ClientAuth::None));
    }

    #[test]
    fn a_secret_comes_in_the_body_or_in_the_header() {
        let post = read(None, "client_id=c&client_secret=s%26").unwrap().client;
        assert_eq!((&*post.id, post.secret.as_deref(), post.method), ("c", Some("s&"), ClientAuth::Post));
        // "c%3A:s%26+t"
        let basic = read(Some("basic YyUzQTpzJTI2K3Q="), "").unwrap().client;
        assert_eq!((&*basic.id, basic.secret.as_deref(), basic.method), ("c:", Some("s& t"), ClientAuth::Basic));
    }

    #[test]
    fn what_is_ambiguous_is_malformed() {
        let basic = Some("Basic YzpzCg==");
        assert!(read(None, "scope=a&scope=b").is_err());
        assert!(read(None, "code=a&code=b").is_err());
        assert!(read(basic, "client_secret=s").is_err());
        assert!(read(basic, "client_id=other").is_err());
        assert!(read(Some("Bearer x"), "").is_err());
        assert!(Form::read("application/json", None, b"{}").is_err());
        assert!(Form::read("Application/X-WWW-Form-Urlencoded ; charset=utf-8", None, b"").is_ok());
    }
}
