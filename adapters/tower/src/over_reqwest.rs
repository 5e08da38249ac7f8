//! Sending one request with reqwest's client, without a service.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use tokenkeeper::{AuthSession, CallError};

use crate::future::Sending;
use crate::verdicts::by_method_and_path;
use crate::{Resend, SendError};

/// Sends `request` with `client`, with a token of `session`, by the rules of this [crate](crate).
///
/// It is for hosts with a few requests. It checks the URL each time (about 1 µs), and names the operation by method and path.
/// A [`SessionLayer`](crate::SessionLayer) over the client remembers the check and takes settings.
///
/// The client must not follow redirects by itself. Build it with [`tokenkeeper::http::redirects`].
///
/// ```no_run
/// use tokenkeeper::http::redirects;
/// use tokenkeeper::{AuthSession, ResourceUri};
/// use tokenkeeper_tower::{SendError, execute};
///
/// # async fn example(session: AuthSession) -> Result<(), Box<dyn std::error::Error>> {
/// let resource = ResourceUri::parse("https://mcp.example.com/mcp")?;
/// let client = reqwest::Client::builder().redirect(redirects(&resource)).build()?;
///
/// let request = client.post(resource.as_str()).body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).build()?;
/// match execute(&client, &session, request).await {
///     Ok(answer) => println!("{}", answer.status()),
///     Err(error) if error.is_login_required() => println!("log in first: {error}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`SendError::Call`] if the session has no token that the server accepts, or the URL is not the session's server.
/// [`SendError::Inner`] if the client failed.
///
/// # Cancellation
///
/// Dropping the future drops the attempt that is under way. A refresh that has begun goes on.
pub async fn execute(
    client: &reqwest::Client,
    session: &AuthSession,
    request: reqwest::Request,
) -> Result<reqwest::Response, SendError<reqwest::Error>> {
    if request.headers().contains_key(AUTHORIZATION) {
        return client.execute(request).await.map_err(SendError::Inner);
    }
    let url = request.url().as_str();
    let to = session.destination(url).map_err(CallError::from)?;
    let call = session.call(by_method_and_path(request.method(), url));
    Sending::new(client.clone(), call, to, Arc::new(Resend::again)).attempts(request).await
}
