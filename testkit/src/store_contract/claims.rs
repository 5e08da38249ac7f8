//! Claims, exclusive for an identity and an epoch among all processes that share the store.

use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::{Claim, ClaimAnswer, ClaimEnding, ClaimScope, Predecessor, Renewed};
use tokenkeeper_actors::values::Epoch;

use super::kit::{
    self, AT_LEAST, CONTENDERS, Desk, KEPT, NO_CLAIMS, ROUNDS, SPEND, at_once, flight, granted, one_winner,
};
use super::verdict::{ensure, same};
use super::{Breach, Harness, Outcome, Verdict};

/// A store without claims always answers `Unsupported`. No flight may spend on it, and no flight gets another answer.
pub async fn a_store_without_claims_says_so(harness: &dyn Harness) -> Verdict {
    if harness.gives_claims() {
        return Ok(Outcome::NotShown("the store gives out claims"));
    }
    let desk = Desk::open(harness).await?;
    for (scope, by) in [(SPEND, 1), (SPEND, 1), (SPEND, 2), (ClaimScope::Login, 1)] {
        let answer = desk.store.claim(&desk.who, scope, flight(by), AT_LEAST).await?;
        same("the answer of a store without claims", answer, ClaimAnswer::Unsupported)?;
    }
    KEPT
}

/// While a claim is held, no other flight gets it, in the same process or in another. It lasts as long as its holder
/// asked.
pub async fn a_claim_has_one_holder(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    for scope in [SPEND, ClaimScope::Login] {
        let claim = desk.granted(&desk.store, scope, 1).await?;
        same("the predecessor of a first claim", claim.predecessor, Predecessor::Gone)?;
        desk.contended(&desk.store, scope, 2).await?;
        desk.contended(&desk.sibling, scope, 3).await?;
    }
    KEPT
}

/// Of many flights that claim concurrently, from several processes, exactly one is granted.
pub async fn of_many_claims_at_once_one_is_granted(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    for round in 1..=ROUNDS {
        let scope = ClaimScope::Spend(Epoch::new(round.into()));
        let claims = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let who = desk.who.clone();
            async move { store.claim(&who, scope, flight(number.into()), AT_LEAST).await }
        });
        let answers = at_once(claims).await?;
        one_winner("the claim is theirs", answers.iter().map(|answer| matches!(answer, ClaimAnswer::Granted(_))))?;
        let refusals = answers.iter().filter(|answer| **answer == ClaimAnswer::Contended).count();
        same("how many were told that another holds the claim", refusals + 1, answers.len())?;
    }
    KEPT
}

/// Claims of two epochs are independent. A stopped holder of the old one never starves a new login.
pub async fn another_epoch_is_no_hindrance(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    desk.applied(desk.login("rt-1")).await?;
    let old = desk.granted(&desk.store, SPEND, 1).await?;
    desk.applied(desk.login("rt-2")).await?;
    let newer = ClaimScope::Spend(Epoch::new(2));
    let new = desk.granted(&desk.sibling, newer, 2).await?;
    same("the predecessor of a new epoch's first claim", new.predecessor, Predecessor::Gone)?;
    desk.store.end_claim(&desk.who, &old, ClaimEnding::Released).await?;
    desk.contended(&desk.store, newer, 3).await?;
    KEPT
}

/// Claims of two identities are independent, in whichever processes their holders run.
pub async fn another_identity_is_no_hindrance(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let ours = desk.granted(&desk.store, SPEND, 1).await?;
    granted(&desk.store, &desk.other, SPEND, 2).await?;
    granted(&desk.sibling, &kit::identity("third")?, SPEND, 3).await?;
    desk.store.end_claim(&desk.who, &ours, ClaimEnding::Released).await?;
    let answer = desk.sibling.claim(&desk.other, SPEND, flight(4), AT_LEAST).await?;
    same("the answer for another identity", answer, ClaimAnswer::Contended)?;
    KEPT
}

/// Claims for spending and for a login are independent. A user takes minutes to sign in, and no flight waits for that.
/// Nor does the login wait for a flight.
pub async fn spending_and_login_do_not_hinder_each_other(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let login = desk.granted(&desk.store, ClaimScope::Login, 1).await?;
    let spend = desk.granted(&desk.sibling, SPEND, 2).await?;
    desk.store.end_claim(&desk.who, &login, ClaimEnding::Released).await?;
    desk.contended(&desk.store, SPEND, 3).await?;
    desk.granted(&desk.store, ClaimScope::Login, 4).await?;
    desk.sibling.end_claim(&desk.who, &spend, ClaimEnding::Released).await?;
    desk.contended(&desk.sibling, ClaimScope::Login, 5).await?;
    KEPT
}

/// A holder whose answer was lost may claim again and keeps its claim. Ending it once is enough.
pub async fn the_holder_that_asks_again_has_its_claim(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    desk.granted(&desk.store, SPEND, 1).await?;
    let claim = desk.granted(&desk.store, SPEND, 1).await?;
    same("the predecessor of a claim asked for twice", claim.predecessor, Predecessor::Gone)?;
    desk.contended(&desk.sibling, SPEND, 2).await?;
    desk.store.end_claim(&desk.who, &claim, ClaimEnding::Released).await?;
    desk.granted(&desk.sibling, SPEND, 2).await?;
    KEPT
}

/// An ended claim is free at once. The next holder learns that its predecessor can no longer act.
pub async fn an_ended_claim_is_free_and_its_holder_gone(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let mut held = desk.granted(&desk.store, SPEND, 1).await?;
    for by in 2..6 {
        let (ends, next) = if by % 2 == 0 { (&desk.store, &desk.sibling) } else { (&desk.sibling, &desk.store) };
        desk.contended(next, SPEND, by).await?;
        ends.end_claim(&desk.who, &held, ClaimEnding::Released).await?;
        // The call is repeated, because its answer may have been lost.
        ends.end_claim(&desk.who, &held, ClaimEnding::Released).await?;
        held = desk.granted(next, SPEND, by).await?;
        same("the predecessor that released its claim", held.predecessor, Predecessor::Gone)?;
    }
    KEPT
}

/// A holder that stops in doubt frees the claim and leaves its mark in the record. The next holder finds the claim
/// free and the mark in place.
pub async fn an_abandoned_claim_is_free_and_its_mark_stays(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let claim = desk.granted(&desk.store, SPEND, 1).await?;
    let marked = desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.store.end_claim(&desk.who, &claim, ClaimEnding::Abandoned).await?;
    let next = desk.granted(&desk.sibling, SPEND, 2).await?;
    same("the predecessor that abandoned its claim", next.predecessor, Predecessor::Gone)?;
    same("the record an abandoned claim leaves", desk.load().await?, Some(Box::new(marked)))?;
    KEPT
}

/// A holder can renew its claim as often as it asks. A claim that was ended, or never held, is lost.
pub async fn a_held_claim_is_renewed_and_an_ended_one_is_lost(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let claim = desk.granted(&desk.store, SPEND, 1).await?;
    for at_least in [Duration::from_secs(1), AT_LEAST, 4 * AT_LEAST] {
        match desk.store.renew(&desk.who, &claim, at_least).await? {
            Renewed::Until(left) => {
                let long_enough = left.is_none_or(|left| left >= at_least);
                ensure(long_enough, || format!("a claim renewed for {at_least:?} has {left:?} left"))?;
            }
            Renewed::Lost => return Err(Breach::new("a claim was lost while it was held")),
        }
    }
    desk.contended(&desk.sibling, SPEND, 2).await?;
    let foreign = Claim { holder: flight(2), ..claim.clone() };
    same("the renewal of a claim never held", desk.sibling.renew(&desk.who, &foreign, AT_LEAST).await?, Renewed::Lost)?;
    desk.store.end_claim(&desk.who, &claim, ClaimEnding::Released).await?;
    same("the renewal of an ended claim", desk.store.renew(&desk.who, &claim, AT_LEAST).await?, Renewed::Lost)?;
    let next = desk.granted(&desk.sibling, SPEND, 3).await?;
    same("the renewal of an ended claim", desk.store.renew(&desk.who, &claim, AT_LEAST).await?, Renewed::Lost)?;
    desk.sibling.end_claim(&desk.who, &next, ClaimEnding::Released).await?;
    KEPT
}

/// Ending a claim that another flight holds, or that was ended before, frees nothing. Claims are ended by holder, not
/// by name.
pub async fn ending_what_another_holds_changes_nothing(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let first = desk.granted(&desk.store, SPEND, 1).await?;
    desk.store.end_claim(&desk.who, &first, ClaimEnding::Released).await?;
    desk.granted(&desk.sibling, SPEND, 2).await?;
    for ending in [ClaimEnding::Released, ClaimEnding::Abandoned] {
        desk.store.end_claim(&desk.who, &first, ending).await?;
        desk.sibling.end_claim(&desk.who, &first, ending).await?;
        desk.contended(&desk.store, SPEND, 3).await?;
    }
    KEPT
}

/// A claim needs no record. No write ends it, whether a mark, a commit, a logout or a login.
pub async fn writing_ends_no_claim(harness: &dyn Harness) -> Verdict {
    let Some(desk) = Desk::claiming(harness).await? else { return NO_CLAIMS };
    let early = desk.granted(&desk.store, ClaimScope::Spend(Epoch::default()), 1).await?;
    let version = desk.applied(desk.login("rt-1")).await?.version();
    let claim = desk.granted(&desk.store, SPEND, 2).await?;
    let writes = [
        desk.mark(version, "rt-1", 2),
        desk.commit(1, "rt-1", "rt-2", 2),
        Change::Clear { epoch: Epoch::new(1) },
        desk.login("rt-3"),
    ];
    for write in writes {
        desk.applied(write).await?;
        for held in [&early, &claim] {
            desk.contended(&desk.sibling, held.scope, 3).await?;
            let renewed = desk.store.renew(&desk.who, held, AT_LEAST).await?;
            ensure(renewed != Renewed::Lost, || format!("a write ended a claim for {:?}", held.scope))?;
        }
    }
    KEPT
}
