pub(super) mod arbitrary;
mod damage;
mod fixtures;
mod secrets;

use std::time::Duration;

use secrecy::ExposeSecret;

use super::super::{
    Access, Binding, Client, ClientAuth, Content, DeadDigests, Grant, Held, Issuer, Mark, MarkState, Parked, Prompt,
    PromptEnd, PromptState, ProviderName, Record, Refresh, RefreshCredential, RenewalPlan, SourceName, Spending,
    Subject,
};
use super::{FormatError, decode, encode};
use crate::values::{
    AccessToken, AttemptId, BootId, Cause, ClientSecret, DigestKey, DpopKey, ElapsedTime, Epoch, FlightId, KeyedDigest,
    LoginKey, Moment, RefreshToken, Revision, Scopes, TokenKind, Validity, WallTime,
};

/// Marked secrets. Any eight consecutive characters of one of these occur nowhere else.
const ACCESS: &str = "at-Xq7vJm2ZrK9wLt4BnC8y";
const REFRESH: &str = "rt-Gd5hWs1PfU6kVe3AoM0x";
pub(super) const CLIENT: &str = "cs-Yb8cRj4NiT7lQg2DzH5u/+";
/// This secret contains characters that JSON must escape, so that it is stored in hexadecimal.
const DPOP: &str = "{\"kty\":\"EC\",\"d\":\"dk-Ew6aSx9FvO3mIp1\"}\n\\Kb4u";
const MARKED: [&str; 4] = [ACCESS, REFRESH, CLIENT, DPOP];

/// Fails when `shown` contains any eight consecutive characters of a marked secret. Also detects its other likely
/// forms, which are quoted, URL-encoded, in Base64 of either alphabet (at each of the three offsets) and in
/// hexadecimal.
fn assert_unmarked(shown: &str) {
    for secret in MARKED {
        assert_eq!(trace(shown, secret), None, "of {secret:?} in {shown:?}");
    }
}

pub(super) fn trace(shown: &str, secret: &str) -> Option<String> {
    let url = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let bytes = |radix: fn(&u8) -> String| secret.as_bytes().iter().map(radix).collect::<String>();
    let mut forms = vec![
        secret.to_owned(),
        format!("{secret:?}"),
        url,
        bytes(|byte| format!("{byte:02x}")),
        bytes(|byte| format!("{byte:02X}")),
        bytes(|byte| format!("{byte}, ")),
    ];
    for offset in 0..3 {
        let standard = base64(&secret.as_bytes()[offset..]);
        forms.push(standard.replace('+', "-").replace('/', "_"));
        forms.push(standard);
    }
    let pieces = forms.iter().flat_map(|form| {
        let form: Vec<char> = form.chars().collect();
        form.windows(8).map(String::from_iter).collect::<Vec<_>>()
    });
    pieces.into_iter().find(|piece| shown.contains(piece))
}

/// Base64 of the complete groups of three bytes (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(ALPHABET[bits as usize % 64]);
    let group = |[a, b, c]: &[u8; 3]| u32::from_be_bytes([0, *a, *b, *c]);
    bytes.as_chunks().0.iter().map(group).flat_map(|bits| [18, 12, 6, 0].map(|shift| digit(bits >> shift))).collect()
}

pub(super) fn moment(wall: u64, elapsed: u64) -> Moment {
    Moment {
        wall: WallTime::from_millis(wall),
        elapsed: ElapsedTime::from_millis(elapsed),
        boot: BootId(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
    }
}

fn digest(byte: u8) -> KeyedDigest {
    KeyedDigest::from_bytes([byte; 32])
}

fn credential() -> RefreshCredential {
    RefreshCredential::new(RefreshToken::new(REFRESH), &DigestKey::new([7; 32]))
}

/// A record with every mandatory member set, and none at its default.
fn full() -> Record {
    let mark = Mark {
        flight: FlightId(u128::MAX - 1),
        digest: credential().digest(),
        presentations: 2,
        number: 43,
        first: moment(1_790_000_000_000, 5_000),
        latest: moment(1_790_000_031_000, 36_000),
        timeout: Duration::from_secs(30),
        state: MarkState::Spent,
    };
    let grant = Grant {
        binding: Binding {
            issuer: Issuer("https://as.example.com".into()),
            client: Client {
                id: "client-1".into(),
                secret: Some(ClientSecret::new(CLIENT)),
                auth: ClientAuth::Post,
                secret_expires_at: Some(WallTime::from_millis(1_893_456_000_000)),
            },
            token_endpoint: "https://as.example.com/token".into(),
            revocation_endpoint: Some("https://as.example.com/revoke".into()),
            resource: Some("https://mcp.example.com/mcp".into()),
        },
        requested: Scopes::new(["files:read", "files:write", "offline_access"]),
        granted: Scopes::new(["files:read", "offline_access"]),
        subject: Some(Subject("user-\"7\" ü".into())),
        dpop_key: Some(DpopKey::new(DPOP)),
        renewal: RenewalPlan {
            source: SourceName::new("jwt_bearer").unwrap(),
            spending: Spending::Repeatable,
            provider: Some(ProviderName::new("notion").unwrap()),
            never_replay: true,
            server_named: false,
            settings: None,
        },
        refresh: Refresh::Held(Held {
            credential: credential(),
            since: moment(1_789_999_000_000, 4_000),
            mark: Some(mark),
        }),
        access: Some(Access {
            token: AccessToken::new(ACCESS),
            kind: TokenKind::Dpop,
            validity: Validity::new(moment(1_789_998_999_000, 3_000), Some(Duration::from_secs(3_600))),
            number: 42,
            cause: Cause::Refusal,
            flight: Some(FlightId(0xf1)),
        }),
        parked: Some(Parked::SubjectChanged),
        signed_in: Some(WallTime::from_millis(1_699_999_990_000)),
        rotated: true,
    };
    Record {
        epoch: Epoch::new(3),
        revision: Revision::new(17),
        number: 43,
        dead: DeadDigests::from_iter([digest(0xd1), digest(0xd2)]),
        content: Content::Grant(Box::new(grant)),
        prompt: Some(Prompt {
            attempt: AttemptId(0xa7),
            key: LoginKey([0x5e; 32]),
            state: PromptState::Ended(PromptEnd::Denied),
            at: moment(1_789_999_500_000, 4_500),
            revision: Revision::new(16),
            expires: WallTime::from_millis(1_790_000_100_000),
        }),
    }
}

/// The record of an identity for which a person is asked to sign in.
fn vacant() -> Record {
    let prompt = full().prompt.map(|prompt| Prompt { state: PromptState::Open, ..prompt });
    Record { epoch: Epoch::new(0), content: Content::Vacant, dead: DeadDigests::default(), prompt, ..full() }
}

fn tombstone() -> Record {
    Record { content: Content::Tombstone, ..full() }
}

/// `record`, with a token that a login came with.
fn with_login(digest: KeyedDigest, mut record: Record) -> Record {
    record.dead.came_with_login(digest);
    record
}

/// `full` with its grant changed.
fn with(change: impl FnOnce(&mut Grant)) -> Record {
    let mut record = full();
    if let Content::Grant(grant) = &mut record.content {
        change(grant);
    }
    record
}

/// `full` with its mark changed.
fn with_mark(change: impl FnOnce(&mut Mark)) -> Record {
    with(|grant| {
        if let Refresh::Held(Held { mark: Some(mark), .. }) = &mut grant.refresh {
            change(mark);
        }
    })
}

fn encoded(record: &Record) -> Result<String, FormatError> {
    Ok(String::from_utf8_lossy(encode(record)?.expose_secret()).into_owned())
}

/// Asserts that two records have the same members. Their own equality compares credentials by digest alone.
fn assert_same(one: &Record, other: &Record) {
    let token = |record: &Record| record.held().map(|held| held.credential.token().clone());
    assert_eq!(one, other);
    assert_eq!(token(one), token(other));
}

#[test]
fn every_kind_of_record_comes_back() -> Result<(), FormatError> {
    let kinds = [
        full(),
        tombstone(),
        with(|grant| grant.refresh = Refresh::None),
        with(|grant| grant.refresh = Refresh::Ended(digest(0xd2))),
        with(|grant| grant.access = None),
        with(|grant| grant.parked = None),
        with(|grant| grant.renewal = RenewalPlan::default()),
        with_mark(|mark| mark.state = MarkState::Open),
    ];
    kinds.iter().try_for_each(|record| {
        assert_same(&decode(encode(record)?.expose_secret())?, record);
        Ok(())
    })
}

#[test]
fn spans_are_kept_to_the_millisecond_and_never_flatter_a_token() -> Result<(), FormatError> {
    let nanos = Duration::from_nanos;
    let again = |lifetime, timeout| -> Result<_, FormatError> {
        let mut record = with_mark(|mark| mark.timeout = timeout);
        if let Content::Grant(grant) = &mut record.content {
            grant.access.iter_mut().for_each(|access| access.validity = Validity::new(moment(1, 1), lifetime));
        }
        let record = decode(encode(&record)?.expose_secret())?;
        let timeout = record.held().and_then(|held| held.mark.as_ref()).map(|mark| mark.timeout);
        Ok((record.lease().and_then(|lease| lease.validity().lifetime()), timeout))
    };
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!(again(Some(nanos(2_999_999)), nanos(2_000_001))?, (millis(2), millis(3)));
    assert_eq!(again(Some(nanos(1)), nanos(1))?, (millis(1), millis(1)));
    assert_eq!(again(None, nanos(0))?, (None, millis(0)));
    assert_eq!(again(Some(Duration::ZERO), Duration::MAX)?, (None, millis(u64::MAX)));
    Ok(())
}
