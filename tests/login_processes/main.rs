//! Logins over several real processes on one home. There is one prompt and one code for all of them, also after a SIGKILL at
//! any effect of an attempt.
//!
//! A process is this test binary, run again for its test [`child`]. Its server is scripted, a file to which each process appends
//! what it asks for, so nothing is lost with a process; or it is the testkit's login server, on a real socket of the test.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, whose processes are real and take real time"
)]

mod crew;
mod over_http;
mod scripted;
#[path = "../../actors/tests/common/within.rs"]
mod within;
mod worker;

/// The body of a process. It does nothing when run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    if let Some(setup) = crew::told() {
        worker::work(setup).await;
    }
}
