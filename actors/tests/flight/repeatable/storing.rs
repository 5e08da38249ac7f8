//! Minting, with a store and without one.

use tokenkeeper_actors::law::profile::Tokens;
use tokenkeeper_actors::values::Nonce;
use tokenkeeper_actors::values::record::{Content, Parked, Record, Refresh};

use super::{first, known_client, later, minted};
use crate::support::*;

#[test]
fn it_is_claimed_but_never_marked_and_the_first_commit_makes_the_record() {
    let mut flight = Story::begin(first()).until_claimed();
    flight.claim();
    flight.load();
    let request = flight.send();
    assert!(request.refresh.is_none() && request.grant.is_none());
    assert_eq!((request.not_after, request.timeout), (START.elapsed.after(secs(2)), secs(30)));
    flight.waits();
    flight.answer(usable(minted("at-1")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    let lease = flight.mints();
    flight.over_now();
    assert_eq!(lease.generation(), Generation::stored(Epoch::default(), 1));
    assert_eq!(lease.scopes(), &scopes(&["read"]));
    let record = flight.record.clone().unwrap();
    let grant = record.grant().unwrap();
    assert_eq!((&grant.binding, &grant.refresh), (&binding(), &Refresh::None));
    assert_eq!(access_of(Some(&record)).as_deref(), Some("at-1"));
}

#[test]
fn a_later_mint_knows_its_grant_and_counts_on() {
    let mut flight = Story::begin(later()).until_claimed();
    flight.claim();
    flight.load();
    let request = flight.send();
    assert_eq!(request.grant.map(|grant| grant.binding), Some(binding()));
    assert!(request.refresh.is_none());
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    assert_eq!(flight.mints().generation().number, 2);
    flight.over_now();
}

#[test]
fn numbers_that_were_given_out_without_a_store_are_not_given_out_again() {
    let mut setup = later();
    setup.order.known = Generation { number: 7, nonce: Nonce(0x99), ..Generation::default() };
    let mut flight = Story::begin(setup).until_sent_unmarked();
    flight.answer(usable(minted("at-8")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    assert_eq!(flight.mints().generation(), Generation::stored(Epoch::default(), 8));
    flight.over_now();
}

#[test]
fn a_token_that_will_do_is_adopted() {
    let mut setup = later();
    setup.order.adopt = Adopt::Above { floor: None, margin: secs(30) };
    let record = setup.record.as_mut().unwrap();
    grant_of(record).access.as_mut().unwrap().validity = tokens("", None).validity;
    let mut flight = Story::begin(setup);
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_logged_out_or_parked_identity_is_not_minted_for() {
    let tombstone = Record { content: Content::Tombstone, ..known_client() };
    let parked = changed(Some(&known_client()), &Change::Park { epoch: Epoch::default(), why: Parked::IssuerChanged });
    for (record, reason) in [(tombstone, Reason::LoggedOut), (parked, Reason::IssuerChanged)] {
        let mut flight = Story::begin(Setup { record: Some(record), ..later() });
        flight.permit();
        flight.load();
        flight.permit_back();
        flight.lands(login_required(reason));
        flight.over_now();
    }
}

#[test]
fn another_epoch_or_issuer_sends_the_session_back() {
    let mut other_epoch = later();
    other_epoch.order.epoch = Epoch::new(1);
    let mut other_issuer = later();
    other_issuer.order.issuer = None;
    for setup in [other_epoch, other_issuer] {
        let mut flight = Story::begin(setup);
        flight.permit();
        flight.load();
        flight.permit_back();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

/// Answers with a token, and lets the store fail once more. This process's nonce is then part of the generation.
fn mints_unstored(mut flight: Story, number: u64) {
    let request = flight.send();
    assert!(request.refresh.is_none() && request.grant.is_none());
    flight.answer(usable(minted("at-x")));
    flight.permit_back();
    flight.change_fails(EffectName::Commit, StoreFault::Failed);
    let lease = flight.mints_unstored();
    flight.over_now();
    assert_eq!(lease.token().expose(), "at-x");
    assert_eq!(lease.generation(), Generation { epoch: Epoch::default(), number, nonce: Nonce(0x99) });
    assert_eq!((lease.scopes(), lease.cause()), (&scopes(&["read"]), Cause::Expiry));
    assert_eq!((lease.validity(), lease.kind()), (tokens("", None).validity, Default::default()));
}

#[test]
fn with_the_store_down_it_is_minted_unclaimed() {
    for fault in [StoreFault::Failed, StoreFault::TimedOut, StoreFault::Unreadable] {
        let mut flight = Story::begin(later());
        flight.permit();
        flight.load_fails(fault);
        mints_unstored(flight, 2);

        let mut flight = Story::begin(later()).until_claimed();
        flight.claim_fails(fault);
        if fault == StoreFault::TimedOut {
            flight.released();
        }
        mints_unstored(flight, 2);

        let mut flight = Story::begin(later()).until_claimed();
        flight.claim();
        flight.load_fails(fault);
        flight.released();
        mints_unstored(flight, 2);
    }
}

#[test]
fn with_a_store_that_does_not_answer_it_is_minted_unclaimed() {
    let mut flight = Story::begin(first());
    flight.permit();
    flight.load_asked();
    flight.wake_after(secs(5));
    mints_unstored(flight, 1);
}

#[test]
fn without_claims_it_is_minted_unclaimed_and_stored() {
    let mut flight = Story::begin(later()).until_claimed();
    let op = flight.claim_asked();
    flight.claimed(op, ClaimAnswer::Unsupported);
    flight.send();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    assert_eq!(flight.mints().generation(), Generation::stored(Epoch::default(), 2));
    flight.over_now();
}

#[test]
fn it_waits_for_a_contended_claim_like_any_other() {
    let mut flight = Story::begin(later()).until_claimed();
    flight.claim_contended();
    flight.wake_after(millis(50));
    flight.load();
    flight.pass(secs(90));
    flight.claim_contended();
    flight.permit_back();
    flight.lands_blind(failed(Reason::Contended));
    flight.over_now();
}

#[test]
fn a_claim_that_comes_too_late_is_ended_while_the_source_works() {
    let mut flight = Story::begin(later()).until_claimed();
    let op = flight.claim_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.send();
    flight.claimed(op, granted(None, Predecessor::Gone));
    flight.released();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.mints();
    flight.over_now();
}

#[test]
fn a_flight_is_not_over_while_a_claim_may_still_come() {
    let mut flight = Story::begin(later()).until_claimed();
    let op = flight.claim_asked();
    flight.wake_after(secs(5));
    flight.released();
    flight.send();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.mints();
    flight.waits();
    flight.claimed(op, ClaimAnswer::Contended);
    flight.over_now();
}

#[test]
fn a_token_that_could_not_be_stored_is_not_kept_at() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change_asked(EffectName::Commit);
    flight.wake_after(secs(5));
    flight.released();
    let lease = flight.mints_unstored();
    flight.over_now();
    assert_eq!(lease.generation(), Generation { epoch: Epoch::default(), number: 2, nonce: Nonce(0x99) });
}

#[test]
fn whoever_stored_first_is_adopted() {
    // Two processes minted while the store was down, and it is back.
    let mut flight = Story::begin(first());
    flight.permit();
    flight.load_fails(StoreFault::Failed);
    flight.send();
    let mut record = known_client();
    grant_of(&mut record).access.as_mut().unwrap().validity = tokens("", None).validity;
    flight.record = Some(record);
    flight.answer(usable(minted("at-x")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.lands(Outcome::Adopted);
    flight.over_now();
    assert_eq!(access_of(flight.record.as_ref()).as_deref(), Some("at-1"));
}

#[test]
fn what_was_minted_before_a_logout_is_stored_nowhere() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.somebody_logs_out();
    flight.answer(usable(minted("at-2")));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn without_a_word_on_where_the_tokens_belong_no_record_is_made() {
    let mut flight = Story::begin(first()).until_sent_unmarked();
    flight.answer(usable(Tokens { binding: None, ..minted("at-1") }));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.lands(Outcome::Moved);
    flight.over_now();
    assert_eq!(flight.record, None);
}

#[test]
fn a_refresh_token_that_comes_along_is_not_kept() {
    let mut flight = Story::begin(later()).until_sent_unmarked();
    flight.answer(usable(Tokens { refresh: tokens("", Some("rt-x")).refresh, ..minted("at-2") }));
    flight.permit_back();
    flight.change(EffectName::Commit);
    flight.released();
    flight.mints();
    flight.over_now();
    assert_eq!(flight.record.clone().unwrap().grant().unwrap().refresh, Refresh::None);
}

#[test]
fn another_subject_parks_the_grant() {
    let mut setup = later();
    grant_of(setup.record.as_mut().unwrap()).subject = subject("robot");
    let mut flight = Story::begin(setup).until_sent_unmarked();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..minted("at-2") }));
    flight.permit_back();
    flight.change(EffectName::Close);
    flight.released();
    flight.lands(login_required(Reason::SubjectChanged));
    flight.over_now();
}

#[test]
fn a_park_that_cannot_be_written_is_not_kept_at() {
    let mut setup = later();
    grant_of(setup.record.as_mut().unwrap()).subject = subject("robot");
    let mut flight = Story::begin(setup).until_sent_unmarked();
    flight.answer(usable(Tokens { subject: subject("mallory"), ..minted("at-2") }));
    flight.permit_back();
    flight.change_fails(EffectName::Close, StoreFault::Failed);
    flight.released();
    flight.lands_blind(login_required(Reason::SubjectChanged));
    flight.over_now();
}
