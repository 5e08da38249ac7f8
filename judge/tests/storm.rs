//! `tokenkeeper-judge storm` on the built-in server.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn storm(arguments: &[&str]) -> Output {
    Command::new(snapbox::cmd::cargo_bin!("tokenkeeper-judge")).arg("storm").args(arguments).output().unwrap()
}

/// The lines of a storm in which every law held. Each is an object.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = storm(&[arguments, &["--json"]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{err}{out}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn naively_the_chain_is_revoked_and_through_tokenkeeper_one_request_is_enough() {
    for by in ["expiry", "refusal"] {
        let lines = lines(&["--callers", "16", "--rounds", "3", "--by", by]);
        let (summary, rounds) = lines.split_last().unwrap();
        let counted = |who: &str, what: &str| summary[who][what].as_u64().unwrap();

        for (name, count) in [
            ("callers", 16),
            ("expiries", 3),
            ("token_requests", 3),
            ("failed_callers", 0),
            ("replays", 0),
            ("most_concurrent", 1),
            ("sign_ins", 1),
        ] {
            assert_eq!(counted("tokenkeeper", name), count, "{name} by {by}: {summary}");
        }
        assert_eq!(summary["tokenkeeper"]["chain"], "alive");
        assert!(summary["tokenkeeper"]["ms_over_server"].is_number());

        // All but the first of each round present a spent token, and the first one's new token dies with the chain.
        for (name, count) in [
            ("callers", 16),
            ("expiries", 3),
            ("token_requests", 48),
            ("failed_callers", 48),
            ("replays", 45),
            ("chains_revoked", 3),
            ("sign_ins", 3),
        ] {
            assert_eq!(counted("naive", name), count, "{name} by {by}: {summary}");
        }
        assert_eq!(summary["naive"]["chain"], "revoked");
        assert_eq!((&summary["by"], &summary["server_delay_ms"]), (&Value::from(by), &Value::from(50)));

        let shown: Vec<_> =
            rounds.iter().map(|line| (line["contestant"].as_str().unwrap(), line["round"].as_u64())).collect();
        let expected = ["naive", "tokenkeeper"].map(|who| [1, 2, 3].map(|round| (who, Some(round))));
        assert_eq!(shown, expected.concat());
    }
}

#[test]
fn one_caller_alone_loses_nothing() {
    let lines = lines(&["--callers", "1", "--rounds", "2"]);
    let summary = lines.last().unwrap();
    for who in ["naive", "tokenkeeper"] {
        let score = &summary[who];
        assert_eq!(
            (&score["token_requests"], &score["failed_callers"], &score["chain"]),
            (&2.into(), &0.into(), &"alive".into())
        );
    }
}

#[test]
fn faults_break_no_law_and_come_again_with_their_seed() {
    let run = |by, seed| lines(&["--callers", "8", "--rounds", "12", "--faults", "--by", by, "--seed", seed]);
    let faults = |lines: &[Value]| lines.iter().map(|line| line["fault"].clone()).collect::<Vec<_>>();
    let first = run("expiry", "3");
    let summary = first.last().unwrap();
    assert_eq!((&summary["faults"], &summary["seed"]), (&"any".into(), &3.into()));
    assert_eq!(summary["tokenkeeper"]["most_concurrent"], 1);
    // Each caller that failed has its reason.
    let reasons = summary["tokenkeeper"]["failures"].as_object().unwrap().values();
    assert_eq!(reasons.map(|callers| callers.as_u64().unwrap()).sum::<u64>(), summary["tokenkeeper"]["failed_callers"]);
    assert_eq!(faults(&first), faults(&run("refusal", "3")));
    assert_ne!(faults(&first), faults(&run("expiry", "4")));
}

#[test]
fn a_fault_in_one_request_of_ten_fails_no_caller() {
    let lines = lines(&["--callers", "32", "--rounds", "40", "--faults=passing", "--seed", "5"]);
    let summary = lines.last().unwrap();
    assert_eq!(summary["faults"], "passing");
    let counted = |name: &str| summary["tokenkeeper"][name].as_u64().unwrap();
    for (name, count) in [("failed_callers", 0), ("replays", 0), ("most_concurrent", 1), ("sign_ins", 1)] {
        assert_eq!(counted(name), count, "{name}: {summary}");
    }
    assert_eq!(summary["tokenkeeper"]["chain"], "alive");
    let faults = lines.iter().filter(|line| line["contestant"] == "tokenkeeper");
    assert_eq!(faults.map(|line| line["faults"].as_u64().unwrap()).sum::<u64>(), counted("faults"));
    assert!(counted("faults") > 0 && counted("token_requests") > 40, "{summary}");
}

#[test]
fn failures_that_faults_explain_are_explained_beside_the_verdict() {
    let path = scratch("faults.html");
    let told = |faults: &[&str]| {
        let arguments = ["--callers", "8", "--rounds", "4", "--seed", "2", "--report", path.to_str().unwrap()];
        let output = storm(&[&arguments[..], faults].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), fs::read_to_string(&path).unwrap())
    };
    // This seed begins with an answer that is lost after the refresh token was spent.
    let (out, page) = told(&["--faults"]);
    let (_, verdict) = out.split_once("✓ every law held: ").unwrap();
    for says in [
        "callers failed, in time and with a reason (",
        "That breaks no law: the answer with the new refresh token was lost in their round",
    ] {
        assert!(verdict.contains(says) && page.contains(says), "{says}: {out}{page}");
    }
    let (out, page) = told(&[]);
    assert!(!out.contains("callers failed,") && !page.contains("callers failed,"), "{out}{page}");
}

#[test]
fn the_report_fits_a_narrow_terminal_and_a_pipe_gets_no_colours() {
    let output = storm(&["--callers", "8", "--rounds", "2"]);
    let out = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{out}");
    assert!(out.starts_with("8 callers find their access token expired, 2 times\n"), "{out}");
    for told in ["revoked, 2 times", "alive", "14", "16 of 16", "replayed", "✓ every law held"] {
        assert!(out.contains(told), "{told}: {out}");
    }
    assert!(!out.contains('\u{1b}'), "{out}");
    let widest = out.lines().map(|line| line.chars().count()).max();
    assert!(
        widest <= Some(100)
            && out
                .lines()
                .filter(|line| line.contains('━') || line.contains('█'))
                .all(|line| line.chars().count() <= 80),
        "{out}"
    );
}

#[test]
fn the_page_is_well_formed_and_escapes_its_texts() {
    let path = scratch("storm <b> & 'co'.html");
    let output = storm(&["--callers", "8", "--rounds", "2", "--report", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(page.matches("<figure").count(), 2);
    assert!(page.contains("storm &lt;b&gt; &amp;") && !page.contains("<b> &"), "{page}");
    for elsewhere in ["http://", "https://", "<script", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert_eq!(unbalanced(&page), None, "{page}");
}

#[test]
fn the_pages_text_is_as_large_on_a_narrow_screen_and_its_legend_names_every_mark() {
    let path = scratch("narrow.html");
    let output = storm(&["--callers", "8", "--rounds", "1", "--report", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(&path).unwrap();
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    // Without a view box nothing in a picture is scaled, so that text keeps its size in pixels.
    assert!(
        style.contains("svg { display: block; width: 100%; overflow: visible; font: 12px ")
            && !page.contains("viewBox")
    );
    for svg in page.split("<svg ").skip(1) {
        let (attributes, drawn) = svg.split_once('>').unwrap();
        assert!(
            attributes.starts_with("height=\"") && !drawn.split("</svg>").next().unwrap().contains("font-size"),
            "{svg}"
        );
    }
    let legend = page.split_once("<p class=\"legend\">").unwrap().1.split_once("</p>").unwrap().0;
    for mark in ["tick", "key rotated", "key replayed", "key refused", "key fault", "key served", "key unauthorized"] {
        assert!(legend.contains(&format!("<span class=\"{mark}\">")), "{mark}: {legend}");
    }
}

/// The first closing tag that does not match the last open one, or a tag that stays open.
fn unbalanced(page: &str) -> Option<String> {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = |tag: &str| tag.split_ascii_whitespace().next().unwrap_or_default().to_owned();
        match tag.strip_prefix('/') {
            Some(closed) if open.pop() != Some(name(closed)) => return Some(tag.to_owned()),
            Some(_) => {}
            None if tag.starts_with('!') || tag.ends_with('/') => {}
            None => open.push(name(tag)),
        }
    }
    open.pop()
}

#[test]
fn unacceptable_arguments_are_usage_errors() {
    for (arguments, says) in [
        (&["--callers", "0"][..], "1..=65536"),
        (&["--rounds", "none"], "--rounds"),
        (&["--by", "luck"], "expiry, refusal"),
        (&["--faults", "--against", "ready.json"], "cannot be used with"),
    ] {
        let output = storm(arguments);
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(2) && err.contains(says) && output.stdout.is_empty(), "{err}");
    }
}

#[test]
fn a_storm_that_cannot_be_run_says_why() {
    let path = scratch("not-ready.json");
    fs::write(&path, "{\"issuer\": 1}\n").unwrap();
    let nobody = scratch("nobody.json");
    let gone = "http://127.0.0.1:9";
    let ready = serde_json::json!({ "issuer": gone, "admin": gone, "mcp": format!("{gone}/mcp"), "as_metadata": gone });
    fs::write(&nobody, ready.to_string()).unwrap();
    for (path, says) in [
        (path.to_str().unwrap(), "this is not the line a rig prints"),
        ("/nowhere/ready.json", "/nowhere/ready.json: "),
        (nobody.to_str().unwrap(), "the rig cannot be reached: "),
    ] {
        let output = storm(&["--against", path]);
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(1) && err.starts_with("error: ") && err.contains(says), "{err}");
    }
}
