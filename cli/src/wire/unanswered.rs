//! The answers to requests that the server has not answered.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokenkeeper::{CallError, Reason};

use super::elicitation::{self, LoginPage};
use super::envelope;
use super::http::{BodyFailure, NotAnswered};
use crate::remedy::Remedy;

/// The code of these errors. It is in the range that JSON-RPC leaves to implementations, and no revision of MCP uses it.
const CODE: i64 = -32050;

/// The reason of a request that the server may have executed. It is no reason of the sessions. Theirs are about the refresh token.
pub(crate) const MAYBE_EXECUTED: &str = "maybe_executed";

/// The code of JSON-RPC for bytes that are no message.
const PARSE_ERROR: i64 = -32700;

/// The code of JSON-RPC for parameters that are not acceptable.
const INVALID_PARAMS: i64 = -32602;

/// The reason why a request has no answer of the server.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// There is no authorization for the request. It was not executed.
    Call(Box<CallError>),
    /// No connection could be established. The request was not executed.
    NotSent { is_secure: bool },
    /// The connection broke. The request may have been executed.
    Broken,
    /// The answer, or an event of it, is too large.
    TooLarge,
    /// The server answered with a status, and without a JSON-RPC message.
    Status { status: u16, retry_after: Option<Duration> },
    /// The server accepted the request, but its answer contains no message for it.
    NoAnswer,
    /// The MCP session was lost, and could not be reopened for this reason. The request was not executed.
    NotReopened(Box<Unanswered>),
    /// A login is required for this reason, and the client shows its page.
    LoginPage(Box<LoginPage>, Box<Unanswered>),
    /// The client sent more requests than can wait.
    TooMany,
    /// The person excludes this tool.
    Excluded,
    /// The command is ending.
    Ending,
}

impl Unanswered {
    /// The answer to the request with this identifier, which is JSON. `remedy` has the command that helps.
    pub(crate) fn answer(&self, id: &str, remedy: &Remedy) -> Vec<u8> {
        let mut data = Map::from_iter([("reason".to_owned(), self.reason().into())]);
        let mut message = self.message();
        if let Some(command) = self.command(remedy) {
            message.push_str(&format!(": run {command}"));
            data.insert("command".to_owned(), command.into());
        }
        if let Some(span) = self.retry_after() {
            data.insert("retry_after".to_owned(), span.as_secs_f64().ceil().into());
        }
        if let Self::Status { status, .. } = self {
            data.insert("status".to_owned(), json!(status));
        }
        if let Self::LoginPage(page, _) = self {
            data.insert("elicitations".to_owned(), json!([page.hand_out()]));
        }
        let code = match self {
            Self::Excluded => INVALID_PARAMS,
            Self::LoginPage(..) => elicitation::CODE,
            _ => CODE,
        };
        envelope::error(id, code, &message, Some(&Value::Object(data)))
    }

    /// The word for programs. It is a reason of the sessions where one fits.
    pub(crate) fn reason(&self) -> &'static str {
        let reason = match self {
            Self::Call(error) => match &**error {
                CallError::Token { error, .. } => error.reason(),
                CallError::StepUp(_) => return "insufficient_scope",
                CallError::Misdirected(_) => return "misdirected",
                _ => return "bound_token",
            },
            Self::NotSent { .. } => Reason::Unreachable,
            Self::Broken => return MAYBE_EXECUTED,
            Self::TooLarge => return "too_large",
            Self::Status { status: 429, .. } => Reason::Throttled,
            Self::Status { status: 500.., .. } => Reason::ServerTrouble,
            Self::Status { .. } => Reason::RequestRefused,
            Self::NoAnswer => return "no_answer",
            Self::NotReopened(reason) if reason.loss().is_some() => return "session_lost",
            Self::NotReopened(reason) | Self::LoginPage(_, reason) => return reason.reason(),
            Self::TooMany => Reason::TooManyWaiters,
            Self::Excluded => return "excluded",
            Self::Ending => Reason::ShuttingDown,
        };
        reason.as_str()
    }

    /// The session's own error, if the request has no authorization.
    pub(crate) fn call_error(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            Self::NotReopened(reason) | Self::LoginPage(_, reason) => reason.call_error(),
            _ => None,
        }
    }

    /// Whether only a login helps.
    pub(crate) fn is_login_required(&self) -> bool {
        match self {
            Self::Call(error) => error.is_login_required(),
            Self::NotReopened(reason) | Self::LoginPage(_, reason) => reason.is_login_required(),
            _ => false,
        }
    }

    /// How the answer to a request was lost that the server may have executed.
    fn loss(&self) -> Option<&'static str> {
        match self {
            Self::Broken => Some("the connection broke before the answer"),
            Self::TooLarge => Some("the server's answer is larger than 32 MiB"),
            Self::NoAnswer => Some("the server took the request and sent no answer to it"),
            _ => None,
        }
    }

    /// The sentence for people. It contains no text of the server.
    pub(crate) fn message(&self) -> String {
        let text = match self {
            Self::Call(error) => return error.to_string(),
            Self::NotSent { is_secure: true } => {
                "the server cannot be reached, or its certificate is not trusted: nothing was sent"
            }
            Self::NotSent { is_secure: false } => "the server cannot be reached: nothing was sent",
            Self::Broken | Self::TooLarge | Self::NoAnswer => {
                return format!("{}: the server may have done what was asked", self.loss().unwrap_or_default());
            }
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
            Self::LoginPage(_, reason) => return reason.message(),
            Self::NotReopened(reason) => {
                let cause = reason.loss().map_or_else(|| reason.message(), str::to_owned);
                return format!(
                    "the server has lost the MCP session and has not executed the request, and a new session could not be \
                     opened: {cause}"
                );
            }
            Self::TooMany => "too many requests wait already: wait for some of their answers",
            Self::Excluded => "this tool is excluded by --tool-filter",
            Self::Ending => "the command is ending: the server may have done what was asked",
        };
        text.to_owned()
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            Self::Status { retry_after, .. } => *retry_after,
            Self::NotReopened(reason) | Self::LoginPage(_, reason) => reason.retry_after(),
            _ => None,
        }
    }

    /// The command that helps, if `remedy` has one.
    pub(crate) fn command(&self, remedy: &Remedy) -> Option<String> {
        match self {
            Self::Call(error) => remedy.command(error),
            Self::NotReopened(reason) | Self::LoginPage(_, reason) => reason.command(remedy),
            _ => None,
        }
    }
}

/// The answer to a line that is no message.
pub(crate) fn unreadable(message: &str) -> Vec<u8> {
    envelope::error("null", PARSE_ERROR, message, None)
}

impl From<NotAnswered> for Unanswered {
    fn from(error: NotAnswered) -> Self {
        match error {
            NotAnswered::Call(error) => Self::Call(error),
            NotAnswered::NotSent { is_secure } => Self::NotSent { is_secure },
            NotAnswered::MaybeSent => Self::Broken,
        }
    }
}

impl From<BodyFailure> for Unanswered {
    fn from(error: BodyFailure) -> Self {
        match error {
            BodyFailure::Broken => Self::Broken,
            BodyFailure::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(unanswered: &Unanswered) -> Value {
        serde_json::from_slice(&unanswered.answer("\"x\"", &Remedy::from("tokenkeeper login https://a.example/mcp")))
            .unwrap()
    }

    #[test]
    fn an_error_has_a_reason_and_the_identifier() {
        let throttled = answer(&Unanswered::Status { status: 429, retry_after: Some(Duration::from_millis(1500)) });
        assert_eq!(throttled["id"], "x");
        assert_eq!(throttled["error"]["data"], json!({ "reason": "throttled", "status": 429, "retry_after": 2.0 }));
        for (unanswered, reason, code) in [
            (Unanswered::Broken, "maybe_executed", CODE),
            (Unanswered::NotSent { is_secure: false }, "unreachable", CODE),
            (Unanswered::Status { status: 502, retry_after: None }, "server_trouble", CODE),
            (Unanswered::Status { status: 404, retry_after: None }, "request_refused", CODE),
            (Unanswered::NotReopened(Box::new(Unanswered::Broken)), "session_lost", CODE),
            (Unanswered::NotReopened(Box::new(Unanswered::NotSent { is_secure: false })), "unreachable", CODE),
            (Unanswered::Excluded, "excluded", INVALID_PARAMS),
            (Unanswered::Ending, "shutting_down", CODE),
        ] {
            let answer = answer(&unanswered);
            assert_eq!((&answer["error"]["data"]["reason"], &answer["error"]["code"]), (&json!(reason), &json!(code)));
        }
    }

    /// The reasons of sessions are about the refresh token. A client that reads `in_doubt` has sent nothing to its server.
    #[test]
    fn a_request_whose_answer_was_lost_has_no_reason_of_the_sessions() {
        for lost in [Unanswered::Broken, Unanswered::TooLarge, Unanswered::NoAnswer] {
            let reason = lost.reason();
            assert!(Reason::ALL.iter().all(|known| known.as_str() != reason), "{reason}");
            assert!(lost.message().ends_with(": the server may have done what was asked"), "{lost:?}");
            // The request that found the session lost was not executed.
            let message = Unanswered::NotReopened(Box::new(lost)).message();
            assert!(
                message.contains("has not executed the request") && !message.contains("may have done"),
                "{message}"
            );
        }
    }
}
