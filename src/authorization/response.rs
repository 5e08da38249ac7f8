//! Checks an authorization response against its request (RFC 6749 section 4.1.2, RFC 9207).

use tokenkeeper_actors::ports::login::AuthorizationCode;
use tokenkeeper_actors::values::{LoginKey, LoginReason};

use crate::callback::Parameters;

/// The facts of the request that an answer is compared with. They were recorded before the person was sent away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// The key of the request's `state`.
    pub(super) key: LoginKey,
    /// The issuer.
    pub(super) issuer: &'a str,
    /// Whether that issuer names itself in its answers (`authorization_response_iss_parameter_supported`).
    pub(super) names_issuer: bool,
}

/// Returns the code of an answer that belongs to the request. `state` and `iss` are checked before anything else, so that
/// an answer of another party has no effect, even if it reports an error.
///
/// # Errors
///
/// [`Forged`](LoginReason::Forged) for another `state`, [`WrongIssuer`](LoginReason::WrongIssuer) for an `iss` that is not
/// byte by byte the issuer, or is missing although the issuer promises it (RFC 9207 section 2.4), and the reason for the
/// server's error code.
pub(super) fn check(answer: Parameters, expected: Expected<'_>) -> Result<AuthorizationCode, LoginReason> {
    match (answer.state, &answer.code) {
        (Some(key), _) if key == expected.key => {}
        // A person pasted the code alone, which names no issuer that could differ.
        (None, Some(_)) if answer.error.is_none() && answer.iss.is_none() => {}
        _ => return Err(LoginReason::Forged),
    }
    match &answer.iss {
        Some(issuer) if issuer == expected.issuer => {}
        None if !expected.names_issuer => {}
        _ => return Err(LoginReason::WrongIssuer),
    }
    match (answer.error, answer.code) {
        (Some(error), _) => Err(reason(&error)),
        (None, Some(code)) => Ok(code),
        (None, None) => Err(LoginReason::Forged),
    }
}

/// The reason for an error code of section 4.1.2.1.
pub(super) fn reason(error: &str) -> LoginReason {
    match error {
        "access_denied" => LoginReason::Denied,
        "unauthorized_client" | "invalid_client" => LoginReason::ClientRejected,
        "server_error" | "temporarily_unavailable" => LoginReason::ServerTrouble,
        _ => LoginReason::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callback::{key_of_state, parameters};

    const ISSUER: &str = "https://as.example.com";

    fn judged(answer: &str, names_issuer: bool) -> Result<String, LoginReason> {
        let expected = Expected { key: key_of_state("st"), issuer: ISSUER, names_issuer };
        check(parameters(answer).unwrap(), expected).map(|code| code.expose().to_owned())
    }

    /// The table of RFC 9207 as the MCP specification has it.
    #[test]
    fn the_issuer_is_compared_byte_by_byte() {
        let (right, none) = ("code=c&state=st&iss=https%3A%2F%2Fas.example.com", "code=c&state=st");
        for names_issuer in [true, false] {
            assert_eq!(judged(right, names_issuer), Ok("c".to_owned()));
            for wrong in [
                "https://evil.example",
                "https://as.example.com/",
                "https://AS.example.com",
                "https://as.example.com:443",
                "https://as.example.co%256d",
                "HTTPS://as.example.com",
            ] {
                let answer = format!("{none}&iss={wrong}");
                assert_eq!(judged(&answer, names_issuer), Err(LoginReason::WrongIssuer), "{wrong}");
            }
        }
        assert_eq!(judged(none, false), Ok("c".to_owned()));
        assert_eq!(judged(none, true), Err(LoginReason::WrongIssuer));
    }

    #[test]
    fn the_state_is_judged_first_and_the_issuer_before_an_error() {
        assert_eq!(judged("code=c&state=other&iss=https://evil.example", true), Err(LoginReason::Forged));
        assert_eq!(judged("error=access_denied", false), Err(LoginReason::Forged));
        assert_eq!(judged("error=access_denied&state=st", true), Err(LoginReason::WrongIssuer));
        assert_eq!(judged("error=access_denied&state=st&iss=https://as.example.com", true), Err(LoginReason::Denied));
    }

    #[test]
    fn a_pasted_code_counts_where_the_issuer_is_not_promised() {
        assert_eq!(judged("code=c", false), Ok("c".to_owned()));
        assert_eq!(judged("code=c", true), Err(LoginReason::WrongIssuer));
        assert_eq!(judged("code=c&iss=https://as.example.com", false), Err(LoginReason::Forged));
    }

    #[test]
    fn each_error_code_has_its_reason() {
        for (error, reason) in [
            ("access_denied", LoginReason::Denied),
            ("unauthorized_client", LoginReason::ClientRejected),
            ("server_error", LoginReason::ServerTrouble),
            ("temporarily_unavailable", LoginReason::ServerTrouble),
            ("invalid_scope", LoginReason::Refused),
            ("anything", LoginReason::Refused),
        ] {
            assert_eq!(judged(&format!("error={error}&state=st&code=c"), false), Err(reason), "{error}");
        }
        assert_eq!(judged("state=st", false), Err(LoginReason::Forged));
    }
}
