//! Reads refusals from rmcp's errors.

use std::error::Error;

use http::StatusCode;
use rmcp::transport::streamable_http_client::StreamableHttpError;

/// The error of an inner client, which may know the status that a server answered with.
///
/// rmcp's clients return most refusals as errors of rmcp. Refusals of a DELETE, and of a GET without a challenge, are returned
/// as the client's own error. A host with another inner client implements this trait for its error, and returns `None` if there
/// was no answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which status the server answered with",
    note = "implement `tokenkeeper_rmcp::RefusalOf` for the error of your client",
    note = "for reqwest's error turn on the feature `reqwest` of `tokenkeeper-rmcp`, for rmcp's Unix sockets `unix-socket`"
)]
pub trait RefusalOf: Error {
    /// The status of the server's answer. `None` if the error is not about an answer.
    fn status(&self) -> Option<StatusCode>;
}

#[cfg(feature = "reqwest")]
impl RefusalOf for reqwest::Error {
    fn status(&self) -> Option<StatusCode> {
        self.status()
    }
}

/// This client returns all answers as errors of rmcp, so its own error never has a status.
#[cfg(all(unix, feature = "unix-socket"))]
impl RefusalOf for rmcp::transport::common::unix_socket::UnixSocketError {
    fn status(&self) -> Option<StatusCode> {
        None
    }
}

impl RefusalOf for std::io::Error {
    fn status(&self) -> Option<StatusCode> {
        None
    }
}

impl RefusalOf for std::convert::Infallible {
    fn status(&self) -> Option<StatusCode> {
        None
    }
}

/// An answer on which a call decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal<'e> {
    pub(crate) status: StatusCode,
    /// The first `WWW-Authenticate` value. rmcp keeps no others.
    pub(crate) challenge: Option<&'e str>,
}

/// The beginnings of rmcp's texts for answers without an error type. The status follows.
const BEFORE_THE_STATUS: [&str; 3] = ["HTTP ", "get_stream returned ", "delete_session returned "];

/// rmcp's text for a 401 or 403 whose challenge is not ASCII. It drops the status.
const UNREADABLE_CHALLENGE: &str = "invalid www-authenticate header value";

impl<'e> Refusal<'e> {
    /// Reads an error of an inner client. `None` if it is no 401 or 403.
    pub(crate) fn of<E>(error: &'e StreamableHttpError<E>) -> Option<Self>
    where
        E: RefusalOf + Send + Sync + 'static,
    {
        let (status, challenge) = match error {
            StreamableHttpError::AuthRequired(error) => {
                (StatusCode::UNAUTHORIZED, Some(error.www_authenticate_header.as_str()))
            }
            StreamableHttpError::InsufficientScope(error) => {
                (StatusCode::FORBIDDEN, Some(error.www_authenticate_header.as_str()))
            }
            // The status may have been 403. In that case one useless refresh is made, and no more (law 11).
            StreamableHttpError::UnexpectedServerResponse(text) if text == UNREADABLE_CHALLENGE => {
                (StatusCode::UNAUTHORIZED, None)
            }
            StreamableHttpError::UnexpectedServerResponse(text) => (status_in(text)?, None),
            StreamableHttpError::HttpStatus(error) => (StatusCode::from_u16(error.status).ok()?, None),
            StreamableHttpError::Client(error) => (error.status()?, None),
            _ => return None,
        };
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN).then_some(Self { status, challenge })
    }
}

fn status_in(text: &str) -> Option<StatusCode> {
    let rest = BEFORE_THE_STATUS.iter().find_map(|begin| text.strip_prefix(begin))?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    StatusCode::from_bytes(digits.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use rmcp::transport::streamable_http_client::{AuthRequiredError, HttpStatusError, InsufficientScopeError};

    use super::*;

    #[derive(Debug)]
    struct Answered(Option<u16>);

    impl std::fmt::Display for Answered {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an answer")
        }
    }

    impl Error for Answered {}

    impl RefusalOf for Answered {
        fn status(&self) -> Option<StatusCode> {
            self.0.and_then(|status| StatusCode::from_u16(status).ok())
        }
    }

    fn read(error: StreamableHttpError<Answered>) -> Option<(u16, Option<String>)> {
        Refusal::of(&error).map(|refusal| (refusal.status.as_u16(), refusal.challenge.map(str::to_owned)))
    }

    #[test]
    fn every_error_that_may_be_a_refusal_is_read_as_one() {
        let text = |text: &'static str| StreamableHttpError::UnexpectedServerResponse(text.into());
        let challenge = || "Bearer".to_owned();
        let rows = [
            (StreamableHttpError::AuthRequired(AuthRequiredError::new(challenge())), Some((401, Some(challenge())))),
            (
                StreamableHttpError::InsufficientScope(InsufficientScopeError::new(challenge(), None)),
                Some((403, Some(challenge()))),
            ),
            (text("HTTP 401 Unauthorized: no"), Some((401, None))),
            (text("HTTP 403 Forbidden: no"), Some((403, None))),
            (text("get_stream returned 401 Unauthorized"), Some((401, None))),
            (text("delete_session returned 401 Unauthorized"), Some((401, None))),
            (text("invalid www-authenticate header value"), Some((401, None))),
            (text("HTTP 4010"), None),
            (text("HTTP 400 Bad Request: HTTP 401"), None),
            (text("could not parse JSON response: HTTP 401"), None),
            (text(""), None),
            (StreamableHttpError::HttpStatus(HttpStatusError::new(401, None)), Some((401, None))),
            (StreamableHttpError::HttpStatus(HttpStatusError::new(503, None)), None),
            (StreamableHttpError::Client(Answered(Some(401))), Some((401, None))),
            (StreamableHttpError::Client(Answered(Some(500))), None),
            (StreamableHttpError::Client(Answered(None)), None),
            (StreamableHttpError::SessionExpired, None),
        ];
        for (error, expected) in rows {
            let shown = format!("{error:?}");
            assert_eq!(read(error), expected, "{shown}");
        }
    }
}
