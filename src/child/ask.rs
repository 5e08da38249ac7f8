//! The messages on the socket of a child process. A request is one line of JSON, and so is its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use tokenkeeper_actors::values::Moment;

use crate::{ClientSecret, Lease, ProofError, TokenError, TokenKind};

/// A request of a child. Unknown members are ignored, so that later clients work with this host.
pub(super) struct Ask {
    /// The capability, as the child sent it.
    pub(super) capability: ClientSecret,
    /// The lifetime that the token must have.
    pub(super) min_ttl: Duration,
    /// The token that the child's server refused, if it refused one.
    pub(super) refused: Option<Refused>,
}

/// The token that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token that the child got last.
    Last,
    /// The token of this generation.
    Generation(String),
}

impl Ask {
    /// Reads a line. Returns `None` if it is no request.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let Line { child, min_ttl, refused } = serde_json::from_slice(line).ok()?;
        let refused = match refused {
            Flag::Absent(()) | Flag::Bare(false) => None,
            Flag::Bare(true) => Some(Refused::Last),
            Flag::Generation(generation) => Some(Refused::Generation(generation)),
        };
        let min_ttl = Duration::try_from_secs_f64(min_ttl.unwrap_or(0.0)).ok()?;
        Some(Self { capability: ClientSecret::new(child), min_ttl, refused })
    }
}

/// A request as it is written.
#[derive(Deserialize)]
struct Line {
    /// The capability.
    child: String,
    #[serde(default)]
    min_ttl: Option<f64>,
    #[serde(default)]
    refused: Flag,
}

/// The member `refused`, which is absent, a boolean, or the generation of the refused token.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Absent(()),
    Bare(bool),
    Generation(String),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Absent(())
    }
}

/// The answer to a child.
#[derive(Debug)]
pub(super) enum Answer {
    Token(Lease),
    Error(TokenError),
    /// The token needs a proof of possession, for which the child has no key.
    BoundToken,
    /// The line is no request.
    BadRequest,
    /// The capability is not the one of this socket's child.
    UnknownChild,
    /// The process that has connected belongs to another user.
    OtherUser,
}

impl From<Result<Lease, TokenError>> for Answer {
    fn from(result: Result<Lease, TokenError>) -> Self {
        match result {
            // The child would present it as a bearer token, which gives up the protection of the binding.
            Ok(lease) if lease.kind() != TokenKind::Bearer => Self::BoundToken,
            Ok(lease) => Self::Token(lease),
            Err(error) => Self::Error(error),
        }
    }
}

impl Answer {
    /// The line to send, with times relative to `now`.
    pub(super) fn line(&self, now: &Moment) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Token(lease) => {
                let token = lease.token().expose();
                line(
                    token.len(),
                    &Granted {
                        access_token: token,
                        token_type: "Bearer",
                        // The time is rounded down, so that the child never uses an expired token.
                        expires_in: lease.validity().remaining(now).map(|span| span.as_secs()),
                        generation: lease.generation().to_string(),
                    },
                )
            }
            Self::Error(error) => {
                // The time is rounded up, so that the child does not ask too early.
                let retry_after = error.retry_after().map(|span| span.as_millis().div_ceil(1000));
                denied(error.reason().as_str(), error.reason().advice(), retry_after)
            }
            Self::BoundToken => denied("bound_token", &ProofError::KeyKept.to_string(), None),
            Self::BadRequest => {
                denied("bad_request", "the line is no request: update the client in this program", None)
            }
            Self::UnknownChild => denied(
                "unknown_child",
                "this program is not the one that the socket is for: let its host start it",
                None,
            ),
            Self::OtherUser => denied(
                "other_user",
                "the socket answers only the user of its host: run this program as that user",
                None,
            ),
        }
    }
}

/// The answer with a token, as it is written.
#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    generation: String,
}

/// The answer with an error, as it is written.
#[derive(Serialize)]
struct Denied<'a> {
    error: &'a str,
    advice: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u128>,
}

fn denied(error: &str, advice: &str, retry_after: Option<u128>) -> Zeroizing<Vec<u8>> {
    line(0, &Denied { error, advice, retry_after })
}

/// The line of `value`, in a buffer that does not grow, because growing would leave copies of a token behind. `secret` is the
/// length of the token in it, in bytes.
fn line(secret: usize, value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // JSON's longest escape of one byte has six characters.
    let mut line = Zeroizing::new(Vec::with_capacity(6 * secret + 1024));
    // Serializing strings and numbers into a vector cannot fail.
    let _ = serde_json::to_writer(&mut *line, value);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Reason;
    use tokenkeeper_actors::values;

    fn read(line: &str) -> Option<(String, Duration, Option<Refused>)> {
        Ask::read(line.as_bytes()).map(|ask| (ask.capability.expose().to_owned(), ask.min_ttl, ask.refused))
    }

    fn shown(answer: &Answer) -> Value {
        let line = answer.line(&Moment::default());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_line_is_read_with_and_without_its_members() {
        let child = || "c".to_owned();
        assert_eq!(read(r#"{"child":"c"}"#), Some((child(), Duration::ZERO, None)));
        assert_eq!(
            read(r#"{"child":"c","min_ttl":1.5,"refused":true,"later":[]}"#),
            Some((child(), Duration::from_millis(1500), Some(Refused::Last)))
        );
        let generation = Some(Refused::Generation("1.7".to_owned()));
        assert_eq!(read(r#"{"child":"c","refused":"1.7"}"#), Some((child(), Duration::ZERO, generation)));
        assert_eq!(read(r#"{"child":"c","min_ttl":null,"refused":null}"#), Some((child(), Duration::ZERO, None)));
        assert_eq!(read(r#"{"child":"c","refused":false}"#), Some((child(), Duration::ZERO, None)));
    }

    #[test]
    fn no_other_line_is_a_request() {
        let lines = [
            "",
            "{}",
            "[]",
            "GET / HTTP/1.1",
            r#"{"child":1}"#,
            r#"{"child":"c","min_ttl":-1}"#,
            r#"{"child":"c","min_ttl":1e300}"#,
            r#"{"child":"c","min_ttl":"1"}"#,
            r#"{"child":"c","refused":{}}"#,
            r#"{"child":"c"} {"child":"c"}"#,
        ];
        assert!(lines.iter().all(|line| read(line).is_none()));
        assert!(Ask::read(b"{\"child\":\"\xff\"}").is_none());
    }

    #[test]
    fn each_refusal_has_a_word_and_advice() {
        let throttled = values::TokenError::new(Reason::Throttled).with_retry_after(Duration::from_millis(1001));
        assert_eq!(
            shown(&Answer::Error(throttled.into())),
            json!({ "error": "throttled", "advice": Reason::Throttled.advice(), "retry_after": 2 })
        );
        let others = [Answer::BoundToken, Answer::BadRequest, Answer::UnknownChild, Answer::OtherUser];
        let words = ["bound_token", "bad_request", "unknown_child", "other_user"];
        for (answer, word) in others.iter().zip(words) {
            let answer = shown(answer);
            assert_eq!(answer["error"], word);
            assert!(answer["advice"].as_str().unwrap().len() > 20 && answer.get("retry_after").is_none());
            assert!(Reason::ALL.iter().all(|reason| reason.as_str() != word), "{word} is also the word of a reason");
        }
    }
}
