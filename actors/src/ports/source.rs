//! The token source: makes one request and says neutrally what happened.

use std::fmt;

use async_trait::async_trait;

use crate::law::flight::{Revocation, Spending, TokenRequest};
use crate::law::profile::Evidence;
use crate::values::ServerIdentity;

/// Obtains tokens: a refresh grant, client credentials, a JWT bearer assertion, a command.
///
/// Shared by all flights of an identity, one at a time for each.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Whether a request uses something up. A record whose plan says otherwise is not renewed by this source.
    fn spending(&self) -> Spending;

    /// Makes the request and reports what happened.
    ///
    /// It is sent at most once: no redirect, no retry in any layer, no probing for how the client authenticates. The
    /// clock is checked against `not_after` immediately before the first byte leaves. The future resolves within
    /// `timeout` of that byte, whatever the peer does. After [`Evidence::Refused`] with `use_dpop_nonce` the next call
    /// carries the nonce, and a proof with a new `jti`.
    ///
    /// # Cancellation
    ///
    /// The caller never drops this future once it was polled, short of the end of the process.
    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence;

    /// Revokes tokens nobody will use (RFC 7009), the refresh token first. Best effort: `false` says that they may
    /// still live.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> bool;
}
