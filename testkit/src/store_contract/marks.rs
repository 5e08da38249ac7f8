//! Marks, written before each presentation, by one flight at a time.

use std::sync::Arc;

use tokenkeeper_actors::law::ledger::{Change, Changed, Conflict};
use tokenkeeper_actors::values::Epoch;
use tokenkeeper_actors::values::record::{Mark, MarkState, Record};

use super::kit::{self, CONTENDERS, Desk, KEPT, ROUNDS, at_once, flight, moment, one_winner};
use super::verdict::{ensure, same};
use super::{Harness, Verdict};

/// A mark is written only at the version from which its flight decided. Another revision or another token is refused.
/// The mark reserves its number.
pub async fn a_mark_compares_the_whole_version(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let first = desk.applied(desk.login("rt-1")).await?.version();
    desk.refused(desk.mark(first, "rt-2", 1), Conflict::Moved).await?;
    let record = desk.applied(desk.mark(first, "rt-1", 1)).await?;
    same("the number a mark reserved", record.number, 2)?;
    // The reason of the conflict is not checked here, only the mark itself.
    desk.refused(desk.mark(first, "rt-1", 2), Conflict::Moved).await?;
    let again = Mark { presentations: 2, latest: moment(90), ..kit::mark(desk.digest("rt-1"), 2, 3) };
    let record = desk.applied(Change::Mark { expected: record.version(), mark: again.clone() }).await?;
    same("the mark", record.held().and_then(|held| held.mark.clone()), Some(again))?;
    desk.applied(desk.login("rt-1-b")).await?;
    desk.refused(desk.mark(record.version(), "rt-1-b", 3), Conflict::Moved).await?;
    KEPT
}

/// Of many flights that mark at the same version, from several processes, exactly one gets the answer that its mark is
/// written. The record has that mark.
pub async fn of_many_marks_at_once_one_is_written(harness: &dyn Harness) -> Verdict {
    for _ in 0..ROUNDS {
        let desk = Desk::open(harness).await?;
        let version = desk.applied(desk.login("rt-1")).await?.version();
        let marks = (0..CONTENDERS).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &desk.store } else { &desk.sibling });
            let (who, change) = (desk.who.clone(), desk.mark(version, "rt-1", number.into()));
            async move { Ok((number, store.change(&who, change).await?)) }
        });
        let answers = at_once(marks).await?;
        one_winner(
            "their mark is written",
            answers.iter().map(|(_, answer)| matches!(answer, Changed::Applied { .. })),
        )?;
        let winner = answers.iter().find(|(_, answer)| matches!(answer, Changed::Applied { .. }));
        let stored = desk.load().await?.and_then(|record| Some(record.held()?.mark.as_ref()?.flight));
        same("whose mark is stored", stored, winner.map(|(number, _)| flight(u128::from(*number))))?;
    }
    KEPT
}

/// A withdrawn mark is replaced by the one before it, if there was one. A withdrawal writes even if its mark never
/// arrived, so that a mark still on its way can no longer be written.
pub async fn a_withdrawal_restores_what_was_there_and_fences_the_mark(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sent = desk.digest("rt-1");
    let withdraw = |by| kit::withdraw(Epoch::new(1), by, sent);
    let mark_of = |record: &Record| record.held().and_then(|held| held.mark.clone());
    let version = desk.applied(desk.login("rt-1")).await?.version();

    let record = desk.applied(withdraw(1)).await?;
    ensure(record.revision > version.revision, || "a withdrawal without a mark wrote nothing".to_owned())?;
    desk.refused(desk.mark(version, "rt-1", 1), Conflict::Moved).await?;

    let record = desk.applied(desk.mark(record.version(), "rt-1", 2)).await?;
    ensure(mark_of(&record).is_some(), || "a mark was not stored".to_owned())?;
    let record = desk.applied(withdraw(2)).await?;
    same("the mark after the only presentation was withdrawn", mark_of(&record), None)?;

    let record = desk.applied(desk.mark(record.version(), "rt-1", 3)).await?;
    let earlier = mark_of(&record);
    let second = Mark { presentations: 2, latest: moment(90), ..kit::mark(sent, 4, 3) };
    let marked = desk.applied(Change::Mark { expected: record.version(), mark: second }).await?;
    let (epoch, flight) = (Epoch::new(1), flight(4));
    let again = Change::Withdraw { epoch, flight, sent, earlier: earlier.clone(), park: None };
    let record = desk.applied(again.clone()).await?;
    same("the mark after the second presentation was withdrawn", mark_of(&record), earlier.clone())?;
    desk.refused(desk.mark(marked.version(), "rt-1", 4), Conflict::Moved).await?;
    let record = desk.applied(again).await?;
    same("the mark after the second presentation was withdrawn twice", mark_of(&record), earlier)?;
    KEPT
}

/// A withdrawal removes only its own flight's mark.
pub async fn a_withdrawal_leaves_another_flights_mark_alone(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sent = desk.digest("rt-1");
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    let record = desk.applied(kit::withdraw(Epoch::new(1), 2, sent)).await?;
    let left = record.held().and_then(|held| Some(held.mark.as_ref()?.flight));
    same("whose mark is left", left, Some(flight(1)))?;
    KEPT
}

/// Every process reads a mark turned to *spent* as such, and a late commit still replaces it.
pub async fn a_spent_mark_says_so_to_everybody(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let sent = desk.digest("rt-1");
    let version = desk.applied(desk.login("rt-1")).await?.version();
    desk.applied(desk.mark(version, "rt-1", 1)).await?;
    desk.applied(Change::Spent { epoch: Epoch::new(1), flight: flight(1), sent }).await?;
    let record = desk.sibling.load(&desk.who).await?;
    let state = record.and_then(|record| Some(record.held()?.mark.as_ref()?.state));
    same("the state of the mark", state, Some(MarkState::Spent))?;
    let record = desk.applied(desk.commit(1, "rt-1", "rt-2", 2)).await?;
    same("the mark after a commit", record.held().and_then(|held| held.mark.clone()), None)?;
    KEPT
}
