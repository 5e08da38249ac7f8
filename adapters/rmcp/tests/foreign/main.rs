//! MCP servers on other SDKs, behind the tokens of an authorization server by other authors (`tests/rigs`). The same tests run
//! at each of them. The counters of those servers show what reached them.
//!
//! On a machine without Node, or without Python and its `venv`, the tests print that they were skipped. With `CI=true`
//! they fail instead.
#![allow(unreachable_pub, clippy::panic, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::expect_used, reason = "tasks and time of tests")]

/// One test at each of the servers.
macro_rules! at_both {
    ($($scene:ident),+ $(,)?) => {$(
        mod $scene {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn typescript() {
                super::$scene(crate::server::Sdk::TypeScript).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn python() {
                super::$scene(crate::server::Sdk::Python).await;
            }
        }
    )+};
}

#[allow(dead_code, reason = "the tests of logins take the rest")]
#[path = "../../../../tests/login_rig/authority.rs"]
mod authority;
#[path = "../common/clock.rs"]
mod clock;
mod host;
mod logins;
#[path = "../../../../tests/rigs/mod.rs"]
mod rigs;
mod scopes;
mod server;
mod storms;
mod streams;
mod transport;
#[path = "../../../../actors/tests/common/within.rs"]
mod within;
