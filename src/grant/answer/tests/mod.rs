//! Every known answer format, and adversarial ones.

mod envelopes;
mod expiry;
mod odd;
mod providers;
mod words;

use http::{Response, StatusCode};
use tokenkeeper_actors::law::profile::{Evidence, Profile, Refused, Tokens};
use tokenkeeper_actors::values::{BootId, ElapsedTime, Moment, WallTime};

use super::read;
use crate::http::Body;
use crate::issuers::providers::Providers;

/// The time at which the request began: 2026-01-01T00:00:00Z.
const ASKED: Moment = Moment {
    wall: WallTime::from_millis(1_767_225_600_000),
    elapsed: ElapsedTime::from_millis(7_000_000),
    boot: BootId(1),
};

/// The profile of a built-in provider.
fn profile_of(provider: &str) -> Profile {
    Providers::builtin().named(provider).unwrap().profile()
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Evidence {
    let mut answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    read(&answer.body(Body::new(body.as_ref())).unwrap(), ASKED, ASKED.wall)
}

/// The tokens of an answer with status 200.
#[track_caller]
fn tokens(body: impl AsRef<[u8]>) -> Tokens {
    match answer(200, &[], body) {
        Evidence::Tokens(tokens) => *tokens,
        evidence => panic!("no tokens but {evidence:?}"),
    }
}

#[track_caller]
fn refusal(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Refused {
    match answer(status, headers, body) {
        Evidence::Refused(refused) => refused,
        evidence => panic!("no refusal but {evidence:?}"),
    }
}

/// The status and error code of a refusal.
#[track_caller]
fn word(status: u16, body: impl AsRef<[u8]>) -> (u16, Option<String>) {
    let refused = refusal(status, &[], body);
    (refused.status, refused.error)
}

fn said(status: u16, word: &str) -> (u16, Option<String>) {
    (status, Some(word.to_owned()))
}

fn refresh(tokens: &Tokens) -> Option<&str> {
    tokens.refresh.as_ref().map(|token| token.expose())
}

fn scopes(tokens: &Tokens) -> Option<Vec<&str>> {
    tokens.granted.as_ref().map(|scopes| scopes.iter().collect())
}

fn lifetime(tokens: &Tokens) -> Option<u64> {
    tokens.validity.lifetime().map(|lifetime| lifetime.as_secs())
}
