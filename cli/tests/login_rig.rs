//! The README's login and call at a real authorization server, the oidc-provider rig.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../../tests/rigs/mod.rs"]
mod rigs;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use snapbox::cmd::{Command, cargo_bin};

const README: &str = include_str!("../../README.md");

/// The MCP server's URL in the README.
const SERVER: &str = "http://127.0.0.1:8765/mcp";

/// Follows the redirects of the page to the listener, as the rig consents by itself.
const BROWSER: &str = "#!/usr/bin/env node\nfetch(process.argv[2]);\n";

/// The value of an option of the README's call.
fn option(flag: &str) -> String {
    let (_, call) = README.split_once(&format!("curl {SERVER}")).unwrap();
    let (_, value) = call.split_once(&format!("{flag} '")).unwrap();
    value.split('\'').next().unwrap().to_owned()
}

#[test]
fn the_readme_signs_in_at_the_rig_and_calls_a_tool() {
    assert!(README.contains("AUTO_CONSENT=1 STAY_ALIVE=1 RS_PORT=8765 node server.mjs"));
    assert!(README.contains(&format!("tokenkeeper login {SERVER}\n")));
    // A free port in the place of the README's, because other tests run at the same time.
    let Some(rig) = rigs::Rig::start(&[("AUTO_CONSENT", "1")]) else { return };
    let url = rig.ready["mcp"].as_str().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let browser = dir.path().join("browser");
    fs::write(&browser, BROWSER).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o700)).unwrap();
    let command = |arguments: &[&str]| {
        let home = dir.path().join("home");
        let command = Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(home).args(arguments);
        command.env("BROWSER", &browser).env_remove("SSH_CONNECTION")
    };
    command(&["login", url, "--timeout", "50s"]).assert().success();
    let token = command(&["token", url]).assert().success();
    let token = String::from_utf8(token.get_output().stdout.clone()).unwrap();

    let body = option("-d");
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("alice"), "{answer}");
    let stats = rig.get("/stats");
    assert_eq!((&stats["registrations"]["success"], &stats["token"]["total"]), (&1.into(), &1.into()), "{stats}");
}
