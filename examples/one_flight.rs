//! Thirty-two tasks find the access token expired. One token request serves them all.

use std::error::Error;
use std::time::Duration;

use tokenkeeper::{AuthRuntime, Login, SessionSpec, stores};
use tokenkeeper_testkit::hostile::HostileAs;

#[tokio::main]
#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program to read, which is its own host")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A strict authorization server on loopback, and the refresh token of a sign-in there.
    let server = HostileAs::start().await?;
    let grant = server.grant();

    let auth = AuthRuntime::builder(stores::memory::open()?).spawn().await?;
    let session = auth.session(SessionSpec::mcp(&server.resource())?.account("work")?);
    // The login has no access token, so the first caller finds none that is valid.
    session.install(Login::at(grant.binding).refresh_token(grant.refresh_token.expose())).await?;

    let callers: Vec<_> = (0..32)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.token().await })
        })
        .collect();
    let mut served = 0;
    for caller in callers {
        caller.await??;
        served += 1;
    }
    let requests = server.counts().token_requests;
    println!("{served} callers served by {requests} token request");
    assert_eq!((served, requests), (32, 1));
    assert!(auth.shutdown(Duration::from_secs(5)).await.is_clean(), "everything is saved");
    Ok(())
}
