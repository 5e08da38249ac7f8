//! The client of the socket over which a host hands tokens to the programs that it starts.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokenkeeper::Reason;
use tokenkeeper::child::{CAPABILITY_VARIABLE, SOCKET_VARIABLE};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The longest answer that is read, in bytes. Tokens are much shorter.
const LONGEST: u64 = 1024 * 1024;

/// A token, as the host hands it out.
pub(crate) struct Answer {
    pub(crate) access_token: Zeroizing<String>,
    pub(crate) token_type: String,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) generation: String,
}

/// Asks for a token that lasts for `min_ttl` and is newer than that of the generation `refused`.
pub(crate) fn ask(min_ttl: Duration, refused: Option<&str>, timeout: Duration) -> Result<Answer, Failure> {
    let variable = |name| {
        std::env::var(name).map_err(|_| {
            Failure::Usage(format!(
                "{name} is not set: this works in programs that tokenkeeper run, or a host, has started"
            ))
        })
    };
    let (path, capability) = (variable(SOCKET_VARIABLE)?, Zeroizing::new(variable(CAPABILITY_VARIABLE)?));
    let line = json!({ "child": *capability, "min_ttl": min_ttl.as_secs_f64(), "refused": refused });
    let line = Zeroizing::new(format!("{line}\n"));
    // The standard library takes no time-out of zero.
    match exchange(&path, &line, timeout.max(Duration::from_millis(1))) {
        Ok(answer) if !answer.is_empty() => read(&answer),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(Failure::Unavailable(format!("deadline_passed: {}", Reason::DeadlinePassed.advice())))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::Refused(
            "other_user: the socket is for the user of its host: run this program as that user".to_owned(),
        )),
        Ok(_) | Err(_) => Err(Failure::Failed(io::Error::other(
            "host_gone: the program that hands out tokens has ended: start this one again from it",
        ))),
    }
}

fn exchange(path: &str, line: &str, timeout: Duration) -> io::Result<Zeroizing<String>> {
    let mut host = UnixStream::connect(path)?;
    host.set_read_timeout(Some(timeout))?;
    host.set_write_timeout(Some(timeout))?;
    host.write_all(line.as_bytes())?;
    // The buffer is large enough for most answers, because growing leaves copies of the token behind.
    let mut answer = Zeroizing::new(String::with_capacity(64 * 1024));
    BufReader::new(host.take(LONGEST)).read_line(&mut answer)?;
    Ok(answer)
}

fn read(answer: &str) -> Result<Answer, Failure> {
    let unreadable = || Failure::Failed(io::Error::other("the host's answer cannot be read: update this tokenkeeper"));
    match serde_json::from_str(answer).map_err(|_| unreadable())? {
        Line::Granted { access_token, token_type, expires_in, generation } => {
            let expires_in = expires_in.map(Duration::from_secs);
            Ok(Answer { access_token: Zeroizing::new(access_token), token_type, expires_in, generation })
        }
        Line::Denied { error, advice, retry_after } => {
            let told = match retry_after {
                Some(span) => format!("{error}: {advice} (in {span} s)"),
                None => format!("{error}: {advice}"),
            };
            Err(match Reason::ALL.into_iter().find(|reason| reason.as_str() == error) {
                Some(reason) if reason.is_login_required() => Failure::LoginRequired(told),
                Some(Reason::RequestRefused | Reason::ResourceRefuses | Reason::SourceMissing) => {
                    Failure::Refused(told)
                }
                Some(reason) if reason.is_transient() => Failure::Unavailable(told),
                Some(_) => Failure::Failed(io::Error::other(told)),
                // The refusals that only the socket has.
                None => Failure::Refused(told),
            })
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Granted { access_token: String, token_type: String, expires_in: Option<u64>, generation: String },
    Denied { error: String, advice: String, retry_after: Option<u64> },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(answer: &str) -> u8 {
        read(answer).map_or_else(|failure| failure.code(), |_| 0)
    }

    #[test]
    fn each_answer_has_its_exit_code() {
        let denied = |word: &str| format!(r#"{{"error":"{word}","advice":"do it","later":1}}"#);
        let codes = [
            ("grant_ended", 3),
            ("never_signed_in", 3),
            ("throttled", 5),
            ("resource_refuses", 4),
            ("shutting_down", 1),
            ("unknown_child", 4),
            ("a_later_word", 4),
        ];
        for (word, expected) in codes {
            assert_eq!(code(&denied(word)), expected, "{word}");
        }
        assert_eq!(code(r#"{"access_token":"t","token_type":"Bearer","generation":"1.1"}"#), 0);
        assert!(["", "{}", "[]", r#"{"access_token":"t"}"#].iter().all(|answer| code(answer) == 1));
        let told = read(r#"{"error":"throttled","advice":"try later","retry_after":7}"#).err().unwrap().to_string();
        assert_eq!(told, "throttled: try later (in 7 s)");
    }
}
