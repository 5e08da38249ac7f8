use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::law::ledger::Login;
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::{DigestKey, record::RefreshCredential};
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::{Account, AuthRuntime, RefreshGrant, Scopes, ServerIdentity, Settings, Target};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // An MCP server with its authorization server, and the login of a user there.
    let server = HostileAs::start().await?;
    let grant = server.grant();

    let (clock, key) = (SystemClock::new()?, DigestKey::new([7; 32]));
    let source = RefreshGrant::new(Arc::new(ReqwestClient::new()?), Arc::new(clock.clone()));
    let store = Arc::new(MemoryStore::new(key.clone()));
    let auth = AuthRuntime::builder(store, Settings::new(Arc::new(source))).spawn().await?;

    let session = auth.session(ServerIdentity::new(Account::new("work")?, Target::mcp(&server.resource())?));
    let login = Login {
        binding: grant.binding,
        requested: Scopes::default(),
        granted: Scopes::new(grant.scope.split(' ')),
        subject: None,
        dpop_key: None,
        refresh: Some(RefreshCredential::new(grant.refresh_token, &key)),
        access: None,
        at: clock.now(),
    };
    session.install(login).await?;

    let lease = session.token().await?; // while it is fresh: no message, no lock, no allocation
    let call = reqwest::Client::new().post(server.resource()).bearer_auth(lease.token().expose());
    println!("the MCP server answers {}", call.send().await?.status());

    let report = auth.shutdown(Duration::from_secs(10)).await;
    if report.is_clean() { Ok(()) } else { Err(format!("not everything is saved: {report:?}").into()) }
}
