//! The published state of a session, which is for display only.

use tokenkeeper_actors::law::flight::Outcome;
use tokenkeeper_actors::law::session::{Policy, Standing};
use tokenkeeper_actors::values::{FlightId, Reason};

use super::support::{HOUR, Story};

#[test]
fn before_the_record_was_read_nothing_is_known() {
    let story = Story::begins(Policy::default());
    assert_eq!(story.published().standing, Standing::default());
}

#[test]
fn signed_in_it_says_since_when_the_refresh_token_is_held() {
    let mut story = Story::over_a_login(Some(HOUR), Policy::default());
    let since = Some(story.at.wall);
    story.reads();
    let signed_in = Some(story.at.wall);
    let expected = Standing { login_required: None, refresh_since: since, signed_in, ..Standing::default() };
    assert_eq!(story.published().standing, expected);
}

#[test]
fn a_refresh_token_that_is_being_presented_is_in_doubt() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.mark(FlightId(7), story.at);
    story.hears();
    assert!(story.published().standing.in_doubt);
}

#[test]
fn it_says_why_only_a_login_helps() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.store.sign_out();
    story.hears();
    let logged_out = Standing { login_required: Some(Reason::LoggedOut), ..Standing::default() };
    assert_eq!(story.published().standing, logged_out);
}

#[test]
fn a_flights_finding_counts_while_the_record_says_nothing_of_it() {
    let mut story = Story::signed_in(HOUR, Policy::default());
    story.passes(HOUR);
    story.asks(1);
    story.lands(Outcome::LoginRequired(Reason::MaybeConsumed));
    assert_eq!(story.published().standing.login_required, Some(Reason::MaybeConsumed));
}
