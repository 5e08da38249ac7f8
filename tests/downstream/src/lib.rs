//! A piece of a host, as somebody else would write it: tool calls with a session's token, and what a user reads where there
//! is none.
//!
//! It is here to be read, and to notice what a change asks of those who build on tokenkeeper: it names nothing but what
//! the front door publishes, and its tests nothing but that and the testkit's scripted sessions.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokenkeeper::{AccessToken, AuthSession, ChallengeKey, OperationKey, TokenError};

/// A connection to an MCP server.
pub trait Server {
    /// Calls `tool` with `token` in the `Authorization` header.
    fn call(&self, tool: &str, token: &AccessToken) -> impl Future<Output = Answer> + Send;
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the tool said.
    Said(String),
    /// 401: the server does not take the token.
    Unauthorized,
}

/// What the user reads where a tool said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Beside a button to sign in with.
    SignIn(String),
    /// It passes by itself, after this time if that is known.
    Wait(String, Option<Duration>),
    /// Somebody has to look into it.
    Trouble(String),
}

/// Calls `tool` with the session's token, and once more with another one where the server refuses that.
///
/// # Errors
///
/// What the user is to read.
///
/// # Cancellation
///
/// Safe to drop at any await, as far as the server's call is: a refresh that has begun goes on, and is stored.
pub async fn call(session: &AuthSession, server: &impl Server, tool: &str) -> Result<String, Notice> {
    let mut lease = session.token().await?;
    if let Answer::Said(text) = server.call(tool, lease.token()).await {
        return Ok(text);
    }
    session.invalidate(&lease, operation(tool), ChallengeKey::default()).await?;
    lease = session.token().await?;
    if let Answer::Said(text) = server.call(tool, lease.token()).await {
        return Ok(text);
    }
    // The session is told that refreshing did not help, and says so; unless others have a newer token by now.
    session.invalidate(&lease, operation(tool), ChallengeKey::default()).await?;
    Err(Notice::Trouble(format!("the server does not let you use {tool}")))
}

impl From<TokenError> for Notice {
    fn from(error: TokenError) -> Self {
        let text = error.reason().advice().to_owned();
        if error.is_login_required() {
            Self::SignIn(text)
        } else if error.is_transient() {
            Self::Wait(text, error.retry_after())
        } else {
            Self::Trouble(text)
        }
    }
}

/// A tool is an operation of its own: what one is refused does not say that another will be.
fn operation(tool: &str) -> OperationKey {
    let mut hasher = DefaultHasher::new();
    tool.hash(&mut hasher);
    OperationKey(hasher.finish())
}
