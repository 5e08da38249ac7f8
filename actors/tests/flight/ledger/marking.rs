//! Marks: written, withdrawn, and turned to spent.

use tokenkeeper_actors::law::ledger::{Conflict, apply};
use tokenkeeper_actors::values::record::{Mark, MarkState, Parked, Record};
use tokenkeeper_actors::values::{FlightId, Revision, Version};

use super::{marked_by, only_in_its_epoch, state, withdraws};
use crate::support::*;

#[test]
fn a_mark_compares_the_whole_version() {
    let record = signed_in();
    let mark = mark(&record, ME, 1, START);
    let at = |epoch, revision| Change::Mark {
        expected: Version { epoch: Epoch::new(epoch), revision: Revision::new(revision) },
        mark: mark.clone(),
    };
    assert_eq!(mark_of(Some(&changed(Some(&record), &at(1, 1)))), Some(mark.clone()));
    for (epoch, revision) in [(1, 0), (1, 2), (0, 1), (2, 1)] {
        assert_eq!(apply(Some(&record), &at(epoch, revision)), Err(Conflict::Moved));
    }
}

#[test]
fn a_mark_reserves_its_number_and_a_number_never_falls() {
    let record = signed_in();
    let mark = |number| Mark { number, ..mark(&record, ME, 1, START) };
    let number_after = |number| {
        let change = Change::Mark { expected: record.version(), mark: mark(number) };
        changed(Some(&record), &change).number
    };
    assert_eq!((number_after(9), number_after(1), number_after(0)), (9, 1, 1));
}

#[test]
fn a_mark_of_another_token_meets_nothing() {
    let record = signed_in();
    let mark = Mark { digest: rt("rt-2").digest(), ..mark(&record, ME, 1, START) };
    let change = Change::Mark { expected: record.version(), mark };
    assert_eq!(apply(Some(&record), &change), Err(Conflict::Moved));
}

#[test]
fn taking_a_mark_back_puts_back_what_was_there() {
    let plain = signed_in();
    assert_eq!(mark_of(Some(&changed(Some(&marked_by(ME, &plain)), &withdraws()))), None);
    let earlier = mark(&plain, SIBLING, 1, START);
    let Change::Withdraw { epoch, flight, sent, park, .. } = withdraws() else { panic!() };
    let withdraws = Change::Withdraw { epoch, flight, sent, earlier: Some(earlier.clone()), park };
    let replaced = marked(&marked_by(SIBLING, &plain), ME, 2, START);
    let once = changed(Some(&replaced), &withdraws);
    assert_eq!(mark_of(Some(&once)), Some(earlier.clone()));
    // A second time changes only the revision.
    let twice = changed(Some(&once), &withdraws);
    assert_eq!(twice, Record { revision: once.revision.next(), ..once });
    assert_eq!(mark_of(Some(&twice)), Some(earlier));
}

#[test]
fn somebody_elses_mark_is_not_taken_back() {
    let record = marked_by(SIBLING, &signed_in());
    let after = changed(Some(&record), &withdraws());
    assert_eq!(mark_of(Some(&after)), mark_of(Some(&record)));
}

#[test]
fn a_mark_that_is_still_on_its_way_cannot_land_after_it_was_taken_back() {
    let record = signed_in();
    let late = Change::Mark { expected: record.version(), mark: mark(&record, ME, 1, START) };
    let after = changed(Some(&record), &withdraws());
    assert_eq!(apply(Some(&after), &late), Err(Conflict::Moved));
}

#[test]
fn taking_a_mark_back_compares_epoch_and_token() {
    let record = marked_by(ME, &signed_in());
    only_in_its_epoch(&record, |epoch| {
        let sent = rt("rt-1").digest();
        Change::Withdraw { epoch, flight: ME, sent, earlier: None, park: None }
    });
    let other = Change::Withdraw { epoch: EPOCH, flight: ME, sent: rt("rt-2").digest(), earlier: None, park: None };
    assert_eq!(apply(Some(&record), &other), Err(Conflict::Moved));
}

#[test]
fn a_grant_is_parked_once_for_its_first_reason() {
    let sent = rt("rt-1").digest();
    let withdraws = |why| Change::Withdraw { epoch: EPOCH, flight: ME, sent, earlier: None, park: Some(why) };
    let parks = |why| Change::Park { epoch: EPOCH, why };
    let reason = |record: &Record| record.grant().and_then(|grant| grant.parked);
    let record = marked_by(ME, &signed_in());
    let parked = changed(Some(&record), &withdraws(Parked::ClientRejected));
    assert_eq!((reason(&parked), mark_of(Some(&parked))), (Some(Parked::ClientRejected), None));
    for again in [withdraws(Parked::SubjectChanged), parks(Parked::IssuerChanged), super::withdraws()] {
        assert_eq!(reason(&changed(Some(&parked), &again)), Some(Parked::ClientRejected));
    }
    assert_eq!(reason(&changed(Some(&record), &parks(Parked::IssuerChanged))), Some(Parked::IssuerChanged));
    only_in_its_epoch(&record, |epoch| Change::Park { epoch, why: Parked::IssuerChanged });
}

#[test]
fn only_its_own_flight_says_that_a_token_is_spent() {
    let record = marked_by(ME, &signed_in());
    let spent = |flight| Change::Spent { epoch: EPOCH, flight, sent: rt("rt-1").digest() };
    let after = changed(Some(&record), &spent(ME));
    let wanted = mark_of(Some(&record)).map(|mark| Mark { state: MarkState::Spent, ..mark });
    assert_eq!(mark_of(Some(&after)), wanted, "the rest of the mark stays");
    assert_eq!(state(&changed(Some(&after), &spent(ME))), Some(MarkState::Spent), "saying it twice is no harm");
    assert_eq!(apply(Some(&record), &spent(FlightId(1))), Err(Conflict::Moved));
    only_in_its_epoch(&record, |epoch| Change::Spent { epoch, flight: ME, sent: rt("rt-1").digest() });
}
