//! The source and the profile come from the record, even if the session knew others when it ordered the flight.

use tokenkeeper_actors::law::profile::{Profile, Reuse};
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{ProviderName, RenewalPlan, SourceName};

use crate::support::*;

fn provider() -> ProviderName {
    ProviderName::new("notion").unwrap()
}

/// Signed in, with this plan in the record.
fn planned(renewal: RenewalPlan) -> Record {
    let mut record = signed_in();
    grant_of(&mut record).renewal = renewal;
    record
}

/// A flight over a record with this plan, in a process that knows one provider, which forbids replays and is given ten
/// seconds for a request.
fn over(renewal: RenewalPlan) -> Story {
    let strict = Profile { reuse: Reuse::EndsMore, request_timeout: secs(10), ..profile() };
    Story::begin(Setup { named: vec![(provider(), strict)], record: Some(planned(renewal)), ..Setup::default() })
}

/// The outcome of a lost answer, or `None` if the flight presents its token once more, and how long the request was given.
fn lost(mut flight: Story) -> (Option<Outcome>, Duration) {
    flight.permit();
    flight.load();
    flight.claim();
    flight.load();
    flight.change(EffectName::Mark);
    let timeout = flight.send().timeout;
    flight.answer(ANSWER_LOST);
    if flight.pauses() {
        return (None, timeout);
    }
    flight.permit_back();
    flight.abandoned();
    let outcome = flight.landing().outcome;
    flight.over_now();
    (Some(outcome), timeout)
}

#[test]
fn the_profile_is_that_of_the_provider_in_the_record() {
    let never = Some(login_required(Reason::MaybeConsumed));
    assert_eq!(lost(over(RenewalPlan::at(provider()))), (never.clone(), secs(10)));
    assert_eq!(lost(over(RenewalPlan::default())), (None, secs(30)));
    let plan = RenewalPlan { never_replay: true, ..RenewalPlan::default() };
    assert_eq!(lost(over(plan)), (never, secs(30)));
}

#[test]
fn a_token_of_an_unknown_provider_is_never_replayed() {
    let plan = RenewalPlan::at(ProviderName::new("somewhere").unwrap());
    assert_eq!(lost(over(plan)), (Some(login_required(Reason::MaybeConsumed)), secs(30)));
}

#[test]
fn what_is_left_in_doubt_is_resolved_by_the_plan_of_the_record() {
    let refused = |renewal: RenewalPlan| {
        let record = marked(&planned(renewal), SIBLING, 1, before(START, secs(31)));
        let mut flight = Story::begin(Setup { record: Some(record), ..Setup::default() }).until_claimed();
        flight.claim();
        flight.load();
        let refused = flight.effect();
        let is_refused = refused.name() == EffectName::EndClaim;
        flight.unlook(refused);
        if is_refused {
            flight.released();
            flight.permit_back();
            flight.lands(login_required(Reason::MaybeConsumed));
            flight.over_now();
        } else {
            flight.change_asked(EffectName::Mark);
        }
        is_refused
    };
    assert!(!refused(RenewalPlan::default()));
    assert!(refused(RenewalPlan { never_replay: true, ..RenewalPlan::default() }));
    assert!(refused(RenewalPlan::at(provider())), "of a provider this process does not know");
}

#[test]
fn a_plan_that_changes_before_the_read_under_the_claim_is_the_one_that_counts() {
    let mut flight = over(RenewalPlan::default());
    flight.permit();
    flight.load();
    flight.meanwhile(Change::Configure { epoch: EPOCH, renewal: RenewalPlan::at(provider()) });
    flight.claim();
    flight.load();
    flight.change(EffectName::Mark);
    let request = flight.send();
    assert_eq!((request.timeout, request.renewal), (secs(10), RenewalPlan::at(provider())));
}

#[test]
fn a_plan_that_changes_before_the_mark_is_read_again() {
    let mut flight = over(RenewalPlan::default());
    flight.permit();
    flight.load();
    flight.claim();
    flight.load();
    flight.meanwhile(Change::Configure { epoch: EPOCH, renewal: RenewalPlan::at(provider()) });
    flight.change(EffectName::Mark);
    flight.load();
    flight.change(EffectName::Mark);
    assert_eq!(flight.send().timeout, secs(10));
}

#[test]
fn without_the_source_of_the_record_nothing_is_claimed_marked_or_presented() {
    let other = SourceName::new("a-command").unwrap();
    let missing = RenewalPlan { source: other, ..RenewalPlan::default() };
    let mut flight = over(missing.clone());
    let before = flight.record.clone();
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(failed(Reason::SourceMissing));
    flight.over_now();
    assert_eq!(flight.record, before);

    // Found out under the claim.
    let mut flight = over(RenewalPlan::default()).until_claimed();
    flight.meanwhile(Change::Configure { epoch: EPOCH, renewal: missing });
    flight.claim();
    flight.load();
    flight.released();
    flight.permit_back();
    flight.lands(failed(Reason::SourceMissing));
    flight.over_now();
    assert_eq!(mark_of(flight.record.as_ref()), None);
}

#[test]
fn a_source_that_says_otherwise_of_its_spending_is_not_the_one() {
    let mut setup = Setup { record: None, spending: Spending::SingleUse, ..Setup::default() };
    setup.record = Some(planned(RenewalPlan::default()));
    let mut flight = Story::begin(setup);
    // The source in this process spends refresh tokens.
    grant_of(flight.record.as_mut().unwrap()).renewal.spending = Spending::Repeatable;
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(failed(Reason::SourceMissing));
    flight.over_now();
}

#[test]
fn a_siblings_token_is_taken_though_the_source_is_missing() {
    let record = refreshed_by_sibling(&signed_in(), "at-s", "rt-s", START);
    let mut flight = Story::over(record);
    grant_of(flight.record.as_mut().unwrap()).renewal.source = SourceName::new("a-command").unwrap();
    flight.permit();
    flight.load();
    flight.permit_back();
    flight.lands(Outcome::Adopted);
    flight.over_now();
}

#[test]
fn with_no_store_and_no_source_nothing_is_minted() {
    let mut setup = Setup { record: None, spending: Spending::Repeatable, ..Setup::default() };
    setup.order.renewal.source = SourceName::new("a-command").unwrap();
    let mut flight = Story::begin(setup);
    flight.permit();
    flight.load_fails(StoreFault::Failed);
    flight.permit_back();
    flight.lands_blind(failed(Reason::SourceMissing));
    flight.over_now();
}
