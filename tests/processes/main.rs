//! Several real processes on one home, against a real authorization server (the rig of `tests/rigs`). The server's own
//! log decides what was lost.
//!
//! A process is this test binary, run again for its test [`child`]. It takes commands on its standard input and answers
//! in lines of JSON. It stops at a named effect of its flight, reports that, and can be killed exactly there.
//!
//! Longer runs, with a duration in seconds or a number of kills at each point:
//!
//! ```text
//! STORM_SECONDS=60 cargo test --features file,reqwest --test processes storm -- --nocapture
//! KILLS=50 cargo test --features file,reqwest --test processes kills -- --nocapture
//! ```
//!
//! On a machine without Node these tests print that they were skipped. With `CI=true` they fail instead.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, whose processes are real and take real time"
)]

#[allow(dead_code, reason = "the tests of the rig itself take the rest")]
#[path = "../rig/authority.rs"]
mod authority;
#[path = "../../actors/tests/common/calm.rs"]
mod calm;
#[path = "../rigs/mod.rs"]
mod rigs;
#[path = "../../actors/tests/common/within.rs"]
mod within;

mod crew;
mod detours;
mod disk;
mod door;
mod holders;
mod kills;
mod news;
mod party;
mod point;
mod reckoning;
mod scene;
#[cfg(target_os = "linux")]
mod small_disk;
mod stopped;
mod storm;
mod worker;

/// The body of a worker process. It does nothing when run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn child() {
    if let Some(setup) = crew::told() {
        worker::work(&setup).await;
    }
}

/// The value of this variable, or else `usual`, which is enough for an everyday run.
fn on_demand(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}
