use std::error::Error;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use tokenkeeper::{AuthRuntime, Login, Next, OperationKey, SessionSpec, stores};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // An MCP server with its authorization server, and the tokens of a sign-in there.
    let server = HostileAs::start().await?;
    let grant = server.grant();

    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&server.resource())?.account("work")?);
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await?;

    // Where the session's tokens may go. A redirect must not carry one elsewhere.
    let to = session.destination(&server.resource())?;
    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;

    let mut call = session.call(OperationKey::of("tools/call search"));
    let answer = loop {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = call.authorize(&to, &Method::POST).await? {
            authorization.apply(&mut headers);
        }
        let answer = http.post(to.url()).headers(headers).send().await?;
        match call.next(answer.status(), answer.headers()).await? {
            Next::Again => continue, // one refresh, however many callers were refused
            Next::Done => break answer,
        }
    };
    println!("the MCP server answers {}", answer.status());

    let report = auth.shutdown(Duration::from_secs(10)).await;
    if report.is_clean() { Ok(()) } else { Err(format!("not everything is saved: {report:?}").into()) }
}
