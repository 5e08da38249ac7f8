//! The token source, the port that makes token requests and reports their results without judging them. The flight machine
//! judges a result by the issuer's [`profile`](crate::law::profile).

use std::fmt;

use async_trait::async_trait;

use crate::law::flight::{Revocation, Spending, TokenRequest};
use crate::law::profile::{Evidence, NotSent};
use crate::values::record::{Grant, Issuer};
use crate::values::{RenewalPlan, ServerIdentity};

/// Obtains tokens, for example by a refresh grant, by client credentials, by a JWT bearer assertion or from a command.
///
/// Shared by all identities. Each identity has one request at a time.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// Returns whether a request may spend the refresh token. A record whose renewal plan has another [`Spending`] is not
    /// renewed by this source.
    fn spending(&self) -> Spending;

    /// Obtains the inputs of a request of this `plan`, such as the token of another session. Called before the flight asks
    /// for its permit and its claim, so that neither is held meanwhile. `issuer` is the record's issuer, if there is one.
    /// The request follows even if this fails, and reports the failure.
    ///
    /// The default does nothing. Called only for a [repeatable](Spending::Repeatable) source.
    ///
    /// # Cancellation
    ///
    /// The future is dropped when the flight is cancelled. The method is called again when the flight asks for another
    /// permit.
    async fn prepare(&self, _identity: &ServerIdentity, _plan: &RenewalPlan, _issuer: Option<&Issuer>) {}

    /// Connects to the token endpoint of `grant` for a request that may follow, and sends nothing. Once the connection is
    /// established, the flight writes the mark, the durable note that it is going to present the refresh token, and makes
    /// the request over this connection.
    ///
    /// A source that does not connect in advance returns `None`. This is the default. The request then goes through
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
    /// The request is sent at most once. No layer follows redirects, retries, or probes for the client's authentication
    /// method. The clock is checked against the request's `not_after` immediately before the first byte leaves. The future
    /// always resolves within the request's `timeout` of that byte. After [`Evidence::Refused`] with `use_dpop_nonce`, the
    /// next request carries the nonce, and a proof with a new `jti`.
    ///
    /// # Cancellation
    ///
    /// The caller never drops this future once it has polled it, except at the end of the process.
    async fn request(&self, identity: &ServerIdentity, request: TokenRequest) -> Evidence;

    /// Revokes tokens that will not be used (RFC 7009), in one attempt.
    ///
    /// # Errors
    ///
    /// [`NotRevoked`] if the tokens may still be valid.
    async fn revoke(&self, identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked>;
}

/// The reason why tokens were not revoked. They may still be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRevoked {
    /// The server has no revocation endpoint, or does not revoke tokens of this kind.
    #[error("the server offers no revocation of these tokens")]
    NotOffered,
    /// The access token was revoked. The server offers no revocation of the refresh token.
    #[error("the access token was revoked, and the server offers no revocation of the refresh token")]
    AccessTokenAlone,
    /// The server refused, or did not answer, or could not be reached.
    #[error("the revocation failed")]
    Failed,
}

/// A connection of a source to a token endpoint, for one request.
#[async_trait]
pub trait SourceConnection: fmt::Debug + Send + 'static {
    /// Makes the request over this connection and reports its result.
    ///
    /// The rules of [`TokenSource::request`] apply. If the connection was closed meanwhile, the result is
    /// [`NotSent::Unreachable`]. A request for another endpoint is not sent over it.
    async fn request(self: Box<Self>, identity: &ServerIdentity, request: TokenRequest) -> Evidence;
}
