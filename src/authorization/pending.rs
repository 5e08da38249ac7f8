//! The data of a prompt that waits for a person's answer, which the store encrypts (seals). Any process that shares the
//! store can complete the login with it.

use std::time::Duration;

use crate::http::Reach;
use crate::issuers::{auth_method_name as word, auth_method_of as auth};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use tokenkeeper_actors::values::issuer::IssuerKey;
use tokenkeeper_actors::values::record::{Binding, Client, Issuer};
use tokenkeeper_actors::values::{DpopKey, LoginOffer, LoginUrl, OfferedPrompt, Scopes, WallTime};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The version of the stored form of a login without a key. A login of a version other than this one and
/// [`VERSION_WITH_KEY`] is not completed, and the person signs in again.
const VERSION: u32 = 1;

/// The version of a login whose tokens are to be bound to a key. An older program, which knows nothing of keys, must not
/// complete it.
const VERSION_WITH_KEY: u32 = 2;

/// Everything that completes a login. `Debug` shows no secret.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct PendingAuthorization {
    version: u32,
    /// The issuer, recorded before the person was sent away (RFC 9207 section 2.4).
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) resource: Option<String>,
    reach: String,
    pub(super) requested: Vec<String>,
    client: SealedClient,
    /// The key of the client's stored registration.
    registration: Option<String>,
    pub(super) way: Way,
    /// The key that the tokens are to be bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof_key: Option<String>,
}

/// The way in which the person is asked.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) enum Way {
    /// An authorization page.
    Browser {
        url: String,
        state: String,
        verifier: String,
        redirect_uri: String,
        /// Whether the issuer names itself in its answers.
        names_issuer: bool,
        /// The digest of the browser's secret, if the answer is to come in that browser.
        browser: Option<[u8; 32]>,
    },
    /// A code that the person enters on another device (RFC 8628).
    Device { device_code: String, user_code: String, page: String, complete: Option<String>, interval: u64 },
}

/// The client of a pending login, in its stored form.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct SealedClient {
    id: String,
    secret: Option<String>,
    auth: String,
    secret_expires_at: Option<u64>,
}

/// The contents of a [`PendingAuthorization`], before they are turned into strings.
pub(super) struct Parts<'a> {
    pub(super) binding: Binding,
    pub(super) reach: Reach,
    pub(super) requested: &'a Scopes,
    pub(super) registration: Option<&'a IssuerKey>,
    pub(super) way: Way,
    pub(super) proof_key: Option<DpopKey>,
}

impl PendingAuthorization {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let Parts { binding, reach, requested, registration, way, proof_key } = parts;
        let Client { id, secret, auth, secret_expires_at } = binding.client;
        Self {
            version: if proof_key.is_some() { VERSION_WITH_KEY } else { VERSION },
            issuer: binding.issuer.0,
            token_endpoint: binding.token_endpoint,
            revocation_endpoint: binding.revocation_endpoint,
            resource: binding.resource,
            reach: name_of(reach).to_owned(),
            requested: requested.iter().map(str::to_owned).collect(),
            client: SealedClient {
                id,
                secret: secret.map(|secret| secret.expose().to_owned()),
                auth: word(auth).to_owned(),
                secret_expires_at: secret_expires_at.map(WallTime::as_millis),
            },
            registration: registration.map(IssuerKey::key),
            way,
            proof_key: proof_key.map(|key| key.expose().to_owned()),
        }
    }

    /// The form that the store seals.
    pub(super) fn seal(&self) -> Option<SecretSlice<u8>> {
        serde_json::to_vec(self).ok().map(SecretSlice::from)
    }

    /// Reads the form that the store had sealed. Returns `None` for a form of another version.
    pub(super) fn open(sealed: &SecretSlice<u8>) -> Option<Self> {
        let pending: Self = serde_json::from_slice(sealed.expose_secret()).ok()?;
        let version = if pending.proof_key.is_some() { VERSION_WITH_KEY } else { VERSION };
        (pending.version == version && auth(&pending.client.auth).is_some()).then_some(pending)
    }

    /// The binding of the grant that this login brings.
    pub(super) fn binding(&self) -> Binding {
        Binding {
            issuer: Issuer(self.issuer.clone()),
            client: self.client(),
            token_endpoint: self.token_endpoint.clone(),
            revocation_endpoint: self.revocation_endpoint.clone(),
            resource: self.resource.clone(),
        }
    }

    pub(super) fn client(&self) -> Client {
        Client {
            id: self.client.id.clone(),
            secret: self.client.secret.as_deref().map(|secret| secret.to_owned().into()),
            auth: auth(&self.client.auth).unwrap_or_default(),
            secret_expires_at: self.client.secret_expires_at.map(WallTime::from_millis),
        }
    }

    /// The key that the tokens are to be bound to.
    pub(super) fn proof_key(&self) -> Option<DpopKey> {
        self.proof_key.as_deref().map(DpopKey::new)
    }

    /// The addresses that the requests may connect to.
    pub(super) fn reach(&self) -> Reach {
        reach_of(&self.reach)
    }

    /// The scopes that were asked for.
    pub(super) fn requested(&self) -> Scopes {
        Scopes::new(self.requested.iter().map(String::as_str))
    }

    /// The key of the client's stored registration, if it has one.
    pub(super) fn registration(&self) -> Option<IssuerKey> {
        IssuerKey::from_key(self.registration.as_deref()?).ok()
    }

    /// The request to show.
    pub(super) fn offer(&self, expires: WallTime) -> LoginOffer {
        let prompt = match &self.way {
            Way::Browser { url, .. } => OfferedPrompt::Browser { url: LoginUrl::new(url.clone()) },
            Way::Device { user_code, page, complete, interval, .. } => OfferedPrompt::Device {
                url: LoginUrl::new(page.clone()),
                complete: complete.clone().map(LoginUrl::new),
                user_code: user_code.clone(),
                interval: Duration::from_secs(*interval),
            },
        };
        LoginOffer { prompt, expires }
    }
}

impl std::fmt::Debug for PendingAuthorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingAuthorization").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn name_of(reach: Reach) -> &'static str {
    match reach {
        Reach::Any => "any",
        Reach::Public => "public",
        Reach::PublicOrLoopback => "public or loopback",
    }
}

/// The reach with this name. An unknown name means the narrowest reach.
fn reach_of(name: &str) -> Reach {
    let all = [Reach::Any, Reach::PublicOrLoopback];
    all.into_iter().find(|reach| name_of(*reach) == name).unwrap_or(Reach::Public)
}
