//! The mark, a durable note that a refresh token is being presented.

use std::time::Duration;

use super::super::digest::KeyedDigest;
use super::super::lineage::FlightId;
use super::super::time::Moment;

/// A note that is written before each presentation of a refresh token. The commit of the answer removes it. The note stays
/// if the answer was lost (laws 3, 5 and 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The flight that presented the token last, or presents it now.
    pub flight: FlightId,
    /// The digest of the token.
    pub digest: KeyedDigest,
    /// The number of flights that have presented it, including this one. (A DPoP nonce resend belongs to its flight.)
    pub presentations: u32,
    /// The token number reserved for the flight's result.
    pub number: u64,
    /// The time of the mark for its first presentation. An authorization server's grace period counts from here.
    pub first: Moment,
    /// The time of the mark for its last presentation.
    pub latest: Moment,
    /// The time after `latest` at which that presentation has certainly ended. The token is not presented again before
    /// that time.
    pub timeout: Duration,
    /// The state of the presentation.
    pub state: MarkState,
}

/// The state of a marked presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkState {
    /// The token is being presented, or is in doubt. If there was an answer, it was not stored.
    Open,
    /// The token is certainly spent, and its successor is lost. It is never presented again.
    Spent,
}
