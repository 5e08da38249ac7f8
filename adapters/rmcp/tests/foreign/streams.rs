//! Calls and streams that are open while tokens end.

use serde_json::json;

use crate::host::{Host, Wire};
use crate::server::Sdk;
use crate::transport::Mcp;
use crate::within::within;

/// The notifications of progress of one call, half of them before the gate.
const STEPS: u64 = 6;

at_both!(
    a_slow_tool_and_a_long_stream_outlive_their_token,
    on_the_wire_of_2026_they_outlive_it_too,
    a_stream_that_is_cut_when_its_token_has_expired_is_resumed_with_the_next_one,
    a_stream_that_is_cut_when_its_grant_is_revoked_is_resumed_after_a_login,
);

async fn a_slow_tool_and_a_long_stream_outlive_their_token(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let transports = host.connect_two().await;
    outlive(&host, &transports).await;
    // The standing streams were opened once.
    for mcp in &transports {
        mcp.hears().await;
    }
    assert_eq!(host.servers.counts().answered("GET", 200), 2);
    host.end(transports).await;
}

async fn on_the_wire_of_2026_they_outlive_it_too(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let transports = [host.connect(Wire::Of2026).await, host.connect(Wire::Of2026).await];
    outlive(&host, &transports).await;
    host.end(transports).await;
}

/// A slow tool and a stream of progress are half done when the token ends. Calls beside them get the next one. First the host
/// does not know of the end, then it does.
async fn outlive(host: &Host, transports: &[Mcp; 2]) {
    for (ended, half) in [(1, STEPS / 2), (2, STEPS / 2 + STEPS)] {
        let slow = transports[0].begin("slow", json!({}));
        let stream = transports[1].begin("stream", json!({ "steps": STEPS }));
        transports[1].until_progress(half).await;
        host.servers.until_waiting(2).await;
        if ended == 1 {
            host.refuse()
        } else {
            host.expire()
        }
        for mcp in transports {
            mcp.echo().await.unwrap();
        }
        assert_eq!(host.servers.authority.counts().refreshes, ended);
        host.servers.release();
        for call in [slow, stream] {
            assert_eq!(within("the call", call).await.unwrap().unwrap(), "done");
        }
        transports[1].until_progress(half + STEPS / 2).await;
        let counts = host.servers.counts();
        assert_eq!(
            (counts.executed("slow"), counts.executed("stream"), counts.answered("POST", 401)),
            (ended, ended, 1)
        );
    }
}

async fn a_stream_that_is_cut_when_its_token_has_expired_is_resumed_with_the_next_one(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let mcp = host.connect(Wire::Of2025).await;
    host.servers.until_streams(1).await;
    let call = mcp.begin("cut_stream", json!({ "steps": STEPS }));
    mcp.until_progress(STEPS / 2).await;
    host.servers.until_waiting(1).await;
    host.expire();
    host.servers.release();
    assert_eq!(within("the call", call).await.unwrap().unwrap(), "done");
    mcp.until_progress(STEPS).await;
    let counts = host.servers.counts();
    assert_eq!((counts.executed("cut_stream"), counts.answered("GET", 200), counts.answered("GET", 401)), (1, 2, 0));
    assert_eq!(host.servers.authority.counts().refreshes, 1);
    host.end([mcp]).await;
}

async fn a_stream_that_is_cut_when_its_grant_is_revoked_is_resumed_after_a_login(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let mcp = host.connect(Wire::Of2025).await;
    host.servers.until_streams(1).await;
    let call = mcp.begin("cut_stream", json!({ "steps": STEPS }));
    mcp.until_progress(STEPS / 2).await;
    host.servers.until_waiting(1).await;
    host.revoke();
    host.servers.release();
    // The request that resumes the stream is refused, and so is the refresh. The stream waits.
    host.until_login_required().await;
    let counts = host.servers.counts();
    assert_eq!((counts.answered("GET", 200), counts.answered("GET", 401)), (1, 1));

    host.log_in().await;
    assert_eq!(within("the call", call).await.unwrap().unwrap(), "done");
    mcp.until_progress(STEPS).await;
    let counts = host.servers.counts();
    assert_eq!((counts.executed("cut_stream"), counts.answered("GET", 200), counts.answered("GET", 401)), (1, 2, 1));
    host.end([mcp]).await;
}
