//! `tokenkeeper logout` reports what became of the tokens at the server.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod scene;

use std::time::Duration;

use serde_json::{Value, json};
use snapbox::str;
use tokenkeeper_testkit::hostile::{Fault, When};

use scene::Scene;

/// A scene with a stored login that names the revocation endpoint.
fn revocable() -> Scene {
    let scene = Scene::new();
    let mut login = scene.login();
    login["revocation_endpoint"] = json!(scene.server.revocation_endpoint());
    scene.import(&login).success();
    scene
}

#[test]
fn a_logout_reports_whether_the_server_revoked_the_tokens() {
    let scene = revocable();
    let object = scene.json("logout", &["--json"]);
    assert_eq!((&object["revocation"], &object["may_still_live"]), (&json!("done"), &json!(false)), "{object}");
    let object = scene.json("logout", &["--json"]);
    assert_eq!((&object["revocation"], &object["may_still_live"]), (&Value::Null, &json!(false)), "{object}");

    let scene = revocable();
    scene.server.next_revocation(1, When::Before, Fault::status(503));
    scene.run("logout", &[]).success().stderr_eq("").stdout_eq(str![[r#"
logged out of http://127.0.0.1:[..]/mcp
The server did not revoke the tokens, so they may still live: its own pages can end them.

"#]]);
    assert_eq!(scene.state(), "logged_out");

    let scene = Scene::signed_in();
    let object = scene.json("logout", &["--json"]);
    assert_eq!((&object["revocation"], &object["may_still_live"]), (&json!("not_offered"), &json!(true)), "{object}");
    assert_eq!(scene.server.counts().revocation_requests, 0);

    // The server takes longer than the command waits.
    let scene = revocable();
    scene.server.next_revocation(1, When::Before, Fault::delay(Duration::from_secs(30)));
    let object = scene.json("logout", &["--json"]);
    assert_eq!((&object["revocation"], &object["may_still_live"]), (&json!("in_the_air"), &json!(true)), "{object}");
    assert_eq!(scene.state(), "logged_out");
}

#[test]
fn a_logout_revokes_an_access_token_without_a_refresh_token() {
    let scene = Scene::new();
    let mut login = scene.login();
    let members = login.as_object_mut().unwrap();
    members.insert("revocation_endpoint".to_owned(), json!(scene.server.revocation_endpoint()));
    members.remove("refresh_token");
    members.insert("access_token".to_owned(), json!("at-alone"));
    scene.import(&login).success();
    let object = scene.json("logout", &["--json"]);
    assert_eq!((&object["revocation"], &object["may_still_live"]), (&json!("done"), &json!(false)), "{object}");
    assert_eq!(scene.server.counts().revocation_requests, 1);
}
