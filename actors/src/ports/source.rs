//! The token source, which makes token requests and reports their results neutrally.

use std::fmt;

use async_trait::async_trait;

use crate::law::flight::{Revocation, Spending, TokenRequest};
use crate::law::profile::{Evidence, NotSent};
use crate::values::record::{Grant, Issuer};
use crate::values::{RenewalPlan, ServerIdentity};

/// Obtains tokens, for example by a refresh grant, by client credentials, by a JWT bearer assertion or from a command.
///
/// Shared by all identities. Each has one request at a time.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Returns whether a request may spend the refresh token. A record whose plan says otherwise is not renewed by this
    /// source.
    fn spending(&self) -> Spending;

    /// Obtains the things that a request of this `plan` begins with, such as the token of another session. Called before
    /// the permit is asked for and the claim is taken, so that neither is held meanwhile. `issuer` is that of the record, if
    /// there is one. The request follows in any case, and reports a failure.
    ///
    /// The default does nothing. Only a repeatable source is asked.
    ///
    /// # Cancellation
    ///
    /// Dropped when the flight is called off, and asked for again when the flight asks for another permit.
    async fn prepare(&self, _identity: &ServerIdentity, _plan: &RenewalPlan, _issuer: Option<&Issuer>) {}

    /// Connects to the token endpoint of `grant` for a request that may follow, and sends nothing. Once the connection
    /// stands, the flight notes durably that it is going to present the refresh token, and makes the request over this
    /// connection.
    ///
    /// `None` is the answer of a source that does not connect ahead. This is the default. The request then goes through
    /// [`request`](TokenSource::request), which connects by itself.
    ///
    /// # Errors
    ///
    /// [`NotSent::Unreachable`] if no connection could be established, and [`NotSent::Unbuildable`] if the request could not
    /// be made. The flight then presents nothing, and writes nothing.
    ///
    /// # Cancellation
    ///
    /// Dropping the future, or the connection, closes the connection. A flight drops the future after the
    /// [`connect_timeout`](crate::law::profile::Profile::connect_timeout) of the issuer's profile.
    async fn connect(
        &self,
        _identity: &ServerIdentity,
        _grant: &Grant,
    ) -> Result<Option<Box<dyn SourceConnection>>, NotSent> {
        Ok(None)
    }

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

    /// Revokes tokens that will not be used (RFC 7009). One attempt.
    ///
    /// # Errors
    ///
    /// [`NotRevoked`] if they may still be valid.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked>;
}

/// Why tokens were not revoked. They may still be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRevoked {
    /// The server has no endpoint for it, or does not revoke tokens of this kind.
    #[error("the server offers no revocation of these tokens")]
    NotOffered,
    /// The server refused, or did not answer, or could not be reached.
    #[error("the revocation failed")]
    Failed,
}

/// A connection of a source to a token endpoint, for one request.
#[async_trait]
pub trait SourceConnection: fmt::Debug + Send + 'static {
    /// Makes the request over this connection and reports its result.
    ///
    /// The rules of [`TokenSource::request`] apply. A connection that was closed meanwhile is [`NotSent::Unreachable`], and a
    /// request for another endpoint does not go over it.
    async fn request(self: Box<Self>, identity: &ServerIdentity, request: TokenRequest) -> Evidence;
}
