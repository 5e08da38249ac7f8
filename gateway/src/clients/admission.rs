//! The hook by which the host admits or refuses clients.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::Client;

/// Admits clients, or refuses them. It is for a host that has a list of clients, or blocks some.
///
/// A gateway asks the host at each [`Occasion`], so that a client that is refused from now on gets no further code and no
/// further tokens. Its access tokens end with their lifetime, and its refresh tokens are refused for as long as the client is,
/// but not removed. Object safe.
#[async_trait]
pub trait AdmitClients: fmt::Debug + Send + Sync + 'static {
    /// Returns whether the client may go on.
    ///
    /// Any client can give itself any name. A host that admits only some clients should therefore judge by the hosts in
    /// identifiers and redirect addresses, which only their owners can use.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] if the host cannot decide now. The client is asked to try again later.
    async fn admits(&self, client: &ClientFacts, occasion: Occasion) -> Result<bool, AdmitError>;
}

/// A client, as far as the gateway knows it on the occasion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientFacts {
    /// The identifier. For a client with a metadata document, it is the document's URL. A client that registers gets a new one.
    pub id: String,
    /// The name that the client gave itself, without characters that mislead. `None` if it gave none, or if the document is not
    /// at hand.
    pub name: Option<String>,
    /// The redirect addresses. If the document is not at hand, only the address of the present request, or none.
    pub redirects: Vec<String>,
}

/// The occasion on which a client is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Occasion {
    /// The client registers itself (RFC 7591).
    Registration,
    /// The client's metadata document is needed, and is fetched if it is not at hand.
    Document,
    /// A sign-in begins.
    Authorization,
    /// A code is issued. The person may have allowed the client long ago.
    Code,
    /// The client presents a code or a refresh token.
    Tokens,
}

/// Clients cannot be judged now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("clients cannot be judged now: check the list that the host keeps")]
#[non_exhaustive]
pub struct AdmitError {
    /// The time after which trying again makes sense. Default: two seconds.
    pub retry_after: Option<Duration>,
}

impl AdmitError {
    /// Trouble that passes, perhaps after this time.
    pub fn new(retry_after: Option<Duration>) -> Self {
        Self { retry_after }
    }
}

/// Why a client cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// The host refuses the client.
    Refused,
    /// The host cannot decide now. Trying again may make sense after this time.
    Unavailable(Option<Duration>),
}

impl ClientFacts {
    /// A client whose document is not at hand.
    pub(super) fn of_id(id: &str, redirect: Option<&str>) -> Self {
        Self { id: id.to_owned(), name: None, redirects: redirect.map(str::to_owned).into_iter().collect() }
    }
}

impl From<&Client> for ClientFacts {
    fn from(client: &Client) -> Self {
        let Client { id, name, redirects, .. } = client;
        Self { id: id.clone(), name: name.clone(), redirects: redirects.clone() }
    }
}
