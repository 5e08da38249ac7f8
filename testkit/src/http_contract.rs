//! The HTTP contract, the requirements of the refresh grant on every [`HttpClient`], as checks to run over any client.
//!
//! Each check starts its own servers on loopback, most of them misbehaving, and counts the requests that arrive. A
//! client keeps the contract if a token request arrives at most once in every case, the client reports correctly whether
//! it may have arrived, and reads an answer that has arrived.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use tokenkeeper::http::HttpClient;
//! use tokenkeeper_testkit::http_contract::{Harness, run_all};
//!
//! # use tokenkeeper_testkit::http_contract::async_trait;
//! # #[derive(Debug)]
//! # struct MyClient;
//! # #[async_trait]
//! # impl HttpClient for MyClient {
//! #     async fn send(
//! #         &self,
//! #         _: tokenkeeper::http::Exchange,
//! #     ) -> Result<http::Response<tokenkeeper::http::Body>, tokenkeeper::http::HttpError> {
//! #         unimplemented!()
//! #     }
//! # }
//! struct Mine;
//!
//! impl Harness for Mine {
//!     fn client(&self) -> Arc<dyn HttpClient> {
//!         Arc::new(MyClient)
//!     }
//! }
//!
//! # async fn test() {
//! run_all(&Mine).await; // in a `#[tokio::test]`, on a runtime with I/O and time
//! # }
//! ```

mod kit;
mod server;

pub mod ahead;
pub mod arrived;
pub mod bounds;
pub mod lost;
pub mod once;
pub mod reach;
pub mod unsent;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

pub use async_trait::async_trait;
use tokenkeeper::http::HttpClient;

use crate::contract::timed;
pub use crate::contract::{Breach, Outcome, Report, Verdict};

/// Makes the clients under test. It may panic, as part of a test.
pub trait Harness: Send + Sync {
    /// A client as a host would make it. Called once for each check.
    fn client(&self) -> Arc<dyn HttpClient>;
}

/// One check of the contract.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    run: fn(Arc<dyn HttpClient>) -> Run,
}

/// The result of a check's function. There is no "not shown" here, because every requirement on a client can be
/// checked.
pub type Finding = Result<(), Breach>;

type Run = Pin<Box<dyn Future<Output = Verdict> + Send>>;

impl Check {
    /// The contract's rule as a sentence in snake case. It is the name of the check's function.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check with its own client. It needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// The [`Breach`] that it found. Taking more than a minute is one. Dropping the future abandons the check.
    pub async fn run(&self, harness: &dyn Harness) -> Verdict {
        timed((self.run)(harness.client())).await
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Runs all checks, one after another, and panics with a readable report if the client broke the contract.
///
/// # Panics
///
/// If a check found a breach. The message lists each such check and its breach.
pub async fn run_all(harness: &dyn Harness) {
    examine(harness).await.assert_kept();
}

/// Runs all checks, one after another.
pub async fn examine(harness: &dyn Harness) -> Report {
    let mut findings = Vec::with_capacity(CHECKS.len());
    for check in CHECKS {
        findings.push((check.name, check.run(harness).await));
    }
    Report::new("client", findings)
}

macro_rules! checks {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Check { name: stringify!($name), run: |client| Box::pin(async { $module::$name(client).await.map(|()| Outcome::Kept) }) }),+),+]
    };
}

/// Every check of the contract, for a test that runs each by name or leaves one out for a reason.
pub static CHECKS: &[Check] = checks! {
    once: a_request_arrives_once_and_as_it_is, of_many_requests_at_once_each_arrives_once, every_status_is_an_answer,
        a_redirect_is_an_answer, an_answer_that_asks_for_more_is_an_answer, early_hints_are_no_answer,
        no_cookie_is_sent_back, an_answers_headers_and_body_are_given_as_they_are,
        a_connection_that_dies_on_the_next_request_brings_no_second_copy,
        a_connection_that_closed_meanwhile_brings_no_second_copy, a_request_without_a_body_arrives_once, a_client_shows_no_secret;
    unsent: a_refused_connection_is_not_sent, a_get_without_a_connection_is_not_sent, a_request_that_is_late_does_not_leave,
        a_request_that_may_leave_until_now_leaves;
    ahead: a_connection_alone_sends_nothing, a_request_goes_over_its_connection,
        a_server_that_does_not_listen_is_unreachable, a_connection_that_was_closed_is_not_sent,
        a_late_request_does_not_leave_over_its_connection, a_request_goes_to_its_own_host;
    reach: no_literal_of_this_machine_is_public, no_name_of_this_machine_is_public,
        other_names_of_the_loopback_are_out_of_reach, the_loopback_is_reached_where_it_may_be,
        a_connection_carries_no_request_out_of_reach, a_redirect_is_an_answer_within_reach, the_limits_hold_within_reach;
    lost: a_get_whose_answer_is_lost_may_have_been_sent, a_reset_before_the_answer_may_have_been_sent, an_end_before_the_answer_may_have_been_sent,
        a_reset_within_the_answer_may_have_been_sent, half_an_answer_may_have_been_sent,
        what_is_no_http_may_have_been_sent, a_connection_reset_at_once_brings_no_answer_and_no_second_copy;
    arrived: a_whole_object_in_a_message_that_breaks_off_is_an_answer,
        both_tokens_in_a_message_that_breaks_off_are_an_answer, an_invalid_header_line_costs_no_answer,
        more_than_a_hundred_headers_are_read, a_compressed_answer_can_be_decoded,
        an_answer_that_arrived_outlives_a_late_time_out;
    bounds: silence_ends_in_time, an_answer_that_drips_ends_in_time, endless_hints_end_in_time,
        a_flood_of_hints_is_not_read,
        a_body_as_large_as_allowed_is_read, a_body_one_byte_larger_is_too_large, an_endless_body_is_too_large,
        an_endless_head_ends, a_length_that_lies_takes_no_memory;
};
