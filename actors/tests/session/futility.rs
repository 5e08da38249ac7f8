//! A refresh that does not help is not repeated (law 11).

use tokenkeeper_actors::law::session::Policy;
use tokenkeeper_actors::values::{Cause, FlightId};

use super::support::{HOUR, Story, generation, ms, s};

/// A session whose lease, 1.2, was minted just now because 1.1 was refused.
fn renewed(lifetime: std::time::Duration) -> Story {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.refuses(1, generation(1, 1));
    story.asks(1);
    assert_eq!(story.mints(lifetime), ["publish", "1 gets 1.2"]);
    story
}

#[test]
fn a_lease_minted_for_a_refusal_and_refused_again_at_once_is_not_replaced() {
    let mut story = renewed(HOUR);
    assert_eq!(story.refuses(2, generation(1, 2)), ["publish", "refusal 2 futile: resource_refuses, 30000 ms"]);
    // No floor is raised, so other callers keep the lease.
    assert_eq!(story.published().residue.floor, Some(generation(1, 1)));
    assert_eq!(story.hit(), Some(generation(1, 2)));
    assert_eq!(story.asks(2), ["2 gets 1.2"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn youth_is_half_the_lifetime_and_at_most_half_a_minute() {
    for (lifetime, youth) in [(HOUR, s(30)), (s(40), s(20))] {
        let mut story = renewed(lifetime);
        story.passes(youth - ms(1));
        let told = story.refuses(2, generation(1, 2));
        assert_eq!(told.count("refusal 2 futile"), 1, "{told:?} of {lifetime:?}");

        let mut story = renewed(lifetime);
        story.passes(youth);
        assert_eq!(story.refuses(2, generation(1, 2)), ["publish", "refusal 2 noted"]);
        assert_eq!(story.asks(2), ["publish", "fly for refusal"]);
    }
}

#[test]
fn a_lease_minted_for_another_reason_is_replaced_when_it_is_refused() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.mints(HOUR);
    assert_eq!(story.refuses(1, generation(1, 2)), ["publish", "refusal 1 noted"]);
}

#[test]
fn a_siblings_lease_minted_for_a_refusal_counts_too() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.sibling_mints(HOUR, Cause::Refusal);
    story.hears();
    story.passes(s(29));
    assert_eq!(story.refuses(1, generation(1, 2)), ["publish", "refusal 1 futile: resource_refuses, 30000 ms"]);
}

#[test]
fn while_the_pause_lasts_that_operation_is_refused_whatever_the_age_of_the_lease() {
    let mut story = renewed(HOUR);
    story.passes(s(20));
    story.refuses(2, generation(1, 2));
    // Fifty seconds after it was minted, the lease is no longer young.
    story.passes(s(30) - ms(1));
    assert_eq!(story.refuses(3, generation(1, 2)), ["refusal 3 futile: resource_refuses, 1 ms"]);
    story.passes(ms(1));
    assert_eq!(story.refuses(4, generation(1, 2)), ["publish", "refusal 4 noted"]);
}

#[test]
fn other_operations_and_other_challenges_are_questions_of_their_own() {
    let mut story = renewed(HOUR);
    story.passes(s(20));
    story.refuses_for(2, generation(1, 2), 1, 1);
    story.passes(s(15));
    // The pause goes on for operation 1 with challenge 1, and the lease is no longer young.
    assert_eq!(story.refuses_for(3, generation(1, 2), 1, 1), ["refusal 3 futile: resource_refuses, 15000 ms"]);
    let mut other = renewed(HOUR);
    other.passes(s(20));
    other.refuses_for(2, generation(1, 2), 1, 1);
    other.passes(s(15));
    assert_eq!(other.refuses_for(3, generation(1, 2), 1, 2), ["publish", "refusal 3 noted"]);
    assert_eq!(story.refuses_for(4, generation(1, 2), 2, 1), ["publish", "refusal 4 noted"]);
}

#[test]
fn pauses_double_up_to_the_longest_backoff() {
    let mut story = renewed(HOUR);
    for (number, pause) in (2..).zip([30, 60, 120, 240, 300, 300]) {
        let reply = 10 * number;
        let futile = format!("refusal {reply} futile: resource_refuses, {pause}000 ms");
        assert_eq!(story.refuses(reply, generation(1, number)), ["publish", futile.as_str()]);
        story.passes(s(pause));
        // After the pause one more refresh is tried, and does not help either.
        assert_eq!(story.refuses(reply + 1, generation(1, number)).quietly().count("refusal"), 1);
        assert_eq!(story.asks(reply).count("fly for refusal"), 1);
        story.mints(HOUR);
    }
    assert_eq!(story.flights(), 7);
}

#[test]
fn a_login_ends_it() {
    let mut story = renewed(HOUR);
    story.refuses(2, generation(1, 2));
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    assert_eq!(story.refuses(3, generation(2, 3)).quietly(), ["refusal 3 noted"]);
    story.asks(3);
    story.mints(HOUR);
    // The first pause again.
    let told = story.refuses(4, generation(2, 4));
    assert_eq!(told, ["publish", "refusal 4 futile: resource_refuses, 30000 ms"]);
}

#[test]
fn it_outlives_the_actor() {
    let mut story = renewed(HOUR);
    story.refuses(2, generation(1, 2));
    story.restarts();
    story.reads();
    story.passes(s(29));
    assert_eq!(story.refuses(3, generation(1, 2)), ["refusal 3 futile: resource_refuses, 1000 ms"]);
}

#[test]
fn a_refusal_of_another_lease_than_the_current_one_is_never_futile() {
    let mut story = renewed(HOUR);
    story.refuses(2, generation(1, 2));
    assert_eq!(story.refuses(3, generation(1, 1)), ["refusal 3 superseded"]);
    // A lease whose number a sibling has reserved, and that this session has not read yet.
    story.store.mark(FlightId(0xfeed), story.at);
    story.hears();
    assert_eq!(story.refuses(4, generation(1, 3)).quietly(), ["refusal 4 noted"]);
}

#[test]
fn memory_of_futile_operations_is_bounded() {
    let mut story = renewed(HOUR);
    for operation in 0..100 {
        let told = story.refuses_for(100 + operation, generation(1, 2), operation, 1);
        assert_eq!(told.count(&format!("refusal {} futile", 100 + operation)), 1);
    }
    let kept = format!("{:?}", story.published().residue.futility).matches("FutileOperation").count();
    assert_eq!(kept, 64);
}
