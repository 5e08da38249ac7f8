//! The cost of a person who is known already. It has a binary of its own, because it counts the allocations of the process.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "the clock of tests")]

#[path = "../support/mod.rs"]
mod support;
#[path = "../user/web.rs"]
#[allow(dead_code, reason = "another test takes the rest")]
mod web;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::{AuthRuntime, AuthSession, Login, RuntimeBuilder, SessionSpec};

use support::digest_key;
use web::{RESOURCE, Web, login, metadata, runtime_in};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A hit waits for nothing, sends no message, and allocates nothing. A handle is as large as it was without users.
#[tokio::test(start_paused = true)]
async fn a_hit_takes_no_message_and_no_allocation() {
    const ISSUER: &str = "https://as.example.com";
    const USERINFO: &str = "https://as.example.com/userinfo";
    let web = Arc::new(Web::default());
    metadata(&web, ISSUER, USERINFO);
    web.json(USERINFO, json!({ "sub": "ann" }));
    let runtime = runtime_in(&web, |builder| builder).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login(None, ISSUER, "at")).await.unwrap();
    session.user().await.unwrap();
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        let user = session.user().now_or_never().unwrap();
        assert_eq!(user.unwrap().subject(), "ann");
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert_eq!((runtime.user_stats().hits, runtime.user_stats().misses), (1_000, 1));
    assert_eq!(size_of::<AuthSession>(), 3 * size_of::<usize>());
}
