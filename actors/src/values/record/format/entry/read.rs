//! Makes an entry from the members of format 1. An error names the path of the wrong member.

use std::time::Duration;

use super::super::members::Text;
use super::super::read::{Path, client, moment, word};
use super::super::secret::bytes;
use super::members;
use crate::values::issuer::{
    ClientRegistration, Cooldown, EntryContent, IssuerEntry, RegistrationManagement, RegistrationName, ServerMetadata,
};
use crate::values::{RegistrationToken, Revision, Scopes, ServerIdentity, WallTime};

/// Checks that the revision is at least 1, because the first write makes it 1.
pub(super) fn check(entry: &IssuerEntry) -> Result<(), Path> {
    if entry.revision == Revision::default() { Err("revision") } else { Ok(()) }
}

pub(super) fn entry(members: members::Entry<'_>) -> Result<IssuerEntry, Path> {
    let content = match members.content {
        members::Content::Removed => None,
        members::Content::Registration(members) => Some(EntryContent::Registration(Box::new(registration(*members)?))),
        members::Content::Metadata(members) => Some(EntryContent::Metadata(Box::new(metadata(*members)?))),
        members::Content::Cooldown(members) => Some(EntryContent::Cooldown(cooldown(&members)?)),
    };
    Ok(IssuerEntry { revision: Revision::new(members.revision), content })
}

fn registration(members: members::Registration<'_>) -> Result<ClientRegistration, Path> {
    let digest = |digits: Text<'_>| bytes(&digits).ok_or("content.registration.metadata_digest");
    let identity = |key: Text<'_>| ServerIdentity::from_key(&key).map_err(|_| "content.registration.registered_by");
    Ok(ClientRegistration {
        name: RegistrationName::new(members.name).map_err(|_| "content.registration.name")?,
        origin: word(&members.origin, "content.registration.origin")?,
        client: client(members.client, "content.registration.client.secret", "content.registration.client.auth")?,
        redirect_uris: texts(members.redirect_uris),
        application_type: members
            .application_type
            .map(|kind| word(&kind, "content.registration.application_type"))
            .transpose()?,
        grant_types: texts(members.grant_types),
        scopes: members.scopes.map(Scopes::new),
        management: members.management.map(management).transpose()?,
        metadata_digest: members.metadata_digest.map(digest).transpose()?,
        registered_at: WallTime::from_millis(members.registered_at_ms),
        registered_by: members.registered_by.map(identity).transpose()?,
        suspect_since: members.suspect_since_ms.map(WallTime::from_millis),
    })
}

fn management(members: members::Management<'_>) -> Result<RegistrationManagement, Path> {
    let token = members.token.reveal(|token| RegistrationToken::new(token));
    let token = token.ok_or("content.registration.management.token")?;
    Ok(RegistrationManagement { uri: members.uri.into_owned(), token })
}

fn metadata(members: members::Metadata<'_>) -> Result<ServerMetadata, Path> {
    Ok(ServerMetadata {
        url: members.url.into_owned(),
        document: members.document.into_owned(),
        fetched: moment(&members.fetched, "content.metadata.fetched")?,
        fresh_for: members.fresh_for_ms.map(Duration::from_millis),
        etag: members.etag.map(Text::into_owned),
    })
}

fn cooldown(members: &members::Cooldown<'_>) -> Result<Cooldown, Path> {
    let began = moment(&members.began, "content.cooldown.began")?;
    Ok(Cooldown { began, span: Duration::from_millis(members.span_ms) })
}

fn texts(all: Vec<Text<'_>>) -> Vec<String> {
    all.into_iter().map(Text::into_owned).collect()
}
