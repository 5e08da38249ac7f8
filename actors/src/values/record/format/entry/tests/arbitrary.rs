//! Arbitrary entries make the round trip.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::super::tests::arbitrary::{text, times, words};
use super::*;

fn wall_times() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime::from_millis)
}

fn clients() -> impl Strategy<Value = Client> {
    let auth = words::<ClientAuth>(&["none", "basic", "post", "private_key_jwt"]);
    (text(), option::of(text()), auth, option::of(wall_times())).prop_map(|(id, secret, auth, secret_expires_at)| {
        Client { id, secret: secret.map(ClientSecret::new), auth, secret_expires_at }
    })
}

fn registrations() -> impl Strategy<Value = EntryContent> {
    let origin = words::<RegistrationOrigin>(&["pre_registered", "metadata_document", "dynamic"]);
    let application_type = option::of(words::<ApplicationType>(&["native", "web"]));
    let identity = option::of("api:[a-z]{1,9}#[a-z]{1,9}".prop_map(|key| ServerIdentity::from_key(&key).unwrap()));
    let named = (text(), origin, clients());
    let texts = || vec(text(), 0..4);
    let sent = (texts(), application_type, texts(), option::of(texts()), option::of(any::<[u8; 32]>()));
    let kept = (option::of((text(), text())), wall_times(), identity, option::of(wall_times()));
    (named, sent, kept).prop_map(|((name, origin, client), sent, (management, registered_at, identity, suspect))| {
        let (redirect_uris, application_type, grant_types, scopes, metadata_digest) = sent;
        let management =
            management.map(|(uri, token)| RegistrationManagement { uri, token: RegistrationToken::new(token) });
        EntryContent::Registration(Box::new(ClientRegistration {
            name: RegistrationName::new(name).unwrap(),
            origin,
            client,
            redirect_uris,
            application_type,
            grant_types,
            scopes: scopes.map(Scopes::new),
            management,
            metadata_digest,
            registered_at,
            registered_by: identity,
            suspect_since: suspect,
        }))
    })
}

fn documents() -> impl Strategy<Value = EntryContent> {
    (text(), text(), times(), option::of(any::<u64>()), option::of(text())).prop_map(
        |(url, document, fetched, fresh_for, etag)| {
            let fresh_for = fresh_for.map(Duration::from_millis);
            EntryContent::Metadata(Box::new(ServerMetadata { url, document, fetched, fresh_for, etag }))
        },
    )
}

fn cooldowns() -> impl Strategy<Value = EntryContent> {
    (times(), any::<u64>()).prop_map(|(began, span)| {
        let span = Duration::from_millis(span);
        EntryContent::Cooldown(Cooldown { began, span })
    })
}

fn entries() -> impl Strategy<Value = IssuerEntry> {
    let content = prop_oneof![
        1 => Just(None),
        5 => registrations().prop_map(Some),
        3 => documents().prop_map(Some),
        2 => cooldowns().prop_map(Some),
    ];
    (1..=u64::MAX, content).prop_map(|(revision, content)| IssuerEntry { revision: Revision::new(revision), content })
}

proptest! {
    #[test]
    fn any_entry_makes_the_round_trip(entry in entries()) {
        let bytes = encode(&entry)?;
        let again = decode(bytes.expose_secret())?;
        prop_assert_eq!(&again, &entry);
        let rewritten = encode(&again)?;
        prop_assert_eq!(rewritten.expose_secret(), bytes.expose_secret());
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
