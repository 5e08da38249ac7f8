//! Imports a login and calls a tool. A 401 costs one refresh and one more attempt.

use http::{HeaderMap, Method, StatusCode};
use tokenkeeper::{AuthRuntime, Login, Next, OperationKey, SessionSpec, stores};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = HostileAs::start().await?; // a strict authorization server with an MCP server behind it
    let grant = server.grant(); // the tokens of a person's sign-in
    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&server.resource())?.account("work")?);
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await?;
    session.token().await?;
    server.kill_access_tokens(); // the token ends before its time, and only the MCP server knows
    let to = session.destination(&server.resource())?; // checked once, and all that a call may go to
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let mut call = session.call(OperationKey::of("tools/call search"));
    let status = loop {
        let mut headers = HeaderMap::new();
        call.authorize(&to, &Method::POST).await?.inspect(|authorization| authorization.apply(&mut headers));
        let answer = http.post(to.url()).headers(headers).send().await?;
        let Next::Done = call.next(answer.status(), answer.headers()).await? else { continue };
        break answer.status();
    };
    assert_eq!((status, server.counts().token_requests), (StatusCode::OK, 2));
    assert!(auth.shutdown(std::time::Duration::from_secs(10)).await.is_clean());
    Ok(())
}
