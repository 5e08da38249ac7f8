//! The values that the schedules are about.

use std::time::Duration;

use tokenkeeper_actors::law::ledger::{Login, LoginAccess};
use tokenkeeper_actors::law::login::{LoginTask, LoginWish};
use tokenkeeper_actors::ports::login::IssuedLogin;
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, RefreshCredential, Subject};
use tokenkeeper_actors::values::{
    AccessToken, Account, AttemptId, BootId, Callback, DigestKey, ElapsedTime, LoginKey, LoginMethod, Moment,
    RefreshToken, RenewalPlan, Scopes, ServerIdentity, Target, TokenKind, Validity, WallTime,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The start of every schedule.
pub(crate) const START: Moment = Moment {
    wall: WallTime::from_millis(1_700_000_000_000),
    elapsed: ElapsedTime::from_millis(90_000_000),
    boot: BootId(1),
};

pub(crate) fn identity() -> ServerIdentity {
    ServerIdentity::new(Account::new("work").unwrap(), Target::mcp("https://mcp.example.com/mcp").unwrap())
}

pub(crate) fn another_identity() -> ServerIdentity {
    ServerIdentity::new(Account::new("home").unwrap(), Target::mcp("https://mcp.example.com/mcp").unwrap())
}

pub(crate) fn digests() -> DigestKey {
    DigestKey::new([7; 32])
}

pub(crate) fn rt(token: &str) -> RefreshCredential {
    RefreshCredential::new(RefreshToken::new(token), &digests())
}

/// The attempt of this process.
pub(crate) fn attempt(who: char) -> AttemptId {
    AttemptId(u128::from(u32::from(who)))
}

/// The key of the request that was prepared as this one, counted from 1.
pub(crate) fn key(number: u8) -> LoginKey {
    LoginKey([number; 32])
}

pub(crate) fn callback(number: u8, answer: &str) -> Callback {
    Callback::new(key(number), answer)
}

pub(crate) fn scopes(scopes: &[&str]) -> Scopes {
    Scopes::new(scopes.iter().copied())
}

pub(crate) fn wish() -> LoginWish {
    LoginWish {
        scopes: scopes(&["read"]),
        method: LoginMethod::Redirect("http://127.0.0.1:7777/callback".to_owned()),
        same_subject: false,
        extends: false,
    }
}

pub(crate) fn asks() -> LoginTask {
    LoginTask::Ask(wish())
}

/// Asks for more scopes, of the person who is signed in.
pub(crate) fn steps_up() -> LoginTask {
    LoginTask::Ask(LoginWish { scopes: scopes(&["admin"]), same_subject: true, extends: true, ..wish() })
}

pub(crate) fn asks_by_device() -> LoginTask {
    LoginTask::Ask(LoginWish { method: LoginMethod::Device, ..wish() })
}

pub(crate) fn completes(number: u8, answer: &str) -> LoginTask {
    LoginTask::Complete(callback(number, answer))
}

pub(crate) fn binding() -> Binding {
    Binding {
        issuer: Issuer("https://as.example.com".to_owned()),
        client: Client { id: "client-1".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        token_endpoint: "https://as.example.com/token".to_owned(),
        revocation_endpoint: Some("https://as.example.com/revoke".to_owned()),
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    }
}

fn access(tag: &str, at: Moment) -> LoginAccess {
    LoginAccess {
        token: AccessToken::new(format!("at-{tag}")),
        kind: TokenKind::Bearer,
        validity: Validity::new(at, Some(HOUR)),
    }
}

/// The tokens `at-tag` and `rt-tag` of `person`.
pub(crate) fn tokens(tag: &str, person: &str, at: Moment) -> IssuedLogin {
    IssuedLogin {
        binding: binding(),
        requested: scopes(&["read"]),
        granted: scopes(&["read"]),
        subject: Some(Subject(person.to_owned())),
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: Some(RefreshToken::new(format!("rt-{tag}"))),
        access: Some(access(tag, at)),
    }
}

/// An import of `at-tag` and `rt-tag`, of alice.
pub(crate) fn import(tag: &str, at: Moment) -> Login {
    Login {
        binding: binding(),
        requested: scopes(&["read"]),
        granted: scopes(&["read"]),
        subject: Some(Subject("alice".to_owned())),
        dpop_key: None,
        renewal: RenewalPlan::default(),
        refresh: Some(rt(&format!("rt-{tag}"))),
        access: Some(access(tag, at)),
        at,
        begun_on: None,
    }
}
