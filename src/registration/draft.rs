//! The request to register a client, and the requests that follow after refusals.

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokenkeeper_actors::values::issuer::ApplicationType;
use tokenkeeper_actors::values::record::ClientAuth;

use super::answer::Refusal;
use super::clients::{DynamicClient, OUR_METHODS};
use super::redirect::{Purpose, other_form};
use crate::issuers::auth_method_name;

/// The maximum number of registration requests in one login, refused ones included.
pub(super) const MAX_REQUESTS: usize = 3;

/// The grant type of a device login (RFC 8628 section 3.4).
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// One request of a registration (RFC 7591 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    settings: DynamicClient,
    purpose: Purpose,
    redirect: Option<String>,
    auth: ClientAuth,
    application_type: ApplicationType,
    has_optional: bool,
    is_other_form: bool,
}

impl Draft {
    /// The first request of a login with this redirect address.
    pub(super) fn new(settings: DynamicClient, purpose: Purpose, redirect: Option<String>, auth: ClientAuth) -> Self {
        let application_type = purpose.application_type();
        Self { settings, purpose, redirect, auth, application_type, has_optional: true, is_other_form: false }
    }

    /// The redirect address that is asked for.
    pub(super) fn redirect(&self) -> Option<&str> {
        self.redirect.as_deref()
    }

    /// The authentication method that is asked for.
    pub(super) fn auth(&self) -> ClientAuth {
        self.auth
    }

    /// The application type that is asked for.
    pub(super) fn application_type(&self) -> ApplicationType {
        self.application_type
    }

    /// The grant type without which the client is of no use.
    pub(super) fn grant_type(&self) -> &'static str {
        match self.purpose {
            Purpose::Loopback | Purpose::Hosted => "authorization_code",
            Purpose::Device => DEVICE,
        }
    }

    /// The body of the request, or `None` if it cannot be built.
    pub(super) fn body(&self) -> Option<Vec<u8>> {
        let redirect_uris: Vec<&str> = self.redirect.iter().map(String::as_str).collect();
        serde_json::to_vec(&self.metadata(&redirect_uris, auth_method_name(self.auth))).ok()
    }

    /// A digest of the settings and the purpose. It leaves out the redirect address, which is compared separately, and the
    /// method, which follows from the server's metadata.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(serde_json::to_vec(&self.metadata(&[], "")).unwrap_or_default()).into()
    }

    /// The next request after `refusal`, which asks for less or for other things (RFC 7591 section 3.2.2), or `None` if
    /// nothing else is worth asking for. It always has an application type.
    pub(super) fn after(&self, refusal: &Refusal) -> Option<Self> {
        if !(400..500).contains(&refusal.status) {
            return None;
        }
        match refusal.error.as_deref()? {
            // Some servers register loopback addresses by name only, and some by literal only.
            "invalid_redirect_uri" if !self.is_other_form => {
                let redirect = Some(other_form(self.redirect.as_deref()?)?);
                Some(Self { redirect, is_other_form: true, ..self.clone() })
            }
            "invalid_client_metadata" if self.has_optional && self.settings != self.bare() => {
                Some(Self { settings: self.bare(), has_optional: false, ..self.clone() })
            }
            "invalid_client_metadata" if self.application_type == self.purpose.application_type() => {
                let application_type = match self.application_type {
                    ApplicationType::Native => ApplicationType::Web,
                    ApplicationType::Web => ApplicationType::Native,
                };
                Some(Self { application_type, ..self.clone() })
            }
            _ => None,
        }
    }

    /// The settings without their optional members.
    fn bare(&self) -> DynamicClient {
        DynamicClient::named(self.settings.client_name.clone())
    }

    fn metadata<'a>(&'a self, redirect_uris: &'a [&'a str], auth: &'static str) -> Metadata<'a> {
        Metadata {
            client_name: &self.settings.client_name,
            application_type: match self.application_type {
                ApplicationType::Native => "native",
                ApplicationType::Web => "web",
            },
            redirect_uris,
            grant_types: [self.grant_type(), "refresh_token"],
            // A device login has no authorization response. If the member were absent, it would mean `code`.
            response_types: if self.purpose == Purpose::Device { &[] } else { &["code"] },
            token_endpoint_auth_method: auth,
            client_uri: self.settings.client_uri.as_deref(),
            scope: self.settings.scope.as_ref().map(|scopes| scopes.iter().collect::<Vec<_>>().join(" ")),
            software_id: self.settings.software_id.as_deref(),
            software_version: self.settings.software_version.as_deref(),
        }
    }
}

/// The method to register with, which is the first of [`OUR_METHODS`] that the server lists. A server without a list
/// supports `client_secret_basic` (RFC 8414 section 2).
pub(super) fn method(listed: Option<&[String]>) -> Option<ClientAuth> {
    let Some(listed) = listed else { return Some(ClientAuth::Basic) };
    OUR_METHODS.into_iter().find(|method| listed.iter().any(|word| word == auth_method_name(*method)))
}

#[derive(Serialize)]
struct Metadata<'a> {
    client_name: &'a str,
    application_type: &'static str,
    redirect_uris: &'a [&'a str],
    grant_types: [&'static str; 2],
    response_types: &'static [&'static str],
    token_endpoint_auth_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_version: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Scopes;

    const LOOPBACK: &str = "http://127.0.0.1:5000/callback";

    fn full() -> DynamicClient {
        DynamicClient::named("Our Host")
            .client_uri("https://host.example.com")
            .scope(Scopes::new(["a", "b"]))
            .software_id("our-host")
            .software_version("1.2")
    }

    fn loopback(settings: DynamicClient) -> Draft {
        Draft::new(settings, Purpose::Loopback, Some(LOOPBACK.to_owned()), ClientAuth::None)
    }

    fn sent(draft: &Draft) -> Value {
        serde_json::from_slice(&draft.body().unwrap()).unwrap()
    }

    fn refusal(error: &str) -> Refusal {
        Refusal { status: 400, error: Some(error.to_owned()), description: None }
    }

    #[test]
    fn a_request_states_type_grants_and_method() {
        let native = json!({
            "client_name": "tokenkeeper",
            "application_type": "native",
            "redirect_uris": [LOOPBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        assert_eq!(sent(&loopback(DynamicClient::default())), native);

        let hosted = "https://host.example.com/callback".to_owned();
        let web = sent(&Draft::new(full(), Purpose::Hosted, Some(hosted), ClientAuth::Basic));
        assert_eq!(web["application_type"], "web");
        assert_eq!(web["redirect_uris"], json!(["https://host.example.com/callback"]));
        assert_eq!(web["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!((&web["client_name"], &web["client_uri"]), (&json!("Our Host"), &json!("https://host.example.com")));
        assert_eq!(
            (&web["scope"], &web["software_id"], &web["software_version"]),
            (&json!("a b"), &json!("our-host"), &json!("1.2"))
        );

        let device = sent(&Draft::new(DynamicClient::default(), Purpose::Device, None, ClientAuth::Post));
        assert_eq!(device["grant_types"], json!([DEVICE, "refresh_token"]));
        assert_eq!((&device["response_types"], &device["redirect_uris"]), (&json!([]), &json!([])));
        assert_eq!(
            (&device["application_type"], &device["token_endpoint_auth_method"]),
            (&json!("native"), &json!("client_secret_post"))
        );
    }

    #[test]
    fn the_method_is_one_that_both_sides_know() {
        let listed = |words: &[&str]| method(Some(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()));
        assert_eq!(listed(&["client_secret_post", "client_secret_basic", "none"]), Some(ClientAuth::None));
        assert_eq!(listed(&["private_key_jwt", "client_secret_post", "client_secret_basic"]), Some(ClientAuth::Basic));
        assert_eq!(listed(&["private_key_jwt", "client_secret_post"]), Some(ClientAuth::Post));
        assert_eq!(listed(&["private_key_jwt", "tls_client_auth"]), None);
        assert_eq!(listed(&[]), None);
        assert_eq!(method(None), Some(ClientAuth::Basic));
    }

    #[test]
    fn a_refused_address_is_asked_for_in_its_other_form_once() {
        let first = loopback(DynamicClient::default());
        let second = first.after(&refusal("invalid_redirect_uri")).unwrap();
        assert_eq!(sent(&second)["redirect_uris"], json!(["http://localhost:5000/callback"]));
        assert_eq!(second.redirect(), Some("http://localhost:5000/callback"));
        assert_eq!(second.after(&refusal("invalid_redirect_uri")), None);
        let hosted = Some("https://host.example.com/callback".to_owned());
        let hosted = Draft::new(full(), Purpose::Hosted, hosted, ClientAuth::None);
        assert_eq!(hosted.after(&refusal("invalid_redirect_uri")), None);
        let device = Draft::new(full(), Purpose::Device, None, ClientAuth::None);
        assert_eq!(device.after(&refusal("invalid_redirect_uri")), None);
    }

    #[test]
    fn refused_metadata_is_asked_for_with_less_and_then_with_the_other_type() {
        let second = loopback(full()).after(&refusal("invalid_client_metadata")).unwrap();
        let mut less = sent(&loopback(DynamicClient::named("Our Host")));
        assert_eq!(sent(&second), less);
        let third = second.after(&refusal("invalid_client_metadata")).unwrap();
        less["application_type"] = json!("web");
        assert_eq!(sent(&third), less);
        assert_eq!(third.after(&refusal("invalid_client_metadata")), None);
        // The default settings have no optional members to leave out, so the application type is changed at once.
        let second = loopback(DynamicClient::default()).after(&refusal("invalid_client_metadata")).unwrap();
        assert_eq!(sent(&second)["application_type"], "web");
        for other in ["invalid_software_statement", "unapproved_software_statement", "access_denied"] {
            assert_eq!(loopback(full()).after(&refusal(other)), None, "{other}");
        }
        assert_eq!(loopback(full()).after(&Refusal { status: 403, error: None, description: None }), None);
    }

    #[test]
    fn the_digest_is_that_of_the_settings_and_the_purpose() {
        let digest = loopback(full()).digest();
        let other_port = Draft { redirect: Some("http://127.0.0.1:6000/callback".into()), ..loopback(full()) };
        let other_method = Draft { auth: ClientAuth::Post, ..loopback(full()) };
        assert_eq!([other_port.digest(), other_method.digest()], [digest, digest]);
        let changes = [
            DynamicClient::named("Other"),
            full().client_uri("https://other.example.com"),
            full().scope(Scopes::new(["a"])),
            full().software_id("other"),
            full().software_version("1.3"),
            DynamicClient { scope: None, ..full() },
        ];
        for changed in changes {
            assert_ne!(loopback(changed.clone()).digest(), digest, "{changed:?}");
        }
        assert_ne!(Draft { purpose: Purpose::Hosted, ..loopback(full()) }.application_type(), ApplicationType::Web);
        assert_ne!(Draft::new(full(), Purpose::Device, None, ClientAuth::None).digest(), digest);
    }
}
