//! Losses of claims, which end without a call of their holder.

use std::sync::Arc;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{Claim, ClaimEnding, ClaimScope, Predecessor, Renewed, TokenStore};
use tokenkeeper_actors::values::Epoch;

use super::kit::{AT_LEAST, Desk, KEPT, NO_CLAIMS, SPEND};
use super::verdict::same;
use super::{Breach, Harness, Outcome, Verdict};

const NO_LOSS: Verdict = Ok(Outcome::NotShown("the harness cannot make a claim be lost"));

const NO_DOUBT: Verdict = Ok(Outcome::NotShown("who loses a claim in this store is provably gone"));

/// A lost claim goes to the next flight that asks. It learns the predecessor's state. The loser cannot renew.
pub async fn a_lost_claim_goes_to_the_next_who_is_told(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let Some((lost, told)) = lose(&desk, &desk.store, 1).await? else { return NO_LOSS };
    let next = desk.granted(&desk.sibling, SPEND, 2).await?;
    same("the predecessor that lost its claim", next.predecessor, told)?;
    same("the renewal of a lost claim", desk.store.renew(&desk.who, &lost, AT_LEAST).await?, Renewed::Lost)?;
    desk.contended(&desk.store, SPEND, 1).await?;
    desk.contended(&desk.store, SPEND, 3).await?;
    KEPT
}

/// A flight that ends a claim it lost long ago frees no other flight's claim.
pub async fn the_late_end_of_a_lost_claim_frees_nobody_elses(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let Some((lost, _)) = lose(&desk, &desk.store, 1).await? else { return NO_LOSS };
    let next = desk.granted(&desk.sibling, SPEND, 2).await?;
    desk.store.end_claim(&desk.who, &lost, ClaimEnding::Released).await?;
    desk.contended(&desk.store, SPEND, 3).await?;
    same("whether the holder still has its claim", holds(&desk, &desk.sibling, &next).await?, true)?;
    KEPT
}

/// Every later holder of the epoch's claim, not only the next one, learns that a loser may live, until each loser has
/// ended its claim late.
pub async fn who_lost_a_claim_may_live_until_it_ends_it_late(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let Some((first, told)) = lose(&desk, &desk.store, 1).await? else { return NO_LOSS };
    if told == Predecessor::Gone {
        return NO_DOUBT;
    }
    told_next(&desk, 2, "after one was lost", Predecessor::MayLive).await?;
    told_next(&desk, 3, "after one was lost, and another ended", Predecessor::MayLive).await?;
    let Some((second, _)) = lose(&desk, &desk.sibling, 4).await? else { return NO_LOSS };
    desk.store.end_claim(&desk.who, &first, ClaimEnding::Abandoned).await?;
    told_next(&desk, 5, "after one of two losers ended late", Predecessor::MayLive).await?;
    desk.sibling.end_claim(&desk.who, &second, ClaimEnding::Released).await?;
    told_next(&desk, 6, "after both losers ended late", Predecessor::Gone).await?;
    KEPT
}

/// A commit proves that a loser's requests are settled. A mark, a withdrawal or a refused commit proves nothing.
pub async fn a_commit_settles_a_lost_claim_and_no_other_write_does(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let Some((_, told)) = lose(&desk, &desk.store, 1).await? else { return NO_LOSS };
    if told == Predecessor::Gone {
        return NO_DOUBT;
    }
    desk.applied(desk.mark(version, "rt-1", 2)).await?;
    desk.store.change(&desk.who, desk.commit(1, "rt-0", "rt-x", 9)).await?;
    desk.store.change(&desk.other, desk.login("rt-9")).await?;
    desk.store.change(&desk.other, desk.commit(1, "rt-9", "rt-10", 2)).await?;
    told_next(&desk, 2, "after no commit", Predecessor::MayLive).await?;
    desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    told_next(&desk, 3, "after a commit", Predecessor::Gone).await?;
    KEPT
}

/// A flight's tokens are committed by epoch and refresh token, even if another flight holds the claim by then. That
/// commit settles the loss, even if the claim has not been requested since.
pub async fn what_a_lost_claim_brought_is_still_stored(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    let Some((lost, _)) = lose(&desk, &desk.store, 1).await? else { return NO_LOSS };
    desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    told_next(&desk, 2, "after the loser's own commit", Predecessor::Gone).await?;
    desk.store.end_claim(&desk.who, &lost, ClaimEnding::Released).await?;
    KEPT
}

/// A loser of an older epoch does not concern the holders of a newer one.
pub async fn a_new_epoch_knows_no_lost_claims(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    desk.applied(desk.login("rt-1")).await?;
    if lose(&desk, &desk.store, 1).await?.is_none() {
        return NO_LOSS;
    }
    desk.applied(Change::Clear { epoch: Epoch::new(1) }).await?;
    desk.applied(desk.login("rt-2")).await?;
    let next = desk.granted(&desk.sibling, ClaimScope::Spend(Epoch::new(3)), 2).await?;
    same("the predecessor of a new epoch's claim", next.predecessor, Predecessor::Gone)?;
    KEPT
}

/// When a process dies, its claim goes to the next flight, and its mark stays in the record.
pub async fn a_dead_process_frees_its_claim_and_leaves_its_mark(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let victim = desk.place.open().await;
    desk.granted(&victim, SPEND, 1).await?;
    let marked = desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.contended(&desk.store, SPEND, 2).await?;
    let Some(told) = desk.place.kill(victim).await else {
        return Ok(Outcome::NotShown("the harness cannot let a process die"));
    };
    let next = desk.granted(&desk.store, SPEND, 2).await?;
    same("the predecessor whose process died", next.predecessor, told)?;
    same("the record a dead process leaves", desk.load().await?, Some(Box::new(marked)))?;
    KEPT
}

/// Claims for flight `by` and makes it lose the claim. Also returns the predecessor that the next holder must see.
async fn lose(desk: &Desk, store: &Arc<dyn TokenStore>, by: u128) -> Result<Option<(Claim, Predecessor)>, Breach> {
    let claim = desk.granted(store, SPEND, by).await?;
    Ok(desk.place.lose_claim(&desk.who, &claim).await.map(|told| (claim, told)))
}

/// Claims for flight `by`, checks the predecessor in the answer, and ends the claim.
async fn told_next(desk: &Desk, by: u128, when: &str, due: Predecessor) -> Result<(), Breach> {
    let claim = desk.granted(&desk.sibling, SPEND, by).await?;
    same(&format!("the predecessor {when}"), claim.predecessor, due)?;
    desk.sibling.end_claim(&desk.who, &claim, ClaimEnding::Released).await?;
    Ok(())
}

async fn holds(desk: &Desk, store: &Arc<dyn TokenStore>, claim: &Claim) -> Result<bool, Breach> {
    Ok(store.renew(&desk.who, claim, AT_LEAST).await? != Renewed::Lost)
}
