//! The counts and the timeline.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::authority::{ChainId, TokenId};

/// The counts since the start. All begin at 0 and only grow, except `concurrent` and `chains_alive`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Connections that used HTTP/2.
    pub http2_connections: u64,
    /// Connections that ended or failed within the head of a request.
    pub broken_heads: u64,
    /// Requests that arrived at the token endpoint. Each is counted when its head has arrived, whether or not it is
    /// processed and regardless of its body and answer.
    pub token_requests: u64,
    /// Complete token requests for `refresh_token`.
    pub refresh_grants: u64,
    /// Complete token requests for `client_credentials`.
    pub client_credentials_grants: u64,
    /// Complete token requests for another grant type, or unreadable ones.
    pub other_grants: u64,
    /// Token requests in progress, which have arrived and neither been answered nor broken off. A request stops
    /// counting just before the end of its answer is sent, so a client that has read its answer is not counted.
    pub concurrent: u64,
    /// The maximum of `concurrent` so far.
    pub most_concurrent: u64,
    /// Processed refreshes. Each issued new tokens, whether or not the answer arrived.
    pub rotations: u64,
    /// Processed requests for client credentials.
    pub mints: u64,
    /// Presentations of spent refresh tokens. The first one ends its chain.
    pub replays: u64,
    /// Token requests that were processed and refused, by their `error`. Answers of a fault are not included.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Complete answers of the token endpoint, by status, faults included.
    pub token_answers: BTreeMap<u16, u64>,
    /// Chains that may be refreshed.
    pub chains_alive: u64,
    /// Chains that have ended by replay or revocation.
    pub chains_revoked: u64,
    /// Requests that arrived at the protected resource.
    pub resource_requests: u64,
    /// Complete answers of the protected resource, by status, faults included.
    pub resource_answers: BTreeMap<u16, u64>,
    /// Requests that arrived at the revocation endpoint.
    pub revocation_requests: u64,
    /// Requests that arrived at the target of a redirect.
    pub redirects_followed: u64,
    /// Faults that struck, at any endpoint. Faults that only delay or hold are not included.
    pub faults: u64,
}

/// The [`Counts`] with the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first 200,000 events, oldest first.
    pub timeline: Vec<Event>,
    /// The number of later events.
    pub events_left_out: u64,
}

/// An event. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The monotonic time since the server started. Serialized in milliseconds, with a fraction.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub at: Duration,
    /// The kind of event.
    pub what: What,
    /// The chain, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainId>,
    /// The refresh token's ordinal in that chain. It is the refused token, or the new one. The first has ordinal 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The HTTP status of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// The kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A connection was accepted.
    Connected,
    /// A first grant was issued, to a test or by a login.
    Granted,
    /// A token request arrived.
    TokenRequest,
    /// A refresh was processed.
    Rotated,
    /// Client credentials were processed.
    Minted,
    /// A spent refresh token was presented.
    Replayed,
    /// A chain ended.
    ChainRevoked,
    /// A token request was refused for any other reason.
    Refused,
    /// A fault struck.
    Faulted,
    /// The token endpoint sent a complete answer.
    TokenAnswer,
    /// A request arrived at the protected resource.
    ResourceRequest,
    /// The protected resource sent a complete answer.
    ResourceAnswer,
    /// A request arrived at the revocation endpoint.
    RevocationRequest,
    /// A redirect was followed.
    RedirectFollowed,
}

/// The recorded events.
#[derive(Default)]
pub(super) struct Timeline {
    events: Vec<Event>,
    left_out: u64,
}

impl Timeline {
    const KEPT: usize = 200_000;

    pub(super) fn add(&mut self, at: Duration, what: What, token_id: Option<TokenId>, status: Option<u16>) {
        if self.events.len() == Self::KEPT {
            self.left_out += 1;
            return;
        }
        let (chain, ordinal) = token_id.map(|token_id| (token_id.chain, token_id.ordinal)).unzip();
        self.events.push(Event { at, what, chain, ordinal, status });
    }

    pub(super) fn snapshot(&self, counts: Counts) -> Snapshot {
        Snapshot { counts, timeline: self.events.clone(), events_left_out: self.left_out }
    }
}

fn millis<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_micros() as f64 / 1000.0)
}
