use std::error::Error;
use std::time::Duration;

use tokenkeeper::{AuthRuntime, ChallengeKey, Login, OperationKey, SessionSpec, stores};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // An MCP server with its authorization server, and the tokens of a sign-in there.
    let server = HostileAs::start().await?;
    let grant = server.grant();

    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&server.resource())?.account("work")?);
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await?;

    let http = reqwest::Client::new();
    let lease = session.token().await?; // while it is fresh: no message, no lock, no allocation
    let mut answer = http.post(server.resource()).bearer_auth(lease.token().expose()).send().await?;
    if answer.status() == 401 {
        // One refresh, however many callers were refused.
        session.invalidate(&lease, OperationKey(1), ChallengeKey::default()).await?;
        let lease = session.token().await?;
        answer = http.post(server.resource()).bearer_auth(lease.token().expose()).send().await?;
    }
    println!("the MCP server answers {}", answer.status());

    let report = auth.shutdown(Duration::from_secs(10)).await;
    if report.is_clean() { Ok(()) } else { Err(format!("not everything is saved: {report:?}").into()) }
}
