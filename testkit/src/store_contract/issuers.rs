//! Issuers' entries, which are client registrations, metadata and cool-downs. Each is replaced only at the revision that its
//! writer read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged, apply_entry};
use tokenkeeper_actors::ports::store::{ClaimAnswer, ClaimScope, StoreEvent, StoreWatch, TokenStore};
use tokenkeeper_actors::values::issuer::{
    ApplicationType, ClientRegistration, Cooldown, EntryContent, EntryKind, IssuerEntry, IssuerKey,
    RegistrationManagement, RegistrationName, RegistrationOrigin, ServerMetadata,
};
use tokenkeeper_actors::values::record::{Client, ClientAuth, Issuer};
use tokenkeeper_actors::values::{
    BootId, ClientSecret, ElapsedTime, Moment, RegistrationToken, Revision, Scopes, WallTime,
};

use super::kit::{self, AT_LEAST, CONTENDERS, Desk, KEPT, NO_CLAIMS, ROUNDS, at_once, flight, moment};
use super::verdict::{ensure, same};
use super::{Breach, Harness, Verdict};
use crate::contract::within;

/// An empty place has no entry of any issuer, and only a change that expects none makes one.
pub async fn nothing_is_kept_of_an_issuer_at_first(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    for kind in [EntryKind::Metadata, EntryKind::Cooldown, EntryKind::Registration(name("loopback")?)] {
        let key = IssuerKey { issuer: issuer(), kind: kind.clone() };
        same("the entry of an unknown issuer", desk.store.load_issuer(&key).await?, None)?;
        refused(&desk, &issuer(), EntryChange::Remove { expected: Revision::new(1), kind }).await?;
    }
    refused(&desk, &issuer(), put(Some(0), document("{}"))).await?;
    refused(&desk, &issuer(), put(Some(1), document("{}"))).await?;
    same("the list of an empty place", desk.store.list_issuers().await?, Vec::new())?;
    let first = applied(&desk, &issuer(), put(None, document("{}"))).await?;
    same("the first revision", first.revision, Revision::new(1))?;
    KEPT
}

/// The claim on an entry has one holder, over all processes, and is free once it was ended. Another entry's is another one.
pub async fn an_issuers_entry_is_claimed_by_one_holder(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let key =
        |name_of: &str| Ok::<_, Breach>(IssuerKey { issuer: issuer(), kind: EntryKind::Registration(name(name_of)?) });
    let (ours, theirs) = (key("loopback")?, key("hosted")?);
    let claim = |store: &Arc<dyn TokenStore>, key: &IssuerKey, holder| {
        let (store, key) = (Arc::clone(store), key.clone());
        async move { store.claim_entry(&key, flight(holder), AT_LEAST).await }
    };
    let ClaimAnswer::Granted(held) = claim(&desk.store, &ours, 1).await? else {
        return Err(Breach::new("a free claim on an entry was not granted"));
    };
    same("the scope of a claim on an entry", held.scope, ClaimScope::Entry)?;
    for store in [&desk.store, &desk.sibling] {
        same("a claim on a claimed entry", claim(store, &ours, 2).await?, ClaimAnswer::Contended)?;
    }
    let other = claim(&desk.sibling, &theirs, 3).await?;
    ensure(matches!(other, ClaimAnswer::Granted(_)), || "the claim on one entry hinders another's".to_owned())?;
    desk.store.end_entry_claim(&ours, &held).await?;
    let next = claim(&desk.sibling, &ours, 2).await?;
    ensure(matches!(next, ClaimAnswer::Granted(_)), || "an ended claim on an entry is not free".to_owned())?;
    KEPT
}

/// Every field of an entry is stored and read back exactly, secrets included, in every shape an entry can take.
pub async fn an_issuers_entry_comes_back_whole(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (name, issuer) = (name("loopback https://mcp.example.com/mcp?key=\u{e9}\n")?, issuer());
    let full = full_registration(&desk, name.clone());
    let bare = ClientRegistration {
        origin: RegistrationOrigin::PreRegistered,
        client: Client { id: String::new(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
        redirect_uris: Vec::new(),
        application_type: None,
        grant_types: Vec::new(),
        scopes: None,
        management: None,
        metadata_digest: None,
        registered_at: WallTime::default(),
        registered_by: None,
        suspect_since: None,
        ..full.clone()
    };
    // An absent set of scopes differs from an empty one.
    let unscoped = ClientRegistration { scopes: Some(Scopes::default()), ..bare.clone() };
    for (revision, registration) in [full, bare, unscoped].into_iter().enumerate() {
        let expected = u64::try_from(revision).ok().filter(|revision| *revision > 0);
        let content = EntryContent::Registration(Box::new(registration));
        applied(&desk, &issuer, put(expected, content)).await?;
    }
    applied(&desk, &issuer, EntryChange::Remove { expected: Revision::new(3), kind: EntryKind::Registration(name) })
        .await?;
    let metadata = ServerMetadata {
        url: "https://as.example.com/.well-known/openid-configuration/tenant?a=b&c".to_owned(),
        document: DOCUMENT.to_owned(),
        fetched: moment(9),
        fresh_for: Some(Duration::from_millis(3_599_999)),
        etag: Some("W/\"7f\\\u{e9}\"".to_owned()),
    };
    let bare = ServerMetadata { fresh_for: None, etag: None, ..metadata.clone() };
    let stale = ServerMetadata { fresh_for: Some(Duration::ZERO), ..metadata.clone() };
    for (revision, metadata) in [metadata, bare, stale].into_iter().enumerate() {
        let expected = u64::try_from(revision).ok().filter(|revision| *revision > 0);
        applied(&desk, &issuer, put(expected, EntryContent::Metadata(Box::new(metadata)))).await?;
    }
    let latest = Moment {
        wall: WallTime::from_millis(u64::MAX),
        elapsed: ElapsedTime::from_millis(u64::MAX - 1),
        boot: BootId(u128::MAX - 2),
    };
    let cooldown = Cooldown { began: moment(9), span: Duration::from_millis(120_001) };
    let longest = Cooldown { began: latest, span: Duration::from_millis(u64::MAX) };
    let none = Cooldown { began: Moment::default(), span: Duration::ZERO };
    for (revision, cooldown) in [cooldown, longest, none].into_iter().enumerate() {
        let expected = u64::try_from(revision).ok().filter(|revision| *revision > 0);
        applied(&desk, &issuer, put(expected, EntryContent::Cooldown(cooldown))).await?;
    }
    KEPT
}

/// A change that expects no entry does not replace one. Its answer shows the entry that is there.
pub async fn an_issuers_entry_is_created_once(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let first = applied(&desk, &issuer(), put(None, document("{1}"))).await?;
    refused(&desk, &issuer(), put(None, document("{2}"))).await?;
    let answer = desk.sibling.change_issuer(&issuer(), put(None, document("{1}"))).await?;
    same("the answer to a sibling's second creation", answer, EntryChanged::Conflict(Some(Box::new(first))))?;
    KEPT
}

/// A change applies only at the revision it names. Each change that applies raises the revision by one. The answer to
/// any other change shows the entry that is there.
pub async fn an_issuers_entry_changes_only_at_its_revision(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let issuer = issuer();
    applied(&desk, &issuer, put(None, document("{1}"))).await?;
    for revision in 1..=3 {
        let written = applied(&desk, &issuer, put(Some(revision), document(&format!("{{{revision}}}")))).await?;
        same("the revision after a change", written.revision, Revision::new(revision + 1))?;
    }
    for revision in [0, 1, 3, 5, u64::MAX] {
        refused(&desk, &issuer, put(Some(revision), document("{stale}"))).await?;
        let expected = Revision::new(revision);
        refused(&desk, &issuer, EntryChange::Remove { expected, kind: EntryKind::Metadata }).await?;
    }
    // The next write of this process sees a sibling's write.
    let sibling = desk.sibling.change_issuer(&issuer, put(Some(4), document("{4}"))).await?;
    ensure(matches!(sibling, EntryChanged::Applied(_)), || "a sibling's change was refused".to_owned())?;
    refused(&desk, &issuer, put(Some(4), document("{stale}"))).await?;
    applied(&desk, &issuer, put(Some(5), document("{5}"))).await?;
    KEPT
}

/// Of many concurrent writes to one entry at one revision, exactly one applies. The answers to all others show its
/// entry.
pub async fn of_many_that_write_an_issuers_entry_one_does(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let key = IssuerKey { issuer: issuer(), kind: EntryKind::Metadata };
    for round in 0..u64::from(ROUNDS) {
        // The first round creates the entry.
        let expected = (round > 0).then_some(round);
        let attempts = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let change = put(expected, document(&format!("{{{round}.{number}}}")));
            async move { store.change_issuer(&issuer(), change).await }
        });
        let answers = at_once(attempts).await?;
        let won = answers.iter().map(|answer| matches!(answer, EntryChanged::Applied(_)));
        kit::one_winner("they wrote the entry", won)?;
        let entry = desk.store.load_issuer(&key).await?;
        let revision = entry.as_ref().map(|entry| entry.revision);
        same("the revision after one of many writes", revision, Some(Revision::new(round + 1)))?;
        for answer in answers {
            let shown = match answer {
                EntryChanged::Applied(entry) => Some(entry),
                EntryChanged::Conflict(current) => current,
            };
            same("the entry that one of many was shown", &shown, &entry)?;
        }
    }
    KEPT
}

/// A removed entry keeps its revision count. A writer that saw the entry before its removal, or saw none, cannot write
/// as if it were new.
pub async fn a_removed_entry_counts_on(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (issuer, kind) = (issuer(), EntryKind::Registration(name("loopback")?));
    let content = || Ok::<_, Breach>(EntryContent::Registration(Box::new(full_registration(&desk, name("loopback")?))));
    applied(&desk, &issuer, put(None, content()?)).await?;
    let remove = |expected| EntryChange::Remove { expected: Revision::new(expected), kind: kind.clone() };
    let removed = applied(&desk, &issuer, remove(1)).await?;
    same("a removed entry", removed, IssuerEntry { revision: Revision::new(2), content: None })?;
    for stale in [put(None, content()?), put(Some(1), content()?), remove(1)] {
        refused(&desk, &issuer, stale).await?;
    }
    let again = applied(&desk, &issuer, put(Some(2), content()?)).await?;
    same("the revision after a removal and a new entry", again.revision, Revision::new(3))?;
    refused(&desk, &issuer, put(Some(1), content()?)).await?;
    KEPT
}

/// Issuers with similar names have separate entries. So have the kinds and the names of registrations.
pub async fn issuers_and_their_entries_are_told_apart(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let issuers = [
        "https://as.example.com",
        "https://as.example.com/",
        "https://AS.example.com",
        "https://as.example.com/a%2Fb",
        "https://as.example.com/a/b",
        "https://as.example.com/a#b",
        "https://as.example.com/%",
        "https://as.example.com/_",
        "",
    ];
    let names = ["loopback", "LOOPBACK", "loopback ", "l%opback", "l_opback", "../loopback", "a#b", "a'b", ""];
    let mut all = Vec::new();
    for issuer in issuers {
        all.push(IssuerKey { issuer: Issuer(issuer.to_owned()), kind: EntryKind::Metadata });
        all.push(IssuerKey { issuer: Issuer(issuer.to_owned()), kind: EntryKind::Cooldown });
        for text in names {
            all.push(IssuerKey { issuer: Issuer(issuer.to_owned()), kind: EntryKind::Registration(name(text)?) });
        }
    }
    let mark = |number: usize| format!("entry-{number}");
    let span = |number: usize| Duration::from_millis(u64::try_from(number).unwrap_or(0));
    for (number, key) in all.iter().enumerate() {
        let content = match &key.kind {
            EntryKind::Metadata => document(&mark(number)),
            EntryKind::Cooldown => EntryContent::Cooldown(Cooldown { began: moment(9), span: span(number) }),
            EntryKind::Registration(name) => {
                let mut registration = full_registration(&desk, name.clone());
                registration.client.id = mark(number);
                EntryContent::Registration(Box::new(registration))
            }
        };
        let answer = desk.store.change_issuer(&key.issuer, put(None, content)).await?;
        ensure(matches!(answer, EntryChanged::Applied(_)), || format!("another entry is in the place of {key:?}"))?;
    }
    for (number, key) in all.iter().enumerate() {
        let found = match desk.sibling.load_issuer(key).await?.and_then(|entry| entry.content) {
            Some(EntryContent::Metadata(metadata)) => Some((EntryKind::Metadata, metadata.document)),
            Some(EntryContent::Registration(found)) => Some((EntryKind::Registration(found.name), found.client.id)),
            Some(EntryContent::Cooldown(found)) if found.span == span(number) => {
                Some((EntryKind::Cooldown, mark(number)))
            }
            Some(EntryContent::Cooldown(other)) => Some((EntryKind::Cooldown, format!("{other:?}"))),
            None => None,
        };
        same(&format!("the entry under {key:?}"), found, Some((key.kind.clone(), mark(number))))?;
    }
    let listed: BTreeSet<_> = desk.store.list_issuers().await?.into_iter().collect();
    same("the entries listed", listed, all.into_iter().collect())?;
    KEPT
}

/// The list has each entry of each issuer once, removed ones included, and no identity. The list of identities has no
/// issuer.
pub async fn every_issuers_entry_is_listed_once(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let other = Issuer("https://other.example.com".to_owned());
    applied(&desk, &issuer(), put(None, document("{1}"))).await?;
    applied(&desk, &issuer(), put(Some(1), document("{2}"))).await?;
    let registration = full_registration(&desk, name("loopback")?);
    applied(&desk, &issuer(), put(None, EntryContent::Registration(Box::new(registration)))).await?;
    applied(&desk, &other, put(None, document("{3}"))).await?;
    applied(&desk, &other, EntryChange::Remove { expected: Revision::new(1), kind: EntryKind::Metadata }).await?;
    refused(&desk, &Issuer("https://third.example.com".to_owned()), put(Some(1), document("{4}"))).await?;
    desk.applied(desk.login("rt-1")).await?;
    let mut due = vec![
        IssuerKey { issuer: issuer(), kind: EntryKind::Metadata },
        IssuerKey { issuer: issuer(), kind: EntryKind::Registration(name("loopback")?) },
        IssuerKey { issuer: other, kind: EntryKind::Metadata },
    ];
    due.sort();
    for store in [&desk.store, &desk.sibling] {
        let mut listed = store.list_issuers().await?;
        listed.sort();
        same("the entries listed", listed, due.clone())?;
        same("the identities listed", store.list().await?, vec![desk.who.clone()])?;
    }
    KEPT
}

/// A written entry is there when all handles are closed and the place is opened again.
pub async fn an_issuers_entry_outlives_its_handle(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let registration = full_registration(&desk, name("loopback")?);
    let entry = applied(&desk, &issuer(), put(None, EntryContent::Registration(Box::new(registration)))).await?;
    let Desk { place, store, sibling, .. } = desk;
    drop((store, sibling));
    let key = IssuerKey { issuer: issuer(), kind: EntryKind::Registration(name("loopback")?) };
    let again = place.open().await;
    same("the entry that a new process loads", again.load_issuer(&key).await?, Some(Box::new(entry)))?;
    same("the entries that a new process lists", again.list_issuers().await?, vec![key])?;
    KEPT
}

/// A watch reports every write to an entry, by this process and by others, removals included. The write is readable by
/// then.
pub async fn a_watch_tells_of_issuers_entries(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let key = IssuerKey { issuer: issuer(), kind: EntryKind::Metadata };
    let mut watch = desk.store.watch().await?;
    for round in 0..6_u64 {
        let store = if round % 2 == 0 { &desk.sibling } else { &desk.store };
        let change = match (round % 4, round) {
            (_, 0) => put(None, document("{}")),
            (3, _) => EntryChange::Remove { expected: Revision::new(round), kind: EntryKind::Metadata },
            _ => put(Some(round), document("{}")),
        };
        let heard = async {
            hears(&mut watch, harness.timeout(), &key).await?;
            Ok::<_, Breach>(desk.store.load_issuer(&key).await?.map(|entry| entry.revision))
        };
        let issuer = issuer();
        let (heard, written) = tokio::join!(heard, store.change_issuer(&issuer, change));
        ensure(matches!(written?, EntryChanged::Applied(_)), || format!("write {round} was refused"))?;
        same("the revision when news of its write came", heard?, Some(Revision::new(round + 1)))?;
        // A repeated event of this write must not count for the next one.
        watch = desk.store.watch().await?;
    }
    KEPT
}

/// No secret of a registration is in the debug output of a store or its answers, neither whole nor as a piece of eight
/// characters.
pub async fn an_issuers_entry_shows_no_secret(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut watch = desk.store.watch().await?;
    let registration = full_registration(&desk, name("loopback")?);
    let change = put(None, EntryContent::Registration(Box::new(registration)));
    let before = format!("{change:?}");
    let answer = desk.store.change_issuer(&issuer(), change.clone()).await?;
    let news = within(harness.timeout(), watch.next()).await;
    let refused = desk.sibling.change_issuer(&issuer(), change).await?;
    let key = IssuerKey { issuer: issuer(), kind: EntryKind::Registration(name("loopback")?) };
    let loaded = desk.sibling.load_issuer(&key).await?;
    let shown = format!("{before} {:?} {watch:?} {answer:?} {news:?} {refused:?} {loaded:?}", desk.store);
    for secret in [CLIENT_SECRET, MANAGEMENT_TOKEN] {
        let pieces = secret.as_bytes().windows(8).filter_map(|piece| std::str::from_utf8(piece).ok());
        let seen = pieces.into_iter().any(|piece| shown.contains(piece));
        ensure(!seen, || {
            "a secret, or a piece of one, is in what `Debug` shows of a store and its entries".to_owned()
        })?;
    }
    ensure(matches!(answer, EntryChanged::Applied(_)), || "a first registration was refused".to_owned())?;
    KEPT
}

const CLIENT_SECRET: &str = "cs_W9xu%2Bk!7Jd#mZ\u{e9}";
const MANAGEMENT_TOKEN: &str = "reg-\"Tq5\\Vn8Kc2\nHs6Lw";
const DOCUMENT: &str =
    "{\n\t\"issuer\": \"https://as.example.com/tenant\", \"x\": [1.0, 1e400, \"\\u0000\u{1F511}\"]\r\n}";

fn issuer() -> Issuer {
    Issuer("https://as.example.com/tenant".to_owned())
}

fn name(text: &str) -> Result<RegistrationName, Breach> {
    RegistrationName::new(text).map_err(|error| Breach::new(format!("no name of a registration: {error}")))
}

fn put(expected: Option<u64>, content: EntryContent) -> EntryChange {
    EntryChange::Put { expected: expected.map(Revision::new), content }
}

/// Metadata with this document.
fn document(document: &str) -> EntryContent {
    EntryContent::Metadata(Box::new(ServerMetadata {
        url: "https://as.example.com/.well-known/oauth-authorization-server/tenant".to_owned(),
        document: document.to_owned(),
        fetched: moment(0),
        fresh_for: None,
        etag: None,
    }))
}

/// A registration with every member set.
fn full_registration(desk: &Desk, name: RegistrationName) -> ClientRegistration {
    ClientRegistration {
        name,
        origin: RegistrationOrigin::Dynamic,
        client: Client {
            id: "https://host.example.com/client.json?a=b&c".to_owned(),
            secret: Some(ClientSecret::new(CLIENT_SECRET)),
            auth: ClientAuth::Basic,
            secret_expires_at: Some(WallTime::from_millis(1_900_000_000_001)),
        },
        redirect_uris: vec!["http://127.0.0.1:49152/cb-\u{e9}".to_owned(), "http://[::1]:49152/cb".to_owned()],
        application_type: Some(ApplicationType::Native),
        grant_types: vec!["refresh_token".to_owned(), "authorization_code".to_owned()],
        scopes: Some(Scopes::new(["write", "read", "write:all"])),
        management: Some(RegistrationManagement {
            uri: "https://as.example.com/tenant/register/7?x=\"".to_owned(),
            token: RegistrationToken::new(MANAGEMENT_TOKEN),
        }),
        metadata_digest: Some(std::array::from_fn(|index| u8::try_from(index * 8).unwrap_or(0))),
        registered_at: moment(3).wall,
        registered_by: Some(desk.who.clone()),
        suspect_since: Some(moment(5).wall),
    }
}

/// Makes a change, and compares the store's answer, and the loads of both handles afterwards, with the ledger. Only
/// for writes without concurrent writes.
async fn change(desk: &Desk, issuer: &Issuer, change: EntryChange) -> Result<Option<IssuerEntry>, Breach> {
    let key = IssuerKey { issuer: issuer.clone(), kind: change.kind() };
    let before = desk.store.load_issuer(&key).await?;
    let due = apply_entry(before.as_deref(), &change).ok().map(Box::new);
    let answer = desk.store.change_issuer(issuer, change).await?;
    let due_answer = match &due {
        Some(entry) => EntryChanged::Applied(entry.clone()),
        None => EntryChanged::Conflict(before.clone()),
    };
    same("the answer to a change of an issuer's entry", answer, due_answer)?;
    let now = due.clone().or(before);
    same("the entry loaded after a change", &desk.store.load_issuer(&key).await?, &now)?;
    same("the entry a sibling loads after a change", &desk.sibling.load_issuer(&key).await?, &now)?;
    Ok(due.map(|entry| *entry))
}

/// Makes a change that must apply.
async fn applied(desk: &Desk, issuer: &Issuer, due: EntryChange) -> Result<IssuerEntry, Breach> {
    let shown = format!("{due:?}");
    change(desk, issuer, due).await?.ok_or_else(|| Breach::new(format!("there is no reason to refuse {shown}")))
}

/// Makes a change that must be refused and must write nothing.
async fn refused(desk: &Desk, issuer: &Issuer, due: EntryChange) -> Result<(), Breach> {
    let shown = format!("{due:?}");
    let written = change(desk, issuer, due).await?;
    ensure(written.is_none(), || format!("this was written: {shown}"))
}

/// Waits until the watch reports the entry under `wanted`.
async fn hears(watch: &mut Box<dyn StoreWatch>, timeout: Duration, wanted: &IssuerKey) -> Result<(), Breach> {
    loop {
        match within(timeout, watch.next()).await {
            Some(StoreEvent::IssuerChanged(key)) if key == *wanted => return Ok(()),
            Some(StoreEvent::Lagged) => return Ok(()),
            Some(StoreEvent::Changed(_) | StoreEvent::IssuerChanged(_)) => {}
            Some(StoreEvent::Ended) => return Err(Breach::new("a watch ended while its store was open")),
            None => return Err(Breach::new(format!("no news of {wanted:?} within {timeout:?}"))),
        }
    }
}
