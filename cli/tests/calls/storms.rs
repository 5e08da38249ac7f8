//! Many calls at once, and many processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::mcp::HoldAt;

use crate::client::{INITIALIZED, ProxyClient, call, command, initialize};
use crate::scene::{CallScene, WIRES, printed, printed_late};

/// All calls are on their way at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_expiry_costs_one_token_request() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        let gate = scene.resource.hold("echo", HoldAt::InTool);
        let child = scene.start("call", &["echo", "--parallel", "200", "--json"]);
        gate.reached(200).await;
        gate.open();
        let printed = printed(child).await;
        let totals = printed.totals();
        assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(200), &json!(0), 0), "{wires:?}");
        assert_eq!((&totals["token_requests"], scene.spent()), (&json!(1), (1, 1, 0)));
        let counts = scene.resource.counts();
        assert_eq!((counts.executed("echo"), counts.most_running, counts.status(401)), (200, 200, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_at_a_refusal_costs_one_token_request_and_each_call_is_executed_once() {
    for (wires, answers) in WIRES {
        let scene = CallScene::on(wires, answers).await;
        // One token is good when the command begins, and is ended while all calls are on their way.
        assert_eq!(scene.run("token", &[]).await.code, 0);
        let gate = scene.resource.hold("tools/call", HoldAt::BeforeCheck);
        let child = scene.start("call", &["echo", "--parallel", "200", "--json"]);
        gate.reached(200).await;
        scene.server.kill_access_tokens();
        gate.open();
        let printed = printed(child).await;
        let totals = printed.totals();
        assert_eq!((&totals["ok"], &totals["failed"], printed.code), (&json!(200), &json!(0), 0), "{wires:?}");
        assert_eq!((&totals["token_requests"], scene.spent()), (&json!(1), (2, 2, 0)));
        assert!(printed.lines()[..200].iter().all(|call| call["attempts"] == 2 && call["generation"] == "1.3"));
        let counts = scene.resource.counts();
        assert_eq!((counts.executed("echo"), counts.answered("tools/call", 401)), (200, 200));
    }
}

/// Tokens that live for 2 s, and an authorization server with faults that pass. `REPEAT=200` is the full size, for by hand.
#[tokio::test(flavor = "multi_thread")]
async fn eight_calls_and_eight_proxies_outlast_short_tokens_and_passing_faults() {
    let scene = CallScene::new().await;
    scene.server.rules(|rules| rules.access_lifetime = Duration::from_secs(2));
    let repeat: u64 = std::env::var("REPEAT").ok().map_or(15, |repeat| repeat.parse().unwrap());
    // The pauses let each process live longer than two tokens at the small size.
    let text = repeat.to_string();
    let arguments =
        ["echo", "--parallel", "32", "--repeat", &text, "--transports", "2", "--interval", "400ms", "--json"];
    let calls: Vec<_> = (0..8).map(|_| tokio::spawn(printed_late(scene.start("call", &arguments)))).collect();
    let is_over = Arc::new(AtomicBool::default());
    let proxies = (0..8).map(|_| {
        let proxy = ProxyClient::of(command(&scene.home, &["proxy", &scene.resource.uri()]));
        tokio::spawn(call_until(proxy, Arc::clone(&is_over)))
    });
    let proxies: Vec<_> = proxies.collect();
    let faults = async {
        for fault in [Fault::status(503), Fault::reset(), Fault::status(502).html()].into_iter().cycle() {
            let rotations = scene.server.counts().rotations;
            scene.server.until(|counts| counts.rotations > rotations).await;
            scene.server.next(When::Before, fault);
        }
    };
    let mut totals = Vec::new();
    let ends = async {
        for call in calls {
            totals.push(call.await.unwrap());
        }
    };
    let all = async {
        tokio::select! {
            () = faults => {}
            () = ends => {}
        }
    };
    let limit = Duration::from_secs(30 + 2 * repeat);
    assert!(tokio::time::timeout(limit, all).await.is_ok(), "the calls did not end");
    is_over.store(true, Ordering::Relaxed);
    let (mut executed, mut known) = (8 * 32 * repeat, 0);
    for printed in totals {
        let totals = printed.totals();
        assert_eq!(
            (&totals["ok"], &totals["failed"], printed.code),
            (&json!(32 * repeat), &json!(0), 0),
            "{}",
            printed.notes
        );
        known += totals["token_requests"].as_u64().unwrap();
    }
    for proxy in proxies {
        let calls = proxy.await.unwrap();
        assert!(calls >= 100);
        executed += calls;
    }
    let counts = scene.server.counts();
    assert_eq!((counts.replays, counts.most_concurrent, scene.resource.counts().executed("echo")), (0, 1, executed));
    // Each fault costs one request more, and each command knows of its own requests.
    assert!(known <= counts.token_requests, "{known} {counts:?}");
    assert!(counts.faults >= 1, "{counts:?}");
    assert_eq!(counts.token_requests, counts.rotations + counts.faults);
    println!("{executed} calls, {} token requests, {} faults", counts.token_requests, counts.faults);
}

/// Calls a tool through a proxy again and again, 20 times side by side, and returns how often. No call fails.
async fn call_until(mut proxy: ProxyClient, is_over: Arc<AtomicBool>) -> u64 {
    assert!(proxy.ask(initialize()).await.get("result").is_some());
    proxy.send(INITIALIZED).await;
    let mut calls = 0;
    while !is_over.load(Ordering::Relaxed) {
        for id in 0..20 {
            proxy.send(call(id, "echo", json!({ "text": "a" })).to_string()).await;
        }
        for _ in 0..20 {
            let answer = proxy.message().await;
            assert_eq!(answer["result"]["isError"], false, "{answer}");
            calls += 1;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(proxy.end().await.1, 0);
    calls
}
