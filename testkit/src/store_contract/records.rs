//! Records, which are written whole, read whole, listed, and kept apart.

use std::collections::BTreeSet;

use tokenkeeper_actors::law::ledger::{Change, Changed, Conflict, Login, LoginAccess};
use tokenkeeper_actors::ports::store::LoginKey;
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, Parked, Subject};
use tokenkeeper_actors::values::{
    AccessToken, ClientSecret, DigestKey, DpopKey, Epoch, RefreshToken, Revision, Scopes, TokenKind, Version, WallTime,
};

use super::kit::{self, Desk, KEPT, flight, moment};
use super::logins::pending;
use super::verdict::{ensure, same, same_record};
use super::{Breach, Harness, Verdict};
use crate::contract::within;

/// An empty place has no record, no identity and no journal. Only a login, or a repeatable source's first commit,
/// makes a record.
pub async fn nothing_is_there_at_first(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    same("the record of an unknown identity", desk.load().await?, None)?;
    same("the list of an empty place", desk.store.list().await?, Vec::new())?;
    same("the journal of an unknown identity", desk.store.journal(&desk.who, 10).await?, Vec::new())?;
    desk.refused(desk.mark(Version::default(), "rt-1", 1), Conflict::Moved).await?;
    desk.refused(desk.commit(0, "rt-1", "rt-2", 1), Conflict::Moved).await?;
    same("the list after refused changes", desk.store.list().await?, Vec::new())?;
    KEPT
}

/// The first login makes the first epoch, the first revision and the first token number.
pub async fn a_login_begins_with_epoch_1_revision_1_and_number_1(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let record = desk.applied(desk.login("rt-1")).await?;
    same("the first version", record.version(), Version { epoch: Epoch::new(1), revision: Revision::new(1) })?;
    same("the first number", record.number, 1)?;
    KEPT
}

/// Every field of a record is stored and read back exactly, secrets included, in every shape a record can take.
pub async fn a_record_comes_back_whole(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sent = desk.digest(REFRESH_SECRET);
    let record = desk.applied(Change::Install(Box::new(full_login(&desk)))).await?;
    desk.applied(desk.mark(record.version(), REFRESH_SECRET, 1)).await?;
    desk.applied(Change::Spent { epoch: record.epoch, flight: flight(1), sent }).await?;
    let park = Some(Parked::SubjectChanged);
    desk.applied(Change::Withdraw { epoch: record.epoch, flight: flight(1), sent, earlier: None, park }).await?;
    let mut commit = kit::commit(1, Some(sent), None, 3);
    commit.granted = Some(Scopes::default());
    desk.applied(Change::Commit(Box::new(commit))).await?;
    desk.applied(Change::End { epoch: record.epoch, sent }).await?;
    let record = desk.applied(Change::Clear { epoch: record.epoch }).await?;
    ensure(record.dead.contains(&sent), || "a tombstone forgot its dead refresh tokens".to_owned())?;
    desk.applied(Change::Install(Box::new(Login { access: None, ..kit::login(None) }))).await?;
    KEPT
}

/// The revision grows by one with each write of every kind, through logout and login, and not with a refusal.
pub async fn each_write_moves_the_revision_by_one(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let epoch = Epoch::new(1);
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let sent = desk.digest("rt-1");
    let writes = [
        desk.mark(version, "rt-1", 1),
        kit::withdraw(epoch, 1, sent),
        desk.commit(1, "rt-1", "rt-2", 3),
        Change::Configure { epoch, renewal: kit::far_plan() },
        Change::Park { epoch, why: Parked::ClientRejected },
        Change::End { epoch, sent: desk.digest("rt-2") },
        Change::Clear { epoch },
        desk.login("rt-3"),
    ];
    for (due, write) in (2..).zip(writes) {
        let record = desk.applied(write).await?;
        same("the revision", record.revision, Revision::new(due))?;
        desk.refused(desk.mark(version, "rt-1", 1), Conflict::Moved).await?;
    }
    KEPT
}

/// The list has each identity with a record once, tombstones included, and no other identity.
pub async fn every_identity_with_a_record_is_listed_once(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let third = kit::identity("third")?;
    desk.applied(desk.login("rt-1")).await?;
    desk.sibling.change(&desk.other, desk.login("rt-2")).await?;
    desk.store.reserve(&third, desk.digest("rt-3"), moment(0)).await?;
    desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    for store in [&desk.store, &desk.sibling] {
        let mut listed = store.list().await?;
        listed.sort();
        let mut due = vec![desk.who.clone(), desk.other.clone()];
        due.sort();
        same("the list", listed, due)?;
    }
    KEPT
}

/// Identities with similar keys have separate records. They differ in case, in the path, or in characters with a
/// meaning in file systems, queries and patterns.
pub async fn identities_are_told_apart(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let accounts =
        ["work", "WORK", "Work", "wörk", "work.", "work:", "work*", "w%rk", "w_rk", "../work", "work/1", "a'b"];
    let paths = ["/mcp", "/MCP", "/mcp/1", "/m%2Fcp", "/"];
    // An account or a resource that the engine itself refuses needs no record.
    let mut all: BTreeSet<_> =
        accounts.iter().filter_map(|account| kit::named(account, "https://mcp.example.com/mcp").ok()).collect();
    all.extend(paths.iter().filter_map(|path| kit::named("work", &format!("https://mcp.example.com{path}")).ok()));
    for (number, who) in all.iter().enumerate() {
        desk.store.change(who, desk.login(&format!("rt-{number}"))).await?;
    }
    for (number, who) in all.iter().enumerate() {
        let record = desk.sibling.load(who).await?;
        let held = record.as_ref().and_then(|record| Some(record.held()?.credential.digest()));
        same(&format!("the token of {who:?}"), held, Some(desk.digest(&format!("rt-{number}"))))?;
    }
    same("the identities listed", desk.store.list().await?.into_iter().collect::<BTreeSet<_>>(), all)?;
    KEPT
}

/// A change is still there after all handles are closed and the place is opened again.
pub async fn what_was_written_outlives_its_handle(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let record = desk.applied(desk.login("rt-1")).await?;
    let Desk { place, store, sibling, who, key, .. } = desk;
    drop((store, sibling));
    let again = place.open().await;
    same_record("what a new process loads", again.load(&who).await?.as_deref(), Some(&record))?;
    let token = record.held().map(|held| held.credential.token().clone());
    let again = again.digest_key().await?;
    ensure(token.is_some_and(|token| again.digest(&token) == key.digest(&token)), || {
        "the digest key changed".to_owned()
    })?;
    KEPT
}

/// All handles on a store get the same key for its digests, on every call.
pub async fn all_processes_have_one_digest_key(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sibling = desk.sibling.digest_key().await?;
    let digest = |key: &DigestKey| key.digest(&RefreshToken::new("rt-1"));
    same("a sibling's digest of a token", digest(&sibling), digest(&desk.key))?;
    same("a second look at the digest of a token", digest(&desk.store.digest_key().await?), digest(&desk.key))?;
    KEPT
}

/// No secret is in the debug output of a store or its answers, neither whole nor as a piece of eight characters.
pub async fn a_store_shows_no_secret(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    let installed = desk.store.change(&desk.who, Change::Install(Box::new(full_login(&desk)))).await?;
    let login = pending(&desk, SEALED_SECRET.as_bytes());
    desk.store.put_login(LoginKey([1; 32]), login).await?;
    let news = within(harness.timeout(), watch.next()).await;
    let taken = desk.sibling.take_login(&LoginKey([1; 32]), moment(0)).await?;
    let shown = format!("{:?} {watch:?} {news:?} {installed:?} {taken:?}", desk.store);
    let bytes = format!("{:?}", SEALED_SECRET.as_bytes());
    for secret in
        [REFRESH_SECRET, ACCESS_SECRET, CLIENT_SECRET, DPOP_SECRET, SEALED_SECRET, bytes.trim_matches(['[', ']'])]
    {
        let pieces = secret.as_bytes().windows(8).filter_map(|piece| std::str::from_utf8(piece).ok());
        let seen = pieces.into_iter().any(|piece| shown.contains(piece));
        ensure(!seen, || {
            "a secret, or a piece of one, is in what `Debug` shows of a store and its answers".to_owned()
        })?;
    }
    match installed {
        Changed::Applied { .. } => KEPT,
        Changed::Conflict { .. } => Err(Breach::new("a first login was refused")),
    }
}

const REFRESH_SECRET: &str = "rt.Zq7/vT+pLw0=é~\"'\\\u{1F511}";
const ACCESS_SECRET: &str = "eyJ0eXAi.QkxPQg.s1gN4tuR3";
const CLIENT_SECRET: &str = "cs_W9xu%2Bk!7Jd#mZ";
const DPOP_SECRET: &str = "-----dpop\nkEy0Hr5Vb8Nc\n-----";
const SEALED_SECRET: &str = "pkce-Yt6Bn2Xe9Ga4Mf";

/// A login with every member set.
fn full_login(desk: &Desk) -> Login {
    let client = Client {
        id: "https://host.example.com/client.json?a=b&c".to_owned(),
        secret: Some(ClientSecret::new(CLIENT_SECRET)),
        auth: ClientAuth::Post,
        secret_expires_at: Some(WallTime::from_millis(1_900_000_000_001)),
    };
    let binding = Binding {
        issuer: Issuer("https://as.example.com/tenant/".to_owned()),
        client,
        token_endpoint: "https://as.example.com/tenant/token".to_owned(),
        revocation_endpoint: Some("https://as.example.com/tenant/revoke".to_owned()),
        resource: Some("https://mcp.example.com/mcp".to_owned()),
    };
    let token = AccessToken::new(ACCESS_SECRET);
    Login {
        binding,
        requested: Scopes::new(["write", "read", "write:all"]),
        granted: Scopes::new(["read", "write"]),
        subject: Some(Subject("auth0|5f7c\u{e9}".to_owned())),
        dpop_key: Some(DpopKey::new(DPOP_SECRET)),
        renewal: kit::far_plan(),
        refresh: Some(desk.token(REFRESH_SECRET)),
        access: Some(LoginAccess { token, kind: TokenKind::Dpop, validity: kit::an_hour() }),
        at: moment(3),
        begun_on: None,
    }
}
