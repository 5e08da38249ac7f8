//! Login pages that the client shows (MCP 2025-11-25, "URL mode elicitation").

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};
use tokenkeeper_testkit::mcp::McpResource;

use crate::client::{INITIALIZED, ProxyClient, call, command, home, initialize, within};
use crate::tokens::import;

/// A server at which a person can sign in, a home whose session is logged out after each `opened`, and a browser that notes
/// that it was run.
struct Scene {
    server: LoginServer,
    resource: McpResource,
    home: TempDir,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let server = LoginServer::start().await.unwrap();
        let resource = McpResource::start(server.verifier()).await.unwrap();
        let (home, folder) = (home(), home());
        let program = folder.path().join("browser");
        fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", folder.path().join("opened").display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { server, resource, home, folder }
    }

    /// Where the browser notes that it was run.
    fn opened_browser(&self) -> PathBuf {
        self.folder.path().join("opened")
    }

    /// A proxy in whose MCP session the login has ended.
    async fn logged_out(&self, capabilities: Value, arguments: &[&str]) -> ProxyClient {
        let hostile = self.server.hostile();
        let grant = hostile.grant_for(&hostile.register(ClientAuth::None), &self.resource.uri(), "tools:read");
        import(&self.home, &self.resource.uri(), &grant).await;
        let mut command = command(&self.home, &[&["proxy", &self.resource.uri()], arguments].concat());
        command.env("BROWSER", self.folder.path().join("browser"));
        let mut proxy = ProxyClient::of(command);
        let mut initialize = initialize();
        initialize["params"]["capabilities"] = capabilities;
        assert_eq!(proxy.ask(initialize).await["result"]["protocolVersion"], "2025-11-25");
        proxy.send(INITIALIZED).await;
        self.log_out().await;
        proxy
    }

    async fn log_out(&self) {
        let mut command = command(&self.home, &["logout", &self.resource.uri()]);
        assert!(command.output().await.unwrap().status.success());
        // A proxy learns of it within a second. Until then it may have the token, which must not be good any more.
        self.server.hostile().kill_access_tokens();
    }
}

fn shows_pages() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} } })
}

/// The elicitation of an answer.
fn elicitation(answer: &Value) -> &Value {
    let (error, data) = (&answer["error"], &answer["error"]["data"]);
    assert_eq!((&error["code"], &data["reason"]), (&json!(-32042), &json!("logged_out")), "{answer}");
    assert_eq!(data["elicitations"].as_array().unwrap().len(), 1);
    let elicitation = &data["elicitations"][0];
    assert_eq!(elicitation["mode"], "url");
    assert!(elicitation["message"].as_str().unwrap().starts_with("Sign in to "), "{elicitation}");
    elicitation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_shows_pages_gets_the_page_and_learns_of_the_login() {
    let scene = Scene::new().await;
    let mut proxy = scene.logged_out(shows_pages(), &["--login"]).await;
    // Requests that need the same login get the same page.
    proxy.send(call(1, "echo", json!({ "text": "a" })).to_string()).await;
    proxy.send(call(2, "echo", json!({ "text": "a" })).to_string()).await;
    let (one, two) = (proxy.message().await, proxy.message().await);
    assert_eq!(elicitation(&one), elicitation(&two));
    let page = elicitation(&one);
    within("the page", Browser::complete(page["url"].as_str().unwrap())).await.unwrap();
    assert_eq!(
        proxy.message().await,
        json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete",
                "params": { "elicitationId": page["elicitationId"] } })
    );
    assert_eq!(proxy.ask(call(3, "echo", json!({ "text": "a" }))).await["result"]["isError"], false);
    let counts = scene.server.counts();
    assert_eq!((counts.logins, counts.of(Endpoint::Authorization), counts.code_replays), (1, 1, 0));
    assert_eq!(scene.resource.counts().executed("echo"), 1);

    // A later login is another elicitation.
    scene.log_out().await;
    let again = proxy.ask(call(4, "echo", json!({ "text": "a" }))).await;
    assert_ne!(elicitation(&again)["elicitationId"], page["elicitationId"]);
    let (rest, code, notes) = proxy.end().await;
    assert_eq!((rest.len(), code), (0, 0), "{notes}");
    assert!(!scene.opened_browser().exists(), "the client opens the page");
}

/// A client without `elicitation.url`, or a proxy without `--login`, has the answer that names the command.
#[tokio::test(flavor = "multi_thread")]
async fn other_clients_get_the_command() {
    for (capabilities, arguments) in [(json!({ "elicitation": {} }), &["--login"][..]), (shows_pages(), &[])] {
        let scene = Scene::new().await;
        let mut proxy = scene.logged_out(capabilities, arguments).await;
        let answer = proxy.ask(call(1, "echo", json!({ "text": "a" }))).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["data"]["reason"]),
            (&json!(-32050), &json!("logged_out"))
        );
        assert!(answer["error"]["data"].get("elicitations").is_none());
        assert_eq!(proxy.end().await.1, 0);
    }
}

/// The person is asked once. The process that does not ask has no page, and uses the login as soon as it is made.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_proxy_that_asks_has_a_page() {
    let scene = Scene::new().await;
    let mut first = scene.logged_out(shows_pages(), &["--login"]).await;
    let mut second = scene.logged_out(shows_pages(), &["--login"]).await;
    let answer = first.ask(call(1, "echo", json!({ "text": "a" }))).await;
    let page = elicitation(&answer);
    second.send(call(1, "echo", json!({ "text": "b" })).to_string()).await;
    within("the page", Browser::complete(page["url"].as_str().unwrap())).await.unwrap();
    assert_eq!(first.message().await["method"], "notifications/elicitation/complete");
    assert_eq!(second.message().await["result"]["isError"], false);
    assert_eq!((scene.server.counts().logins, scene.server.counts().of(Endpoint::Authorization)), (1, 1));
    for proxy in [first, second] {
        let (rest, code, notes) = proxy.end().await;
        assert_eq!((rest.len(), code), (0, 0), "{notes}");
    }
}

/// A login that cannot be made is an error at once, and the next request tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_page_is_answered_at_once() {
    let scene = Scene::new().await;
    let mut proxy = scene.logged_out(shows_pages(), &["--login"]).await;
    scene.server.list_issuers(["http://127.0.0.1:9"]);
    for id in 1..3 {
        let answer = proxy.ask(call(id, "echo", json!({ "text": "a" }))).await;
        assert_eq!(answer["error"]["code"], -32050, "{answer}");
    }
    assert_eq!(proxy.end().await.1, 0);
}
