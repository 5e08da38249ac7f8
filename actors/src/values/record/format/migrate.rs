//! The previous format, and its migration to the current one.
//!
//! The format has types of its own here only where it differs from the current one. A change of the current format
//! first copies the changed types to this file, replaces the migration, and keeps a fixture of the format written
//! until then.

use serde::Deserialize;

use super::secret::Secret;
use super::wire::{self, Access, Binding, Refresh, Text, present};
use super::words::Word;
use crate::values::record::{RenewalPlan, SourceName, Spending};

/// Format 2, in which a grant names neither its source nor its provider's profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record2<'a> {
    #[serde(rename = "format")]
    _format: u32,
    epoch: u64,
    revision: u64,
    number: u64,
    dead: Vec<Text<'a>>,
    #[serde(borrow)]
    content: Content2<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content2<'a> {
    Tombstone,
    #[serde(borrow)]
    Grant(Box<Grant2<'a>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant2<'a> {
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

/// From format 2 to format 3.
pub(super) fn two_to_three(old: Record2<'_>) -> wire::Record<'_> {
    let content = match old.content {
        Content2::Tombstone => wire::Content::Tombstone,
        Content2::Grant(grant) => wire::Content::Grant(Box::new(grant_to_three(*grant))),
    };
    wire::Record { format: 3, epoch: old.epoch, revision: old.revision, number: old.number, dead: old.dead, content }
}

fn grant_to_three(old: Grant2<'_>) -> wire::Grant<'_> {
    wire::Grant {
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

/// The default plan. A grant without a refresh token whose access token came from a flight was minted by a repeatable
/// source. The name of that source was never stored. Such a session therefore reports a missing source
/// (`source_missing`) until it is configured, rather than ask for a login that could not help.
fn renewal_to_three(old: &Grant2<'_>) -> wire::Renewal<'static> {
    let minted =
        matches!(old.refresh, Refresh::None) && old.access.as_ref().is_some_and(|access| access.flight.is_some());
    let RenewalPlan { spending, never_replay, .. } = RenewalPlan::default();
    let spending = if minted { Spending::Repeatable } else { spending };
    wire::Renewal {
        source: SourceName::REFRESH_TOKEN.as_str().to_owned().into(),
        spending: spending.word().into(),
        provider: None,
        never_replay,
    }
}
