//! The interface that every adapter implements.
use crate::env::{Env, Seed};
use std::future::Future;

/// The source of an adapter's first token. It decides how W2 causes the moment of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// `create` receives a token set (access, refresh, expires_in) and holds it at once.
    Seeded,
    /// The first `get` fetches a token from the server. The family's expires_in sets its lifetime.
    Fetched,
    /// As `Fetched`, but the peer's own timer decides when to refresh, so a short lifetime cannot cause an expiry. W2
    /// is the cold start.
    Background,
}

pub trait Peer: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    const FIRST: First = First::Seeded;
    /// False for a limit line without refresh, which has only W1, W3 and W4.
    const REFRESHES: bool = true;
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
    /// one retry follow. (W2b measures this counterpart of Invalidate + GetToken.)
    fn call(&self, _http: &reqwest::Client, _url: &str) -> impl Future<Output = Result<(), String>> + Send {
        async { Err("not offered".to_string()) }
    }
    /// Setup after the first successful get (e.g. remember an entity tag). Untimed.
    fn warm(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// Prepares the state that a peer shares between identities (W3).
    fn prepare_many(_n: usize) {}
}
