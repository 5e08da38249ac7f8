//! The answers to requests that the server has not answered.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokenkeeper::{CallError, Reason};

use crate::wire::envelope;
use crate::wire::http::{BodyError, SendError};

/// The code of these errors. It is one of those that JSON-RPC leaves to implementations, and no revision of MCP uses it.
const CODE: i64 = -32050;

/// The code of JSON-RPC for a message that is none.
const PARSE_ERROR: i64 = -32700;

/// The code of JSON-RPC for parameters that are not acceptable.
const INVALID_PARAMS: i64 = -32602;

/// Why a request has no answer of the server.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no authorization for it. It was not executed.
    Call(Box<CallError>),
    /// No connection could be established. It was not executed.
    NotSent { is_secure: bool },
    /// The connection broke. It may have been executed.
    Broken,
    /// The answer, or an event of it, is too large.
    TooLarge,
    /// The server answered with a status, and without a JSON-RPC message.
    Status { status: u16, retry_after: Option<Duration> },
    /// The server took the request, and its answer has no message for it.
    NoAnswer,
    /// The session was lost, and could not be renewed for this reason.
    NotRenewed(Box<Refusal>),
    /// The client sent more requests than can wait.
    TooMany,
    /// The person excludes this tool.
    Excluded,
    /// The command is ending.
    Ending,
}

/// The commands that the errors name.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    /// The command that signs in.
    pub(super) login: String,
}

impl Refusal {
    /// The answer to the request with this identifier, which is JSON.
    pub(super) fn answer(&self, id: &str, commands: &Commands) -> Vec<u8> {
        let mut data = Map::from_iter([("reason".to_owned(), self.reason().into())]);
        let mut message = self.message();
        if let Some(command) = self.command(commands) {
            message.push_str(&format!(": run {command}"));
            data.insert("command".to_owned(), command.into());
        }
        if let Some(span) = self.retry_after() {
            data.insert("retry_after".to_owned(), span.as_secs_f64().ceil().into());
        }
        if let Self::Status { status, .. } = self {
            data.insert("status".to_owned(), json!(status));
        }
        let code = if matches!(self, Self::Excluded) { INVALID_PARAMS } else { CODE };
        envelope::error(id, code, &message, Some(&Value::Object(data)))
    }

    /// The word for programs. It is a reason of the sessions where one fits.
    pub(super) fn reason(&self) -> &'static str {
        let reason = match self {
            Self::Call(error) => match &**error {
                CallError::Token { error, .. } => error.reason(),
                CallError::StepUp(_) => return "insufficient_scope",
                CallError::Misdirected(_) => return "misdirected",
                _ => return "bound_token",
            },
            Self::NotSent { .. } => Reason::Unreachable,
            Self::Broken => Reason::InDoubt,
            Self::TooLarge => return "too_large",
            Self::Status { status: 429, .. } => Reason::Throttled,
            Self::Status { status: 500.., .. } => Reason::ServerTrouble,
            Self::Status { .. } => Reason::RequestRefused,
            Self::NoAnswer => return "no_answer",
            Self::NotRenewed(refusal) => return refusal.reason(),
            Self::TooMany => Reason::TooManyWaiters,
            Self::Excluded => return "excluded",
            Self::Ending => Reason::ShuttingDown,
        };
        reason.as_str()
    }

    /// Whether only a login helps.
    pub(super) fn is_login_required(&self) -> bool {
        match self {
            Self::Call(error) => error.is_login_required(),
            Self::NotRenewed(refusal) => refusal.is_login_required(),
            _ => false,
        }
    }

    /// The sentence for people. Nothing of the server's text is in it.
    pub(super) fn message(&self) -> String {
        let text = match self {
            Self::Call(error) => return error.to_string(),
            Self::NotSent { is_secure: true } => {
                "the server cannot be reached, or its certificate is not trusted: nothing was sent"
            }
            Self::NotSent { is_secure: false } => "the server cannot be reached: nothing was sent",
            Self::Broken => "the connection broke before the answer: the server may have done what was asked",
            Self::TooLarge => "the server's answer is larger than 32 MiB: it may have done what was asked",
            Self::Status { status: status @ 300..400, .. } => {
                return format!(
                    "the server redirects to another place (status {status}), and its tokens are for this URL alone: use \
                     the URL that it redirects to"
                );
            }
            Self::Status { status: 429, .. } => "the server limits the rate of requests (status 429): try again later",
            Self::Status { status, .. } => {
                return format!("the server answered with status {status} and without a message of MCP");
            }
            Self::NoAnswer => "the server took the request and sent no answer to it: it may have done what was asked",
            Self::NotRenewed(refusal) => {
                return format!("the server has lost its session, and a new one failed: {}", refusal.message());
            }
            Self::TooMany => "too many requests wait already: wait for some of their answers",
            Self::Excluded => "this tool is excluded by --tool-filter",
            Self::Ending => "the proxy is ending: the server may have done what was asked",
        };
        text.to_owned()
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            Self::Status { retry_after, .. } => *retry_after,
            Self::NotRenewed(refusal) => refusal.retry_after(),
            _ => None,
        }
    }

    fn command(&self, commands: &Commands) -> Option<String> {
        match self {
            Self::Call(error) => match &**error {
                CallError::StepUp(step_up) => {
                    let scopes: Vec<_> = step_up.scopes().iter().map(str::to_owned).collect();
                    let scopes = shlex::try_quote(&scopes.join(" ")).ok()?.into_owned();
                    Some(format!("{} --again --scope {scopes}", commands.login))
                }
                error => error.is_login_required().then(|| commands.login.clone()),
            },
            Self::NotRenewed(refusal) => refusal.command(commands),
            _ => None,
        }
    }
}

/// The answer to a line that is no message.
pub(super) fn unreadable(message: &str) -> Vec<u8> {
    envelope::error("null", PARSE_ERROR, message, None)
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Call(error) => Self::Call(error),
            SendError::NotSent { is_secure } => Self::NotSent { is_secure },
            SendError::MaybeSent => Self::Broken,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Broken => Self::Broken,
            BodyError::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(refusal: &Refusal) -> Value {
        let commands = Commands { login: "tokenkeeper login https://a.example/mcp".to_owned() };
        serde_json::from_slice(&refusal.answer("\"x\"", &commands)).unwrap()
    }

    #[test]
    fn an_error_has_a_reason_and_the_identifier() {
        let throttled = answer(&Refusal::Status { status: 429, retry_after: Some(Duration::from_millis(1500)) });
        assert_eq!(throttled["id"], "x");
        assert_eq!(throttled["error"]["data"], json!({ "reason": "throttled", "status": 429, "retry_after": 2.0 }));
        for (refusal, reason, code) in [
            (Refusal::Broken, "in_doubt", CODE),
            (Refusal::NotSent { is_secure: false }, "unreachable", CODE),
            (Refusal::Status { status: 502, retry_after: None }, "server_trouble", CODE),
            (Refusal::Status { status: 404, retry_after: None }, "request_refused", CODE),
            (Refusal::NotRenewed(Box::new(Refusal::Broken)), "in_doubt", CODE),
            (Refusal::Excluded, "excluded", INVALID_PARAMS),
            (Refusal::Ending, "shutting_down", CODE),
        ] {
            let answer = answer(&refusal);
            assert_eq!((&answer["error"]["data"]["reason"], &answer["error"]["code"]), (&json!(reason), &json!(code)));
        }
    }
}
