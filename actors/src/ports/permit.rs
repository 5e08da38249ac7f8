//! The permit: an issuer's leave to make a request, which precedes every claim.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::law::flight::Urgency;
use crate::values::record::Issuer;

/// Holds back requests to an issuer that wants to be left alone, and spreads the rest.
///
/// Shared by all identities of a runtime. One permit is one token request.
#[async_trait]
pub trait IssuerPermits: fmt::Debug + Send + Sync + 'static {
    /// Waits for leave to make one request to `issuer`, or says how long the issuer is to be left alone. Callers come
    /// before background work. Dropping the future gives up the place in the queue.
    async fn ask(&self, issuer: Option<&Issuer>, urgency: Urgency) -> Permission;

    /// Gives the leave back, with what the issuer said about being left alone (`Retry-After`, capped by the permits).
    fn give_back(&self, issuer: Option<&Issuer>, throttle: Option<Duration>);
}

/// The answer to a request for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Go ahead; give it back afterwards.
    Granted,
    /// The issuer is to be left alone for this long.
    Held(Duration),
}
