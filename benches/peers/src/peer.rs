//! The one interface every adapter implements.
use crate::env::{Env, Seed};
use std::future::Future;

/// How an adapter comes by its first token, which decides how W2 makes "the moment of expiry".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// `create` is given a token set (access, refresh, expires_in) and holds it at once.
    Seeded,
    /// The first `get` fetches from the server; the token it gets obeys the family's expires_in.
    Fetched,
    /// As `Fetched`, but the peer's own timer decides when to refresh, so
    /// an expiry cannot be provoked by a short lifetime. W2 is the cold start.
    Background,
}

pub trait Peer: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    const FIRST: First = First::Seeded;
    /// False: a limit line without refresh; only W1, W3, W4.
    const REFRESHES: bool = true;
    /// False: the grant it uses has no refresh token (client_credentials, jwt-bearer).
    const ROTATES: bool = true;
    /// True: a token of a second's lifetime is served for most of that second. (The others keep a margin of some seconds,
    /// so that they take it for expired at once.) The chain waits for its end, then.
    const SERVES_UNTIL_EXPIRY: bool = false;
    /// What the peer hands its user, in its own type.
    type Out: Send + 'static;

    fn create(env: &Env, seed: Seed) -> impl Future<Output = Self> + Send;
    fn get(&self) -> impl Future<Output = Result<Self::Out, String>> + Send;
    /// True where the peer (or its user, in the baselines) answers a 401 from the resource.
    const ANSWERS_401: bool = false;
    /// One request to the protected resource at `url` with the cached token; on 401 the peer's
    /// own recovery and one retry. (W2b: the analogue of Invalidate + GetToken.)
    fn call(
        &self,
        _http: &reqwest::Client,
        _url: &str,
    ) -> impl Future<Output = Result<(), String>> + Send {
        async { Err("not offered".to_string()) }
    }
    /// Setup after the first successful get (e.g. remember an entity tag). Untimed.
    fn warm(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// Adapters whose peer keeps something shared between identities put it here (W3).
    fn prepare_many(_n: usize) {}
}
