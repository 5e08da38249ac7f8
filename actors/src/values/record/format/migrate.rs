//! The older formats, and their migration to the current one.
//!
//! An older format has its own types here only where it differs from the current one. To change the current format,
//! first copy the changed types to this file, adapt the migrations, and keep a fixture of the former format.

use serde::Deserialize;

use super::CURRENT;
use super::members::{self, Access, Binding, Refresh, Text, present};
use super::secret::Secret;
use super::words::Word;
use crate::values::record::{RenewalPlan, SourceName, Spending};

/// A record of an older format, whose grants are `G`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "G: Deserialize<'de>"))]
pub(super) struct Older<'a, G> {
    #[serde(rename = "format")]
    _format: u32,
    epoch: u64,
    revision: u64,
    number: u64,
    #[serde(borrow)]
    dead: Vec<Text<'a>>,
    content: OlderContent<G>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OlderContent<G> {
    Tombstone,
    Grant(Box<G>),
}

/// A grant of format 2, which names neither its source nor its provider's profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant2<'a> {
    #[serde(borrow)]
    binding: Binding<'a>,
    requested: Vec<Text<'a>>,
    granted: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    subject: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    dpop_key: Option<Secret<'a>>,
    #[serde(borrow)]
    refresh: Refresh<'a>,
    #[serde(borrow, deserialize_with = "present")]
    access: Option<Access<'a>>,
    #[serde(deserialize_with = "present")]
    parked: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    signed_in_ms: Option<u64>,
}

/// A grant of format 3, which does not state whether its server rotates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant3<'a> {
    #[serde(borrow)]
    binding: Binding<'a>,
    requested: Vec<Text<'a>>,
    granted: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    subject: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "present")]
    dpop_key: Option<Secret<'a>>,
    #[serde(borrow)]
    renewal: members::RenewalPlan<'a>,
    #[serde(borrow)]
    refresh: Refresh<'a>,
    #[serde(borrow, deserialize_with = "present")]
    access: Option<Access<'a>>,
    #[serde(deserialize_with = "present")]
    parked: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    signed_in_ms: Option<u64>,
}

/// A record of format 4, which has no prompts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record4<'a> {
    #[serde(rename = "format")]
    _format: u32,
    epoch: u64,
    revision: u64,
    number: u64,
    #[serde(borrow)]
    dead: Vec<Text<'a>>,
    #[serde(default, borrow)]
    logins: Vec<Text<'a>>,
    #[serde(borrow)]
    content: OlderContent<members::Grant<'a>>,
}

impl<'a> Record4<'a> {
    /// Converts format 4 to the current format.
    pub(super) fn migrate(self) -> members::Record<'a> {
        let Self { epoch, revision, number, dead, logins, content, .. } = self;
        let content = match content {
            OlderContent::Tombstone => members::Content::Tombstone,
            OlderContent::Grant(grant) => members::Content::Grant(grant),
        };
        members::Record { format: CURRENT, epoch, revision, number, dead, logins, content, prompt: None }
    }
}

impl<'a> Older<'a, Grant2<'a>> {
    /// Converts format 2 to the current format.
    pub(super) fn migrate(self) -> members::Record<'a> {
        self.with_grant(|grant, rotated| Grant3::from(grant).migrate(rotated))
    }
}

impl<'a> Older<'a, Grant3<'a>> {
    /// Converts format 3 to the current format.
    pub(super) fn migrate(self) -> members::Record<'a> {
        self.with_grant(Grant3::migrate)
    }
}

impl<'a, G> Older<'a, G> {
    /// The record with its grant converted. The conversion gets whether any dead refresh token of this identity is known,
    /// because most dead tokens were replaced by a server that rotates.
    fn with_grant(self, convert: impl FnOnce(G, bool) -> members::Grant<'a>) -> members::Record<'a> {
        let content = match self.content {
            OlderContent::Tombstone => members::Content::Tombstone,
            OlderContent::Grant(grant) => members::Content::Grant(Box::new(convert(*grant, !self.dead.is_empty()))),
        };
        let Self { epoch, revision, number, dead, .. } = self;
        // The oldest known token of this identity. Until the sixteenth refresh after the first login, it is the token
        // of that login.
        let logins = dead.first().or_else(|| token_of(&content)).cloned().into_iter().collect();
        members::Record { format: CURRENT, epoch, revision, number, dead, logins, content, prompt: None }
    }
}

/// The digest of the token that a grant holds.
fn token_of<'b, 'a>(content: &'b members::Content<'a>) -> Option<&'b Text<'a>> {
    match content {
        members::Content::Grant(grant) => match &grant.refresh {
            Refresh::Held(held) => Some(&held.digest),
            Refresh::None | Refresh::Ended(_) => None,
        },
        members::Content::Vacant | members::Content::Tombstone => None,
    }
}

impl<'a> From<Grant2<'a>> for Grant3<'a> {
    fn from(old: Grant2<'a>) -> Self {
        Self {
            renewal: renewal_to_three(&old),
            binding: old.binding,
            requested: old.requested,
            granted: old.granted,
            subject: old.subject,
            dpop_key: old.dpop_key,
            refresh: old.refresh,
            access: old.access,
            parked: old.parked,
            signed_in_ms: old.signed_in_ms,
        }
    }
}

impl<'a> Grant3<'a> {
    fn migrate(self, rotated: bool) -> members::Grant<'a> {
        members::Grant {
            binding: self.binding,
            requested: self.requested,
            granted: self.granted,
            subject: self.subject,
            dpop_key: self.dpop_key,
            renewal: self.renewal,
            refresh: self.refresh,
            access: self.access,
            parked: self.parked,
            signed_in_ms: self.signed_in_ms,
            rotated,
        }
    }
}

/// The renewal plan for a grant of format 2, which is the default plan with one exception. A grant without a refresh token
/// whose access token came from a flight was renewed by a repeatable source, whose requests spend nothing. The name of that
/// source was never stored. Such a session therefore reports a missing source (`source_missing`) until it is configured,
/// rather than ask for a login that could not help.
fn renewal_to_three(old: &Grant2<'_>) -> members::RenewalPlan<'static> {
    let minted =
        matches!(old.refresh, Refresh::None) && old.access.as_ref().is_some_and(|access| access.flight.is_some());
    let RenewalPlan { spending, never_replay, server_named, .. } = RenewalPlan::default();
    let spending = if minted { Spending::Repeatable } else { spending };
    members::RenewalPlan {
        source: SourceName::REFRESH_TOKEN.as_str().to_owned().into(),
        spending: spending.word().into(),
        provider: None,
        never_replay,
        server_named,
        settings: None,
    }
}
