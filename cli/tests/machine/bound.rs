//! Tokens that are bound to a key (DPoP), through every command, at servers that want nonces.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::login_server::{Browser, LoginServer};
use tokenkeeper_testkit::mcp::McpResource;

use super::scene::{Done, Home};

/// An authorization server and an MCP server, which both want proofs with their nonces.
struct Bound {
    home: Home,
    server: LoginServer,
    resource: McpResource,
}

impl Bound {
    fn new() -> Self {
        let home = Home::new();
        let (server, resource) = home.runtime.block_on(async {
            let server = LoginServer::builder().dpop().start().await.unwrap();
            server.hostile().proof_rules(|rules| (rules.server_nonces, rules.resource_nonces) = (true, true));
            let resource = McpResource::start(server.verifier()).await.unwrap();
            server.verifier().add_resource(&resource.uri());
            (server, resource)
        });
        Self { home, server, resource }
    }

    /// Signs in as a client whose tokens are bound.
    fn signed_in() -> Self {
        let bound = Self::new();
        let client = bound.server.pre_register(ClientAuth::Basic, ["http://127.0.0.1/callback"]);
        let secret = bound.home.file("secret.txt", client.secret.as_ref().unwrap().expose());
        let arguments =
            ["--client-id", &client.id, "--client-secret-file", &secret, "--scope", "tools:read tools:call"];
        let done = bound.run("login", &[&["--client-credentials", "--dpop", "--json"], &arguments[..]].concat()).json();
        assert_eq!((&done["renewal"], &done["dpop"]), (&json!("client_credentials"), &json!(true)));
        bound
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Done {
        self.home.run(&[&[command, &self.resource.uri()], arguments].concat())
    }

    /// Lets the access tokens end at the server, which the home does not know.
    fn end_tokens(&self) {
        self.server.hostile().kill_access_tokens();
    }

    /// The token requests, and the proofs that the resource accepted. Nothing was replayed, refused, or sent as a bearer token.
    fn spent(&self) -> (u64, u64) {
        let (proofs, counts) = (self.server.hostile().proof_counts(), self.server.hostile().counts());
        assert_eq!((proofs.replays, proofs.bearer, counts.replays), (0, 0, 0), "{proofs:?}");
        assert!(proofs.refused.is_empty(), "{proofs:?}");
        let is_bearer = |value: &[u8]| value.to_ascii_lowercase().starts_with(b"bearer");
        let log = self.resource.log();
        let bearers = log.iter().filter(|request| request.header("authorization").is_some_and(is_bearer)).count();
        assert_eq!(bearers, 0);
        (proofs.at_server, proofs.at_resource)
    }
}

#[test]
fn tools_are_listed_and_called_with_proofs() {
    let bound = Bound::signed_in();
    assert!(bound.run("tools", &[]).good().contains("echo"));
    let called = bound.run("call", &["echo", "--json"]).good();
    assert!(called.contains("\"ok\""), "{called}");
    let (requests, proofs) = bound.spent();
    assert!(requests == 1 && proofs >= 2, "{requests} {proofs}");

    // A token that the server has ended is renewed, bound to the same key.
    bound.end_tokens();
    bound.run("call", &["echo", "--json"]).good();
    assert_eq!(bound.spent().0, 2);
    bound.server.hostile().renew_nonces();
    bound.run("call", &["echo", "--parallel", "20", "--json"]).good();
    assert_eq!(bound.spent().0, 2);
}

#[test]
fn a_proxy_sends_proofs_over_a_refused_token_and_a_new_nonce() {
    let bound = Bound::signed_in();
    let mut proxy = bound.home.command(&["proxy", &bound.resource.uri()]);
    let mut proxy = proxy.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut input, mut lines) = (proxy.stdin.take().unwrap(), BufReader::new(proxy.stdout.take().unwrap()).lines());
    let mut ask = |id: u32, method: &str, params: Value| -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        writeln!(input, "{message}").unwrap();
        loop {
            let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if answer["id"] == id {
                return answer;
            }
        }
    };
    let client = json!({ "name": "host", "version": "1" });
    let begun = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
    assert!(ask(1, "initialize", begun)["result"]["protocolVersion"].is_string());
    let echo = || json!({ "name": "echo", "arguments": { "text": "hi" } });
    assert!(ask(2, "tools/call", echo())["result"].is_object());
    bound.server.hostile().renew_nonces();
    assert!(ask(3, "tools/call", echo())["result"].is_object());
    bound.end_tokens();
    assert!(ask(4, "tools/call", echo())["result"].is_object());
    assert_eq!(bound.spent().0, 2);
    drop(input);
    assert!(proxy.wait().unwrap().success());
}

/// Sends a request with these headers, and returns its status and the nonce of the answer.
fn send(bound: &Bound, headers: &Value) -> (u16, Option<String>) {
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(bound.resource.uri());
    let request = headers
        .as_object()
        .unwrap()
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
    let request = request.header("accept", "application/json, text/event-stream");
    let request = request.header("content-type", "application/json").body(
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": { "name": "host", "version": "1" } } })
        .to_string(),
    );
    let answer = bound.home.runtime.block_on(request.send()).unwrap();
    let nonce = answer.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
    (answer.status().as_u16(), nonce)
}

#[test]
fn the_headers_of_a_token_carry_a_proof_for_one_request() {
    let bound = Bound::signed_in();
    let headers = bound.run("token", &["--headers"]).json();
    assert!(headers["Authorization"].as_str().unwrap().starts_with("DPoP ") && headers["DPoP"].is_string());
    let (status, nonce) = send(&bound, &headers);
    assert_eq!(status, 401, "the server wants its nonce");
    let nonce = nonce.unwrap();
    let headers = bound.run("token", &["--headers", "--dpop-nonce", &nonce]).json();
    assert_eq!(send(&bound, &headers).0, 200);
    assert_eq!(bound.spent(), (1, 1));
    let refused = bound.run("token", &["--headers", "--dpop-nonce", "no nonce"]);
    assert!(refused.code == 2 && refused.err.contains("--dpop-nonce"), "{}", refused.err);
    let get = bound.run("token", &["--headers", "--method", "GET", "--dpop-nonce", &nonce]).json();
    assert_eq!(super::jwt::claims(get["DPoP"].as_str().unwrap())["htm"], json!("GET"));
}

#[test]
fn a_token_shows_its_scheme_and_status_shows_the_key() {
    let bound = Bound::signed_in();
    assert_eq!(bound.run("token", &["--json"]).json()["token_type"], json!("DPoP"));
    assert_eq!(bound.home.status()["dpop"], json!(true));
    let shown = bound.home.run(&["status"]).good();
    assert!(shown.contains("client credentials with a key"), "{shown}");
    assert_eq!(bound.spent(), (1, 0));
}

#[test]
fn a_person_signs_in_for_bound_tokens() {
    let bound = Bound::new();
    let mut login = bound.home.command(&["login", &bound.resource.uri(), "--dpop", "--no-browser", "--json"]);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(login.stdout.take().unwrap()).lines();
    let mut event = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let prompt = event();
    bound.home.runtime.block_on(Browser::complete(prompt["url"].as_str().unwrap())).unwrap();
    let done = event();
    assert_eq!((&done["renewal"], &done["dpop"]), (&json!("refresh_token"), &json!(true)), "{done}");
    assert!(login.wait().unwrap().success());
    bound.end_tokens();
    bound.run("call", &["echo", "--json"]).good();
    assert_eq!(bound.spent().0, 2, "the code and one refresh");
}

#[test]
fn a_server_that_issues_bearer_tokens_signs_in_to_nothing() {
    let bound = Bound::new();
    bound.server.hostile().proof_rules(|rules| rules.issues_bearer = true);
    let client = bound.server.pre_register(ClientAuth::Basic, ["http://127.0.0.1/callback"]);
    let secret = bound.home.file("secret.txt", client.secret.as_ref().unwrap().expose());
    let arguments = ["--client-credentials", "--dpop", "--client-id", &client.id, "--client-secret-file", &secret];
    let done = bound.run("login", &arguments);
    assert!(done.code == 4 && done.err.contains("not_bound"), "{}", done.err);
    // The key is stored before. No token is, and every later request fails alike.
    assert_eq!(bound.run("token", &[]).code, 4);
    let done = bound.run("login", &["--dpop", "--exec", "true"]);
    assert_eq!(done.code, 2, "a command's token has no key");
}

#[test]
fn a_bound_token_is_in_no_credential_without_a_place_for_its_proof() {
    let bound = Bound::signed_in();
    let done = bound.run("token", &["--exec-credential"]);
    assert!(done.code == 4 && done.out.is_empty() && done.err.contains("--headers"), "{}", done.err);
    // A login that asks for no bound tokens leaves the session bound.
    let client = bound.server.pre_register(ClientAuth::Basic, ["http://127.0.0.1/callback"]);
    let secret = bound.home.file("secret.txt", client.secret.as_ref().unwrap().expose());
    let arguments =
        ["--client-credentials", "--client-id", &client.id, "--client-secret-file", &secret, "--again", "--json"];
    assert_eq!(bound.run("login", &arguments).json()["dpop"], json!(true));
    bound.spent();
}
