//! A hostile authorization server and an MCP resource that it protects, on loopback in the test's own process.
//!
//! It is *strict*. Refresh tokens are single-use, and a replayed one ends its whole chain. It is *hostile*. On demand
//! it produces any failure between a client and a server, before the refresh token is spent or after. And it *counts*
//! every request that arrives, processed or not.
//!
//! ```
//! use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let server = HostileAs::start().await?;
//! let grant = server.grant();                     // as a login returns it
//! server.next(When::After, Fault::reset());       // spends the refresh token and loses the answer
//!
//! // Let the client under test refresh `grant.refresh_token` at `grant.binding.token_endpoint` here.
//!
//! let counts = server.counts();
//! assert!(counts.token_requests <= 1, "a refresh token that may be spent was presented again");
//! assert_eq!(counts.replays, 0);
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | path | purpose |
//! |---|---|
//! | `POST /token` | the token endpoint: `refresh_token`, `client_credentials` |
//! | `POST /revoke` | the revocation endpoint (RFC 7009) |
//! | `POST /mcp`, and below it | protected resources, each with tokens of its own: 200 to a live access token, else 401 with a challenge |
//! | `/.well-known/…` | metadata (RFC 8414, RFC 9728) |
//! | `/elsewhere` | where [`Fault::redirect`] leads |
//!
//! It speaks HTTP/1.1 and, where a client begins with its preface ("prior knowledge"), HTTP/2, on one port, without TLS.
//!
//! # Without sleeps
//!
//! [`HostileAs::until`] waits for counts, a [`Gate`] holds requests until the test releases them, and
//! [`HostileAs::advance`] expires access tokens at once.

mod authority;
pub(crate) mod clock;
mod dispatcher;
mod dpop;
mod fault;
mod form;
mod gate;
mod http1;
mod http2;
mod listener;
pub mod login_server;
mod reply;
mod rules;
mod script;
mod socket;
mod tally;
mod verifier;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer};
use tokenkeeper_actors::values::{AccessToken, RefreshToken};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use authority::TokenId;
use dispatcher::Dispatcher;
use login_server::Site;
use script::Step;

pub use authority::ChainId;
pub use dpop::{ProofCounts, ProofRules};
pub use fault::{Fault, RetryAfter, When};
pub use gate::Gate;
pub use rules::{Announced, Rotation, Rules};
pub use tally::{Counts, Event, Snapshot, What};
pub use verifier::{Admission, TokenVerdict, Verifier};

/// The connections that may wait to be accepted. Beyond it the kernel drops them, and a client that believes itself connected
/// gets a reset. Thousands of callers in several processes connect at once.
const BACKLOG: u32 = 4096;

/// The default scopes of a grant.
const SCOPE: &str = "tools:read tools:call";

/// The server. It listens on its own port on 127.0.0.1. Dropping it aborts its tasks and closes all its connections, as
/// soon as the runtime gets to it.
///
/// Its methods may be called at any time and from any thread. Their changes apply to later requests.
pub struct HostileAs {
    address: SocketAddr,
    dispatcher: Arc<Dispatcher>,
    public: Client,
    /// The listener's task, which owns all others.
    _tasks: JoinSet<()>,
}

/// A first grant, as a login returns it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its chain, as named in the timeline.
    pub chain: ChainId,
    /// Issuer, client, endpoints and resource.
    pub binding: Binding,
    /// The scopes granted, separated by spaces.
    pub scope: String,
    /// The refresh token with ordinal 0.
    pub refresh_token: RefreshToken,
    /// The access token.
    pub access_token: AccessToken,
    /// The lifetime of the access token.
    pub lifetime: Duration,
}

impl HostileAs {
    /// Starts a server with the default [`Rules`] on the current runtime, which needs I/O and time enabled.
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Rules::default()).await
    }

    /// Starts a server with these rules. See [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If no port on 127.0.0.1 is available.
    pub async fn start_with(rules: Rules) -> io::Result<Self> {
        Self::start_at("127.0.0.1", rules, |_| None).await
    }

    /// Starts a server whose URLs have this host, with endpoints for logins if there is a site at its origin.
    async fn start_at(host: &str, rules: Rules, site: impl FnOnce(&str) -> Option<Site>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        // Concurrent servers have different ports, and so no token in common.
        let origin = format!("http://{host}:{}", address.port());
        let site = site(&origin);
        let dispatcher = Arc::new(Dispatcher::new(origin, rules, u64::from(address.port()), site));
        let public = dispatcher.state().authority.register(ClientAuth::None);
        let mut tasks = JoinSet::new();
        clock::start(&mut tasks, listener::listen(listener, Arc::clone(&dispatcher)));
        Ok(Self { address, dispatcher, public, _tasks: tasks })
    }

    // --- addresses ---------------------------------------------------------------------------------------------------

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its issuer identifier, `http://127.0.0.1:…` without a trailing slash.
    pub fn issuer(&self) -> &str {
        &self.dispatcher.origin
    }

    /// The token endpoint.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.dispatcher.origin)
    }

    /// The revocation endpoint.
    pub fn revocation_endpoint(&self) -> String {
        format!("{}/revoke", self.dispatcher.origin)
    }

    /// The protected resource `…/mcp`, which is also its `resource` parameter.
    pub fn resource(&self) -> String {
        format!("{}/mcp", self.dispatcher.origin)
    }

    /// A handle that checks access tokens for another server of the test, for example one of your own.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(Arc::clone(&self.dispatcher))
    }

    // --- clients and grants ------------------------------------------------------------------------------------------

    /// Registers a client with this authentication method only. A [`ClientAuth::PrivateKeyJwt`] client can be
    /// registered but never authenticates, because this server reads no assertions.
    pub fn register(&self, auth: ClientAuth) -> Client {
        self.dispatcher.state().authority.register(auth)
    }

    /// Removes a client, as servers do that prune their registrations. Its requests are answered `invalid_client` from
    /// now on. Its chains stay alive, but no client can use them.
    pub fn unregister(&self, client: &Client) {
        self.dispatcher.state().authority.unregister(&client.id);
    }

    /// A first grant to the server's public client for its [`resource`](Self::resource).
    pub fn grant(&self) -> Grant {
        self.grant_to(&self.public)
    }

    /// A first grant to `client` for the server's [`resource`](Self::resource).
    pub fn grant_to(&self, client: &Client) -> Grant {
        self.grant_for(client, &self.resource(), SCOPE)
    }

    /// A first grant to `client` for any resource and scopes. This server only serves `…/mcp` and paths below it.
    pub fn grant_for(&self, client: &Client, resource: &str, scope: &str) -> Grant {
        let mut state = self.dispatcher.state();
        let now = self.dispatcher.now(&state);
        let (token_id, issued) = state.authority.grant(&client.id, resource, scope, now);
        self.dispatcher.note(&mut state, What::Granted, Some(token_id), None, |_| {});
        self.dispatcher.count_chains(&state);
        Grant {
            chain: token_id.chain,
            binding: Binding {
                issuer: Issuer(self.dispatcher.origin.clone()),
                client: client.clone(),
                token_endpoint: self.token_endpoint(),
                revocation_endpoint: Some(self.revocation_endpoint()),
                resource: Some(resource.to_owned()),
            },
            scope: issued.scope,
            refresh_token: RefreshToken::new(issued.refresh.unwrap_or_default()),
            access_token: AccessToken::new(issued.access),
            lifetime: state.authority.rules.access_lifetime,
        }
    }

    /// Ends a chain with its refresh tokens and access tokens, as if the user had withdrawn consent.
    pub fn revoke(&self, chain: ChainId) {
        let mut state = self.dispatcher.state();
        if state.authority.end(chain) {
            let token_id = state.authority.newest(chain).map(|(_, ordinal)| TokenId { chain, ordinal });
            self.dispatcher.note(&mut state, What::ChainRevoked, token_id, None, |_| {});
            self.dispatcher.count_chains(&state);
        }
    }

    /// Whether a chain is alive.
    pub fn is_alive(&self, chain: ChainId) -> bool {
        self.dispatcher.state().authority.newest(chain).is_some_and(|(alive, _)| alive)
    }

    /// The ordinal of a chain's newest refresh token, which is the number of its refreshes.
    pub fn newest(&self, chain: ChainId) -> u32 {
        self.dispatcher.state().authority.newest(chain).map_or(0, |(_, ordinal)| ordinal)
    }

    /// Kills all access tokens issued so far. Refresh tokens stay alive.
    pub fn kill_access_tokens(&self) {
        self.dispatcher.state().authority.kill_access_tokens();
    }

    // --- behaviour ---------------------------------------------------------------------------------------------------

    /// Changes the rules.
    pub fn rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.dispatcher.state().authority.rules);
    }

    /// Changes the rules of proofs of possession. Tokens that were issued earlier keep their keys.
    #[cfg(feature = "dpop")]
    pub fn proof_rules(&self, change: impl FnOnce(&mut ProofRules)) {
        change(&mut self.dispatcher.state().proofs.rules);
    }

    /// Replaces the nonces of both places.
    #[cfg(feature = "dpop")]
    pub fn renew_nonces(&self) {
        self.dispatcher.state().proofs.renew_nonces();
    }

    /// The counts of proofs so far.
    pub fn proof_counts(&self) -> ProofCounts {
        self.dispatcher.state().proofs.counts.clone()
    }

    /// Advances the server's clock by `time`, which ages access tokens and grace periods at once. The timeline's clock
    /// is unaffected.
    pub fn advance(&self, time: Duration) {
        let mut state = self.dispatcher.state();
        state.ahead = state.ahead.saturating_add(time);
    }

    /// Injects a fault into the next token request that has none queued yet.
    ///
    /// A request takes its fault when it has been read completely.
    pub fn next(&self, when: When, fault: Fault) {
        self.next_n(1, when, fault);
    }

    /// Like [`next`](Self::next), for the next `times` token requests.
    pub fn next_n(&self, times: usize, when: When, fault: Fault) {
        self.dispatcher.state().token.push(times, &Step { when, fault });
    }

    /// Injects this fault into every token request that has none queued, until [`calm`](Self::calm).
    pub fn always(&self, when: When, fault: Fault) {
        self.in_turn([(when, fault)]);
    }

    /// Injects these faults into the token requests that have none queued, one after another and again from the first one,
    /// until [`calm`](Self::calm). [`Fault::pass`] lets a request pass.
    pub fn in_turn(&self, faults: impl IntoIterator<Item = (When, Fault)>) {
        let steps = faults.into_iter().map(|(when, fault)| Step { when, fault }).collect();
        self.dispatcher.state().token.set_in_turn(steps);
    }

    /// Injects this fault into the next `times` requests at the protected resource. [`Fault::challenge`] refuses a good
    /// token.
    pub fn next_at_resource(&self, times: usize, when: When, fault: Fault) {
        self.dispatcher.state().resource.push(times, &Step { when, fault });
    }

    /// Injects this fault into the next `times` requests at the revocation endpoint.
    pub fn next_revocation(&self, times: usize, when: When, fault: Fault) {
        self.dispatcher.state().revocation.push(times, &Step { when, fault });
    }

    /// Holds the next token request, before or after it is processed, until the gate is opened.
    #[must_use = "what is held waits until the gate is opened"]
    pub fn hold_next(&self, when: When) -> Gate {
        let gate = Gate::closed();
        self.next(when, Fault::hold(&gate));
        gate
    }

    /// Removes all faults that have not struck, at all endpoints.
    pub fn calm(&self) {
        let mut state = self.dispatcher.state();
        state.token.clear();
        state.resource.clear();
        state.revocation.clear();
    }

    // --- counts ------------------------------------------------------------------------------------------------------

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.dispatcher.watch().borrow().clone()
    }

    /// The counts so far, and the timeline.
    pub fn snapshot(&self) -> Snapshot {
        self.dispatcher.snapshot()
    }

    /// Waits until `met` returns true, and returns the counts. "A request has arrived" is
    /// `server.until(|counts| counts.token_requests == 1).await`.
    ///
    /// `met` is called after each change, and may see several changes as one. Compare counts that may grow further with
    /// `>=`. There is no time-out. The future may be dropped at any time.
    pub async fn until(&self, mut met: impl FnMut(&Counts) -> bool) -> Counts {
        let mut news = self.dispatcher.watch();
        loop {
            let counts = news.borrow_and_update().clone();
            // The dispatcher lives as long as `self`, so the watch does not end.
            if met(&counts) || news.changed().await.is_err() {
                return counts;
            }
        }
    }
}

impl fmt::Debug for HostileAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostileAs").field("address", &self.address).finish_non_exhaustive()
    }
}
