//! Removals of identities that were logged out and will not be used again.

use std::sync::Arc;

use secrecy::SecretSlice;
use tokenkeeper_actors::law::ledger::{BegunOn, Change, Changed, Commit, Conflict, Login};
use tokenkeeper_actors::ports::store::{
    EventKind, JournalLine, LoginKey, PendingLogin, Removal, Reservation, StoreEvent, TokenStore,
};
use tokenkeeper_actors::values::record::{Content, Prompt, PromptState, Record};
use tokenkeeper_actors::values::{AttemptId, Revision, Version};

use super::kit::{self, Desk, KEPT, ROUNDS, moment};
use super::logins::pending;
use super::verdict::{Breach, ensure, same, same_record};
use super::{Harness, Verdict};
use crate::contract::within;

/// A removal leaves nothing of an identity, and everything of another one. No later line begins its journal again.
pub async fn a_removal_leaves_nothing_of_its_identity(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let line = JournalLine { at: moment(1), flight: None, kind: EventKind::LoggedIn, reason: None };
    let (ours, theirs) = (LoginKey([1; 32]), LoginKey([2; 32]));
    desk.store.put_login(ours, pending(&desk, b"ours")).await?;
    let other = PendingLogin {
        identity: desk.other.clone(),
        sealed: SecretSlice::from(b"theirs".to_vec()),
        ..pending(&desk, b"theirs")
    };
    desk.store.put_login(theirs, other).await?;
    let tombstone = signed_out(&desk).await?;
    desk.store.change(&desk.other, desk.login("rt-other")).await?;
    for who in [&desk.who, &desk.other] {
        desk.store.note(who, line.clone()).await?;
    }
    desk.store.reserve(&desk.who, desk.digest("rt-reserved"), moment(0)).await?;
    same("the answer to a removal", desk.sibling.remove(&desk.who, tombstone.version()).await?, Removal::Done)?;
    desk.store.note(&desk.who, line.clone()).await?;
    for store in [&desk.store, &desk.sibling, &desk.place.open().await] {
        same_record("what is loaded after a removal", store.load(&desk.who).await?.as_deref(), None)?;
        same("the list after a removal", store.list().await?, vec![desk.other.clone()])?;
        same("the journal after a removal", store.journal(&desk.who, 9).await?, Vec::new())?;
        same("the other identity's journal", store.journal(&desk.other, 9).await?, vec![line.clone()])?;
        ensure(store.peek_login(&ours, moment(0)).await?.is_none(), || "a pending login outlived its identity".into())?;
        ensure(store.load(&desk.other).await?.is_some(), || "another identity's record was removed".into())?;
    }
    ensure(desk.store.peek_login(&theirs, moment(0)).await?.is_some(), || "another's pending login is gone".into())?;
    let again = desk.store.remove(&desk.who, tombstone.version()).await?;
    same("the answer to a second removal", again, Removal::Conflict { current: None })?;
    KEPT
}

/// Only the tombstone that was read is removed. A grant, a later tombstone and an open prompt stay, and the answer shows them.
pub async fn only_the_tombstone_that_was_read_is_removed(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    same("a removal without a record", removed(&desk, Version::default()).await?, Removal::Conflict { current: None })?;
    let grant = desk.applied(desk.login("rt-1")).await?;
    stays(&desk, &grant, grant.version()).await?;
    let first = desk.applied(Change::Clear { epoch: grant.epoch }).await?;
    stays(&desk, &first, grant.version()).await?;
    let expected = first.version();
    let asked = desk.applied(Change::Prompt { expected, prompt: Box::new(prompt()) }).await?;
    for version in [expected, asked.version()] {
        stays(&desk, &asked, version).await?;
    }
    let second = desk.applied(Change::Clear { epoch: first.epoch }).await?;
    stays(&desk, &second, expected).await?;
    same("the removal of the tombstone", removed(&desk, second.version()).await?, Removal::Done)?;
    KEPT
}

/// A result that was obtained for a record that was removed makes no record.
pub async fn nothing_late_lands_after_a_removal(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let asked = Change::Prompt { expected: Version::default(), prompt: Box::new(prompt()) };
    let epoch = desk.applied(asked).await?.epoch;
    desk.applied(Change::AnswerPrompt { epoch, prompt: Box::new(prompt()) }).await?;
    let tombstone = desk.applied(Change::Clear { epoch }).await?;
    same("the removal of the tombstone", removed(&desk, tombstone.version()).await?, Removal::Done)?;
    let begun_on = Some(BegunOn { epoch, attempt: AttemptId(7), same_subject: true });
    let sent = desk.digest("rt-1");
    let late = [
        Change::Install(Box::new(Login { begun_on, ..kit::login(Some(desk.token("rt-1"))) })),
        Change::AnswerPrompt { epoch, prompt: Box::new(prompt()) },
        Change::Prompt { expected: tombstone.version(), prompt: Box::new(prompt()) },
        desk.commit(0, "rt-1", "rt-2", 9),
        desk.mark(tombstone.version(), "rt-1", 1),
        Change::End { epoch, sent },
        Change::Commit(Box::new(Commit { binding: None, ..kit::commit(0, None, None, 1) })),
    ];
    for change in late {
        desk.refused(change, Conflict::Moved).await?;
    }
    same("the list afterwards", desk.sibling.list().await?, Vec::new())?;
    KEPT
}

/// Of a removal and a login at once, the login is never lost. The refresh token of the removed record is free again.
pub async fn a_login_beside_a_removal_is_kept(harness: &dyn Harness) -> Verdict {
    for _ in 0..ROUNDS {
        let desk = Desk::open(harness).await?;
        let tombstone = signed_out(&desk).await?;
        let (login, expected) = (desk.login("rt-2"), tombstone.version());
        let removal = desk.sibling.remove(&desk.who, expected);
        let (removal, installed) = tokio::join!(removal, desk.store.change(&desk.who, login));
        ensure(matches!(installed?, Changed::Applied { .. }), || "a login was refused beside a removal".to_owned())?;
        let record = desk.load().await?;
        let is_kept = record.is_some_and(|record| matches!(record.content, Content::Grant(_)));
        ensure(is_kept, || format!("a login was lost to a removal, whose answer was {removal:?}"))?;
        same("the list with the login", desk.sibling.list().await?, vec![desk.who.clone()])?;
        let reserved = desk.store.reserve(&desk.other, desk.digest("rt-1"), moment(0)).await?;
        same("the reservation of a removed record's token", reserved, Reservation::Reserved)?;
    }
    KEPT
}

/// A watch reports a removal, and not before it can be seen.
pub async fn a_watch_tells_of_a_removal(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let tombstone = signed_out(&desk).await?;
    let stores: [&Arc<dyn TokenStore>; 2] = [&desk.store, &desk.sibling];
    let mut watches = Vec::new();
    for store in stores {
        watches.push((store, store.watch().await?));
    }
    same("the answer to a removal", removed(&desk, tombstone.version()).await?, Removal::Done)?;
    for (store, mut watch) in watches {
        loop {
            match within(harness.timeout(), watch.next()).await {
                Some(StoreEvent::Changed(identity)) if identity == desk.who => {}
                Some(StoreEvent::Lagged) => {}
                Some(_) => continue,
                None => return Err(Breach::new("a watch did not tell of a removal")),
            }
            if store.load(&desk.who).await?.is_none() {
                break;
            }
        }
    }
    KEPT
}

/// The tombstone of a login that is over.
async fn signed_out(desk: &Desk) -> Result<Record, Breach> {
    let epoch = desk.applied(desk.login("rt-1")).await?.epoch;
    desk.applied(Change::Clear { epoch }).await
}

async fn removed(desk: &Desk, expected: Version) -> Result<Removal, Breach> {
    Ok(desk.store.remove(&desk.who, expected).await?)
}

/// Tries a removal that must be refused, and leaves `record`.
async fn stays(desk: &Desk, record: &Record, expected: Version) -> Result<(), Breach> {
    let refused = Removal::Conflict { current: Some(Box::new(record.clone())) };
    same("the answer to a removal of another record", removed(desk, expected).await?, refused)?;
    same_record("the record after a refused removal", desk.load().await?.as_deref(), Some(record))
}

fn prompt() -> Prompt {
    Prompt {
        key: LoginKey([5; 32]),
        attempt: AttemptId(7),
        at: moment(0),
        expires: moment(600).wall,
        state: PromptState::Open,
        revision: Revision::default(),
    }
}
