//! The journal of an identity's events, for people to read.

use tokenkeeper_actors::ports::store::{EventKind, JournalLine};
use tokenkeeper_actors::values::Reason;

use super::kit::{Desk, KEPT, flight, moment};
use super::verdict::{ensure, same};
use super::{Harness, Verdict};

/// The journal returns as many of the newest lines as requested, oldest first, in the order in which all processes
/// noted them.
pub async fn a_journal_gives_the_newest_lines_oldest_first(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let lines = [
        JournalLine { at: moment(5), flight: None, kind: EventKind::LoggedIn, reason: None },
        JournalLine { at: moment(9), flight: Some(flight(1)), kind: EventKind::Refreshed, reason: None },
        // A wall clock that was set back does not change the order.
        JournalLine {
            at: moment(1),
            flight: Some(flight(2)),
            kind: EventKind::InDoubt,
            reason: Some(Reason::MaybeConsumed),
        },
        JournalLine {
            at: moment(1),
            flight: Some(flight(2)),
            kind: EventKind::Ended,
            reason: Some(Reason::GrantEnded),
        },
    ];
    for (number, line) in lines.iter().enumerate() {
        let store = if number % 2 == 0 { &desk.store } else { &desk.sibling };
        store.note(&desk.who, line.clone()).await?;
    }
    for most in [0, 1, 3, 4, 5, usize::MAX] {
        let due = &lines[lines.len().saturating_sub(most)..];
        same(&format!("the journal's newest {most}"), desk.sibling.journal(&desk.who, most).await?, due.to_vec())?;
    }
    KEPT
}

/// A journal keeps its newest lines, up to its bound.
pub async fn a_journal_is_bounded(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let bound = harness.journal_bound();
    let line = |second| JournalLine { at: moment(second), flight: None, kind: EventKind::Refreshed, reason: None };
    let last = u64::try_from(bound).unwrap_or(u64::MAX);
    for second in 0..=last {
        desk.store.note(&desk.who, line(second)).await?;
    }
    let journal = desk.store.journal(&desk.who, usize::MAX).await?;
    ensure(journal.len() <= bound, || format!("a journal bounded by {bound} lines has {}", journal.len()))?;
    same("the newest line of a full journal", journal.last().cloned(), Some(line(last)))?;
    let newest: Vec<JournalLine> = (0..=last).map(line).skip(bound + 1 - journal.len()).collect();
    ensure(journal == newest, || "a full journal has a gap, or a wrong order".to_owned())?;
    KEPT
}

/// Each identity has a journal of its own.
pub async fn journals_are_told_apart(harness: &dyn Harness) -> Verdict {
    let desk = Desk::open(harness).await?;
    let line = |second| JournalLine { at: moment(second), flight: None, kind: EventKind::Adopted, reason: None };
    desk.store.note(&desk.who, line(1)).await?;
    desk.store.note(&desk.other, line(2)).await?;
    same("one journal", desk.store.journal(&desk.who, 9).await?, vec![line(1)])?;
    same("another journal", desk.store.journal(&desk.other, 9).await?, vec![line(2)])?;
    KEPT
}
