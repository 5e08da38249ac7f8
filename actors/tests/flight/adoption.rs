//! A sibling's token is adopted, before the claim or after it (law 2).

use tokenkeeper_actors::values::record::{Record, Refresh};
use tokenkeeper_actors::values::{AccessToken, BootId, Moment, Validity};

use crate::support::*;

/// A record whose access token, number 2, came from a sibling and is good for `left` more.
fn refreshed(left: Duration) -> Record {
    refreshed_by_sibling(&signed_in(), "at-s", "rt-s", before(START, HOUR - left))
}

fn wanting(adopt: Adopt, record: Record) -> Story {
    let mut setup = Setup { record: Some(record), ..Setup::default() };
    setup.order.adopt = adopt;
    let mut flight = Story::begin(setup);
    flight.permit();
    flight
}

fn is_adopted(adopt: Adopt, record: Record) -> bool {
    let mut flight = wanting(adopt, record);
    let op = flight.load_asked();
    flight.loaded(op);
    match flight.effect() {
        effect if effect.name() == EffectName::Claim => false,
        effect => {
            flight.unlook(effect);
            flight.permit_back();
            flight.lands(Outcome::Adopted);
            flight.over_now();
            true
        }
    }
}

#[test]
fn a_siblings_token_needs_no_claim() {
    let mut flight = wanting(above(1), refreshed(HOUR));
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_token_that_came_between_the_first_read_and_the_claim_is_adopted_under_the_claim() {
    let mut flight = Story::ordinary().until_claimed();
    flight.sibling_refreshes("at-s", "rt-s");
    flight.claim();
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_token_must_be_above_the_floor() {
    let floor = |epoch, number| Adopt::Above {
        floor: Some(Generation::stored(Epoch::new(epoch), number)),
        margin: Duration::ZERO,
    };
    assert!(is_adopted(floor(1, 1), refreshed(HOUR)));
    assert!(!is_adopted(floor(1, 2), refreshed(HOUR)), "the refused token itself will not do");
    assert!(!is_adopted(floor(1, 3), refreshed(HOUR)));
    assert!(is_adopted(floor(0, 9), refreshed(HOUR)), "an older epoch's floor is no floor");
    assert!(is_adopted(Adopt::Above { floor: None, margin: Duration::ZERO }, refreshed(HOUR)));
}

#[test]
fn more_than_the_margin_must_be_left_of_it() {
    let margin = secs(60);
    let adopt = Adopt::Above { floor: None, margin };
    assert!(is_adopted(adopt, refreshed(margin + millis(1))));
    assert!(!is_adopted(adopt, refreshed(margin)));
    assert!(!is_adopted(adopt, refreshed(Duration::ZERO)));
}

#[test]
fn a_token_that_was_requested_since_will_do_for_a_caller_who_insists() {
    let since = |since, margin| Adopt::Since { since, margin };
    let margin = secs(60);
    assert!(is_adopted(since(before(START, millis(1)), margin), refreshed(HOUR)));
    assert!(!is_adopted(since(START, margin), refreshed(HOUR)), "in one millisecond the order is not known");
    assert!(!is_adopted(since(START, margin), refreshed(HOUR - millis(1))), "it was requested before");
    let other = Moment { boot: BootId(2), ..START };
    assert!(!is_adopted(since(other, margin), refreshed(HOUR)), "another boot's time is another time");
    assert!(is_adopted(since(before(START, HOUR - margin), margin), refreshed(margin + millis(1))));
    assert!(!is_adopted(since(before(START, HOUR - margin), margin), refreshed(margin)), "too little is left");
}

#[test]
fn a_caller_who_insists_gets_a_token_that_is_minted_now() {
    let mut flight = wanting(insists(), refreshed(HOUR));
    flight.load();
    flight.claim();
    flight.load();
    flight.change(EffectName::Mark);
    flight.send();
    flight.answer(new_pair());
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    assert_eq!(flight.mints().generation(), Generation::stored(EPOCH, 3));
    flight.over_now();
}

#[test]
fn a_good_token_of_a_grant_that_has_ended_is_adopted_yet() {
    let mut record = refreshed(HOUR);
    grant_of(&mut record).refresh = Refresh::Ended(rt("rt-s").digest());
    assert!(is_adopted(above(1), record.clone()));
    grant_of(&mut record).refresh = Refresh::None;
    assert!(is_adopted(above(1), record));
}

#[test]
fn a_good_token_is_adopted_whatever_the_doubt_about_its_successor() {
    let record = marked(&refreshed(HOUR), SIBLING, 2, START);
    assert!(is_adopted(above(1), record));
}

/// Earlier versions stored such tokens.
#[test]
fn a_stored_token_that_no_header_can_carry_has_expired() {
    let mut record = signed_in();
    let access = grant_of(&mut record).access.as_mut().unwrap();
    access.validity = Validity::new(START, Some(HOUR));
    access.token = AccessToken::new("at-1\nX-Injected: 1");
    let is_good = |record: &Record| record.view().lease.unwrap().validity().is_good(secs(1), &after(START, secs(1)));
    assert!(!is_good(&record));
    grant_of(&mut record).access.as_mut().unwrap().token = AccessToken::new("at-1");
    assert!(is_good(&record));
}
