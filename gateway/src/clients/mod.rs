//! The gateway's clients, those that registered themselves (RFC 7591) and those with a metadata document.
//!
//! Registrations are not stored. The identifier of a registered client is its metadata, signed by the gateway, and its secret
//! is derived from the identifier. So no number of registrations fills the store.

mod admission;
mod document;
mod redirect;
mod registration;

use std::sync::Arc;

use subtle::ConstantTimeEq;
use tokenkeeper::engine::values::WallTime;

use crate::seal::{Seal, Use};

pub(crate) use admission::Barred;
pub use admission::{AdmitClients, AdmitError, ClientFacts, Occasion};
pub(crate) use document::{DocumentError, Documents};
pub(crate) use redirect::{is_loopback, is_on_the_machine};
use registration::Registered;
pub(crate) use registration::{RegistrationError, register};

/// The prefixes of the identifiers and secrets that clients get when they register.
const CLIENT: &str = "tkgd_";
const SECRET: &str = "tkgs_";

/// A client, whichever way it became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// The name that the client gave itself. Any client can give itself any name.
    pub(crate) name: Option<String>,
    pub(crate) redirects: Vec<String>,
    pub(crate) auth: AuthMethod,
    /// Whether it asks for refresh tokens.
    pub(crate) refreshes: bool,
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum AuthMethod {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "client_secret_basic")]
    Basic,
    #[serde(rename = "client_secret_post")]
    Post,
}

/// Why a client is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The gateway has not issued the identifier, and it is no URL.
    NotOurs,
    /// The client's document cannot be used.
    Document(DocumentError),
    /// The host does not admit the client.
    Barred(Barred),
}

impl Client {
    /// Whether the client registered this address.
    pub(crate) fn allows(&self, redirect: &str) -> bool {
        self.redirects.iter().any(|known| redirect::is_same(known, redirect))
    }

    /// Whether these credentials are the client's.
    pub(crate) fn is_authenticated_by(&self, seal: &Seal, method: AuthMethod, secret: Option<&str>) -> bool {
        match (self.auth, secret) {
            (AuthMethod::None, None) => method == AuthMethod::None,
            (AuthMethod::None, Some(_)) | (_, None) => false,
            (wanted, Some(secret)) => {
                let is_right = |right: &str| bool::from(right.as_bytes().ct_eq(secret.as_bytes()));
                wanted == method && registration::secrets(seal, &self.id).any(|right| is_right(&right))
            }
        }
    }
}

/// The clients of a gateway.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) documents: Documents,
    /// Schemes without a dot whose redirect addresses the host accepts
    /// ([`GatewayBuilder::app_scheme`](crate::GatewayBuilder::app_scheme)).
    pub(crate) apps: Vec<String>,
    /// The host's hook. Without one, each client is admitted.
    pub(crate) admission: Option<Arc<dyn AdmitClients>>,
}

impl Clients {
    /// The client with this identifier. If the identifier is a URL, the client's document is fetched.
    pub(crate) async fn find(&self, seal: &Seal, id: &str, now: WallTime) -> Result<Arc<Client>, Unknown> {
        if let Some(text) = id.strip_prefix(CLIENT) {
            let registered: Registered = seal.open(Use::Client, text).ok_or(Unknown::NotOurs)?;
            return Ok(Arc::new(registered.into_client(id)));
        }
        if !is_url(id) {
            return Err(Unknown::NotOurs);
        }
        // If the host refuses the client, its document is not fetched.
        self.judge(&ClientFacts::of_id(id, None), Occasion::Document).await.map_err(Unknown::Barred)?;
        self.documents.client(id, &self.apps, now).await.map_err(Unknown::Document)
    }

    /// Asks the host about a client.
    pub(crate) async fn judge(&self, client: &ClientFacts, occasion: Occasion) -> Result<(), Barred> {
        let Some(admission) = &self.admission else { return Ok(()) };
        match admission.admits(client, occasion).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::info!(client = client.id, ?occasion, "a client was refused");
                Err(Barred::Refused)
            }
            Err(error) => {
                tracing::warn!(client = client.id, ?occasion, "a client could not be judged");
                Err(Barred::Unavailable(error.retry_after))
            }
        }
    }

    /// Asks the host about the client with this identifier. Of a client with a document, the host gets only the identifier and
    /// the redirect address of the request, because the document is not fetched for this.
    pub(crate) async fn judge_id(
        &self,
        seal: &Seal,
        id: &str,
        redirect: Option<&str>,
        occasion: Occasion,
    ) -> Result<(), Barred> {
        if self.admission.is_none() {
            return Ok(());
        }
        let registered = id.strip_prefix(CLIENT).and_then(|text| seal.open::<Registered>(Use::Client, text));
        let facts = match registered {
            Some(known) => (&known.into_client(id)).into(),
            None => ClientFacts::of_id(id, redirect),
        };
        self.judge(&facts, occasion).await
    }

    /// Whether these credentials are those of the client `id`. A client with a document has no secret. Its codes and tokens are
    /// bound to its identifier, so that the document is not needed here, and a document that cannot be fetched ends no family.
    pub(crate) fn authenticates(&self, seal: &Seal, id: &str, method: AuthMethod, secret: Option<&str>) -> bool {
        if is_url(id) {
            return method == AuthMethod::None && secret.is_none() && self.documents.accepts(id);
        }
        let registered = id.strip_prefix(CLIENT).and_then(|text| seal.open::<Registered>(Use::Client, text));
        registered.is_some_and(|registered| registered.into_client(id).is_authenticated_by(seal, method, secret))
    }
}

fn is_url(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}
