//! The rows.

use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper_testkit::hostile::{Fault, RetryAfter};

use crate::row::{Law, Row};

const JSON: &str = "application/json";

fn refused(status: u16, word: &str) -> Fault {
    Fault::status(status).error(word)
}

/// None of these faults shows whether the request was processed.
async fn puts_in_doubt(fault: Fault) {
    Row::new(Law::DOUBT, fault).holds().await;
}

async fn refusal_puts_in_doubt(refusal: Fault) {
    Row::new(Law::DOUBT_OF_A_REFUSAL, refusal).holds().await;
}

// --- unspent -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn too_many_requests_spends_nothing() {
    Row::new(Law::Unspent(Reason::Throttled), Fault::status(429)).holds().await;
    Row::new(Law::Unspent(Reason::Throttled), refused(429, "invalid_grant")).holds().await;
}

#[tokio::test]
async fn too_many_requests_with_a_time_to_wait_spends_nothing() {
    let waits = [RetryAfter::Seconds(30), RetryAfter::Date(Duration::from_secs(30)), RetryAfter::Text("soon".into())];
    for wait in waits {
        let row = Row::new(Law::Unspent(Reason::Throttled), Fault::status(429).html().retry_after(wait));
        row.asks_for_pause().holds().await;
    }
}

#[tokio::test]
async fn a_503_spends_nothing_where_the_profile_says_so() {
    let row = Row::new(Law::Unspent(Reason::ServerTrouble), Fault::status(503).html());
    row.profile(|profile| profile.unspent_statuses = vec![503]).holds().await;
}

#[tokio::test]
async fn invalid_client_spends_nothing_and_waits_for_a_login() {
    Row::new(Law::ClientRejected, refused(401, "invalid_client")).holds().await;
    Row::new(Law::ClientRejected, refused(400, "invalid_client")).holds().await;
}

// --- dead --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn invalid_grant_ends_the_grant() {
    Row::new(Law::Dead, refused(400, "invalid_grant")).holds().await;
    Row::new(Law::Dead, refused(403, "invalid_grant")).holds().await;
}

#[tokio::test]
async fn invalid_grant_inside_a_200_ends_the_grant() {
    Row::new(Law::Dead, refused(200, "invalid_grant")).holds().await;
}

#[tokio::test]
async fn a_word_of_the_providers_own_ends_the_grant() {
    let row = Row::new(Law::Dead, refused(200, "bad_refresh_token"));
    row.profile(|profile| profile.dead_words.push("bad_refresh_token".into())).holds().await;
}

// --- in doubt ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn no_answer_in_time_is_a_doubt() {
    Row::new(Law::DOUBT, Fault::silence()).in_vain().holds().await;
}

#[tokio::test]
async fn half_an_answer_in_time_is_a_doubt() {
    // A whole object would be an answer.
    let drips = Fault::garbage().dripping_for_ever(Duration::from_millis(1));
    Row::new(Law::DOUBT, drips).in_vain().holds().await;
}

#[tokio::test]
async fn a_reset_is_a_doubt() {
    puts_in_doubt(Fault::reset()).await;
}

#[tokio::test]
async fn a_connection_that_ends_in_good_order_is_a_doubt() {
    puts_in_doubt(Fault::close()).await;
}

#[tokio::test]
async fn half_an_answer_is_a_doubt() {
    puts_in_doubt(Fault::pass().halved()).await;
    puts_in_doubt(Fault::status(429).halved()).await;
    puts_in_doubt(refused(400, "invalid_grant").halved()).await;
}

#[tokio::test]
async fn a_503_is_a_doubt_by_default() {
    puts_in_doubt(Fault::status(503)).await;
}

#[tokio::test]
async fn other_server_errors_are_doubts() {
    puts_in_doubt(Fault::status(500)).await;
    puts_in_doubt(Fault::status(502).html()).await;
    puts_in_doubt(refused(504, "invalid_grant")).await;
}

#[tokio::test]
async fn a_200_that_cannot_be_read_is_a_doubt() {
    puts_in_doubt(Fault::garbage()).await;
    puts_in_doubt(Fault::status(200)).await;
    puts_in_doubt(Fault::status(200).html()).await;
}

#[tokio::test]
async fn a_200_that_is_too_large_is_a_doubt() {
    puts_in_doubt(Fault::huge(2 << 20)).await;
}

#[tokio::test]
async fn an_error_inside_a_200_is_a_doubt() {
    puts_in_doubt(refused(200, "server_error")).await;
    puts_in_doubt(Fault::body(JSON, r#"{"ok":false,"error":"internal_error"}"#)).await;
}

#[tokio::test]
async fn invalid_target_may_have_consumed_the_token() {
    refusal_puts_in_doubt(refused(400, "invalid_target")).await;
}

#[tokio::test]
async fn other_refusals_may_have_consumed_the_token() {
    for word in ["invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type"] {
        refusal_puts_in_doubt(refused(400, word)).await;
    }
    for status in [401, 403, 404, 408] {
        puts_in_doubt(Fault::status(status).html()).await;
    }
}

#[tokio::test]
async fn a_redirect_is_a_doubt_and_is_not_followed() {
    puts_in_doubt(Fault::redirect()).await;
    puts_in_doubt(Fault::redirect().with_status(308)).await;
}

#[tokio::test]
async fn a_go_away_is_a_doubt_whatever_it_covers() {
    puts_in_doubt(Fault::go_away()).await;
    puts_in_doubt(Fault::go_away_covering()).await;
}

#[tokio::test]
async fn a_refused_stream_is_a_doubt() {
    puts_in_doubt(Fault::refuse_stream()).await;
}
