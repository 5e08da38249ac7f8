//! The HTTP contract can fail. Each of these clients has one planted fault, and the checks find it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod clients;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use clients::{Ahead, Faulty, KeepAlive, Strict};
use tokenkeeper::http::{HttpClient, ReqwestClient};
use tokenkeeper_testkit::http_contract::reach::{ask_for_a_public_name, no_proxy_of_the_environment_is_asked};
use tokenkeeper_testkit::http_contract::{CHECKS, Check, Harness};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    SendsTwice,
    ChangesTheBody,
    CallsAStatusAnError,
    FollowsRedirects,
    TriesAgainWhenAsked,
    TriesAgainWhenLost,
    TakesAHintForTheAnswer,
    KeepsCookies,
    LosesAHeader,
    SendsAgainWhatAKeptConnectionLost,
    ShowsTheBody,
    SaysSentWhenRefused,
    IgnoresTheClock,
    IsAlwaysLate,
    SaysNotSentWhenLost,
    TakesHalfForAWhole,
    NeverTimesOut,
    TimesOutByTheRead,
    ReadsOneByteMore,
    ReadsOneByteLess,
    CallsTooLargeBroken,
    CallsBrokenTooLong,
    AsksForCompression,
    LosesTheEncoding,
    IsStrictAboutMessages,
    BelievesTheTimer,
    SpeaksTooSoon,
    ConnectsAgain,
    ConnectsToNothing,
    TrustsItsConnection,
    IgnoresTheReachOfLiterals,
    IgnoresTheReachOfNames,
    IgnoresTheReachOfConnections,
    ReachesEveryLoopback,
    ReachesNoLoopback,
    AsksTheProxy,
}

impl Harness for Fault {
    fn client(&self) -> Arc<dyn HttpClient> {
        match self {
            Fault::TakesAHintForTheAnswer | Fault::SendsAgainWhatAKeptConnectionLost => Arc::new(KeepAlive::default()),
            Fault::SpeaksTooSoon | Fault::ConnectsAgain | Fault::ConnectsToNothing | Fault::TrustsItsConnection => {
                Arc::new(Ahead(*self))
            }
            Fault::IsStrictAboutMessages | Fault::TimesOutByTheRead => Arc::new(Strict::new(*self)),
            fault => Arc::new(Faulty::new(*fault)),
        }
    }
}

/// Each fault, and a check that must find it. Other checks may find it too.
const FOUND_BY: &[(Fault, &str)] = &[
    (Fault::SendsTwice, "a_request_arrives_once_and_as_it_is"),
    (Fault::SendsTwice, "of_many_requests_at_once_each_arrives_once"),
    (Fault::SendsTwice, "a_request_without_a_body_arrives_once"),
    (Fault::SendsTwice, "a_connection_that_closed_meanwhile_brings_no_second_copy"),
    (Fault::ChangesTheBody, "a_request_arrives_once_and_as_it_is"),
    (Fault::CallsAStatusAnError, "every_status_is_an_answer"),
    (Fault::FollowsRedirects, "a_redirect_is_an_answer"),
    (Fault::TriesAgainWhenAsked, "an_answer_that_asks_for_more_is_an_answer"),
    (Fault::TriesAgainWhenLost, "a_reset_before_the_answer_may_have_been_sent"),
    (Fault::TakesAHintForTheAnswer, "early_hints_are_no_answer"),
    (Fault::KeepsCookies, "no_cookie_is_sent_back"),
    (Fault::LosesAHeader, "an_answers_headers_and_body_are_given_as_they_are"),
    (Fault::SendsAgainWhatAKeptConnectionLost, "a_connection_that_dies_on_the_next_request_brings_no_second_copy"),
    (Fault::ShowsTheBody, "a_client_shows_no_secret"),
    (Fault::SaysSentWhenRefused, "a_refused_connection_is_not_sent"),
    (Fault::SaysSentWhenRefused, "a_get_without_a_connection_is_not_sent"),
    (Fault::IgnoresTheClock, "a_get_without_a_connection_is_not_sent"),
    (Fault::IgnoresTheClock, "a_request_that_is_late_does_not_leave"),
    (Fault::IsAlwaysLate, "a_request_that_may_leave_until_now_leaves"),
    (Fault::SaysNotSentWhenLost, "a_reset_before_the_answer_may_have_been_sent"),
    (Fault::SaysNotSentWhenLost, "an_end_before_the_answer_may_have_been_sent"),
    (Fault::SaysNotSentWhenLost, "a_reset_within_the_answer_may_have_been_sent"),
    (Fault::SaysNotSentWhenLost, "what_is_no_http_may_have_been_sent"),
    (Fault::SaysNotSentWhenLost, "an_endless_head_ends"),
    (Fault::SaysNotSentWhenLost, "a_get_whose_answer_is_lost_may_have_been_sent"),
    (Fault::SaysNotSentWhenLost, "a_length_that_lies_takes_no_memory"),
    (Fault::CallsBrokenTooLong, "a_reset_before_the_answer_may_have_been_sent"),
    (Fault::TakesHalfForAWhole, "half_an_answer_may_have_been_sent"),
    (Fault::TakesHalfForAWhole, "a_connection_reset_at_once_brings_no_answer_and_no_second_copy"),
    (Fault::AsksForCompression, "a_request_arrives_once_and_as_it_is"),
    (Fault::LosesTheEncoding, "a_compressed_answer_can_be_decoded"),
    (Fault::IsStrictAboutMessages, "a_whole_object_in_a_message_that_breaks_off_is_an_answer"),
    (Fault::IsStrictAboutMessages, "both_tokens_in_a_message_that_breaks_off_are_an_answer"),
    (Fault::IsStrictAboutMessages, "an_invalid_header_line_costs_no_answer"),
    (Fault::IsStrictAboutMessages, "a_flood_of_hints_is_not_read"),
    (Fault::IsStrictAboutMessages, "more_than_a_hundred_headers_are_read"),
    (Fault::IsStrictAboutMessages, "an_answer_that_arrived_outlives_a_late_time_out"),
    (Fault::BelievesTheTimer, "an_answer_that_arrived_outlives_a_late_time_out"),
    (Fault::NeverTimesOut, "silence_ends_in_time"),
    (Fault::NeverTimesOut, "endless_hints_end_in_time"),
    (Fault::TimesOutByTheRead, "an_answer_that_drips_ends_in_time"),
    (Fault::ReadsOneByteMore, "a_body_one_byte_larger_is_too_large"),
    (Fault::ReadsOneByteLess, "a_body_as_large_as_allowed_is_read"),
    (Fault::CallsTooLargeBroken, "an_endless_body_is_too_large"),
    (Fault::SpeaksTooSoon, "a_connection_alone_sends_nothing"),
    (Fault::ConnectsAgain, "a_request_goes_over_its_connection"),
    (Fault::ConnectsToNothing, "a_server_that_does_not_listen_is_unreachable"),
    (Fault::TrustsItsConnection, "a_connection_that_was_closed_is_not_sent"),
    (Fault::TrustsItsConnection, "a_late_request_does_not_leave_over_its_connection"),
    (Fault::TrustsItsConnection, "a_request_goes_to_its_own_host"),
    (Fault::IgnoresTheReachOfLiterals, "no_literal_of_this_machine_is_public"),
    (Fault::IgnoresTheReachOfNames, "no_name_of_this_machine_is_public"),
    (Fault::ReachesEveryLoopback, "other_names_of_the_loopback_are_out_of_reach"),
    (Fault::ReachesNoLoopback, "the_loopback_is_reached_where_it_may_be"),
    (Fault::IgnoresTheReachOfConnections, "a_connection_carries_no_request_out_of_reach"),
    (Fault::FollowsRedirects, "a_redirect_is_an_answer_within_reach"),
    (Fault::ReadsOneByteMore, "the_limits_hold_within_reach"),
    (Fault::NeverTimesOut, "the_limits_hold_within_reach"),
];

fn check(name: &str) -> &'static Check {
    CHECKS.iter().find(|check| check.name() == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_found_by_the_check_that_is_there_for_it() {
    let mut running = tokio::task::JoinSet::new();
    for (fault, name) in FOUND_BY {
        // Concurrently, because some checks wait for a client that never returns.
        #[expect(clippy::disallowed_methods, reason = "tasks of this test, which waits for them")]
        running.spawn(async move { check(name).run(fault).await.is_err().then_some(()).ok_or((fault, name)) });
    }
    let missed: Vec<_> = running.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// A copy of this program, in which [`asks_for_a_public_name`] runs with this fault.
fn child(fault: Option<Fault>) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["asks_for_a_public_name", "--exact"]);
    child.env(FAULTY, if fault.is_some() { "1" } else { "" });
    child
}

/// The environment variable that plants [`Fault::AsksTheProxy`] in the child.
const FAULTY: &str = "CONTRACT_CHILD_ASKS_THE_PROXY";

/// Also the child process of the test below.
#[test]
fn asks_for_a_public_name() {
    let is_faulty = std::env::var(FAULTY).is_ok_and(|value| !value.is_empty());
    let client = if is_faulty { Fault::AsksTheProxy.client() } else { Arc::new(ReqwestClient::new().unwrap()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The proxy never answers, so the request of the faulty client is not sent either. The parent counts connections.
    runtime.block_on(ask_for_a_public_name(client)).unwrap();
    runtime.shutdown_background();
}

#[test]
fn a_client_that_asks_the_proxy_is_found() {
    assert_eq!(no_proxy_of_the_environment_is_asked(child(None)), Ok(()));
    let breach = no_proxy_of_the_environment_is_asked(child(Some(Fault::AsksTheProxy))).unwrap_err();
    assert!(breach.to_string().contains("connections to the proxy is 1"), "{breach}");
}

#[test]
fn each_check_finds_some_fault() {
    let finding: BTreeSet<_> = FOUND_BY.iter().map(|(_, name)| *name).collect();
    let all: BTreeSet<_> = CHECKS.iter().map(Check::name).collect();
    assert_eq!(finding, all);
}
