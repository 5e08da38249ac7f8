//! `tokenkeeper doctor` against a real authorization server, the oidc-provider rig.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "../../tests/rigs/mod.rs"]
mod rigs;

use serde_json::Value;
use snapbox::cmd::{Command, cargo_bin};

#[test]
fn a_real_server_has_no_problem() {
    for path in ["", "/tenant1"] {
        let Some(rig) = rigs::Rig::start(&[("ISSUER_PATH", path)]) else { return };
        let url = rig.ready["mcp"].as_str().unwrap();
        let output = Command::new(cargo_bin!("tokenkeeper"))
            .env("TOKENKEEPER_HOME", "/nonexistent/home")
            .args(["doctor", url, "--json", "--probe-token"])
            .output()
            .unwrap();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = object["findings"].as_array().unwrap();
        let problems: Vec<&Value> = findings.iter().filter(|finding| finding["level"] == "problem").collect();
        assert_eq!((output.status.code(), problems), (Some(0), vec![]), "{path}");
        let seen = |code: &str| {
            let found = findings.iter().find(|finding| finding["code"] == code && finding["level"] == "ok");
            found.unwrap_or_else(|| panic!("{code} {findings:#?}"))["seen"].as_str().unwrap().to_owned()
        };
        assert!(seen("issuer").contains(rig.ready["issuer"].as_str().unwrap()));
        assert!(seen("client").contains("would be registered"));
        assert!(seen("par").contains("accepts"));
        assert!(seen("ways").contains("--device"));
        for code in ["login-wanted", "pkce", "iss", "resource", "token-endpoint"] {
            seen(code);
        }
        // Nothing but metadata was asked for, and the token endpoint for nothing.
        let stats = rig.get("/stats");
        assert_eq!((&stats["live"]["clients"], &stats["registrations"]["success"]), (&0.into(), &0.into()), "{stats}");
        assert_eq!((&stats["authorizations"]["error"], &stats["par"]), (&0.into(), &0.into()), "{stats}");
        assert_eq!((&stats["token"]["total"], &stats["mcp"]["total"]), (&1.into(), &1.into()), "{stats}");
    }
}
