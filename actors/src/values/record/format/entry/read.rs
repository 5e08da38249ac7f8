//! Makes an entry from the members of format 1. An error names the path of the wrong member.

use std::time::Duration;

use super::super::read::{Path, client, moment, word};
use super::super::secret::bytes;
use super::super::wire::Text;
use super::wire;
use crate::values::issuer::{
    ClientRegistration, Cooldown, EntryContent, IssuerEntry, RegistrationManagement, RegistrationName, ServerMetadata,
};
use crate::values::{RegistrationToken, Revision, Scopes, ServerIdentity, WallTime};

/// Checks that the revision is at least 1, because the first write makes it 1.
pub(super) fn check(entry: &IssuerEntry) -> Result<(), Path> {
    if entry.revision == Revision::default() { Err("revision") } else { Ok(()) }
}

pub(super) fn entry(wire: wire::Entry<'_>) -> Result<IssuerEntry, Path> {
    let content = match wire.content {
        wire::Content::Removed => None,
        wire::Content::Registration(wire) => Some(EntryContent::Registration(Box::new(registration(*wire)?))),
        wire::Content::Metadata(wire) => Some(EntryContent::Metadata(Box::new(metadata(*wire)?))),
        wire::Content::Cooldown(wire) => Some(EntryContent::Cooldown(cooldown(&wire)?)),
    };
    Ok(IssuerEntry { revision: Revision::new(wire.revision), content })
}

fn registration(wire: wire::Registration<'_>) -> Result<ClientRegistration, Path> {
    let digest = |digits: Text<'_>| bytes(&digits).ok_or("content.registration.metadata_digest");
    let identity = |key: Text<'_>| ServerIdentity::from_key(&key).map_err(|_| "content.registration.registered_by");
    Ok(ClientRegistration {
        name: RegistrationName::new(wire.name).map_err(|_| "content.registration.name")?,
        origin: word(&wire.origin, "content.registration.origin")?,
        client: client(wire.client, "content.registration.client.secret", "content.registration.client.auth")?,
        redirect_uris: texts(wire.redirect_uris),
        application_type: wire
            .application_type
            .map(|kind| word(&kind, "content.registration.application_type"))
            .transpose()?,
        grant_types: texts(wire.grant_types),
        scopes: wire.scopes.map(Scopes::new),
        management: wire.management.map(management).transpose()?,
        metadata_digest: wire.metadata_digest.map(digest).transpose()?,
        registered_at: WallTime::from_millis(wire.registered_at_ms),
        registered_by: wire.registered_by.map(identity).transpose()?,
        suspect_since: wire.suspect_since_ms.map(WallTime::from_millis),
    })
}

fn management(wire: wire::Management<'_>) -> Result<RegistrationManagement, Path> {
    let token = wire.token.reveal(|token| RegistrationToken::new(token));
    let token = token.ok_or("content.registration.management.token")?;
    Ok(RegistrationManagement { uri: wire.uri.into_owned(), token })
}

fn metadata(wire: wire::Metadata<'_>) -> Result<ServerMetadata, Path> {
    Ok(ServerMetadata {
        url: wire.url.into_owned(),
        document: wire.document.into_owned(),
        fetched: moment(&wire.fetched, "content.metadata.fetched")?,
        fresh_for: wire.fresh_for_ms.map(Duration::from_millis),
        etag: wire.etag.map(Text::into_owned),
    })
}

fn cooldown(wire: &wire::Cooldown<'_>) -> Result<Cooldown, Path> {
    let began = moment(&wire.began, "content.cooldown.began")?;
    Ok(Cooldown { began, span: Duration::from_millis(wire.span_ms) })
}

fn texts(all: Vec<Text<'_>>) -> Vec<String> {
    all.into_iter().map(Text::into_owned).collect()
}
