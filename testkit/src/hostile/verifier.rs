//! The check of access tokens, for servers other than this one.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::authority::ChainId;
use super::dispatcher::{Dispatcher, Head, bearer};
use super::dpop::Place;
use super::login_server::Endpoint;
use super::reply::Reply;
use super::tally::What;

/// Checks access tokens for a server of the test, which is then a resource of the [`HostileAs`](super::HostileAs) or the
/// [`LoginServer`](super::login_server::LoginServer). Clones share that server.
///
/// ```
/// use tokenkeeper_testkit::hostile::{HostileAs, TokenVerdict};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = HostileAs::start().await?;
/// let verifier = server.verifier();                        // in your server's middleware
/// match verifier.admit(None, "http://127.0.0.1:9/mcp", &[]) {
///     TokenVerdict::Admitted(admission) => assert_eq!(admission.scope, "tools:read tools:call"),
///     TokenVerdict::Refused { status, challenge } => assert_eq!((status, challenge.starts_with("Bearer ")), (401, true)),
/// }
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Each check counts as a request at the protected resource, and its verdict as the answer, with 200 for an admission. Faults
/// and flaws apply to the server's own resource only. After the server is dropped, its verifiers work on.
#[derive(Clone)]
pub struct Verifier(Arc<Dispatcher>);

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// The token is good for the request.
    Admitted(Admission),
    /// The request is refused.
    Refused {
        /// 401, or 403 for a good token without the necessary scopes.
        status: u16,
        /// The value of `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1). It names
        /// `/.well-known/oauth-protected-resource` with the resource's path, at the resource's origin.
        challenge: String,
    },
}

/// A good access token, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// The chain of its grant. `None` for client credentials.
    pub chain: Option<ChainId>,
    /// Its number among the access tokens of its chain. The first has 0, and each refresh issues the next.
    pub ordinal: u32,
    /// Its scopes, separated by spaces.
    pub scope: String,
}

impl Verifier {
    pub(super) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self(dispatcher)
    }

    /// Checks a request with this `Authorization` header at `resource`, which needs `scopes` beside those that a login server
    /// requires for each call.
    ///
    /// The resource is compared byte for byte with that of the grant (RFC 8707), for example of
    /// [`grant_for`](super::HostileAs::grant_for).
    pub fn admit(&self, authorization: Option<&[u8]>, resource: &str, scopes: &[&str]) -> TokenVerdict {
        let (issuer, required) = self.arrive(resource, scopes);
        let presented = authorization.and_then(|value| bearer(std::str::from_utf8(value).ok()?));
        self.noted(judge(&issuer, presented, resource, &required))
    }

    /// Checks a request with this method and these headers at `resource`, as [`admit`](Self::admit) does, and the proof of a
    /// token that is bound to a key (RFC 9449). Returns the headers that its answer has as well, which are those with the nonce
    /// for the next proof and the server's time.
    ///
    /// The server's [rules](super::HostileAs::proof_rules) of proofs hold, and its counts of them.
    pub fn admit_request(
        &self,
        method: &str,
        headers: &HeaderMap,
        resource: &str,
        scopes: &[&str],
    ) -> (TokenVerdict, HeaderMap) {
        let (issuer, required) = self.arrive(resource, scopes);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let head = Head {
            method: method.to_owned(),
            path: String::new(),
            authorization: headers.get(AUTHORIZATION).map(text),
            proofs: headers.get_all("dpop").iter().map(text).collect(),
            content_type: String::new(),
            if_none_match: None,
        };
        let url = resource.split('?').next().unwrap_or_default();
        let proven = issuer.state().proofs.at_resource(&head, url);
        let (verdict, reply) = match proven {
            Ok(presented) => {
                let verdict = judge(&issuer, presented, resource, &required);
                let reply = issuer.state().proofs.complete(Place::Resource, Reply::empty(200));
                (verdict, reply)
            }
            Err(reply) => {
                let challenge = reply.headers.iter().find(|(name, _)| *name == "www-authenticate");
                let challenge = challenge.map(|(_, value)| value.clone()).unwrap_or_default();
                (TokenVerdict::Refused { status: reply.status, challenge }, reply)
            }
        };
        let further = reply.headers.into_iter().filter(|(name, _)| *name != "www-authenticate");
        let further = further
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)));
        (self.noted(verdict), further.collect())
    }

    /// Counts a verdict.
    fn noted(&self, verdict: TokenVerdict) -> TokenVerdict {
        let status = if let TokenVerdict::Refused { status, .. } = verdict { status } else { 200 };
        self.0.note(&mut self.0.state(), What::ResourceAnswer, None, Some(status), |counts| {
            *counts.resource_answers.entry(status).or_default() += 1;
        });
        verdict
    }

    /// Lets clients of a login server ask for tokens of this resource. A [`HostileAs`](super::HostileAs) grants them anyway.
    pub fn add_resource(&self, resource: &str) {
        if let Some(site) = &mut self.0.state().site {
            site.add_resource(resource);
        }
    }

    /// The issuers for the resource's metadata (`authorization_servers`, RFC 9728 section 2).
    pub fn issuers(&self) -> Vec<String> {
        match &self.0.state().site {
            Some(site) => site.listed_issuers(),
            None => vec![self.0.origin.clone()],
        }
    }

    /// Counts a request. Returns the server that knows the tokens, and the scopes that the call needs, with `scopes` among
    /// them.
    fn arrive(&self, resource: &str, scopes: &[&str]) -> (Arc<Dispatcher>, Vec<String>) {
        let mut state = self.0.state();
        let mut required = Vec::new();
        let mut issuer = None;
        if let Some(site) = &mut state.site {
            site.tally.arrived(Endpoint::Resource, split(resource).1);
            required = site.required_scopes().to_vec();
            issuer = site.verifier().0;
        }
        required.extend(scopes.iter().map(|scope| (*scope).to_owned()));
        self.0.note(&mut state, What::ResourceRequest, None, None, |counts| counts.resource_requests += 1);
        (issuer.unwrap_or_else(|| Arc::clone(&self.0)), required)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.0.origin).finish()
    }
}

/// The verdict on a request with this access token at `resource`.
fn judge(issuer: &Dispatcher, presented: Option<&str>, resource: &str, required: &[String]) -> TokenVerdict {
    let admission = presented.and_then(|access| {
        // Never both locks at once, because two servers may have migrated to each other.
        let state = issuer.state();
        let access = state.authority.access_at(access, &[resource.to_owned()], issuer.now(&state))?;
        let (chain, ordinal) = access.origin.unzip();
        Some(Admission { chain, ordinal: ordinal.unwrap_or_default(), scope: access.scope.clone() })
    });
    let Some(admission) = admission else {
        let error = presented.map(|_| "invalid_token");
        return TokenVerdict::Refused { status: 401, challenge: challenge(resource, error, required) };
    };
    let has = |name: &String| admission.scope.split(' ').any(|own| own == name);
    let missing: Vec<String> = required.iter().filter(|name| !has(name)).cloned().collect();
    if missing.is_empty() {
        return TokenVerdict::Admitted(admission);
    }
    TokenVerdict::Refused { status: 403, challenge: challenge(resource, Some("insufficient_scope"), &missing) }
}

/// A challenge. It has an error only if a token was presented (RFC 6750 section 3.1).
fn challenge(resource: &str, error: Option<&str>, scopes: &[String]) -> String {
    let (origin, path) = split(resource);
    let mut challenge = format!("Bearer resource_metadata=\"{origin}/.well-known/oauth-protected-resource{path}\"");
    if let Some(error) = error {
        challenge.push_str(&format!(", error=\"{error}\""));
    }
    if !scopes.is_empty() {
        challenge.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
    }
    challenge
}

/// The origin and the path of a URL, without the query.
fn split(url: &str) -> (&str, &str) {
    let url = url.split('?').next().unwrap_or_default();
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let path = url[start..].find('/').map_or(url.len(), |path| start + path);
    url.split_at(path)
}
