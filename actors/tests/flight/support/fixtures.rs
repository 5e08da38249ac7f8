//! The values that the stories are about.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Adopt, ConnectFault, Outcome, StoreTimeouts};
use tokenkeeper_actors::law::ledger::{Change, Commit, Login, LoginAccess, apply};
use tokenkeeper_actors::law::profile::{Evidence, Lost, NotSent, Profile, Refused, Tokens, Trouble};
use tokenkeeper_actors::values::record::{
    Access, Binding, Client, ClientAuth, Content, Grant, Issuer, Mark, MarkState, Record, RefreshCredential, Subject,
};
use tokenkeeper_actors::values::{
    AccessToken, BootId, Cause, DigestKey, ElapsedTime, Epoch, FlightId, Generation, Moment, Reason, RefreshToken,
    RenewalPlan, Scopes, TokenKind, Validity, WallTime,
};

/// The flight of the story.
pub(crate) const ME: FlightId = FlightId(0xA11CE);

/// A flight of a sibling process, or of this process before a restart.
pub(crate) const SIBLING: FlightId = FlightId(0xB0B);

pub(crate) const EPOCH: Epoch = Epoch::new(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The start of every story.
pub(crate) const START: Moment = Moment {
    wall: WallTime::from_millis(1_700_000_000_000),
    elapsed: ElapsedTime::from_millis(90_000_000),
    boot: BootId(1),
};

/// The moment `span` after `moment`, on both clocks.
pub(crate) fn after(moment: Moment, span: Duration) -> Moment {
    let wall = WallTime::from_millis(moment.wall.as_millis() + span.as_millis() as u64);
    Moment { wall, elapsed: moment.elapsed.after(span), ..moment }
}

/// No token that is there when a story begins will do.
pub(crate) fn insists() -> Adopt {
    Adopt::Since { since: after(START, millis(1)), margin: Duration::ZERO }
}

/// The moment `span` before `moment`, on both clocks.
pub(crate) fn before(moment: Moment, span: Duration) -> Moment {
    let span = span.as_millis() as u64;
    let wall = WallTime::from_millis(moment.wall.as_millis() - span);
    Moment { wall, elapsed: ElapsedTime::from_millis(moment.elapsed.as_millis() - span), ..moment }
}

/// The default profile, with a request time-out of 30 s.
pub(crate) fn profile() -> Profile {
    Profile { request_timeout: secs(30), ..Profile::default() }
}

/// The default time-outs, with a wait of 90 s for a claim.
pub(crate) fn timeouts() -> StoreTimeouts {
    StoreTimeouts { claim_wait: secs(90), ..StoreTimeouts::default() }
}

pub(crate) fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

pub(crate) fn rt(token: &str) -> RefreshCredential {
    RefreshCredential::new(RefreshToken::new(token), &digests())
}

pub(crate) fn issuer() -> Issuer {
    Issuer("https://as.example.com".to_owned())
}

pub(crate) fn binding() -> Binding {
    Binding {
        issuer: issuer(),
        client: Client { id: "client-1".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: "https://as.example.com/token".to_owned(),
        revocation_endpoint: Some("https://as.example.com/revoke".to_owned()),
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    }
}

pub(crate) fn scopes(scopes: &[&str]) -> Scopes {
    Scopes::new(scopes.iter().copied())
}

/// A login at [`START`], whose access token lives for `lifetime`.
pub(crate) fn login(refresh: Option<&str>, access: &str, at: Moment, lifetime: Duration) -> Login {
    Login {
        binding: binding(),
        requested: scopes(&["read", "write"]),
        granted: scopes(&["read"]),
        subject: None,
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: refresh.map(rt),
        access: Some(LoginAccess {
            token: AccessToken::new(access),
            kind: TokenKind::Bearer,
            validity: Validity::new(at, Some(lifetime)),
        }),
        at,
        begun_on: None,
    }
}

/// Epoch 1, with `rt-1` and the access token `at-1`, number 1, which has just expired.
pub(crate) fn signed_in() -> Record {
    changed(None, &Change::Install(Box::new(login(Some("rt-1"), "at-1", before(START, HOUR), HOUR))))
}

/// `record` after `change`, which must apply.
pub(crate) fn changed(record: Option<&Record>, change: &Change) -> Record {
    apply(record, change).unwrap_or_else(|why| panic!("{change:?} meets {why:?} in {record:?}"))
}

/// `record` after `flight` marked its refresh token at `at`, for the presentation with the number `presentations`.
pub(crate) fn marked(record: &Record, flight: FlightId, presentations: u32, at: Moment) -> Record {
    let mark = mark(record, flight, presentations, at);
    changed(Some(record), &Change::Mark { expected: record.version(), mark })
}

pub(crate) fn mark(record: &Record, flight: FlightId, presentations: u32, at: Moment) -> Mark {
    Mark {
        flight,
        digest: record.held().expect("a refresh token to mark").credential.digest(),
        presentations,
        number: record.number + 1,
        first: at,
        latest: at,
        timeout: secs(30),
        state: MarkState::Open,
    }
}

/// The mark in `record`, if there is one.
pub(crate) fn mark_of(record: Option<&Record>) -> Option<Mark> {
    record?.held()?.mark.clone()
}

/// The refresh token in `record`, if there is one.
pub(crate) fn refresh_of(record: Option<&Record>) -> Option<String> {
    Some(record?.held()?.credential.token().expose().to_owned())
}

/// The access token in `record`, if there is one.
pub(crate) fn access_of(record: Option<&Record>) -> Option<String> {
    Some(record?.grant()?.access.as_ref()?.token.expose().to_owned())
}

pub(crate) fn grant_of(record: &mut Record) -> &mut Grant {
    match &mut record.content {
        Content::Grant(grant) => grant,
        Content::Vacant | Content::Tombstone => panic!("there is no grant"),
    }
}

/// `record` after a sibling has refreshed it at `at`, with a token for an hour.
pub(crate) fn refreshed_by_sibling(record: &Record, access: &str, refresh: &str, at: Moment) -> Record {
    let marked = marked(record, SIBLING, 1, at);
    let commit = Commit {
        epoch: marked.epoch,
        sent: marked.held().map(|held| held.credential.digest()),
        repeated: false,
        access: Access {
            token: AccessToken::new(access),
            kind: TokenKind::Bearer,
            validity: Validity::new(at, Some(HOUR)),
            number: marked.number,
            cause: Cause::Expiry,
            flight: Some(SIBLING),
        },
        refresh: Some(rt(refresh)),
        granted: None,
        subject: None,
        binding: None,
        renewal: RenewalPlan::default(),
        at,
    };
    changed(Some(&marked), &Change::Commit(Box::new(commit)))
}

/// Adopts a stored token above generation 1.`number` that is good for at least half a minute.
pub(crate) fn above(number: u64) -> Adopt {
    Adopt::Above { floor: Some(Generation::stored(EPOCH, number)), margin: secs(30) }
}

/// An answer with these tokens, requested at [`START`] and good for an hour.
pub(crate) fn tokens(access: &str, refresh: Option<&str>) -> Tokens {
    Tokens {
        access: AccessToken::new(access),
        kind: TokenKind::Bearer,
        validity: Validity::new(START, Some(HOUR)),
        refresh: refresh.map(RefreshToken::new),
        granted: None,
        subject: None,
        binding: None,
    }
}

/// The usual answer: `at-2` and `rt-2`.
pub(crate) fn new_pair() -> Evidence {
    Evidence::Tokens(Box::new(tokens("at-2", Some("rt-2"))))
}

pub(crate) fn usable(tokens: Tokens) -> Evidence {
    Evidence::Tokens(Box::new(tokens))
}

pub(crate) fn subject(name: &str) -> Option<Subject> {
    Some(Subject(name.to_owned()))
}

pub(crate) fn refused(status: u16, error: &str) -> Evidence {
    let error = Some(error.to_owned()).filter(|word| !word.is_empty());
    Evidence::Refused(Refused { status, error, retry_after: None })
}

pub(crate) fn refused_until(status: u16, error: &str, retry_after: Duration) -> Evidence {
    match refused(status, error) {
        Evidence::Refused(refused) => Evidence::Refused(Refused { retry_after: Some(retry_after), ..refused }),
        other => other,
    }
}

pub(crate) const UNREACHABLE: Evidence = Evidence::NotSent(NotSent::Unreachable);
pub(crate) const NO_CONNECTION: ConnectFault = ConnectFault::NotSent(NotSent::Unreachable);
pub(crate) const TOO_LATE: Evidence = Evidence::NotSent(NotSent::TooLate);
pub(crate) const ANSWER_LOST: Evidence = Evidence::Lost(Lost::TimedOut);

pub(crate) fn nonce_wanted() -> Evidence {
    refused(400, "use_dpop_nonce")
}

pub(crate) fn failed(reason: Reason) -> Outcome {
    Outcome::Failed(Trouble::new(reason))
}

pub(crate) fn failed_for(reason: Reason, retry_after: Duration) -> Outcome {
    Outcome::Failed(Trouble { reason, retry_after: Some(retry_after) })
}

pub(crate) fn login_required(reason: Reason) -> Outcome {
    Outcome::LoginRequired(reason)
}
