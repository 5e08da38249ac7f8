//! The members of an issuer's entry in its current format, which is 1. Each is the stored form of the field of that name in
//! [`values::issuer`](crate::values::issuer), which documents it.
//!
//! `Client`, `At`, `Secret` and the words are shared with the record's current format. Before one of them changes for a
//! new format of the record, its present form must be copied here, because this format does not change with the
//! record's. The fixtures of format 1 test that.

use serde::{Deserialize, Serialize};

use super::super::members::{At, Client, Text, millis, present, scopes, text};
use super::super::secret::{Secret, hex};
use super::super::words::Word;
use super::CURRENT;
use crate::values::{WallTime, issuer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry<'a> {
    pub(super) format: u32,
    pub(super) revision: u64,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Removed,
    #[serde(borrow)]
    Registration(Box<Registration<'a>>),
    #[serde(borrow)]
    Metadata(Box<Metadata<'a>>),
    #[serde(borrow)]
    Cooldown(Cooldown<'a>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration<'a> {
    pub(super) name: Text<'a>,
    pub(super) origin: Text<'a>,
    #[serde(borrow)]
    pub(super) client: Client<'a>,
    pub(super) redirect_uris: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) application_type: Option<Text<'a>>,
    pub(super) grant_types: Vec<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) scopes: Option<Vec<Text<'a>>>,
    #[serde(borrow, deserialize_with = "present")]
    pub(super) management: Option<Management<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) metadata_digest: Option<Text<'a>>,
    pub(super) registered_at_ms: u64,
    #[serde(deserialize_with = "present")]
    pub(super) registered_by: Option<Text<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) suspect_since_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Management<'a> {
    pub(super) uri: Text<'a>,
    #[serde(borrow)]
    pub(super) token: Secret<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata<'a> {
    pub(super) url: Text<'a>,
    pub(super) document: Text<'a>,
    pub(super) fetched: At<'a>,
    #[serde(deserialize_with = "present")]
    pub(super) fresh_for_ms: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub(super) etag: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cooldown<'a> {
    #[serde(borrow)]
    pub(super) began: At<'a>,
    pub(super) span_ms: u64,
}

impl<'a> Entry<'a> {
    /// The stored form of `entry`.
    pub(super) fn of(entry: &'a issuer::IssuerEntry) -> Self {
        let content = match &entry.content {
            None => Content::Removed,
            Some(issuer::EntryContent::Registration(registration)) => {
                Content::Registration(Box::new(Registration::of(registration)))
            }
            Some(issuer::EntryContent::Metadata(metadata)) => Content::Metadata(Box::new(Metadata::of(metadata))),
            Some(issuer::EntryContent::Cooldown(cooldown)) => Content::Cooldown(Cooldown::of(cooldown)),
        };
        Self { format: CURRENT, revision: entry.revision.number(), content }
    }
}

impl<'a> Registration<'a> {
    fn of(registration: &'a issuer::ClientRegistration) -> Self {
        Self {
            name: text(registration.name.as_str()),
            origin: text(registration.origin.word()),
            client: Client::of(&registration.client),
            redirect_uris: texts(&registration.redirect_uris),
            application_type: registration.application_type.map(|kind| text(kind.word())),
            grant_types: texts(&registration.grant_types),
            scopes: registration.scopes.as_ref().map(scopes),
            management: registration.management.as_ref().map(|management| Management {
                uri: text(&management.uri),
                token: Secret::Plain(management.token.expose()),
            }),
            metadata_digest: registration.metadata_digest.as_ref().map(|digest| hex(digest)),
            registered_at_ms: registration.registered_at.as_millis(),
            registered_by: registration.registered_by.as_ref().map(|identity| identity.key().into()),
            suspect_since_ms: registration.suspect_since.map(WallTime::as_millis),
        }
    }
}

impl<'a> Metadata<'a> {
    fn of(metadata: &'a issuer::ServerMetadata) -> Self {
        Self {
            url: text(&metadata.url),
            document: text(&metadata.document),
            fetched: At::of(&metadata.fetched),
            // The lifetime is rounded down, so that no document looks fresher than it is.
            fresh_for_ms: metadata.fresh_for.map(millis),
            etag: metadata.etag.as_deref().map(text),
        }
    }
}

impl<'a> Cooldown<'a> {
    fn of(cooldown: &issuer::Cooldown) -> Self {
        Self { began: At::of(&cooldown.began), span_ms: millis(cooldown.span) }
    }
}

fn texts(all: &[String]) -> Vec<Text<'_>> {
    all.iter().map(|one| text(one)).collect()
}
