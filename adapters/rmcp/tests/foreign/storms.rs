//! Storms of calls over two transports of one session, at expiry and at refusal.

use serde_json::json;

use crate::authority::Counts;
use crate::host::{Host, Wire};
use crate::server::Sdk;
use crate::transport::Mcp;
use crate::within::each_within;

const CALLS: u64 = 200;

at_both!(one_refresh_serves_a_storm_on_the_wire_of_2025, one_refresh_serves_a_storm_on_the_wire_of_2026,);

async fn one_refresh_serves_a_storm_on_the_wire_of_2025(sdk: Sdk) {
    storms(sdk, Wire::Of2025).await;
}

async fn one_refresh_serves_a_storm_on_the_wire_of_2026(sdk: Sdk) {
    storms(sdk, Wire::Of2026).await;
}

/// Two storms, one at refusal and one at expiry.
async fn storms(sdk: Sdk, wire: Wire) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    // The refresh takes long enough that the storm meets it.
    let delay = json!({ "ms": 50, "when": "before", "grant": "refresh_token" });
    host.servers.authority.tell("/delay", &delay);
    let transports = [host.connect(wire).await, host.connect(wire).await];

    host.refuse();
    storm(&transports).await;
    let refused = host.servers.counts().answered("POST", 401);
    assert!((1..=CALLS).contains(&refused), "{refused}");
    assert_refreshes(&host, 1);

    host.expire();
    storm(&transports).await;
    assert_eq!(host.servers.counts().answered("POST", 401), refused, "an expired token is not sent");
    assert_refreshes(&host, 2);

    assert_eq!(host.servers.counts().executed("echo"), 2 * CALLS);
    host.end(transports).await;
}

/// Sends the calls at once over both transports. None fails.
async fn storm(transports: &[Mcp; 2]) {
    let calls = (0..CALLS).map(|number| {
        let text = number.to_string();
        (text.clone(), transports[usize::from(number % 2 == 1)].begin("echo", json!({ "text": text })))
    });
    let (texts, calls): (Vec<_>, Vec<_>) = calls.unzip();
    let results: Result<Vec<_>, _> = each_within("the calls", calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.unwrap(), texts);
}

/// The authorization server has seen one login and these refreshes, one at a time. Each presented the newest token.
fn assert_refreshes(host: &Host, refreshes: u64) {
    let counts = host.servers.authority.counts();
    assert_eq!(counts, Counts { registrations: 1, codes: 1, grants: 1, refreshes, ..Counts::default() });
    let stats = host.servers.authority.stats();
    assert_eq!(stats["token"]["max_concurrent_refresh"], 1, "{stats:#}");
}
