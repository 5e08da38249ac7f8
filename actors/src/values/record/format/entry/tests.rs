mod arbitrary;
mod damage;
mod fixtures;

use std::time::Duration;

use secrecy::ExposeSecret;

use super::super::tests::{CLIENT, moment, trace};
use super::super::{FormatError, MAX_BYTES};
use super::{CURRENT, decode, encode};
use crate::values::issuer::{
    ApplicationType, ClientRegistration, Cooldown, EntryContent, IssuerEntry, RegistrationManagement, RegistrationName,
    RegistrationOrigin, ServerMetadata,
};
use crate::values::record::{Client, ClientAuth};
use crate::values::{ClientSecret, RegistrationToken, Revision, Scopes, ServerIdentity, WallTime};

/// A marked secret with characters that JSON must escape, so that it is stored in hexadecimal.
const MANAGEMENT: &str = "rat-\"Hf7qZs3\\Lx9bNw2KdV5t";

/// A registration with every member set, and none at its default.
fn registration() -> IssuerEntry {
    let registration = ClientRegistration {
        name: RegistrationName::new("loopback https://mcp.example.com/mcp").unwrap(),
        origin: RegistrationOrigin::Dynamic,
        client: Client {
            id: "client-\"7\" ü".into(),
            secret: Some(ClientSecret::new(CLIENT)),
            auth: ClientAuth::Post,
            secret_expires_at: Some(WallTime::from_millis(1_893_456_000_000)),
        },
        redirect_uris: vec!["http://127.0.0.1:49152/cb-7f".into(), "http://[::1]:49152/cb-7f".into()],
        application_type: Some(ApplicationType::Native),
        grant_types: vec!["authorization_code".into(), "refresh_token".into()],
        scopes: Some(Scopes::new(["files:read", "offline_access"])),
        management: Some(RegistrationManagement {
            uri: "https://as.example.com/register/client-7".into(),
            token: RegistrationToken::new(MANAGEMENT),
        }),
        metadata_digest: Some([0xd1; 32]),
        registered_at: WallTime::from_millis(1_789_999_000_000),
        registered_by: Some(ServerIdentity::from_key("mcp:https://mcp.example.com/mcp#work").unwrap()),
        suspect_since: Some(WallTime::from_millis(1_790_000_000_000)),
    };
    entry(3, EntryContent::Registration(Box::new(registration)))
}

fn metadata() -> IssuerEntry {
    let metadata = ServerMetadata {
        url: "https://as.example.com/.well-known/oauth-authorization-server".into(),
        document: "{\"issuer\":\"https://as.example.com\",\n \"x\":\"ü\"}".into(),
        fetched: moment(1_789_999_000_000, 4_000),
        fresh_for: Some(Duration::from_secs(3_600)),
        etag: Some("W/\"7f\"".into()),
    };
    entry(17, EntryContent::Metadata(Box::new(metadata)))
}

fn cooldown() -> IssuerEntry {
    let cooldown = Cooldown { began: moment(1_789_999_000_000, 4_000), span: Duration::from_secs(120) };
    entry(5, EntryContent::Cooldown(cooldown))
}

fn removed() -> IssuerEntry {
    IssuerEntry { revision: Revision::new(4), content: None }
}

fn entry(revision: u64, content: EntryContent) -> IssuerEntry {
    IssuerEntry { revision: Revision::new(revision), content: Some(content) }
}

/// `registration` changed.
fn with(change: impl FnOnce(&mut ClientRegistration)) -> IssuerEntry {
    let mut entry = registration();
    if let Some(EntryContent::Registration(registration)) = &mut entry.content {
        change(registration);
    }
    entry
}

/// `metadata` changed.
fn with_metadata(change: impl FnOnce(&mut ServerMetadata)) -> IssuerEntry {
    let mut entry = metadata();
    if let Some(EntryContent::Metadata(metadata)) = &mut entry.content {
        change(metadata);
    }
    entry
}

fn encoded(entry: &IssuerEntry) -> String {
    String::from_utf8(encode(entry).unwrap().expose_secret().to_vec()).unwrap()
}

#[test]
fn every_kind_of_entry_comes_back() {
    let kinds = [
        registration(),
        metadata(),
        cooldown(),
        removed(),
        with(|registration| {
            registration.origin = RegistrationOrigin::PreRegistered;
            registration.redirect_uris.clear();
            registration.grant_types.clear();
            registration.application_type = Some(ApplicationType::Web);
        }),
        with(|registration| {
            registration.origin = RegistrationOrigin::MetadataDocument;
            registration.application_type = None;
            registration.scopes = None;
            registration.management = None;
            registration.metadata_digest = None;
            registration.registered_by = None;
            registration.suspect_since = None;
        }),
        // An empty set of scopes differs from an absent one.
        with(|registration| registration.scopes = Some(Scopes::default())),
        with_metadata(|metadata| (metadata.fresh_for, metadata.etag) = (None, None)),
        with_metadata(|metadata| metadata.fresh_for = Some(Duration::ZERO)),
    ];
    for entry in kinds {
        assert_eq!(decode(encode(&entry).unwrap().expose_secret()), Ok(entry));
    }
}

#[test]
fn no_document_comes_back_fresher_than_it_was() {
    let fresh_for = |span| {
        let entry = with_metadata(|metadata| metadata.fresh_for = Some(span));
        match decode(encode(&entry).unwrap().expose_secret()).unwrap().content {
            Some(EntryContent::Metadata(metadata)) => metadata.fresh_for,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fresh_for(Duration::from_nanos(2_999_999)), Some(Duration::from_millis(2)));
    assert_eq!(fresh_for(Duration::MAX), Some(Duration::from_millis(u64::MAX)));
}

#[test]
fn no_entry_and_no_error_shows_a_secret() {
    let entry = registration();
    let text = encoded(&entry);
    let stored = |secret: &str| trace(&text, secret).is_some();
    assert!(stored(CLIENT) && stored(MANAGEMENT));
    let mut shown = vec![
        format!("{entry:?}\n{entry:#?}"),
        format!("{:?}", encode(&entry)),
        format!("{:?}", decode(text.as_bytes())),
        format!("{:?}", RegistrationToken::new(MANAGEMENT)),
    ];
    // Puts a secret in place of each value and of each name. A reader that quotes its input would then quote it.
    for at in text.match_indices(['"', ':', ',', '{', '[']).map(|(at, found)| at + found.len()) {
        for secret in [CLIENT, MANAGEMENT] {
            let quoted = serde_json::Value::from(secret).to_string();
            for insert in [quoted.clone(), format!("{quoted},"), format!("{quoted}:1,"), secret.to_owned()] {
                let Err(error) = decode(format!("{}{insert}{}", &text[..at], &text[at..]).as_bytes()) else { continue };
                shown.push(format!("{error} {error:?}"));
            }
        }
    }
    assert!(shown.len() > 500, "{}", shown.len());
    shown.sort();
    shown.dedup();
    for shown in shown {
        for secret in [CLIENT, MANAGEMENT] {
            assert_eq!(trace(&shown, secret), None, "of {secret:?} in {shown:?}");
        }
    }
}
