//! Tokens, in the commits of flights and in the installs of logins.

use std::sync::Arc;

use tokenkeeper_actors::law::ledger::{Change, Changed, Commit, Conflict, Login};
use tokenkeeper_actors::values::Epoch;
use tokenkeeper_actors::values::record::{Content, Parked, Record, RefreshCredential, RenewalPlan, Subject};

use super::kit::{self, CONTENDERS, Desk, KEPT, ROUNDS, at_once, moment, one_winner};
use super::verdict::{ensure, same, same_record};
use super::{Breach, Harness, Verdict};

/// A commit applies if the record still holds the token it sent, in its epoch, however many writes came in between.
pub async fn a_commit_goes_by_epoch_and_token_and_not_by_revision(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let marked = desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.applied(desk.mark(marked.version(), "rt-1", 2)).await?;
    let record = desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    same("the token after a commit", held(&record), Some(desk.token("rt-2")))?;
    same("the mark after a commit", record.held().and_then(|held| held.mark.clone()), None)?;
    same("the number of the access token", number(&record), Some(2))?;
    same("the highest number", record.number, 2)?;
    KEPT
}

/// A commit whose refresh token is not the stored one writes nothing, however high its number.
pub async fn a_commit_for_another_refresh_token_conflicts(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.refused(desk.commit(1, "rt-0", "rt-x", 9), Conflict::Moved).await?;
    desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    desk.refused(desk.commit(1, "rt-1", "rt-x", 9), Conflict::Moved).await?;
    KEPT
}

/// A commit whose number does not exceed that of the stored access token writes nothing, even if the refresh token did
/// not change.
pub async fn a_commit_that_brings_no_newer_number_conflicts(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    let keeping = |number| Change::Commit(Box::new(kit::commit(1, Some(desk.digest("rt-1")), None, number)));
    desk.refused(keeping(1), Conflict::Moved).await?;
    desk.applied(keeping(5)).await?;
    for number in [5, 4, 0] {
        desk.refused(keeping(number), Conflict::Moved).await?;
    }
    let record = desk.applied(keeping(6)).await?;
    same("the number of the access token", number(&record), Some(6))?;
    KEPT
}

/// A commit made twice is written once. The second answer shows the first one's record, in which the flight recognizes
/// its own commit.
pub async fn a_repeated_commit_conflicts_and_shows_the_committed_record(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    let commit = desk.commit(1, "rt-1", "rt-2", 2);
    let committed = desk.applied(commit.clone()).await?;
    match desk.sibling.change(&desk.who, commit.clone()).await? {
        Changed::Conflict { why: Conflict::Moved, current } => {
            same_record("what a repeated commit shows", current.as_deref(), Some(&committed))?;
        }
        other => return Err(Breach::new(format!("a repeated commit is answered with {other:?}"))),
    }
    desk.refused(commit, Conflict::Moved).await?;
    KEPT
}

/// An answer without a refresh token keeps the old one (RFC 6749 section 6), unmarked, and keeps every other member
/// that it omits.
pub async fn a_commit_without_a_refresh_token_keeps_the_old_one(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    let commit = kit::commit(1, Some(desk.digest("rt-1")), None, 2);
    let record = desk.applied(Change::Commit(Box::new(commit))).await?;
    same("the token after a commit without one", held(&record), Some(desk.token("rt-1")))?;
    same("the mark after a commit", record.held().and_then(|held| held.mark.clone()), None)?;
    same("when the token was last of use", record.held().map(|held| held.since), Some(moment(20)))?;
    same("the number of the access token", number(&record), Some(2))?;
    let granted = record.grant().map(|grant| grant.granted.clone());
    same("the scopes after a commit without any", granted, Some(kit::login(None).granted))?;

    // The late answer to an earlier presentation leaves a later one's note in place.
    let later = kit::mark(desk.digest("rt-1"), 2, 5);
    desk.applied(Change::Mark { expected: record.version(), mark: later.clone() }).await?;
    let late = kit::commit(1, Some(desk.digest("rt-1")), None, 4);
    let record = desk.applied(Change::Commit(Box::new(late))).await?;
    same("the mark of a later presentation", record.held().and_then(|held| held.mark.clone()), Some(later))?;
    KEPT
}

/// An answer for another account than the signed-in one is never stored (law 13). An answer that names no account is
/// stored.
pub async fn a_commit_for_another_subject_conflicts(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let subject = |name: &str| Some(Subject(name.to_owned()));
    let login = Login { subject: subject("anna"), ..kit::login(Some(desk.token("rt-1"))) };
    desk.applied(Change::Install(Box::new(login))).await?;
    let commit = |number, name| {
        let commit = kit::commit(1, Some(desk.digest("rt-1")), None, number);
        Change::Commit(Box::new(Commit { subject: name, ..commit }))
    };
    desk.refused(commit(2, subject("bert")), Conflict::Moved).await?;
    desk.applied(commit(2, subject("anna"))).await?;
    let record = desk.applied(commit(3, None)).await?;
    same("who is signed in", record.grant().and_then(|grant| grant.subject.clone()), subject("anna"))?;
    KEPT
}

/// Of many concurrent commits for one refresh token, each with its own successor, exactly one is written.
pub async fn of_many_commits_for_one_refresh_token_one_is_written(harness: &dyn Harness) -> Verdict {
    for _ in 0..ROUNDS {
        let desk = Desk::open(harness).await?;
        desk.applied(desk.login("rt-1")).await?;
        let commits = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let change = desk.commit(1, "rt-1", &format!("rt-2-{number}"), 2 + u64::from(number));
            let who = desk.who.clone();
            async move { store.change(&who, change).await }
        });
        let answers = at_once(commits).await?;
        let (mut written, mut winners) = (None, 0_u32);
        for answer in answers {
            if let Changed::Applied { after, .. } = answer {
                winners += 1;
                written = Some(after);
            }
        }
        one_winner("their commit is written", (0..winners).map(|_| true))?;
        same_record("what is stored", desk.load().await?.as_deref(), written.as_deref())?;
    }
    KEPT
}

/// A source that spends nothing needs no login. Its first commit makes the record, in epoch 0, and the second needs no
/// refresh token either.
pub async fn a_repeatable_source_makes_its_record_with_its_first_commit(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let mut first = kit::commit(0, None, None, 1);
    first.binding = Some(kit::binding());
    let record = desk.applied(Change::Commit(Box::new(first.clone()))).await?;
    same("the epoch nobody signed in to", record.epoch, Epoch::default())?;
    same("the first revision", record.revision.number(), 1)?;
    desk.refused(Change::Commit(Box::new(first)), Conflict::Moved).await?;
    let record = desk.applied(Change::Commit(Box::new(kit::commit(0, None, None, 2)))).await?;
    same("the number of the second access token", number(&record), Some(2))?;
    KEPT
}

/// The digest of a refused refresh token is remembered. The token is never installed again, and a login with another
/// one is unaffected.
pub async fn a_refused_refresh_token_is_not_installed_again(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let (epoch, sent) = (Epoch::new(1), desk.digest("rt-1"));
    desk.applied(desk.login("rt-1")).await?;
    desk.refused(Change::End { epoch, sent: desk.digest("rt-0") }, Conflict::Moved).await?;
    desk.refused(Change::End { epoch: Epoch::new(2), sent }, Conflict::Moved).await?;
    let record = desk.applied(Change::End { epoch, sent }).await?;
    ensure(record.dead.contains(&sent), || "a refused refresh token was not remembered".to_owned())?;
    same("the refresh token after its refusal", held(&record), None)?;
    ensure(record.lease().is_some(), || "the access token went with the refresh token".to_owned())?;
    desk.refused(desk.login("rt-1"), Conflict::Refused).await?;
    let record = desk.applied(desk.login("rt-2")).await?;
    same("the epoch of the login that followed", record.epoch, Epoch::new(2))?;
    desk.refused(desk.login("rt-1"), Conflict::Dead).await?;
    KEPT
}

/// A refresh token that a commit replaced is spent, and is not installed again.
pub async fn a_replaced_refresh_token_is_not_installed_again(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    desk.applied(desk.login("rt-1")).await?;
    desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    desk.refused(desk.login("rt-1"), Conflict::Replaced).await?;
    // The stored token is unspent and may be installed again, by an import of the same login.
    desk.applied(desk.login("rt-2")).await?;
    KEPT
}

/// A refresh token that is being presented, or is in doubt, is not installed. After its record is replaced, it is
/// never installed.
pub async fn a_marked_refresh_token_is_not_installed_again(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.refused(desk.login("rt-1"), Conflict::Marked).await?;
    desk.applied(desk.login("rt-2")).await?;
    desk.refused(desk.login("rt-1"), Conflict::Dead).await?;
    KEPT
}

/// A parked grant keeps its refresh token and its first reason for parking, until a login replaces all of it.
pub async fn a_parked_grant_is_kept_until_a_login_replaces_it(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let parked = |record: &Record| record.grant().and_then(|grant| grant.parked);
    let epoch = desk.applied(desk.login("rt-1")).await?.epoch;
    desk.applied(Change::Park { epoch, why: Parked::ClientRejected }).await?;
    let record = desk.applied(Change::Park { epoch, why: Parked::IssuerChanged }).await?;
    same("why it is parked", parked(&record), Some(Parked::ClientRejected))?;
    same("the token of a parked grant", held(&record), Some(desk.token("rt-1")))?;
    let login = Login { at: moment(99), ..kit::login(Some(desk.token("rt-2"))) };
    let record = desk.applied(Change::Install(Box::new(login))).await?;
    same("why the next login is parked", parked(&record), None)?;
    desk.refused(Change::Park { epoch, why: Parked::SubjectChanged }, Conflict::Moved).await?;
    KEPT
}

/// A configuration replaces the renewal plan of its epoch's grant, and changes nothing else. Under a mark, the source
/// and the spending do not change, but the rest of the plan does.
pub async fn a_configuration_changes_the_plan_and_nothing_else(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let configure = |epoch, renewal| Change::Configure { epoch: Epoch::new(epoch), renewal };
    desk.refused(configure(0, kit::far_plan()), Conflict::Moved).await?;
    let before = desk.applied(desk.login("rt-1")).await?;
    desk.refused(configure(2, kit::far_plan()), Conflict::Moved).await?;
    let after = desk.applied(configure(1, kit::far_plan())).await?;
    let mut expected = Record { revision: before.revision.next(), ..before };
    if let Content::Grant(grant) = &mut expected.content {
        grant.renewal = kit::far_plan();
    }
    same_record("the record after a configuration", Some(&after), Some(&expected))?;
    same_record("the stored record", desk.load().await?.as_deref(), Some(&expected))?;
    desk.applied(desk.mark(after.version(), "rt-1", 1)).await?;
    desk.refused(configure(1, RenewalPlan::default()), Conflict::Marked).await?;
    let cautious = RenewalPlan { never_replay: false, ..kit::far_plan() };
    let record = desk.applied(configure(1, cautious.clone())).await?;
    same("the plan", record.grant().map(|grant| grant.renewal.clone()), Some(cautious))?;
    KEPT
}

fn held(record: &Record) -> Option<RefreshCredential> {
    record.held().map(|held| held.credential.clone())
}

fn number(record: &Record) -> Option<u64> {
    record.grant()?.access.as_ref().map(|access| access.number)
}
