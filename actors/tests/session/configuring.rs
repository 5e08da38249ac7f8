//! Configurations: how the identity is renewed changes, in order, and nothing else does.

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::law::session::{Policy, ReplyId, SessionEvent};
use tokenkeeper_actors::values::{ProviderName, Reason, RenewalPlan, SourceName, StoreFault, Validity};

use super::support::{HOUR, Story, Told, beginning, generation, repeatable, s};

fn signed_in() -> Story {
    Story::signed_in(HOUR, Policy::default())
}

fn plan() -> RenewalPlan {
    RenewalPlan::at(ProviderName::new("notion").expect("a name"))
}

impl Story {
    fn configures(&mut self, reply: u64, plan: RenewalPlan) -> Told {
        self.does(SessionEvent::Configure(ReplyId(reply), Box::new(plan)))
    }

    fn stored_plan(&self) -> Option<RenewalPlan> {
        Some(self.store.record.as_ref()?.grant()?.renewal.clone())
    }
}

#[test]
fn a_plan_is_written_and_the_lease_goes_on_being_served() {
    let mut story = signed_in();
    assert_eq!(story.configures(1, plan()), ["write plan of 1"]);
    assert!(!story.session.is_idle());
    assert_eq!(story.asks(1), ["1 gets 1.1"]);
    assert_eq!(story.writes().quietly(), ["configuration 1 done"]);
    assert_eq!(story.stored_plan(), Some(plan()));
    assert_eq!(story.hit(), Some(generation(1, 1)));
    assert!(story.session.is_idle());
    // The next flight is ordered by it.
    story.passes(HOUR);
    story.asks(2);
    assert_eq!(story.order().renewal, plan());
}

#[test]
fn before_the_first_read_it_waits_for_the_record() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    assert_eq!(story.configures(1, plan()), []);
    assert_eq!(story.reads(), ["publish", "write plan of 1", "load"]);
    assert_eq!(story.writes().quietly(), ["configuration 1 done"]);

    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.configures(1, plan());
    assert_eq!(story.read_fails(), ["load", "configuration 1 failed: StoreTrouble(Failed)"]);
}

#[test]
fn where_nobody_is_signed_in_there_is_nothing_to_configure() {
    let mut story = Story::begins(Policy::default());
    story.reads();
    assert_eq!(story.configures(1, plan()), ["configuration 1 failed: NotSignedIn"]);
    let mut story = signed_in();
    story.store.sign_out();
    story.hears();
    assert_eq!(story.configures(1, plan()), ["configuration 1 failed: NotSignedIn"]);
}

#[test]
fn a_newer_login_is_left_alone() {
    let mut story = signed_in();
    story.configures(1, plan());
    story.store.sign_in(Some(HOUR), story.at);
    assert_eq!(story.writes().quietly(), ["configuration 1 failed: Superseded"]);
    assert_eq!(story.stored_plan(), Some(RenewalPlan::default()));
    assert_eq!(story.hit(), Some(generation(2, 2)));
}

#[test]
fn a_marked_token_keeps_its_source() {
    let mut story = signed_in();
    story.store.mark(tokenkeeper_actors::values::FlightId(5), beginning());
    story.hears();
    let other = RenewalPlan { source: SourceName::new("a-command").unwrap(), ..plan() };
    story.configures(1, other);
    assert_eq!(story.writes().quietly(), ["configuration 1 failed: Marked"]);
    story.configures(2, plan());
    assert_eq!(story.writes().quietly(), ["configuration 2 done"]);
}

#[test]
fn one_at_a_time_and_none_beside_a_login_or_a_logout() {
    let mut story = signed_in();
    story.configures(1, plan());
    assert_eq!(story.configures(2, plan()), ["configuration 2 failed: Busy"]);
    story.writes();
    story.installs(3, HOUR);
    assert_eq!(story.configures(4, plan()), ["configuration 4 failed: Busy"]);
    let mut story = signed_in();
    story.logs_out(1);
    assert_eq!(story.configures(2, plan()), ["configuration 2 failed: Busy"]);
}

#[test]
fn a_store_that_fails_or_does_not_answer_is_told() {
    let mut story = signed_in();
    story.configures(1, plan());
    assert_eq!(story.write_fails(StoreFault::Failed), ["load", "configuration 1 failed: StoreTrouble(Failed)"]);
    story.reads();
    story.configures(2, plan());
    assert_eq!(story.ticks_after(s(5)), ["load", "configuration 2 failed: StoreTrouble(TimedOut)"]);
    // It lands after all.
    story.reads();
    story.writes();
    assert_eq!(story.stored_plan(), Some(plan()));
}

#[test]
fn at_the_end_it_is_told_what_became_of_it() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    story.configures(1, plan());
    assert_eq!(story.does(SessionEvent::Shutdown).quietly(), ["configuration 1 failed: ShuttingDown"]);
    assert_eq!(story.configures(2, plan()), ["configuration 2 failed: ShuttingDown"]);
    let mut story = signed_in();
    story.configures(1, plan());
    assert_eq!(story.does(SessionEvent::Shutdown).quietly(), ["configuration 1 failed: StoreTrouble(TimedOut)"]);
}

#[test]
fn a_source_that_was_missing_is_tried_at_once_under_its_new_name() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.fails(Reason::SourceMissing);
    assert!(story.published().residue.backoff.resting.is_some());
    story.configures(1, plan());
    assert_eq!(story.writes().quietly(), ["configuration 1 done"]);
    assert_eq!(story.asks(2), ["publish", "fly for expiry"]);
}

#[test]
fn a_failure_of_another_kind_is_paused_for_as_before() {
    let mut story = signed_in();
    story.passes(HOUR);
    story.asks(1);
    story.fails(Reason::ServerTrouble);
    story.configures(1, plan());
    story.writes();
    assert!(story.published().residue.backoff.resting.is_some());
}

#[test]
fn a_repeatable_identity_is_known_by_its_record_even_while_the_store_is_down() {
    // Opened by the bare identity, whose own plan is the refresh grant.
    let mut story = Story::begins(Policy::default());
    let (validity, plan) = (Validity::new(story.at, Some(HOUR)), repeatable());
    story.store.renew_by(&plan);
    let flight = tokenkeeper_actors::values::FlightId(5);
    story.store.mint(flight, tokenkeeper_actors::values::Cause::Expiry, validity);
    story.reads();
    story.passes(HOUR);
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
    assert_eq!(story.order().renewal, plan);
    let lease =
        story.store.mint(flight, tokenkeeper_actors::values::Cause::Expiry, Validity::new(story.at, Some(HOUR)));
    story.lands(Outcome::Minted(lease));
    story.passes(HOUR);
    // The next actor cannot read the record, and mints all the same.
    story.restarts();
    assert_eq!(story.asks(2), []);
    assert_eq!(story.read_fails(), ["publish", "fly for expiry"]);
    assert_eq!(story.order().renewal, plan);
}

#[test]
fn the_record_outranks_the_plan_of_the_opener() {
    let mut story = signed_in();
    story.store.change(&Change::Configure { epoch: generation(1, 1).epoch, renewal: plan() });
    let policy = Policy { renewal: repeatable(), ..Policy::default() };
    let record = story.store.record.take();
    let mut story = Story::begins(policy);
    story.store.record = record;
    story.reads();
    story.passes(HOUR);
    story.asks(1);
    assert_eq!(story.order().renewal, plan());
}

#[test]
fn a_grant_that_has_ended_is_renewed_by_a_source_that_needs_no_refresh_token() {
    for reason in [Reason::GrantEnded, Reason::MaybeConsumed] {
        let mut story = signed_in();
        let (epoch, sent) = (generation(1, 1).epoch, story.store.record.as_ref().and_then(|record| record.held()));
        let sent = sent.expect("a refresh token").credential.digest();
        if reason == Reason::GrantEnded {
            story.store.change(&Change::End { epoch, sent });
        } else {
            let flight = tokenkeeper_actors::values::FlightId(5);
            story.store.mark(flight, story.at);
            story.store.change(&Change::Spent { epoch, flight, sent });
        }
        story.passes(HOUR);
        story.hears();
        assert_eq!(story.asks(1), [&format!("1 is told {reason}")[..]]);
        if let Some(grant) = story.store.record.as_mut().and_then(|record| match &mut record.content {
            tokenkeeper_actors::values::record::Content::Grant(grant) => Some(grant),
            _ => None,
        }) {
            grant.renewal = repeatable();
            story.store.record.as_mut().expect("a record").revision = tokenkeeper_actors::values::Revision::new(99);
        }
        story.hears();
        assert_eq!(story.asks(2).quietly(), ["fly for expiry"]);
    }
}
