//! Logins that the command begins by itself.

use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper_testkit::login_server::LoginServer;
use tokenkeeper_testkit::mcp::McpResource;

use crate::client::{command, home};
use crate::scene::{import, printed, spawn};

/// The command goes on after a login that another process makes, as after one in the browser.
#[tokio::test(flavor = "multi_thread")]
async fn with_login_the_call_waits_for_the_person() {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let home = home();
    let arguments = ["call", &resource.uri(), "echo", r#"{"text":"a"}"#, "--login"];
    let child = spawn(command(&home, &arguments));
    server.until(|counts| counts.registered == 1).await;
    let grant = server.hostile().grant_for(&server.hostile().register(ClientAuth::None), &resource.uri(), "tools:read");
    import(&home, &resource.uri(), &grant).await;
    let printed = printed(child).await;
    assert_eq!((&*printed.out, printed.code), ("a\n", 0), "{}", printed.notes);
    assert_eq!((resource.counts().executed("echo"), resource.counts().answered("server/discover", 200)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_login_no_person_is_asked() {
    let server = LoginServer::start().await.unwrap();
    let resource = McpResource::start(server.verifier()).await.unwrap();
    let home = home();
    let grant = server.hostile().grant_for(&server.hostile().register(ClientAuth::None), "https://a.example/mcp", "");
    import(&home, "https://a.example/mcp", &grant).await;
    let printed = printed(spawn(command(&home, &["call", &resource.uri(), "echo"]))).await;
    assert_eq!((&*printed.out, printed.code), ("", 3), "{}", printed.notes);
    assert_eq!(server.counts().registered, 0);
}
