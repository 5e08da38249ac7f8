//! Flights that end before the claim or under it, without a request.

use tokenkeeper_actors::values::record::{Issuer, MarkState, Parked, Prompt, PromptState, Record, Refresh};
use tokenkeeper_actors::values::{AttemptId, ClientSecret, LoginKey, Revision, Version, WallTime};

use crate::support::*;

/// Runs a flight over `record` that ends at its first read, without a claim.
fn ends_unclaimed(record: Option<Record>, outcome: Outcome) {
    let mut flight = Story::begin(Setup { record, ..Setup::default() });
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(outcome);
    flight.over_now();
}

/// Runs a flight that reads `record` under its claim, releases the claim and ends.
fn ends_claimed(record: Record, outcome: Outcome) {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim();
    flight.record = Some(record);
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(outcome);
    flight.over_now();
}

fn both(record: Record, outcome: Outcome) {
    ends_unclaimed(Some(record.clone()), outcome.clone());
    ends_claimed(record, outcome);
}

#[test]
fn where_nobody_ever_signed_in_nothing_is_claimed() {
    ends_unclaimed(None, login_required(Reason::NeverSignedIn));
}

#[test]
fn a_record_in_which_a_person_was_only_asked_has_nothing_to_refresh() {
    let prompt = Prompt {
        attempt: AttemptId(7),
        key: LoginKey([7; 32]),
        state: PromptState::Open,
        at: START,
        revision: Revision::default(),
        expires: START.wall.after(HOUR),
    };
    let asked = Change::Prompt { expected: Version::default(), prompt: Box::new(prompt) };
    let mut record = changed(None, &asked);
    record.epoch = EPOCH;
    both(record, login_required(Reason::NeverSignedIn));
}

#[test]
fn after_a_logout_of_this_very_epoch_nothing_is_claimed() {
    let mut record = changed(Some(&signed_in()), &Change::Clear { epoch: EPOCH });
    record.epoch = EPOCH;
    both(record, login_required(Reason::LoggedOut));
}

#[test]
fn a_parked_grant_says_why_it_is_parked() {
    let cases = [
        (Parked::ClientRejected, Reason::ClientRejected),
        (Parked::IssuerChanged, Reason::IssuerChanged),
        (Parked::SubjectChanged, Reason::SubjectChanged),
    ];
    for (why, reason) in cases {
        let parked = |record| changed(Some(&record), &Change::Park { epoch: EPOCH, why });
        both(parked(signed_in()), login_required(reason));
        // Its token is not adopted, even if it is still valid.
        both(parked(refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START)), login_required(reason));
    }
}

#[test]
fn a_grant_without_a_refresh_token_cannot_be_refreshed() {
    let mut record = signed_in();
    grant_of(&mut record).refresh = Refresh::None;
    both(record, login_required(Reason::NotRefreshable));
}

#[test]
fn a_grant_that_has_ended_is_not_tried_again() {
    let sent = rt("rt-1").digest();
    both(changed(Some(&signed_in()), &Change::End { epoch: EPOCH, sent }), login_required(Reason::GrantEnded));
    // A token whose digest is known to be dead is not presented either, if it is in the record again.
    let mut record = signed_in();
    record.dead.remember(sent);
    both(record, login_required(Reason::GrantEnded));
}

#[test]
fn a_token_that_is_certainly_spent_is_never_presented() {
    let mut record = marked(&signed_in(), SIBLING, 1, before(START, HOUR));
    if let Refresh::Held(held) = &mut grant_of(&mut record).refresh {
        held.mark.as_mut().expect("a mark").state = MarkState::Spent;
    }
    both(record, login_required(Reason::MaybeConsumed));
}

#[test]
fn another_epoch_sends_the_session_back_to_decide_anew() {
    let logged_out = changed(Some(&signed_in()), &Change::Clear { epoch: EPOCH });
    both(logged_out.clone(), Outcome::Moved);
    // Even if the new epoch's token could be used, because only the session moves to the new epoch.
    let login = login(Some("rt-new"), "at-new", START, HOUR);
    both(changed(Some(&logged_out), &Change::Install(Box::new(login))), Outcome::Moved);
}

#[test]
fn an_older_epoch_is_another_epoch_too() {
    let mut setup = Setup::default();
    setup.order.epoch = Epoch::new(2);
    let mut flight = Story::begin(setup);
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Moved);
    flight.over_now();
}

#[test]
fn a_token_is_not_sent_to_an_issuer_whose_leave_was_not_asked() {
    let mut record = signed_in();
    grant_of(&mut record).binding.issuer = Issuer("https://other.example.com".to_owned());
    both(record, Outcome::Moved);
    for issuer in [None, Some(Issuer("https://as.example.com/".to_owned()))] {
        let mut setup = Setup::default();
        setup.order.issuer = issuer;
        let mut flight = Story::begin(setup);
        flight.permit();
        flight.load();
        flight.permit_back();
        flight.lands(Outcome::Moved);
        flight.over_now();
    }
}

#[test]
fn what_ends_the_flight_anyway_needs_no_leave_of_the_right_issuer() {
    let mut setup = Setup::default();
    setup.order.issuer = None;
    setup.record = Some(refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START));
    let mut flight = Story::begin(setup);
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn a_record_that_vanished_under_the_claim_ends_the_flight() {
    let mut flight = Story::ordinary().until_claimed();
    flight.claim();
    flight.record = None;
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(login_required(Reason::NeverSignedIn));
    flight.over_now();
}

/// The signed-in record, whose client has a secret that ends then.
fn expiring(at: WallTime) -> Record {
    let mut record = signed_in();
    let client = &mut grant_of(&mut record).binding.client;
    (client.secret, client.secret_expires_at) = (Some(ClientSecret::new("cs")), Some(at));
    record
}

#[test]
fn a_client_whose_secret_has_expired_presents_nothing() {
    ends_claimed(expiring(START.wall), login_required(Reason::ClientRejected));
    let presents = |record, adopt| {
        let mut setup = Setup { record: Some(record), ..Setup::default() };
        setup.order.adopt = adopt;
        let mut flight = Story::begin(setup);
        flight.permit();
        flight.load();
        flight.claim();
        flight.load();
        flight.change(EffectName::Mark);
        flight.send();
        flight.answer(new_pair());
        flight.permit_back();
        flight.change(EffectName::Commit);
        flight.released();
        assert_eq!(flight.mints().generation().number, 2);
        flight.over_now();
    };
    presents(expiring(START.wall.after(HOUR)), Setup::default().order.adopt);
    // A caller who insists may try it, because the server may have extended it.
    presents(expiring(START.wall), insists());
}
