//! Crowds of callers on a session that a login has made.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::json;
use tokenkeeper::{EventKind, EventStream, LogIn};

use crate::authority::{Authority, Counts};
use crate::automatic::ONE;
use crate::host::Host;

const CALLERS: usize = 32;

/// How many tokens the callers use up.
const TOKENS: usize = 4;

/// The lifetime of these tokens, in seconds.
const LIFETIME: u64 = 2;

#[tokio::test]
async fn thirty_two_callers_refresh_once_for_each_token_that_ends() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Arc::new(Host::new(&authority).await);
    let mut events = host.auth.events();
    host.sign_in(LogIn::new()).await;
    authority.tell("/config", &json!({ "accessTokenTtl": LIFETIME }));
    // Refreshes that begin together are then in flight together.
    authority.tell("/delay", &json!({ "ms": 50, "when": "before", "grant": "refresh_token" }));

    // All callers are refused the same token.
    authority.tell("/expire-all", &json!({}));
    let refused = host.token().await.unwrap();
    let crowd = (0..CALLERS).map(|_| {
        let (host, refused) = (Arc::clone(&host), refused.clone());
        tokio::spawn(async move {
            let answer = host.call_with(&refused, "echo", &json!({ "text": "hi" })).await;
            host.replaced(&refused, &answer, "echo").await;
            assert_eq!(host.call("echo", json!({ "text": "hi" })).await.text(), "hi");
        })
    });
    join_all(crowd).await.into_iter().for_each(|caller| caller.unwrap());
    assert_eq!(authority.counts(), Counts { refreshes: 1, ..ONE });

    // Their tokens expire under them.
    let crowd = (0..CALLERS).map(|_| {
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            let mut used = BTreeSet::new();
            while used.len() < TOKENS {
                used.insert(host.token().await.unwrap().generation().number);
                assert_eq!(host.call("slow", json!({ "ms": 20 })).await.text(), "done");
            }
        })
    });
    join_all(crowd).await.into_iter().for_each(|caller| caller.unwrap());
    Arc::into_inner(host).unwrap().assert_leaves_nothing(&authority).await;

    let counts = authority.counts();
    assert_eq!(counts, Counts { refreshes: refreshed(&mut events), revoked: 1, ..ONE });
    assert!(counts.refreshes >= TOKENS as u64);
    let stats = authority.stats();
    assert_eq!(stats["token"]["max_concurrent_refresh"], 1, "{stats:#}");
    assert_eq!(
        stats["chains"],
        json!({ "total": 1, "revoked": 1, "with_reuse": 0, "max_rotations": counts.refreshes })
    );
}

/// The tokens that the session got by refreshing, according to its events. All other events of refreshes are failures.
fn refreshed(events: &mut EventStream) -> u64 {
    let mut refreshed = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        match event.unwrap().kind {
            EventKind::Refreshed => refreshed += 1,
            EventKind::Asked | EventKind::Answered | EventKind::LoggedIn | EventKind::LoggedOut => {}
            other => panic!("{other:?}"),
        }
    }
    refreshed
}
