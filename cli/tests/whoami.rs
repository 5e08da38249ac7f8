//! Transcripts of `tokenkeeper whoami`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use snapbox::str;
use tempfile::TempDir;
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};
use tokio::runtime::Runtime;

use scene::stdout;

/// A server with a userinfo endpoint, and a home with a session of one person.
struct Host {
    server: LoginServer,
    home: TempDir,
    /// The runtime that the server runs on.
    _runtime: Runtime,
}

impl Host {
    fn signed_in(claims: Value) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(LoginServer::builder().userinfo(claims).start()).unwrap();
        let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let host = Self { server, home, _runtime: runtime };
        let grant = host.server.grant_as("ann");
        let login = json!({
            "server": host.server.resource_url(),
            "issuer": grant.binding.issuer.0,
            "token_endpoint": grant.binding.token_endpoint,
            "client_id": grant.binding.client.id,
            "refresh_token": grant.refresh_token.expose(),
        });
        host.command(&["import"]).stdin(login.to_string()).assert().success();
        host
    }

    fn command(&self, arguments: &[&str]) -> Command {
        Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(self.home.path()).args(arguments)
    }

    fn whoami(&self, arguments: &[&str]) -> OutputAssert {
        self.command(&["whoami", &self.server.resource_url()]).args(arguments).assert()
    }
}

#[test]
fn the_person_is_shown_and_no_token() {
    let host = Host::signed_in(json!({ "groups": ["staff", "\u{1b}[31madmin"], "name": "Ann \u{202e}nnA" }));
    host.whoami(&[]).success().stderr_eq("").stdout_eq(str![[r#"
subject  ann
name     Ann �nnA
email    ann@example.com (verified)
groups   staff

"#]]);
    let printed = host.whoami(&["--json"]).success();
    let object: Value = serde_json::from_slice(&printed.get_output().stdout).unwrap();
    assert_eq!((&object["subject"], &object["email"]), (&json!("ann"), &json!("ann@example.com")));
    assert_eq!((&object["email_verified"], &object["account"]), (&json!(true), &json!("default")));
    assert_eq!(object["claims"]["userinfo"]["sub"], "ann");
    let token = stdout(&host.command(&["token", &host.server.resource_url()]).assert().success());
    assert!(!stdout(&printed).contains(token.trim()));
    assert_eq!(host.server.counts().tokens.token_requests, 1, "the stored token is used");
}

#[test]
fn each_failure_has_its_exit_code() {
    let host = Host::signed_in(json!({}));
    let at = |times, fault| host.server.next_at(Endpoint::UserInfo, times, When::After, fault);
    at(2, Fault::status(401));
    host.whoami(&[]).code(4).stdout_eq("").stderr_eq(str![[r#"
error: the provider does not accept the session's token for its user, not even a refreshed one: sign in with the scope openid, or give the provider a mapping that its tokens are good for

"#]]);
    at(1, Fault::status(503));
    host.whoami(&[]).code(5).stdout_eq("").stderr_eq(str![[r#"
error: the provider cannot answer for the user now (status 503): try again later

"#]]);
    at(1, Fault::status(403));
    host.whoami(&[]).code(4);
    at(1, Fault::garbage());
    host.whoami(&[]).code(1);
    host.whoami(&["--mapping", "/nowhere"]).code(2);
    host.command(&["logout", &host.server.resource_url()]).assert().success();
    host.whoami(&[]).code(3).stdout_eq("").stderr_eq(str![[r#"
error: logged_out: this session was logged out: sign in again
  [..]

"#]]);
}

#[test]
fn a_mapping_of_the_persons_own_is_used() {
    let host = Host::signed_in(json!({ "login": "annie" }));
    let mapping = host.home.path().join("mapping.json");
    let write = |subject: &str| {
        let mapping_of =
            json!({ "requests": [{ "name": "me", "at": "userinfo" }], "fields": { "subject": [subject] } });
        fs::write(&mapping, mapping_of.to_string()).unwrap();
    };
    write("/me/login");
    let arguments = ["--mapping", mapping.to_str().unwrap()];
    host.whoami(&arguments).success().stderr_eq("").stdout_eq(str![[r#"
subject  annie

"#]]);
    write("login");
    host.whoami(&arguments).code(2).stdout_eq("").stderr_eq(str![[r#"
error: [..]/mapping.json: a pointer of the mapping is no JSON pointer (RFC 6901): it begins with a slash

"#]]);
    write("/me/login");
    fs::set_permissions(&mapping, fs::Permissions::from_mode(0o666)).unwrap();
    host.whoami(&arguments).code(2);
}
