//! The reasons why a request has no result.

use std::io;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{CallError, Reason};

use crate::failure::Failure;
use crate::paint::harmless;
use crate::remedy::Remedy;
use crate::wire::unanswered::{MAYBE_EXECUTED, Unanswered};

/// The reason why a request has no result.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    /// The server has not answered the request.
    Unanswered(Unanswered),
    /// The server answered with an error of JSON-RPC.
    Rpc { status: u16, code: i64, text: String, retry_after: Option<Duration> },
    /// The request has timed out. `has_left` states whether the server may have it.
    TimedOut { has_left: bool },
    /// A request without an effect has timed out.
    Silent,
    /// The server supports no revision of MCP that this command supports.
    UnknownRevision,
    /// The server asks for a person's input, which this command does not offer.
    InputRequired,
    /// The tool reported an error. Its content has the details.
    Tool,
}

/// Whether the program that runs the command may make the request again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// Another request meets the same failure.
    Failed,
    /// Another request meets the same refusal.
    Refused,
    /// Another request may succeed, and nothing was executed.
    Unavailable,
    /// Another request may succeed, but the server may have executed this one.
    MaybeExecuted,
}

impl RequestFailure {
    /// The word for programs. It is a reason of the sessions where one fits.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unanswered(reason) => reason.reason(),
            Self::Rpc { .. } => "rpc_error",
            Self::TimedOut { has_left: true } => MAYBE_EXECUTED,
            Self::TimedOut { has_left: false } | Self::Silent => Reason::DeadlinePassed.as_str(),
            Self::UnknownRevision => "unknown_revision",
            Self::InputRequired => "input_required",
            Self::Tool => "tool_error",
        }
    }

    /// Whether only a login helps.
    pub(crate) fn is_login_required(&self) -> bool {
        matches!(self, Self::Unanswered(reason) if reason.is_login_required())
    }

    /// The sentence for people.
    pub(crate) fn message(&self) -> String {
        let text = match self {
            Self::Unanswered(reason) => return reason.message(),
            Self::Rpc { code, text, .. } => {
                return format!("the server answered with the error {code}: {}", harmless(text));
            }
            Self::TimedOut { has_left: true } => {
                "the server did not answer in time: it may have done what was asked; --timeout waits longer"
            }
            Self::TimedOut { has_left: false } => "no token was ready in time, and nothing was sent: try again",
            Self::Silent => "the server did not answer in time: --timeout waits longer",
            Self::UnknownRevision => "the server speaks no revision of MCP that this command speaks",
            Self::InputRequired => "the server asks a person for more, which this command cannot do",
            Self::Tool => "the tool reported an error",
        };
        text.to_owned()
    }

    /// The members for programs.
    pub(crate) fn object(&self) -> Value {
        let mut object = Map::from_iter([
            ("reason".to_owned(), self.reason().into()),
            ("message".to_owned(), self.message().into()),
        ]);
        match self {
            Self::Rpc { code, .. } => drop(object.insert("code".to_owned(), json!(code))),
            Self::Unanswered(Unanswered::Status { status, .. }) => {
                object.insert("status".to_owned(), json!(status));
            }
            _ => {}
        }
        if let Some(span) = self.retry_after() {
            object.insert("retry_after".to_owned(), span.as_secs_f64().ceil().into());
        }
        Value::Object(object)
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unanswered(reason) => reason.retry_after(),
            Self::Rpc { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The failure of the command. `remedy` has the command that helps. `has_effect` states whether repeating the request may
    /// do harm.
    pub(crate) fn into_failure(self, store: &FileStore, remedy: &Remedy, has_effect: bool) -> Failure {
        if let Self::Unanswered(reason) = &self
            && let Some(CallError::Token { error, .. }) = reason.call_error()
        {
            return Failure::no_token(error.clone(), store);
        }
        let command = match &self {
            Self::Unanswered(reason) => reason.command(remedy),
            _ => None,
        };
        let command = command.map(|command| format!("\n  run {command}")).unwrap_or_default();
        let told = format!("{}: {}{command}", self.reason(), self.message());
        // A bound token without its key has a separate reason.
        if self.is_login_required() {
            return Failure::LoginRequired(told);
        }
        match self.kind() {
            FailureKind::Refused => Failure::Refused(told),
            FailureKind::Unavailable => Failure::Unavailable(told),
            // A program that sees only the exit code repeats a request that is unavailable for now. It must not repeat one that
            // the server may have executed.
            FailureKind::MaybeExecuted if !has_effect => Failure::Unavailable(told),
            FailureKind::Failed | FailureKind::MaybeExecuted => Failure::Failed(io::Error::other(told)),
        }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Unanswered(reason) => kind_of(reason),
            Self::Rpc { status, .. } => by_status(*status),
            Self::TimedOut { has_left: false } | Self::Silent => FailureKind::Unavailable,
            Self::TimedOut { has_left: true } => FailureKind::MaybeExecuted,
            Self::UnknownRevision | Self::InputRequired | Self::Tool => FailureKind::Failed,
        }
    }
}

fn kind_of(reason: &Unanswered) -> FailureKind {
    match reason {
        Unanswered::Call(_) => FailureKind::Refused,
        Unanswered::NotSent { .. } => FailureKind::Unavailable,
        Unanswered::Status { status, .. } => by_status(*status),
        Unanswered::Broken | Unanswered::NoAnswer => FailureKind::MaybeExecuted,
        // The request itself was not executed.
        Unanswered::NotReopened(reason) => match kind_of(reason) {
            FailureKind::MaybeExecuted => FailureKind::Unavailable,
            kind => kind,
        },
        _ => FailureKind::Failed,
    }
}

fn by_status(status: u16) -> FailureKind {
    match status {
        403 => FailureKind::Refused,
        429 | 503 => FailureKind::Unavailable,
        // A gateway also answers so if the server behind it, which may have executed the request, does not answer in time.
        500.. => FailureKind::MaybeExecuted,
        _ => FailureKind::Failed,
    }
}

impl From<Unanswered> for RequestFailure {
    fn from(reason: Unanswered) -> Self {
        Self::Unanswered(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_may_have_been_executed_is_no_passing_trouble() {
        let status = |status| RequestFailure::from(Unanswered::Status { status, retry_after: None });
        let lost = |reason| RequestFailure::from(Unanswered::NotReopened(Box::new(reason)));
        for (failure, kind) in [
            (status(503), FailureKind::Unavailable),
            (status(504), FailureKind::MaybeExecuted),
            (status(404), FailureKind::Failed),
            (status(403), FailureKind::Refused),
            (Unanswered::Broken.into(), FailureKind::MaybeExecuted),
            (Unanswered::NotSent { is_secure: true }.into(), FailureKind::Unavailable),
            (lost(Unanswered::Broken), FailureKind::Unavailable),
            (lost(Unanswered::Status { status: 404, retry_after: None }), FailureKind::Failed),
            (RequestFailure::TimedOut { has_left: true }, FailureKind::MaybeExecuted),
            (RequestFailure::TimedOut { has_left: false }, FailureKind::Unavailable),
            (RequestFailure::Silent, FailureKind::Unavailable),
            (RequestFailure::Tool, FailureKind::Failed),
        ] {
            assert_eq!(failure.kind(), kind, "{failure:?}");
        }
    }
}
