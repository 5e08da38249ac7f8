//! The servers that check proofs, with the nonce and the clock of each.

use std::sync::Arc;

use ::http::HeaderMap;
use url::Url;

use super::ClockSkew;

/// The header of a nonce (RFC 9449 section 8.1).
const NONCE: &str = "dpop-nonce";

/// The maximum length of a nonce, in bytes.
const MAX_NONCE: usize = 2 * 1024;

/// The role of a server. An authorization server and a resource at one origin have separate nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Authorization,
    Resource,
}

/// A server in one of its roles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Party {
    role: Role,
    origin: String,
}

/// The facts that are known about a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The latest nonce.
    pub(super) nonce: Option<Nonce>,
    /// The number of nonces that the server has sent.
    pub(super) heard: u64,
    /// The difference between the server's clock and this machine's, if it is large enough for a correction.
    pub(super) skew: Option<ClockSkew>,
    /// This lock is held by the call that asks the server for a nonce, so that one call asks for all.
    pub(super) asking: Arc<tokio::sync::Mutex<()>>,
}

/// A nonce of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(String);

impl Nonce {
    /// The nonce of an answer. `None` if there is none, or if it does not consist of the characters that a nonce may have
    /// (section 8.1).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(NONCE)?.to_str().ok()?.trim();
        let is_one = (1..=MAX_NONCE).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        is_one.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URL of a request, as a proof names it in its claim `htu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HtTarget {
    htu: String,
    /// The length of the origin, with which `htu` begins.
    origin: usize,
}

impl HtTarget {
    /// The target of requests to `url`. `None` if it is no URL with a host, or has a user name.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let mut url = Url::parse(url).ok().filter(Url::has_host)?;
        url.set_query(None);
        url.set_fragment(None);
        let origin = url.origin().ascii_serialization();
        let htu = String::from(url);
        // A URL with a user name does not begin with its origin. No token is sent to such a URL.
        htu.starts_with(&origin).then_some(Self { htu, origin: origin.len() })
    }

    /// The URL without query and fragment (section 4.2), in the form of the URL parser.
    pub(super) fn htu(&self) -> &str {
        &self.htu
    }

    pub(super) fn origin(&self) -> &str {
        &self.htu[..self.origin]
    }

    /// The server of the target, in this role.
    pub(super) fn party(&self, role: Role) -> Party {
        Party { role, origin: self.origin().to_owned() }
    }
}
