//! The check of access tokens, for servers other than this one.

use std::fmt;
use std::sync::Arc;

use super::authority::ChainId;
use super::dispatcher::{Dispatcher, bearer};
use super::login_server::Endpoint;
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
        let (issuer, mut required) = self.arrive(resource);
        required.extend(scopes.iter().map(|scope| (*scope).to_owned()));
        let presented = authorization.and_then(|value| bearer(std::str::from_utf8(value).ok()?));
        let admission = presented.and_then(|access| {
            // Never both locks at once, because two servers may have migrated to each other.
            let state = issuer.state();
            let access = state.authority.access_at(access, &[resource.to_owned()], issuer.now(&state))?;
            let (chain, ordinal) = access.origin.unzip();
            Some(Admission { chain, ordinal: ordinal.unwrap_or_default(), scope: access.scope.clone() })
        });
        let verdict = match admission {
            None => {
                let error = presented.map(|_| "invalid_token");
                TokenVerdict::Refused { status: 401, challenge: challenge(resource, error, &required) }
            }
            Some(admission) => {
                let has = |name: &String| admission.scope.split(' ').any(|own| own == name);
                let missing: Vec<String> = required.iter().filter(|name| !has(name)).cloned().collect();
                if missing.is_empty() {
                    TokenVerdict::Admitted(admission)
                } else {
                    let challenge = challenge(resource, Some("insufficient_scope"), &missing);
                    TokenVerdict::Refused { status: 403, challenge }
                }
            }
        };
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

    /// Counts a request. Returns the server that knows the tokens, and the scopes that each call needs.
    fn arrive(&self, resource: &str) -> (Arc<Dispatcher>, Vec<String>) {
        let mut state = self.0.state();
        let mut required = Vec::new();
        let mut issuer = None;
        if let Some(site) = &mut state.site {
            site.tally.arrived(Endpoint::Resource, split(resource).1);
            required = site.required_scopes().to_vec();
            issuer = site.verifier().0;
        }
        self.0.note(&mut state, What::ResourceRequest, None, None, |counts| counts.resource_requests += 1);
        (issuer.unwrap_or_else(|| Arc::clone(&self.0)), required)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.0.origin).finish()
    }
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
