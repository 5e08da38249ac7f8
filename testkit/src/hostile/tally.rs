//! What the server has seen and done, in numbers and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::authority::{ChainId, Place};

/// What happened so far, in numbers. All begin at 0 and only grow, but for `concurrent` and `chains_alive`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Those of them that spoke HTTP/2.
    pub http2_connections: u64,
    /// Connections that ended, or went wrong, within the head of a request.
    pub broken_heads: u64,
    /// Requests that arrived at the token endpoint, counted when their head was there: processed or not, whatever
    /// became of their body and their answer.
    pub token_requests: u64,
    /// Those of them, read to the end, that asked for `refresh_token`.
    pub refresh_grants: u64,
    /// Those of them, read to the end, that asked for `client_credentials`.
    pub client_credentials_grants: u64,
    /// Those of them, read to the end, that asked for anything else, or could not be understood.
    pub other_grants: u64,
    /// Token requests that are with the server now: arrived, and neither answered nor broken off. An answer counts from
    /// before its end is sent: a client that has read it is not counted any more.
    pub concurrent: u64,
    /// The most there ever were at once.
    pub most_concurrent: u64,
    /// Refreshes processed: each brought new tokens, whether or not the answer arrived.
    pub rotations: u64,
    /// Client credentials processed.
    pub mints: u64,
    /// Spent refresh tokens presented. The first one ends its chain.
    pub replays: u64,
    /// Token requests that were processed and refused, by their `error`. A fault that answers in the server's stead is
    /// not among them.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Whole answers of the token endpoint, by status, faults included.
    pub token_answers: BTreeMap<u16, u64>,
    /// Chains that may be refreshed.
    pub chains_alive: u64,
    /// Chains that have ended, by replay or revocation.
    pub chains_revoked: u64,
    /// Requests that arrived at the protected resource.
    pub resource_requests: u64,
    /// Whole answers of the protected resource, by status, faults included.
    pub resource_answers: BTreeMap<u16, u64>,
    /// Requests that arrived at the revocation endpoint.
    pub revocation_requests: u64,
    /// Requests that arrived where a redirect led to.
    pub redirects_followed: u64,
    /// Faults that struck, at any endpoint. Those that only delay or hold are not among them.
    pub faults: u64,
}

/// [`Counts`] with what they are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The numbers.
    #[serde(flatten)]
    pub counts: Counts,
    /// What happened, oldest first: the first 200,000 events.
    pub timeline: Vec<Event>,
    /// How many events came after those.
    pub events_left_out: u64,
}

/// Something that happened. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// When, since the server started, on a clock that only goes forward. Serialized in milliseconds, with a fraction.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub at: Duration,
    /// What.
    pub what: What,
    /// On which chain, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainId>,
    /// Which refresh token of that chain: the one refused, or the new one. The first has ordinal 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The HTTP status of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What an [`Event`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A connection was accepted.
    Connected,
    /// A test was given a first grant.
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
    /// The token endpoint answered whole.
    TokenAnswer,
    /// A request arrived at the protected resource.
    ResourceRequest,
    /// The protected resource answered whole.
    ResourceAnswer,
    /// A request arrived at the revocation endpoint.
    RevocationRequest,
    /// A redirect was followed.
    RedirectFollowed,
}

/// The events kept.
#[derive(Default)]
pub(super) struct Timeline {
    events: Vec<Event>,
    left_out: u64,
}

impl Timeline {
    const KEPT: usize = 200_000;

    pub(super) fn add(&mut self, at: Duration, what: What, place: Option<Place>, status: Option<u16>) {
        if self.events.len() == Self::KEPT {
            self.left_out += 1;
            return;
        }
        let (chain, ordinal) = place.map(|place| (place.chain, place.ordinal)).unzip();
        self.events.push(Event { at, what, chain, ordinal, status });
    }

    pub(super) fn snapshot(&self, counts: Counts) -> Snapshot {
        Snapshot { counts, timeline: self.events.clone(), events_left_out: self.left_out }
    }
}

fn millis<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_micros() as f64 / 1000.0)
}
