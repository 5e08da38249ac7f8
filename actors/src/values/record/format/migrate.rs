//! Older formats, and how each becomes the next.
//!
//! A format here has types of its own only where it differs from the next one. Whoever changes the current format
//! copies the types that change to this file first, adds a step, and keeps a fixture of what was written until then.

use serde::Deserialize;

use super::secret::Secret;
use super::wire::{self, At, Binding, Text, present};

/// Format 1: a refresh token was presented once at most, so a mark has one time and no count; it is not known which
/// flight brought an access token; the tokens that the server refused are not remembered, except the last one where
/// its refusal ended the grant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record1<'a> {
    #[serde(rename = "format")]
    _format: u32,
    epoch: u64,
    revision: u64,
    number: u64,
    #[serde(borrow)]
    content: Content1<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content1<'a> {
    Tombstone,
    #[serde(borrow)]
    Grant(Box<Grant1<'a>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant1<'a> {
    #[serde(borrow)]
    binding: Binding<'a>,
    requested: Vec<Text<'a>>,
    granted: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    subject: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    dpop_key: Option<Secret<'a>>,
    #[serde(borrow)]
    refresh: Refresh1<'a>,
    #[serde(borrow, deserialize_with = "present")]
    access: Option<Access1<'a>>,
    #[serde(deserialize_with = "present")]
    parked: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Refresh1<'a> {
    None,
    #[serde(borrow)]
    Held(Held1<'a>),
    Ended(Text<'a>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Held1<'a> {
    #[serde(borrow)]
    token: Secret<'a>,
    digest: Text<'a>,
    since: At<'a>,
    #[serde(deserialize_with = "present")]
    mark: Option<Mark1<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark1<'a> {
    flight: Text<'a>,
    digest: Text<'a>,
    number: u64,
    at: At<'a>,
    timeout_ms: u64,
    state: Text<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Access1<'a> {
    #[serde(borrow)]
    token: Secret<'a>,
    kind: Text<'a>,
    anchored: At<'a>,
    #[serde(deserialize_with = "present")]
    lifetime_ms: Option<u64>,
    number: u64,
    cause: Text<'a>,
}

/// From format 1 to format 2.
pub(super) fn one_to_two(old: Record1<'_>) -> wire::Record<'_> {
    let (dead, content) = match old.content {
        Content1::Tombstone => (Vec::new(), wire::Content::Tombstone),
        Content1::Grant(grant) => {
            // Format 2 remembers every refused token, the one that ended the grant too.
            let dead = match &grant.refresh {
                Refresh1::Ended(refused) => vec![refused.clone()],
                Refresh1::None | Refresh1::Held(_) => Vec::new(),
            };
            (dead, wire::Content::Grant(Box::new(grant_to_two(*grant))))
        }
    };
    wire::Record { format: 2, epoch: old.epoch, revision: old.revision, number: old.number, dead, content }
}

fn grant_to_two(old: Grant1<'_>) -> wire::Grant<'_> {
    wire::Grant {
        binding: old.binding,
        requested: old.requested,
        granted: old.granted,
        subject: old.subject,
        dpop_key: old.dpop_key,
        refresh: match old.refresh {
            Refresh1::None => wire::Refresh::None,
            Refresh1::Held(Held1 { token, digest, since, mark }) => {
                wire::Refresh::Held(Box::new(wire::Held { token, digest, since, mark: mark.map(mark_to_two) }))
            }
            Refresh1::Ended(refused) => wire::Refresh::Ended(refused),
        },
        access: old.access.map(access_to_two),
        parked: old.parked,
        signed_in_ms: None,
    }
}

fn mark_to_two(old: Mark1<'_>) -> wire::Mark<'_> {
    wire::Mark {
        flight: old.flight,
        digest: old.digest,
        presentations: 1,
        number: old.number,
        first: old.at.clone(),
        latest: old.at,
        timeout_ms: old.timeout_ms,
        state: old.state,
    }
}

fn access_to_two(old: Access1<'_>) -> wire::Access<'_> {
    wire::Access {
        token: old.token,
        kind: old.kind,
        anchored: old.anchored,
        lifetime_ms: old.lifetime_ms,
        number: old.number,
        cause: old.cause,
        flight: None,
    }
}
