//! Sessions that are kept warm. They are refreshed without a waiting caller, and before the refresh token ends for lack
//! of use.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Outcome, Urgency};
use tokenkeeper_actors::law::session::{Policy, RefreshPolicy};
use tokenkeeper_actors::values::{BootId, ElapsedTime, FlightId, Reason, Validity};

use super::support::{HOUR, Story, generation, ms, s};

const DAY: Duration = Duration::from_secs(86_400);

fn policy(refresh: RefreshPolicy) -> Policy {
    Policy { refresh, ..Policy::default() }
}

const WARM: RefreshPolicy = RefreshPolicy::KeepWarm { inactivity: None };

#[test]
fn kept_warm_the_early_window_is_flown_whoever_comes() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    for round in 1..4 {
        let (began, window) = (story.at.elapsed, story.window());
        assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
        assert_eq!(Some(story.at.elapsed.since(began)), window);
        assert_eq!(story.mints(HOUR), ["publish"]);
        assert_eq!(story.flights(), round);
    }
}

#[test]
fn kept_warm_a_failure_is_tried_again_after_its_pause_and_at_no_other_time() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.idles(DAY);
    for pause in [500, 1_000, 2_000, 4_000] {
        assert_eq!(story.fails(Reason::Unreachable), ["publish"]);
        assert_eq!(story.sleeps_for(), Some(ms(pause)));
        story.passes(ms(pause - 1));
        assert_eq!(story.ticks(), []);
        assert_eq!(story.ticks_after(ms(1)), ["publish", "fly for early"]);
    }
}

#[test]
fn kept_warm_a_record_that_moves_on_and_on_earns_a_pause() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.idles(DAY);
    for _ in 0..3 {
        assert_eq!(story.lands(Outcome::Moved).count("fly"), 1);
    }
    assert_eq!(story.lands(Outcome::Moved).count("fly"), 0);
    assert_eq!(story.sleeps_for(), Some(ms(500)));
}

#[test]
fn kept_warm_a_refusal_is_followed_at_once_and_by_its_name() {
    // The cause matters. If a token minted for a refusal is refused again, a refresh does not help (law 11).
    let mut story = Story::signed_in(HOUR, policy(WARM));
    assert_eq!(story.refuses(1, generation(1, 1)), ["publish", "fly for refusal", "refusal 1 noted"]);
    assert_eq!(story.order().urgency, Urgency::Background);
    story.mints(HOUR);
    assert_eq!(story.refuses(2, generation(1, 2)), ["publish", "refusal 2 futile: resource_refuses, 30000 ms"]);
    assert_eq!(story.flights(), 1);
}

#[test]
fn kept_warm_a_login_that_brought_no_access_token_gets_one() {
    let mut store = super::support::Store::default();
    let mut login = super::support::login("rt", None, super::support::beginning());
    login.access = None;
    store.change(&tokenkeeper_actors::law::ledger::Change::Install(Box::new(login)));
    let mut story = Story::begins_over(store, policy(WARM));
    assert_eq!(story.reads(), ["publish", "fly for expiry"]);
}

#[test]
fn kept_warm_a_token_that_is_over_on_arrival_earns_a_pause() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.idles(DAY);
    let asked = story.at;
    story.passes(s(10));
    // The answer took as long as the token lives.
    assert_eq!(story.mints_with(Validity::new(asked, Some(s(10)))), ["publish"]);
    assert_eq!(story.sleeps_for(), Some(ms(500)));
    assert_eq!(story.ticks_after(ms(500)).count("fly"), 1);
}

#[test]
fn kept_warm_a_refresh_token_is_not_left_to_die_of_disuse() {
    let inactivity = Some(s(4_000));
    let mut story = Story::signed_in(DAY, policy(RefreshPolicy::KeepWarm { inactivity }));
    for _ in 0..3 {
        let began = story.at.elapsed;
        assert_eq!(story.sleeps_for(), Some(s(60)));
        assert_eq!(story.idles(DAY), ["publish", "fly for keepalive"]);
        assert_eq!(story.at.elapsed.since(began), s(3_000));
        assert_eq!(story.order().urgency, Urgency::Background);
        assert_eq!(story.mints(DAY), ["publish"]);
    }
}

#[test]
fn kept_warm_the_early_window_comes_first_where_it_is_first() {
    let inactivity = Some(DAY);
    let mut story = Story::signed_in(HOUR, policy(RefreshPolicy::KeepWarm { inactivity }));
    assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
}

#[test]
fn kept_warm_a_token_of_unknown_lifetime_is_flown_for_its_refresh_token_alone() {
    let mut story = Story::over_a_login(None, policy(WARM));
    story.reads();
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
    let mut story = Story::over_a_login(None, policy(RefreshPolicy::KeepWarm { inactivity: Some(HOUR) }));
    story.reads();
    assert_eq!(story.idles(DAY), ["publish", "fly for keepalive"]);
}

/// A session kept warm over a login from another boot, or another host, that many seconds ago.
fn foreign(lifetime: Duration, inactivity: Option<Duration>, age: i64) -> Story {
    let mut story = Story::over_a_login(Some(lifetime), policy(RefreshPolicy::KeepWarm { inactivity }));
    story.at.boot = BootId(2);
    story.at.elapsed = ElapsedTime::from_millis(5);
    story.wall_steps(age * 1_000);
    story
}

#[test]
fn kept_warm_the_disuse_of_a_refresh_token_from_another_boot_counts_on_the_wall_clock() {
    let mut story = foreign(DAY, Some(s(4_000)), 2_800);
    story.reads();
    let began = story.at.elapsed;
    assert_eq!(story.idles(DAY), ["publish", "fly for keepalive"]);
    assert_eq!(story.at.elapsed.since(began), s(200));
}

#[test]
fn a_foreign_token_is_left_alone_for_a_minute_or_a_quarter_of_its_life() {
    // Otherwise two hosts whose clocks disagree would refresh against each other without end.
    for (lifetime, timeout) in [(HOUR, s(60)), (s(40), s(10))] {
        let mut story = foreign(lifetime, None, lifetime.as_secs() as i64);
        assert_eq!(story.reads().count("fly"), 0);
        assert_eq!(story.sleeps_for(), Some(timeout));
        assert_eq!(story.ticks_after(timeout - ms(1)), []);
        assert_eq!(story.ticks_after(ms(1)), ["publish", "fly for early"]);
        assert_eq!(story.mints(HOUR), ["publish"]);
        // A token of this boot is not foreign.
        assert_eq!(story.idles(DAY), ["publish", "fly for early"]);
    }
    // Callers do not wait for that minute.
    let mut story = foreign(HOUR, None, 3_600);
    story.reads();
    assert_eq!(story.asks(1), ["publish", "fly for expiry"]);
}

#[test]
fn a_foreign_token_of_unknown_lifetime_is_left_alone_for_a_minute() {
    let mut story = Story::over_a_login(None, policy(RefreshPolicy::KeepWarm { inactivity: Some(HOUR) }));
    story.at.boot = BootId(2);
    story.at.elapsed = ElapsedTime::from_millis(5);
    story.wall_steps(3_600_000);
    assert_eq!(story.reads().count("fly"), 0);
    assert_eq!(story.sleeps_for(), Some(s(60)));
    assert_eq!(story.ticks_after(s(60)), ["publish", "fly for keepalive"]);
}

#[test]
fn nothing_is_kept_warm_that_needs_a_login() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    story.store.sign_out();
    story.hears();
    assert_eq!(story.session.next_wake(), None);
    assert_eq!(story.idles(DAY), []);
}

#[test]
fn kept_warm_a_session_is_idle_only_while_nothing_but_a_login_helps() {
    let mut story = Story::signed_in(HOUR, policy(WARM));
    assert!(!story.session.is_idle());
    story.store.sign_out();
    story.hears();
    assert!(story.session.is_idle(), "logged out");
    story.store.sign_in(Some(HOUR), story.at);
    story.hears();
    assert!(!story.session.is_idle(), "signed in");

    let mut story = Story::begins(policy(WARM));
    assert!(!story.session.is_idle(), "the record is not known yet");
    story.reads();
    assert!(story.session.is_idle(), "never signed in");

    // A robot is kept warm without a login.
    let mut story = Story::begins(Policy { renewal: super::support::repeatable(), ..policy(WARM) });
    story.reads();
    assert!(!story.session.is_idle());
}

#[test]
fn a_doubt_that_only_a_login_ends_keeps_no_session_awake() {
    for refresh in [RefreshPolicy::OnDemand, WARM] {
        let mut story = Story::signed_in(HOUR, policy(refresh));
        story.passes(HOUR);
        story.asks(1);
        let flight = story.order().flight;
        story.store.mark(flight, story.at);
        story.hears();
        story.lands(Outcome::LoginRequired(Reason::GrantEnded));
        assert!(!story.session.is_idle(), "{refresh:?}: the store does not say so");

        let mut story = Story::signed_in(HOUR, policy(refresh));
        story.passes(HOUR);
        story.asks(1);
        let flight = story.order().flight;
        story.store.mark(flight, story.at);
        story.hears();
        story.lands(Outcome::LoginRequired(Reason::MaybeConsumed));
        assert!(story.session.is_idle(), "{refresh:?}");
        // It holds for this version of the record.
        story.store.mark(FlightId(8), story.at);
        story.hears();
        assert!(!story.session.is_idle(), "{refresh:?}: the record has moved");
    }
}
