//! The mark: the durable note that a refresh token is being presented.

use std::time::Duration;

use super::super::digest::KeyedDigest;
use super::super::lineage::FlightId;
use super::super::time::Moment;

/// Written before each presentation of a refresh token, removed by the commit that follows, and left where the answer
/// was lost (laws 3, 5 and 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The flight that presents, or presented, the token last.
    pub flight: FlightId,
    /// Which token.
    pub digest: KeyedDigest,
    /// How many flights have presented it, this one included. (A DPoP nonce resend belongs to its flight.)
    pub presentations: u32,
    /// The token number reserved for what the flight brings.
    pub number: u64,
    /// When it was marked for its first presentation: what an authorization server's grace period counts from.
    pub first: Moment,
    /// When it was marked for its last presentation.
    pub latest: Moment,
    /// How long after `latest` that presentation is over for sure: nobody presents the token again before.
    pub timeout: Duration,
    /// Where the presentation stands.
    pub state: MarkState,
}

/// Where a marked presentation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkState {
    /// Being presented, or in doubt: the answer, if one came, was never stored.
    Open,
    /// Certainly spent, and its successor lost: never presented again.
    Spent,
}
