//! Arbitrary records make the round trip.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::words::Word;
use super::*;
use crate::values::SourceSettings;

/// Any text. Often JSON must escape it, or it begins like a secret in hexadecimal.
pub(in super::super) fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec!['"', '\\', '\n', '\0', '\u{1f}', '\u{7f}', 'ü', '\u{1f600}', 'h', 'a']);
    let chars = |odd| vec(prop_oneof![any::<char>(), odd], 0..24).prop_map(String::from_iter);
    prop_oneof![chars(odd.clone()), chars(odd).prop_map(|tail| format!("hex:{tail}")), "[A-Za-z0-9._~-]{0,80}"]
}

pub(in super::super) fn times() -> impl Strategy<Value = Moment> {
    (any::<u64>(), any::<u64>(), any::<u128>()).prop_map(|(wall, elapsed, boot)| Moment {
        wall: WallTime::from_millis(wall),
        elapsed: ElapsedTime::from_millis(elapsed),
        boot: BootId(boot),
    })
}

fn digests() -> impl Strategy<Value = KeyedDigest> {
    any::<[u8; 32]>().prop_map(KeyedDigest::from_bytes)
}

fn flights() -> impl Strategy<Value = FlightId> {
    any::<u128>().prop_map(FlightId)
}

fn scopes() -> impl Strategy<Value = Scopes> {
    vec(text(), 0..4).prop_map(Scopes::new)
}

pub(in super::super) fn words<T: Word + Clone + std::fmt::Debug + 'static>(
    words: &[&str],
) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(words.iter().filter_map(|word| T::meant_by(word)).collect::<Vec<_>>())
}

fn parked() -> impl Strategy<Value = Parked> {
    words(&["client_rejected", "issuer_changed", "subject_changed"])
}

fn bindings() -> impl Strategy<Value = Binding> {
    let auth = words::<ClientAuth>(&["none", "basic", "post", "private_key_jwt"]);
    let client = (text(), option::of(text()), auth, option::of(any::<u64>()));
    (text(), client, text(), option::of(text()), option::of(text())).prop_map(
        |(issuer, (id, secret, auth, expiry), token_endpoint, revocation_endpoint, resource)| Binding {
            issuer: Issuer(issuer),
            client: Client {
                id,
                secret: secret.map(ClientSecret::new),
                auth,
                secret_expires_at: expiry.map(WallTime::from_millis),
            },
            token_endpoint,
            revocation_endpoint,
            resource,
        },
    )
}

/// Marks of the token with this digest, for a record whose highest number is `number`.
fn marks(digest: KeyedDigest, number: u64) -> impl Strategy<Value = Mark> {
    let state = words(&["open", "spent"]);
    (flights(), 1..=u32::MAX, 0..=number, times(), times(), any::<u64>(), state).prop_map(
        move |(flight, presentations, number, first, latest, timeout, state)| Mark {
            flight,
            digest,
            presentations,
            number,
            first,
            latest,
            timeout: Duration::from_millis(timeout),
            state,
        },
    )
}

fn refreshes(number: u64) -> impl Strategy<Value = Refresh> {
    let held = (text(), digests(), times()).prop_flat_map(move |(token, digest, since)| {
        option::of(marks(digest, number)).prop_map(move |mark| {
            let credential = RefreshCredential::from_stored(RefreshToken::new(token.clone()), digest);
            Refresh::Held(Held { credential, since, mark })
        })
    });
    prop_oneof![1 => Just(Refresh::None), 1 => digests().prop_map(Refresh::Ended), 4 => held]
}

fn accesses(number: u64) -> impl Strategy<Value = Access> {
    let lifetime = option::of(1..=10 * 365 * 24 * 60 * 60 * 1_000_u64);
    let cause = words(&["login", "expiry", "early", "keep_alive", "refusal", "force"]);
    (text(), words(&["bearer", "dpop"]), times(), lifetime, 0..=number, cause, option::of(flights())).prop_map(
        |(token, kind, anchored, lifetime, number, cause, flight)| Access {
            token: AccessToken::new(token),
            kind,
            validity: Validity::new(anchored, lifetime.map(Duration::from_millis)),
            number,
            cause,
            flight,
        },
    )
}

fn renewals() -> impl Strategy<Value = RenewalPlan> {
    let name = || "[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,5}|-[a-z0-9]{1,5}){0,3}";
    (name(), words(&["single_use", "repeatable"]), option::of(name()), any::<(bool, bool)>(), option::of(text()))
        .prop_map(|(source, spending, provider, (never_replay, server_named), settings)| RenewalPlan {
            source: SourceName::new(source).unwrap(),
            spending,
            provider: provider.map(|name| ProviderName::new(name).unwrap()),
            never_replay,
            server_named,
            settings: settings.map(SourceSettings::new),
        })
}

fn grants(number: u64) -> impl Strategy<Value = Grant> {
    let who = (scopes(), scopes(), option::of(text()), option::of(text()));
    let since = option::of(any::<u64>().prop_map(WallTime::from_millis));
    let tokens = (refreshes(number), option::of(accesses(number)), option::of(parked()), since, any::<bool>());
    (bindings(), who, renewals(), tokens).prop_map(
        |(binding, (requested, granted, subject, key), renewal, (refresh, access, parked, signed_in, rotated))| Grant {
            binding,
            requested,
            granted,
            subject: subject.map(Subject),
            dpop_key: key.map(DpopKey::new),
            renewal,
            refresh,
            access,
            parked,
            signed_in,
            rotated,
        },
    )
}

fn prompts(written: u64) -> impl Strategy<Value = Prompt> {
    let states = words(&["open", "answered", "denied", "cancelled", "timed_out", "failed", "aborted"]);
    (any::<u128>(), any::<[u8; 32]>(), states, times(), 0..=written, any::<u64>()).prop_map(
        |(attempt, key, state, at, revision, expires)| Prompt {
            attempt: AttemptId(attempt),
            key: LoginKey(key),
            state,
            at,
            revision: Revision::new(revision),
            expires: WallTime::from_millis(expires),
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    let dead = (vec(digests(), 0..20), vec(digests(), 0..3), 0..20_usize).prop_map(|(dead, logins, from_dead)| {
        let mut known = DeadDigests::default();
        dead.iter().take(from_dead).chain(&logins).for_each(|digest| known.came_with_login(*digest));
        dead.into_iter().for_each(|digest| known.remember(digest));
        known
    });
    (any::<[u64; 2]>(), any::<u64>(), dead).prop_flat_map(|([epoch, revision], number, dead)| {
        let grant = grants(number).prop_map(|grant| Content::Grant(Box::new(grant)));
        let contents = prop_oneof![1 => Just(Content::Vacant), 1 => Just(Content::Tombstone), 5 => grant];
        (contents, proptest::option::of(prompts(revision))).prop_map(move |(content, prompt)| Record {
            prompt,
            epoch: Epoch::new(epoch),
            revision: Revision::new(revision),
            number,
            dead: dead.clone(),
            content,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_makes_the_round_trip(record in records()) {
        let bytes = encode(&record)?;
        let again = decode(bytes.expose_secret())?;
        assert_same(&again, &record);
        let rewritten = encode(&again)?;
        prop_assert_eq!(rewritten.expose_secret(), bytes.expose_secret());
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
