//! The token source, which makes token requests and reports their results neutrally.

use std::fmt;

use async_trait::async_trait;

use crate::law::flight::{Revocation, Spending, TokenRequest};
use crate::law::profile::Evidence;
use crate::values::ServerIdentity;

/// Obtains tokens, for example by a refresh grant, by client credentials, by a JWT bearer assertion or from a command.
///
/// Shared by all identities. Each has one request at a time.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Returns whether a request may spend the refresh token. A record whose plan says otherwise is not renewed by this
    /// source.
    fn spending(&self) -> Spending;

    /// Makes the request and reports its result.
    ///
    /// It is sent at most once. No layer follows redirects, retries, or probes for the client's authentication method.
    /// The clock is checked against `not_after` immediately before the first byte leaves. The future resolves within
    /// `timeout` of that byte in any case. After [`Evidence::Refused`] with `use_dpop_nonce` the next call carries the
    /// nonce, and a proof with a new `jti`.
    ///
    /// # Cancellation
    ///
    /// The caller never drops this future once it was polled, except at the end of the process.
    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence;

    /// Revokes tokens that will not be used (RFC 7009), the refresh token first. Best effort. Returns `false` if they
    /// may still be valid.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> bool;
}
