//! Imports a login and calls a tool. A 401 costs one refresh and one more attempt.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokenkeeper::{AuthRuntime, ChallengeKey, Login, OperationKey, SessionSpec, stores};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = HostileAs::start().await?; // a strict authorization server with an MCP server behind it
    let grant = server.grant(); // the tokens of a person's sign-in

    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&server.resource())?.account("work")?);
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await?;

    let call = |token: String| Client::new().post(server.resource()).bearer_auth(token).send();
    let lease = session.token().await?;
    server.kill_access_tokens(); // the token ends before its time, and only the MCP server knows
    let mut answer = call(lease.token().expose().to_owned()).await?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        session.invalidate(&lease, OperationKey(1), ChallengeKey::default()).await?;
        answer = call(session.token().await?.token().expose().to_owned()).await?;
    }
    assert_eq!((answer.status(), server.counts().token_requests), (StatusCode::OK, 2));
    assert!(auth.shutdown(Duration::from_secs(10)).await.is_clean());
    Ok(())
}
