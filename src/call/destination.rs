//! The URLs that a session's tokens may be sent to (law 13).

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::proof::HtTarget;
use crate::{AuthSession, ResourceUri, ServerIdentity, Target};

/// A URL that a session's tokens may be sent to. [`AuthSession::destination`] has checked its origin and path.
///
/// Cheap to clone. It belongs to the identity whose session made it. [`Call::authorize`](crate::Call::authorize) takes only a
/// destination, so a token never goes to an unchecked URL (law 13). The check parses two URLs, so a host keeps the destination
/// for as long as it uses the URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    identity: ServerIdentity,
    url: String,
    /// The URL as proofs of possession name it. `None` if they cannot name it.
    target: Option<HtTarget>,
}

/// The reason why a request may not carry a session's token. Nothing was sent.
///
/// The error names the session's own server, and no part of the given URL, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misdirected {
    /// The session's target is neither an MCP server nor a provider's API with URLs, so it has no URL that requests go to.
    #[error(
        "the session is with no MCP server and no known API, so there is no URL that its tokens may be sent to: give the \
         provider's row its URLs (`api`)"
    )]
    NoServer,
    /// The URL is neither one of the URLs of the API of the session's provider, nor plainly below one.
    #[error(
        "the request goes to no URL of the API of {provider}, and its tokens go nowhere else: add the URL to the provider's \
         row (`api`) if it is one"
    )]
    OtherApi {
        /// The provider.
        provider: String,
    },
    /// The text is no absolute URL.
    #[error("the request's URL is no absolute URL: take the one of the MCP server")]
    NoUrl,
    /// The URL has another scheme, host or port.
    #[error(
        "the request goes to another origin than {}: its tokens are for this server alone, so open a session of the other one",
        server.as_str()
    )]
    OtherOrigin {
        /// The session's server.
        server: ResourceUri,
    },
    /// The path is neither the server's nor below it, or some servers would resolve it to a path outside, or the URL has a
    /// user name.
    #[error(
        "the request's path is neither that of {} nor plainly below it: its tokens are for this path alone",
        server.as_str()
    )]
    OtherPath {
        /// The session's server.
        server: ResourceUri,
    },
    /// The destination was made by the session of another identity.
    #[error("the destination belongs to another session: take one of the session that the call was begun on")]
    OtherSession,
}

impl AuthSession {
    /// Checks that `url` is the session's MCP server or below it ([`ResourceUri::covers`]), or a URL of the API of the
    /// session's provider or below one, and returns it as a destination of the session's calls. A host makes this check once
    /// for a URL, and keeps the destination.
    ///
    /// # Errors
    ///
    /// [`Misdirected`], which states the part of the URL that differs from the server's.
    pub fn destination(&self, url: &str) -> Result<Destination, Misdirected> {
        let to_url = || {
            let (identity, target) = (self.identity().clone(), HtTarget::of(url));
            Destination(Arc::new(Inner { identity, url: url.to_owned(), target }))
        };
        if let Target::Api { provider } = self.identity().target() {
            let facts = self.oauth.as_ref().and_then(|oauth| oauth.providers.named(provider.as_str()));
            let urls =
                facts.map(|facts| facts.api.as_slice()).filter(|urls| !urls.is_empty()).ok_or(Misdirected::NoServer)?;
            let covers = |of: &String| ResourceUri::parse(of).is_ok_and(|of| of.covers(url));
            return match urls.iter().any(covers) {
                true => Ok(to_url()),
                false if Url::parse(url).is_err() => Err(Misdirected::NoUrl),
                false => Err(Misdirected::OtherApi { provider: provider.as_str().to_owned() }),
            };
        }
        let server = self.identity().resource().ok_or(Misdirected::NoServer)?;
        if server.covers(url) {
            return Ok(to_url());
        }
        let (Ok(wanted), Ok(ours)) = (Url::parse(url), Url::parse(server.as_str())) else {
            return Err(Misdirected::NoUrl);
        };
        let server = server.clone();
        if wanted.origin() == ours.origin() {
            Err(Misdirected::OtherPath { server })
        } else {
            Err(Misdirected::OtherOrigin { server })
        }
    }
}

impl Destination {
    /// An endpoint that is not the session's server but accepts its tokens, such as a userinfo endpoint. The caller has checked
    /// that the issuer's metadata or the host names it.
    pub(crate) fn elsewhere(identity: ServerIdentity, url: String) -> Self {
        let target = HtTarget::of(&url);
        Self(Arc::new(Inner { identity, url, target }))
    }

    /// The URL as it was given. The request goes to exactly this one.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The identity whose tokens may be sent to this URL.
    pub fn identity(&self) -> &ServerIdentity {
        &self.0.identity
    }

    pub(super) fn target(&self) -> Option<&HtTarget> {
        self.0.target.as_ref()
    }

    #[inline]
    pub(super) fn belongs_to(&self, identity: &ServerIdentity) -> bool {
        self.0.identity == *identity
    }
}

/// `Debug` shows only the identity, because the query may hold secrets.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_server_and_nothing_of_the_url() {
        let server = ResourceUri::parse("https://a.example/mcp").unwrap();
        for error in [
            Misdirected::NoServer,
            Misdirected::NoUrl,
            Misdirected::OtherOrigin { server: server.clone() },
            Misdirected::OtherPath { server },
            Misdirected::OtherSession,
            Misdirected::OtherApi { provider: "github".to_owned() },
        ] {
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(
                error.to_string().contains("https://a.example/mcp"),
                error.to_string().contains("tokens are for")
            );
        }
    }
}
