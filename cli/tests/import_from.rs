//! `tokenkeeper import --from`: logins in the files of other programs.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test of processes")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde_json::{Value, json};
use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use tempfile::TempDir;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, ServerIdentity, Target};
use tokenkeeper_testkit::hostile::Grant;
use tokenkeeper_testkit::login_server::LoginServer;
use tokio::runtime::Runtime;

/// A server that names its authorization server, a grant of it, and the folders of a home and of another program.
struct Scene {
    server: LoginServer,
    grant: Grant,
    dir: TempDir,
    runtime: Runtime,
}

impl Scene {
    fn new(auth: ClientAuth) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(LoginServer::start()).unwrap();
        let hostile = server.hostile();
        let grant = hostile.grant_for(&hostile.register(auth), &server.resource_url(), "tools:read");
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        Self { server, grant, dir, runtime }
    }

    /// Writes a file of the other program.
    fn write(&self, name: &str, content: impl ToString) -> PathBuf {
        let path = self.other().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        path
    }

    fn other(&self) -> PathBuf {
        self.dir.path().join("other")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin!("tokenkeeper")).arg("--home").arg(self.dir.path().join("home"));
        for (name, value) in [
            ("HOME", self.other()),
            ("MCP_REMOTE_CONFIG_DIR", PathBuf::new()),
            ("CODEX_HOME", PathBuf::new()),
            ("XDG_CONFIG_HOME", PathBuf::new()),
        ] {
            command = command.env(name, value);
        }
        command.args(arguments)
    }

    /// Takes over the login of a program.
    fn import(&self, program: &str, arguments: &[&str]) -> OutputAssert {
        // For the programs that do not keep it.
        let issuer = ["--issuer", &self.server.issuer()];
        self.command(&["import", "--from", program, &self.server.resource_url()]).args(issuer).args(arguments).assert()
    }

    /// The token that the home has, with a refresh if `refresh`.
    fn token(&self, refresh: bool) -> String {
        let arguments: &[&str] = if refresh { &["--refresh"] } else { &[] };
        let token = self.command(&["token", &self.server.resource_url()]).args(arguments).assert().success();
        String::from_utf8(token.get_output().stdout.clone()).unwrap().trim().to_owned()
    }

    /// Requires that the session has the imported access token, and is renewed by one token request.
    fn is_taken_over(&self) {
        assert_eq!(self.token(false), self.grant.access_token.expose());
        assert_eq!(self.counts(), (0, 0));
        assert_ne!(self.token(true), self.grant.access_token.expose());
        assert_eq!(self.counts(), (1, 0));
    }

    /// The token requests and the replays.
    fn counts(&self) -> (u64, u64) {
        let counts = self.server.hostile().counts();
        (counts.token_requests, counts.replays)
    }

    fn has_no_session(&self) {
        self.command(&["token", &self.server.resource_url()]).assert().code(3);
        assert_eq!(self.counts(), (0, 0));
    }

    /// The files that mcp-remote 0.15 writes for this URL.
    fn write_mcp_remote(&self, folder: &str, url: &str) -> PathBuf {
        let (grant, hash) = (&self.grant, base16ct::lower::encode_string(&Md5::digest(url.as_bytes())));
        let client = &grant.binding.client;
        let secret = client.secret.as_ref().map(|secret| secret.expose());
        let method = secret.map_or("none", |_| "client_secret_post");
        self.write(
            &format!("{folder}/{hash}_client_info.json"),
            json!({
                "redirect_uris": ["http://localhost:3334/oauth/callback"],
                "token_endpoint_auth_method": method,
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "client_name": "MCP CLI Proxy",
                "software_version": "0.15.1",
                "client_id": client.id,
                "client_secret": secret,
                "client_id_issued_at": 1_764_500_000,
                "issuer": self.server.issuer(),
            }),
        );
        self.write(
            &format!("{folder}/{hash}_tokens.json"),
            json!({
                "access_token": grant.access_token.expose(),
                "token_type": "Bearer",
                "expires_in": 3600,
                "scope": grant.scope,
                "refresh_token": grant.refresh_token.expose(),
                "issuer": self.server.issuer(),
                "expires_at": now() * 1000 + 3_599_123,
                "requested_scope": grant.scope,
            }),
        )
    }

    /// The `StoredCredentials` of rmcp, received a minute ago.
    fn stored_credentials(&self) -> Value {
        json!({
            "client_id": self.grant.binding.client.id,
            "token_response": {
                "access_token": self.grant.access_token.expose(),
                "token_type": "bearer",
                "expires_in": 3600,
                "refresh_token": self.grant.refresh_token.expose(),
                "scope": self.grant.scope,
            },
            "granted_scopes": [self.grant.scope],
            "token_received_at": now() - 60,
        })
    }

    /// An entry of Codex's file.
    fn codex_entry(&self, name: &str) -> Value {
        json!({
            "server_name": name,
            "server_url": self.server.resource_url(),
            "client_id": self.grant.binding.client.id,
            "access_token": self.grant.access_token.expose(),
            "expires_at": (now() + 3600) * 1000,
            "refresh_token": self.grant.refresh_token.expose(),
            "scopes": [self.grant.scope],
        })
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemClock::new().unwrap().now().wall.as_millis() / 1_000
}

fn stderr(asserted: &OutputAssert) -> String {
    String::from_utf8(asserted.get_output().stderr.clone()).unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_login_of_mcp_remote_is_taken_over_and_its_files_stay() {
    for auth in [ClientAuth::None, ClientAuth::Post] {
        let scene = Scene::new(auth);
        let tokens = scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &scene.server.resource_url());
        let before = files(&scene.other());
        let told = stderr(&scene.import("mcp-remote", &[]).success());
        assert!(told.contains("mcp-remote still has it") && told.contains(tokens.to_str().unwrap()), "{told}");
        assert!(!told.contains(scene.grant.refresh_token.expose()), "{told}");
        scene.is_taken_over();
        let status = scene.command(&["status", "--json"]).assert().success();
        let status: Value = serde_json::from_slice(&status.get_output().stdout).unwrap();
        assert_eq!(status["sessions"][0]["issuer"], scene.server.issuer());
        assert_eq!(files(&scene.other()), before);
    }
}

/// As after a login by discovery, so that a server cannot lead token requests elsewhere.
#[test]
fn token_requests_stay_within_the_reach_of_discovery() {
    let scene = Scene::new(ClientAuth::None);
    scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &scene.server.resource_url());
    scene.import("mcp-remote", &[]).success();
    let store = FileStore::open(scene.dir.path().join("home")).unwrap();
    let identity = ServerIdentity::new(Account::default(), Target::mcp(&scene.server.resource_url()).unwrap());
    let record = scene.runtime.block_on(store.inspect(&identity)).unwrap().unwrap();
    let renewal = &record.grant().unwrap().renewal;
    assert!(renewal.server_named && !renewal.never_replay);
    assert_eq!(record.grant().unwrap().binding.resource, Some(scene.server.resource_url()));
}

/// Older versions have a folder each. The URL may differ by its slash from the one that mcp-remote was given.
#[test]
fn the_login_of_mcp_remote_is_found_by_its_url_or_named() {
    let scene = Scene::new(ClientAuth::None);
    let url = format!("{}/", scene.server.resource_url());
    let tokens = scene.write_mcp_remote("else/mcp-remote-0.1.37", &url);
    let told = stderr(&scene.import("mcp-remote", &[]).code(1));
    assert!(told.contains("no login for this URL in") && told.contains(".mcp-auth"), "{told}");
    scene.has_no_session();
    let folder = scene.other().join("else");
    let other = ["import", "--from", "mcp-remote", "https://other.example/mcp", "--path", folder.to_str().unwrap()];
    let told = stderr(&scene.command(&other).assert().code(1));
    assert!(told.contains("there are 1 of others") && told.contains("_tokens.json"), "{told}");
    for place in [folder.clone(), folder.join("mcp-remote-0.1.37"), tokens] {
        scene.import("mcp-remote", &["--path", place.to_str().unwrap()]).success();
    }
    scene.import("mcp-remote", &["--account", "work", "--path", folder.to_str().unwrap()]).code(4);
    scene.is_taken_over();
}

#[test]
fn tokens_of_mcp_remote_without_a_client_are_not_taken_over() {
    let scene = Scene::new(ClientAuth::None);
    let tokens = scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &scene.server.resource_url());
    let client = tokens.to_str().unwrap().replace("_tokens.json", "_client_info.json");
    fs::remove_file(&client).unwrap();
    let told = stderr(&scene.import("mcp-remote", &[]).code(1));
    assert!(told.contains(&client) && told.contains("a client of its own"), "{told}");
    scene.has_no_session();
}

#[test]
fn a_login_of_codex_is_taken_over_from_its_file_and_from_its_keychain() {
    let scene = Scene::new(ClientAuth::None);
    let told = stderr(&scene.import("codex", &[]).code(1));
    assert!(told.contains(".codex/.credentials.json") && told.contains("Codex MCP Credentials"), "{told}");
    let mut elsewhere = scene.codex_entry("elsewhere");
    elsewhere["server_url"] = "https://other.example/mcp".into();
    let file = json!({
        "one|0123456789abcdef": scene.codex_entry("one"), "elsewhere|0": elsewhere,
        "damaged|0": { "server_url": "https://damaged.example/mcp" }, "later|0": 7,
    });
    scene.write(".codex/.credentials.json", &file);
    let told = stderr(&scene.command(&["import", "--from", "codex", &scene.server.resource_url()]).assert().code(4));
    assert!(told.contains(&format!("add --issuer {}", scene.server.issuer())), "{told}");
    let told = stderr(&scene.import("codex", &[]).success());
    assert!(told.contains("Codex still has it"), "{told}");
    scene.is_taken_over();

    let twice = json!({ "one|0": scene.codex_entry("one"), "two|0": scene.codex_entry("two") });
    scene.write(".codex/.credentials.json", &twice);
    let told = stderr(&scene.import("codex", &[]).code(2));
    assert!(told.contains("one, two") || told.contains("two, one"), "{told}");

    let scene = Scene::new(ClientAuth::None);
    let entry = json!({
        "server_name": "one",
        "url": scene.server.resource_url(),
        "client_id": scene.grant.binding.client.id,
        "token_response": scene.stored_credentials()["token_response"],
        "expires_at": (now() + 3600) * 1000,
    });
    let url = scene.server.resource_url();
    let issuer = scene.server.issuer();
    let arguments = ["import", "--from", "codex", &url, "--path", "-", "--issuer", &issuer];
    let command = scene.command(&arguments).stdin(entry.to_string());
    assert!(stderr(&command.assert().success()).contains("(standard input)"));
    scene.is_taken_over();
}

#[test]
fn a_login_of_goose_is_taken_over_by_the_name_of_its_extension() {
    let scene = Scene::new(ClientAuth::None);
    let stored = scene.stored_credentials();
    let tokens = &stored["token_response"];
    let yaml = format!(
        "OPENAI_API_KEY: hush-key\noauth_creds_example:\n  client_id: {}\n  granted_scopes:\n  - {}\n  token_received_at: {}\n  \
         token_response:\n    access_token: {}\n    expires_in: 3600\n    refresh_token: {}\n    token_type: bearer\n",
        stored["client_id"],
        stored["granted_scopes"][0],
        stored["token_received_at"],
        tokens["access_token"],
        tokens["refresh_token"],
    );
    scene.write(".config/goose/secrets.yaml", &yaml);
    for (arguments, code) in [(&[][..], 2), (&["--entry", "other"][..], 1)] {
        let told = stderr(&scene.import("goose", arguments).code(code));
        assert!(told.contains("there are example") && !told.contains("hush"), "{told}");
    }
    let told = stderr(&scene.import("goose", &["--entry", "OPENAI_API_KEY"]).code(1));
    assert!(!told.contains("hush"), "{told}");
    scene.import("goose", &["--entry", "example"]).success();
    scene.is_taken_over();

    // The entry of a keychain is JSON.
    let scene = Scene::new(ClientAuth::None);
    let json = json!({ "SLACK": "x", "oauth_creds_example": scene.stored_credentials() });
    let path = scene.write("secrets.json", &json);
    scene.import("goose", &["--entry", "example", "--path", path.to_str().unwrap()]).success();
    scene.is_taken_over();
}

/// An access token whose end is past or unknown is left out, so that it is not tried in vain.
#[test]
fn stored_credentials_of_rmcp_are_taken_over() {
    for (received, has_token) in [(json!(now() - 60), true), (json!(now() - 7200), false), (Value::Null, false)] {
        let scene = Scene::new(ClientAuth::None);
        let mut stored = scene.stored_credentials();
        stored["token_received_at"] = received;
        stored["issuer"] = scene.server.issuer().into();
        let path = scene.write("credentials.json", &stored);
        scene.import("rmcp", &["--path", path.to_str().unwrap()]).success();
        assert_eq!(scene.token(false) == scene.grant.access_token.expose(), has_token);
        assert_eq!(scene.counts(), (u64::from(!has_token), 0));
    }
    let scene = Scene::new(ClientAuth::None);
    assert!(stderr(&scene.import("rmcp", &[]).code(2)).contains("--path"));
    let path = scene.write("credentials.json", json!({ "client_id": "x", "token_response": null }));
    assert!(stderr(&scene.import("rmcp", &["--path", path.to_str().unwrap()]).code(1)).contains("no tokens"));
}

#[test]
fn a_file_that_is_not_understood_is_named_and_its_content_is_not() {
    let scene = Scene::new(ClientAuth::None);
    let tokens = scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &scene.server.resource_url());
    let contents = [
        "{\"access_token\": \"hush\"",
        "[\"hush\"]",
        "{}",
        "{\"access_token\": 1, \"client_id\": [\"hush\"], \"token_response\": \"hush\"}",
        "{\"access_token\":\"x\",\"expires_at\":\"hush\",\"client_id\":\"x\",\"token_response\":{\"access_token\":[\"hush\"]}}",
        "\u{0}hush",
        "oauth_creds_x: [hush\n",
    ];
    for program in ["mcp-remote", "codex", "goose", "rmcp"] {
        for content in contents {
            fs::write(&tokens, content).unwrap();
            let told = scene.import(program, &["--path", tokens.to_str().unwrap(), "--entry", "x"]).failure();
            let code = told.get_output().status.code().unwrap();
            let told = stderr(&told);
            assert!(told.contains(tokens.to_str().unwrap()) && !told.contains("hush"), "{program} {content}: {told}");
            // A file with other content may be whole and have no login.
            assert!(code == 2 || code == 1 && told.contains("has no login"), "{program} {content}: {told}");
        }
    }
    scene.has_no_session();
}

/// A refresh token goes to the issuer that gave it, and to no other one (law 13).
#[test]
fn tokens_of_another_issuer_and_of_a_server_that_cannot_be_asked_are_not_taken_over() {
    let scene = Scene::new(ClientAuth::None);
    let mut stored = scene.stored_credentials();
    stored["issuer"] = "https://other.example".into();
    let path = scene.write("credentials.json", &stored);
    let told = stderr(&scene.import("rmcp", &["--path", path.to_str().unwrap()]).code(4));
    assert!(told.contains("are of https://other.example") && told.contains(&scene.server.issuer()), "{told}");
    scene.has_no_session();

    let command = ["import", "--from", "rmcp", "http://127.0.0.1:9/mcp", "--path", path.to_str().unwrap()];
    let told = stderr(&scene.command(&command).assert().code(5));
    assert!(told.contains(path.to_str().unwrap()) && told.contains("cannot be found"), "{told}");
    assert!(told.contains("tokenkeeper doctor http://127.0.0.1:9/mcp"), "{told}");
}

#[test]
fn a_program_is_named_together_with_a_url() {
    let scene = Scene::new(ClientAuth::None);
    for arguments in [
        &["import", "https://mcp.example.com/mcp"][..],
        &["import", "--from", "codex"],
        &["import", "--path", "x"],
        &["import", "--from", "other", "https://mcp.example.com/mcp"],
        &["import", "--from", "codex", "mcp.example.com"],
    ] {
        scene.command(arguments).assert().code(2).stdout_eq("");
    }
}

#[test]
fn a_session_that_is_signed_in_is_replaced_by_wish_alone() {
    let scene = Scene::new(ClientAuth::None);
    scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &scene.server.resource_url());
    scene.import("mcp-remote", &[]).success();
    // The same login may come once more, and another one not.
    scene.import("mcp-remote", &[]).success();
    scene.is_taken_over();
    let told = stderr(&scene.import("mcp-remote", &[]).code(4));
    assert!(told.contains("add --again"), "{told}");
    // Its refresh token was replaced, which the server would take for stolen, also in a session of another account.
    scene.import("mcp-remote", &["--again"]).code(4);
    let told = stderr(&scene.import("mcp-remote", &["--account", "work", "--name", "work"]).code(4));
    assert!(told.contains("has replaced it"), "{told}");
    let told = stderr(&scene.command(&["token", "work"]).assert().code(2));
    assert!(told.contains("no session in this home is named work"), "{told}");
    assert_eq!(scene.counts(), (1, 0));
    scene.token(true);
}

#[test]
fn a_client_of_another_issuer_is_not_taken_over() {
    let scene = Scene::new(ClientAuth::None);
    let url = scene.server.resource_url();
    let tokens = scene.write_mcp_remote(".mcp-auth/mcp-remote-v1", &url);
    let client = tokens.to_str().unwrap().replace("_tokens.json", "_client_info.json");
    let mut info: Value = serde_json::from_str(&fs::read_to_string(&client).unwrap()).unwrap();
    info["issuer"] = "https://other.example".into();
    fs::write(&client, info.to_string()).unwrap();
    let told = stderr(&scene.import("mcp-remote", &[]).code(4));
    assert!(told.contains("is of https://other.example"), "{told}");
    scene.has_no_session();
}
