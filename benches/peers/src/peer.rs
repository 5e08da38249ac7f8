//! The interface that every adapter implements.
use crate::env::{Env, Seed};
use std::future::Future;

/// The source of an adapter's first token. It decides how a workload causes the moment of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// `create` receives a token set (access, refresh, expires_in) and holds it at once.
    Seeded,
    /// The first `get` fetches a token from the server. The family's expires_in sets its lifetime.
    Fetched,
    /// As `Fetched`, but the peer's own timer decides when to refresh, so a short lifetime cannot cause an expiry. The
    /// expiry is the cold start.
    Background,
}

/// How much of a token's lifetime has passed when `create` receives it, for peers whose margin is less. A seed with a
/// lifetime of one second has then expired, as it has for the peers that keep a margin of 30 s.
pub const AGE_SECS: u64 = 30;

pub trait Peer: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// The package that the peer is from. `None` for the baselines.
    const PACKAGE: Option<&'static str> = None;
    /// The parts of a refresh that its figures include, beside the request and the answer.
    const REFRESH: &'static str = "nothing";
    const FIRST: First = First::Seeded;
    /// The peer's first `get` fetches the seed, without a request.
    const HOLDS_ITS_SEED: bool = false;
    /// The peer takes part in the workload of hits.
    const HITS: bool = true;
    /// The peer refreshes, and takes part in the workloads of expiry.
    const EXPIRES: bool = true;
    /// The peer takes part in the workload of faults.
    const FAULTS: bool = false;
    /// False for a grant without a refresh token (client_credentials, jwt-bearer).
    const ROTATES: bool = true;
    /// True if the peer serves a token with a lifetime of one second for most of that second. (The others keep a
    /// margin of some seconds, so they treat it as expired at once.) The chain waits for the token's end then.
    const SERVES_UNTIL_EXPIRY: bool = false;
    /// The value that the peer returns to its user, in its own type.
    type Out: Send + 'static;

    fn create(env: &Env, seed: Seed) -> impl Future<Output = Self> + Send;
    fn get(&self) -> impl Future<Output = Result<Self::Out, String>> + Send;
    /// True if the peer (or its user, in the baselines) handles a 401 from the resource.
    const ANSWERS_401: bool = false;
    /// One request to the protected resource at `url` with the cached token. After a 401, the peer's own recovery and
    /// one retry follow.
    fn call(&self, _http: &reqwest::Client, _url: &str) -> impl Future<Output = Result<(), String>> + Send {
        async { Err("not offered".to_string()) }
    }
    /// Setup after the first successful get (e.g. remember an entity tag). Untimed.
    fn warm(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// Prepares the state that a peer shares between identities.
    fn prepare_many(_n: usize) {}
}
