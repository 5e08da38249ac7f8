//! The protocol of the socket.

use serde_json::{Value, json};
use tokenkeeper::Reason;
use tokenkeeper::child::HandOff;
use tokenkeeper_testkit::hostile::{Fault, RetryAfter, When};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{Scene, exchange, within};

#[tokio::test]
async fn an_answer_has_the_token_its_time_and_its_name() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::Socket);
    let answer = child.ask(json!({})).await;
    let lease = scene.session.at_hand().unwrap();
    let mut members: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["access_token", "expires_in", "generation", "token_type"]);
    assert_eq!(answer["access_token"], lease.token().expose());
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["generation"], lease.generation().to_string());
    let lifetime = scene.grant.lifetime.as_secs();
    assert!((lifetime - 60..lifetime).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");
    assert_eq!(child.ask(json!({ "min_ttl": 30 })).await["access_token"], answer["access_token"]);
    assert_eq!(scene.server.counts().token_requests, 0);
    scene.server.kill_access_tokens();
    let old = lease.generation().to_string();
    assert_ne!(child.ask(json!({ "refused": old })).await["access_token"], answer["access_token"]);
    assert_eq!(scene.server.counts().token_requests, 1);
}

#[tokio::test]
async fn a_thousand_asks_at_expiry_are_one_token_request() {
    let scene = Scene::expired().await;
    let child = scene.child(HandOff::Socket);
    let gate = scene.server.hold_next(When::After);
    let mut asks = JoinSet::new();
    for _ in 0..1_000 {
        let mut stream = child.connect().await;
        let line = child.line(&json!({}));
        asks.spawn(async move { exchange(&mut stream, line.as_bytes()).await["access_token"].clone() });
    }
    within("the request", gate.reached(1)).await;
    gate.open();
    let answers = within("the answers", asks.join_all()).await;
    let token = scene.session.at_hand().unwrap().token().expose().to_owned();
    assert_eq!(answers.iter().filter(|answer| **answer == token).count(), 1_000);
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.rotations, counts.replays), (1, 1, 0));
}

#[tokio::test]
async fn of_many_reports_of_a_refusal_one_refreshes() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::Socket);
    let old = child.ask(json!({})).await;
    scene.server.kill_access_tokens();
    // Some come while the refresh is in flight, and the others when it has landed.
    let gate = scene.server.hold_next(When::After);
    let report = json!({ "refused": old["generation"] });
    let mut asks = JoinSet::new();
    for _ in 0..50 {
        let (mut stream, line) = (child.connect().await, child.line(&report));
        asks.spawn(async move { exchange(&mut stream, line.as_bytes()).await });
    }
    within("the request", gate.reached(1)).await;
    gate.open();
    let mut answers = within("the answers", asks.join_all()).await;
    for _ in 0..50 {
        answers.push(child.ask(report.clone()).await);
    }
    assert!(answers.iter().all(|answer| answer["generation"] == answers[0]["generation"]), "{answers:?}");
    assert_ne!(answers[0]["access_token"], old["access_token"]);
    assert_eq!(scene.server.counts().token_requests, 1);
    // A token that was obtained because of a refusal is refused, too (law 11).
    let answer = child.ask(json!({ "refused": true })).await;
    assert_eq!(answer["error"], "resource_refuses", "{answer}");
    assert_eq!(answer["advice"], Reason::ResourceRefuses.advice());
    assert_eq!(child.ask(json!({})).await["generation"], answers[0]["generation"]);
    // A token that no host handed out was not refused.
    assert_eq!(child.ask(json!({ "refused": "99.99" })).await["generation"], answers[0]["generation"]);
    assert_eq!(scene.server.counts().token_requests, 1);
}

#[tokio::test]
async fn a_session_without_a_token_answers_with_its_reason() {
    let scene = Scene::new().await;
    let child = scene.child(HandOff::Socket);
    let reason = Reason::NeverSignedIn;
    assert_eq!(child.ask(json!({})).await, json!({ "error": reason.as_str(), "advice": reason.advice() }));
    // A login that is made while the child runs serves it.
    scene.install(scene.login()).await;
    let throttled = Fault::status(429).error("rate_limited").retry_after(RetryAfter::Seconds(120));
    scene.server.next(When::Before, throttled);
    let answer = child.ask(json!({})).await;
    assert_eq!(answer["error"], "throttled", "{answer}");
    assert!((100..=120).contains(&answer["retry_after"].as_u64().unwrap()), "{answer}");
}

#[tokio::test]
async fn a_token_that_needs_a_proof_is_not_handed_out() {
    let scene = Scene::new().await;
    let (token, lifetime) = (scene.grant.access_token.expose(), scene.grant.lifetime);
    scene.install(scene.login().access_token(token, Some(lifetime)).dpop_key("a key")).await;
    let child = scene.child(HandOff::SocketAndFile);
    let answer = child.ask(json!({})).await;
    assert_eq!(answer["error"], "bound_token", "{answer}");
    assert!(answer.get("access_token").is_none());
    let error = within("the first attempt", child.grant.file_written()).await.unwrap_err();
    assert!(error.to_string().contains("DPoP"), "{error}");
    assert!(!std::path::Path::new(&child.file.unwrap()).exists());
}

#[tokio::test]
async fn no_other_capability_gets_a_token() {
    let scene = Scene::signed_in().await;
    let other = scene.runtime.session(tokenkeeper::SessionSpec::mcp("https://mcp.example.com/mcp").unwrap());
    let (child, sibling) = (scene.child(HandOff::Socket), scene.child(HandOff::Socket));
    let other = Scene { session: other, ..scene };
    let stranger = other.child(HandOff::Socket);
    let capability = child.capability.clone().unwrap();
    let wrong = [
        String::new(),
        "A".repeat(43),
        capability[..42].to_owned(),
        format!("{capability}A"),
        capability.to_ascii_uppercase(),
        sibling.capability.clone().unwrap(),
        stranger.capability.clone().unwrap(),
    ];
    for wrong in wrong {
        let answer = exchange(&mut child.connect().await, format!("{}\n", json!({ "child": wrong })).as_bytes()).await;
        assert_eq!(answer["error"], "unknown_child", "{answer}");
        assert!(answer.get("access_token").is_none());
    }
    // The right one gets the token of its own session, and no other.
    let line = stranger.line(&json!({}));
    let answer = exchange(&mut stranger.connect().await, line.as_bytes()).await;
    assert_eq!(answer["error"], "never_signed_in", "{answer}");
    assert!(child.ask(json!({})).await["access_token"].is_string());
}

#[tokio::test]
async fn a_line_that_is_no_request_gets_an_answer_too() {
    let scene = Scene::signed_in().await;
    let child = scene.child(HandOff::Socket);
    let long = format!("{}\n", json!({ "child": child.capability, "filler": "x".repeat(4_096) }));
    let lines = ["\n", "GET / HTTP/1.1\r\n\r\n", "{\"child\":\n", "[]\n", &long, &"x".repeat(4_096)];
    for line in lines {
        let answer = exchange(&mut child.connect().await, line.as_bytes()).await;
        assert_eq!(answer["error"], "bad_request", "{line:.20}: {answer}");
    }
    // The longest line that is read, in pieces, and then another one, which is not.
    let mut line = child.line(&json!({ "filler": "" }));
    line.insert_str(line.len() - 3, &"x".repeat(4_096 - line.len()));
    assert_eq!(line.len(), 4_096);
    let mut stream = child.connect().await;
    for piece in line.as_bytes().chunks(1_000) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(exchange(&mut stream, b"").await["access_token"].is_string());
    let two = child.line(&json!({})).repeat(2);
    assert!(exchange(&mut child.connect().await, two.as_bytes()).await["access_token"].is_string());
    // A client that ends its side in the place of the line.
    let mut stream = child.connect().await;
    stream.write_all(child.line(&json!({})).trim_end().as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(exchange(&mut stream, b"").await["access_token"].is_string());
}

#[tokio::test]
async fn children_that_never_read_or_never_write_hold_up_no_other() {
    let scene = Scene::signed_in().await;
    let (child, sibling) = (scene.child(HandOff::Socket), scene.child(HandOff::Socket));
    let mut kept: Vec<UnixStream> = Vec::new();
    for _ in 0..300 {
        let mut stream = child.connect().await;
        stream.write_all(child.line(&json!({})).as_bytes()).await.unwrap();
        kept.push(stream);
    }
    // None of them was read, and the next one is answered.
    assert!(child.ask(json!({})).await["access_token"].is_string());
    // As many silent ones as are served at a time. The next one has its turn when they are closed.
    for _ in 0..64 {
        kept.push(child.connect().await);
    }
    assert!(sibling.ask(json!({})).await["access_token"].is_string(), "another child is not held up at all");
    assert!(child.ask(json!({})).await["access_token"].is_string());
    let silent = kept.last_mut().unwrap();
    assert_eq!(within("its end", tokio::io::AsyncReadExt::read(silent, &mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn no_process_and_no_debug_output_shows_a_secret() {
    let scene = Scene::signed_in().await;
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "read line"]).stdin(std::process::Stdio::piped()).kill_on_drop(true);
    let grant = scene.session.hand_to(&mut command, HandOff::SocketAndFile).unwrap();
    within("the file", grant.file_written()).await.unwrap();
    let capability = command.as_std().get_envs().find(|(name, _)| *name == "TOKENKEEPER_CHILD").unwrap().1.unwrap();
    let capability = capability.to_str().unwrap().to_owned();
    let process = command.spawn().unwrap();
    let secrets = [&capability, scene.grant.access_token.expose(), scene.grant.refresh_token.expose()];
    let shows = |text: &str| secrets.iter().any(|secret| text.contains(*secret));
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        // Processes come and go.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        assert!(!shows(&String::from_utf8_lossy(&line)), "{}", entry.path().display());
        seen += usize::from(entry.file_name().to_str() == process.id().map(|id| id.to_string()).as_deref());
    }
    assert_eq!(seen, usize::from(cfg!(target_os = "linux")), "the child was among them");
    assert!(!shows(&format!("{grant:?} {:?} {:?}", scene.session, HandOff::SocketAndFile)));
    let answer: Value = scene.child(HandOff::Socket).ask(json!({ "child": "wrong" })).await;
    assert!(!shows(&answer.to_string()));
}
