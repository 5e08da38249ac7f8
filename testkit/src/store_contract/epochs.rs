//! Epochs, changed by logins and logouts, and the writes that come too late for them.

use std::sync::Arc;

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Conflict};
use tokenkeeper_actors::values::record::{Content, Parked};
use tokenkeeper_actors::values::{Epoch, Revision};

use super::kit::{self, CONTENDERS, Desk, KEPT, ROUNDS, at_once, flight, one_winner};
use super::verdict::{ensure, same};
use super::{Harness, Verdict};

/// A logout clears the record to a tombstone and raises the epoch. Epoch, revision and number never restart, not with
/// the next login either.
pub async fn a_logout_leaves_a_tombstone_that_counts_on(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.applied(desk.commit(1, "rt-1", "rt-2", 7)).await?;
    let tombstone = desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    same("what a logout leaves", &tombstone.content, &Content::Tombstone)?;
    let counters = (tombstone.epoch, tombstone.revision, tombstone.number);
    same("the counters of a tombstone", counters, (Epoch::new(2), Revision::new(3), 8))?;
    let record = desk.applied(desk.login("rt-3")).await?;
    let counters = (record.epoch, record.revision, record.number);
    same("the counters of the login after a logout", counters, (Epoch::new(3), Revision::new(4), 9))?;
    KEPT
}

/// A logout of an epoch that is over deletes nothing. The loser never deletes the winner's tokens.
pub async fn a_logout_of_an_older_epoch_deletes_nothing(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    let record = desk.applied(desk.login("rt-2")).await?;
    desk.refused(Change::Clear { epoch: Epoch::new(1) }, Conflict::Moved).await?;
    desk.refused(Change::Clear { epoch: Epoch::new(3) }, Conflict::Moved).await?;
    same("the record after a late logout", desk.load().await?, Some(Box::new(record)))?;
    KEPT
}

/// A logout of an identity without a record also leaves a tombstone, so that a first commit still under way finds it.
pub async fn a_logout_before_the_first_record_leaves_a_tombstone(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let tombstone = desk.applied(Change::Clear { epoch: Epoch::default() }).await?;
    same("what a logout leaves", &tombstone.content, &Content::Tombstone)?;
    same("the epoch of the tombstone", tombstone.epoch, Epoch::new(1))?;
    let late = Commit { binding: Some(kit::binding()), ..kit::commit(0, None, None, 1) };
    desk.refused(Change::Commit(Box::new(late)), Conflict::Moved).await?;
    same("the list after the logout", desk.sibling.list().await?, vec![desk.who.clone()])?;
    let record = desk.applied(desk.login("rt-1")).await?;
    same("the epoch of the first login", record.epoch, Epoch::new(2))?;
    KEPT
}

/// Of many concurrent logouts of one epoch, exactly one is written.
pub async fn of_many_logouts_at_once_one_is_written(harness: &dyn Harness) -> Verdict {
    for _ in 0..ROUNDS {
        let desk = Desk::open(harness).await?;
        desk.applied(desk.login("rt-1")).await?;
        let logouts = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let who = desk.who.clone();
            async move { store.change(&who, Change::Clear { epoch: Epoch::new(1) }).await }
        });
        let answers = at_once(logouts).await?;
        one_winner("their logout is written", answers.iter().map(|answer| matches!(answer, Changed::Applied { .. })))?;
        let epoch = desk.load().await?.map(|record| record.epoch);
        same("the epoch after the logouts", epoch, Some(Epoch::new(2)))?;
    }
    KEPT
}

/// A tombstone accepts only a login, in its own epoch or in the one before.
pub async fn nothing_but_a_login_revives_a_tombstone(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sent = desk.digest("rt-1");
    desk.applied(desk.login("rt-1")).await?;
    let tombstone = desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    desk.refused(desk.mark(tombstone.version(), "rt-1", 1), Conflict::Moved).await?;
    for epoch in [Epoch::new(1), tombstone.epoch] {
        let late = [
            desk.commit(epoch.number(), "rt-1", "rt-2", 9),
            Change::Commit(Box::new(kit::commit(epoch.number(), None, None, 9))),
            kit::withdraw(epoch, 1, sent),
            Change::Spent { epoch, flight: flight(1), sent },
            Change::End { epoch, sent },
            Change::Configure { epoch, renewal: kit::far_plan() },
            Change::Park { epoch, why: Parked::ClientRejected },
            Change::Clear { epoch },
        ];
        for change in late {
            desk.refused(change, Conflict::Moved).await?;
        }
    }
    KEPT
}

/// A flight that commits after a logout and a login finds the new login's tokens and leaves them alone.
pub async fn a_late_commit_leaves_a_newer_login_alone(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    desk.refused(desk.commit(1, "rt-1", "rt-1-b", 2), Conflict::Moved).await?;
    let record = desk.applied(desk.login("rt-2")).await?;
    desk.refused(desk.commit(1, "rt-1", "rt-1-b", 9), Conflict::Moved).await?;
    same("the record after a late commit", desk.load().await?, Some(Box::new(record)))?;
    KEPT
}

/// The same where both logins have the same refresh token. Its digest cannot distinguish them, but the epoch does.
pub async fn a_late_commit_is_refused_even_where_the_refresh_token_is_the_same(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    let record = desk.applied(desk.login("rt-1")).await?;
    desk.refused(desk.mark(version, "rt-1", 1), Conflict::Moved).await?;
    let sent = desk.digest("rt-1");
    for epoch in [1, 2] {
        desk.refused(desk.commit(epoch, "rt-1", "rt-1-b", 9), Conflict::Moved).await?;
        let epoch = Epoch::new(epoch);
        desk.refused(Change::End { epoch, sent }, Conflict::Moved).await?;
        desk.refused(kit::withdraw(epoch, 1, sent), Conflict::Moved).await?;
    }
    same("the record after a late commit", desk.load().await?, Some(Box::new(record)))?;
    KEPT
}

/// The digest of a dead refresh token is remembered through logout and login.
pub async fn dead_refresh_tokens_are_remembered_through_logout_and_login(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (refused, doubted) = (desk.digest("rt-1"), desk.digest("rt-2"));
    desk.applied(desk.login("rt-1")).await?;
    desk.applied(Change::End { epoch: Epoch::new(1), sent: refused }).await?;
    let version = desk.applied(desk.login("rt-2")).await?.version();
    desk.applied(desk.mark(version, "rt-2", 1)).await?;
    desk.applied(Change::Clear { epoch: Epoch::new(2) }).await?;
    let record = desk.applied(desk.login("rt-3")).await?;
    for digest in [refused, doubted] {
        ensure(record.dead.contains(&digest), || "a dead refresh token was forgotten".to_owned())?;
    }
    for token in ["rt-1", "rt-2"] {
        desk.refused(desk.login(token), Conflict::Dead).await?;
    }
    KEPT
}
