//! A part of a host by an independent author. It makes tool calls with a session's token, and explains to the user why
//! there is none.
//!
//! It is an example to read, and it shows what a change requires from dependents of tokenkeeper. It names only items
//! that the front door publishes, and its tests name only those and the testkit's scripted sessions.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokenkeeper::{AccessToken, AuthSession, ChallengeKey, OperationKey, TokenError};

/// A connection to an MCP server.
pub trait Server {
    /// Calls `tool` with `token` in the `Authorization` header.
    fn call(&self, tool: &str, token: &AccessToken) -> impl Future<Output = Answer> + Send;
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The tool's answer.
    Said(String),
    /// The server does not accept the token (401).
    Unauthorized,
}

/// The text for the user if the tool gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A text beside a button to sign in.
    SignIn(String),
    /// A trouble that passes by itself, after this time if that is known.
    Wait(String, Option<Duration>),
    /// A trouble that a person has to investigate.
    Trouble(String),
}

/// Calls `tool` with the session's token, and once more with another token if the server refuses the first.
///
/// # Errors
///
/// Returns the notice for the user.
///
/// # Cancellation
///
/// Safe to drop at any await, as far as the server's call is. A refresh that has begun goes on, and its result is
/// stored.
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
    // Reports that refreshing did not help. The session returns an error, unless other callers have a newer token by
    // now.
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

/// Each tool is an operation of its own. A refusal of one tool does not mean that another tool is refused.
fn operation(tool: &str) -> OperationKey {
    let mut hasher = DefaultHasher::new();
    tool.hash(&mut hasher);
    OperationKey(hasher.finish())
}
