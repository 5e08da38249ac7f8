//! The challenges of an answer, from its `WWW-Authenticate` headers (RFC 9110 section 11.6.1).

mod parse;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, HeaderValue, header};
use tokenkeeper_actors::law::session::ChallengeKey;
use tokenkeeper_actors::values::Scopes;

use super::untrusted::shown;
use parse::{Item, Items};

/// The maximum number of challenges that are read of one answer.
const MAX_CHALLENGES: usize = 16;

/// The maximum number of bytes that are read of the headers of one answer.
const MAX_BYTES: usize = 16 * 1024;

/// The maximum length of a parameter in bytes. A longer one is ignored, because its beginning would be another URL or scope.
const MAX_PARAMETER: usize = 4 * 1024;

/// The maximum number of scopes of a challenge.
const MAX_SCOPES: usize = 256;

/// One challenge of a server, by one authentication scheme (RFC 9110 section 11.3, RFC 6750 section 3, RFC 9728 section
/// 5.1).
///
/// All of it is text that the server chose. `Debug` and `Display` shorten it, and replace characters that might act on a
/// terminal. The accessors return it unchanged.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Challenge {
    scheme: String,
    token: Option<String>,
    realm: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    scope: Option<String>,
    resource_metadata: Option<String>,
    algs: Option<String>,
}

impl Challenge {
    /// Returns the challenges of the `WWW-Authenticate` headers among `headers`, in order. [`read`](Self::read) describes
    /// the rules.
    pub fn parse(headers: &HeaderMap) -> Vec<Self> {
        Self::read(headers.get_all(header::WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes))
    }

    /// Returns the challenges of an answer with these `WWW-Authenticate` headers, in order. Each has its own parameters, also
    /// if several stand in one header. Use it in a client that keeps the header values but no header map.
    ///
    /// Parameters that are not known are ignored (RFC 6750 section 3). If a challenge repeats a parameter, the first
    /// counts. RFC 9110 section 11.2 forbids the repetition. An intermediary adds its text at the end, so it cannot
    /// override the server's. A parameter is ignored if its quotation mark is never closed, or if it is longer than 4 KiB,
    /// because its beginning would be another URL or scope. An unquoted value ends with white space or a comma, so an
    /// unquoted URL is read too. At most 16 challenges and 16 KiB are read.
    pub fn read<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        let mut room = MAX_BYTES;
        for bytes in values {
            if bytes.len() > room {
                break;
            }
            room -= bytes.len();
            // A parameter before the first scheme of a header belongs to no challenge.
            let mut has_scheme = false;
            for item in Items::of(bytes) {
                match item {
                    Item::Scheme(_) if challenges.len() == MAX_CHALLENGES => return challenges,
                    Item::Scheme(scheme) => {
                        has_scheme = true;
                        challenges.push(Self { scheme: lossy(scheme), ..Self::default() });
                    }
                    Item::Token(token) if token.len() <= MAX_PARAMETER => {
                        if let Some(challenge) = challenges.last_mut().filter(|_| has_scheme) {
                            challenge.token.get_or_insert_with(|| lossy(token));
                        }
                    }
                    Item::Parameter(name, value) if value.len() <= MAX_PARAMETER => {
                        let challenge = challenges.last_mut().filter(|_| has_scheme);
                        if let Some(place) = challenge.and_then(|challenge| challenge.place(name)) {
                            place.get_or_insert_with(|| lossy(&value));
                        }
                    }
                    Item::Token(_) | Item::Parameter(..) => {}
                }
            }
        }
        challenges
    }

    /// The challenge to discover with. It is the first that names metadata. If none does, it is the first by which tokens
    /// are presented (`Bearer` or `DPoP`), whose scopes are used. `None` if there is neither.
    pub fn for_discovery(challenges: &[Self]) -> Option<&Self> {
        let with_metadata = challenges.iter().find(|challenge| challenge.resource_metadata.is_some());
        with_metadata.or_else(|| challenges.iter().find(|challenge| challenge.is_for_tokens()))
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<String>> {
        let places = [
            ("realm", &mut self.realm),
            ("error", &mut self.error),
            ("error_description", &mut self.error_description),
            ("scope", &mut self.scope),
            ("resource_metadata", &mut self.resource_metadata),
            ("algs", &mut self.algs),
        ];
        places.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(_, place)| place)
    }

    /// The authentication scheme as the server wrote it. It is compared without regard to case ([`is`](Self::is)).
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether the challenge is of this scheme, for example `Bearer`.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The `token68` of schemes that have one instead of parameters, for example `Negotiate`.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The `realm`.
    pub fn realm(&self) -> Option<&str> {
        self.realm.as_deref()
    }

    /// The `error` code (RFC 6750 section 3.1). The answer to a request without a token has none.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The `error_description`. Untrusted text for a developer. Show it through [`fmt::Display`] of the challenge only.
    pub fn error_description(&self) -> Option<&str> {
        self.error_description.as_deref()
    }

    /// The `scope`, unchanged. [`scopes`](Self::scopes) reads it.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The URL of the resource's metadata (RFC 9728 section 5.1), unchecked.
    pub fn resource_metadata(&self) -> Option<&str> {
        self.resource_metadata.as_deref()
    }

    /// The algorithms of a DPoP challenge, separated by spaces (RFC 9449 section 7.1).
    pub fn algs(&self) -> Option<&str> {
        self.algs.as_deref()
    }

    /// The scopes that the server names for this request, or `None` if it names none. They are authoritative for the
    /// operation. A scope with a character that RFC 6749 section 3.3 forbids is left out.
    pub fn scopes(&self) -> Option<Scopes> {
        let allowed = |scope: &&str| scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        let mut seen = BTreeSet::new();
        let scopes =
            self.scope.as_deref()?.split_ascii_whitespace().filter(allowed).filter(|scope| seen.insert(*scope));
        Some(Scopes::new(scopes.take(MAX_SCOPES))).filter(|scopes| !scopes.is_empty())
    }

    /// Whether the token lacks a scope (`insufficient_scope`, RFC 6750 section 3.1), which a login for more scopes may
    /// remedy. A 403 without this code has another cause, for example a wrong `Origin`.
    pub fn is_insufficient_scope(&self) -> bool {
        self.is_for_tokens() && self.error.as_deref() == Some("insufficient_scope")
    }

    /// Whether the challenge is of a scheme by which access tokens are presented, `Bearer` or `DPoP`.
    pub fn is_for_tokens(&self) -> bool {
        self.is("Bearer") || self.is("DPoP")
    }

    /// A digest of what `challenges` mean: schemes, error codes, scopes, and metadata URLs. Texts and realms do not count,
    /// because some servers put a request's number into them. Digests are comparable within one process only.
    pub fn key(challenges: &[Self]) -> ChallengeKey {
        let mut hasher = DefaultHasher::new();
        for challenge in challenges {
            let scopes: BTreeSet<&str> = challenge.scope.as_deref().unwrap_or("").split_ascii_whitespace().collect();
            let scheme = challenge.scheme.to_ascii_lowercase();
            (scheme, &challenge.error, scopes, &challenge.resource_metadata).hash(&mut hasher);
        }
        ChallengeKey(hasher.finish())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The scheme and its known parameters, shortened and without characters that act on a terminal.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 200;
        f.write_str(&shown(&self.scheme, 32))?;
        let parameters = [
            ("realm", &self.realm),
            ("error", &self.error),
            ("error_description", &self.error_description),
            ("scope", &self.scope),
            ("resource_metadata", &self.resource_metadata),
            ("algs", &self.algs),
        ];
        let mut separator = " ";
        for (name, value) in parameters {
            if let Some(value) = value {
                write!(f, "{separator}{name}=\"{}\"", shown(value, MAX_CHARS))?;
                separator = ", ";
            }
        }
        // The token may be a part of a handshake, which is as secret as a password.
        if self.token.is_some() { f.write_str(" …") } else { Ok(()) }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({self})")
    }
}

#[cfg(test)]
mod tests;
