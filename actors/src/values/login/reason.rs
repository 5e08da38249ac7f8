//! The reasons why a login is not completed, and the error that carries one.

use std::fmt;
use std::time::Duration;

/// The reason why a login was not completed. The names of the reasons are stable, so they may be matched, counted and
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LoginReason {
    /// The person declined, or the server declined for the person (`access_denied`).
    Denied,
    /// No answer came before the prompt expired.
    TimedOut,
    /// The host or the person cancelled the login.
    Cancelled,
    /// The session was logged out meanwhile.
    LoggedOut,
    /// Another login was installed meanwhile. The session has the tokens of that login.
    Superseded,
    /// The person who signed in is not the one who is signed in here. The session was left unchanged.
    SubjectChanged,
    /// The server refused the authorization request or the code.
    Refused,
    /// The server does not accept the client.
    ClientRejected,
    /// The answer does not belong to this login (`state` or `iss` is wrong), or cannot be read.
    Forged,
    /// The new refresh token belongs to another session.
    HeldElsewhere,
    /// The server could not be reached. No code was presented.
    Unreachable,
    /// The server had trouble before a person was asked.
    ServerTrouble,
    /// The code was presented and the server's answer was lost. The code is never presented again.
    Lost,
    /// The store cannot be used.
    StoreTrouble,
    /// A person denied this scope a short time ago.
    ScopeDenied,
    /// The resource refuses even the tokens of a login for this operation.
    ResourceRefuses,
    /// The caller's deadline passed. The attempt goes on.
    DeadlinePassed,
    /// No pending login has this key. It expired, was answered or was cancelled.
    UnknownLogin,
    /// The runtime has no login source.
    SourceMissing,
    /// Too many callers are waiting for this login.
    TooManyWaiters,
    /// The runtime is shutting down.
    ShuttingDown,
    /// The runtime is not running.
    NotRunning,
    /// The attempt was aborted inside this process, by a defect or a dropped runtime.
    Aborted,
    /// The resource names no usable authorization server, or does not ask for a login.
    NoAuthorizationServer,
    /// A metadata document of the resource or of the authorization server cannot be read, or lacks what a login needs.
    MetadataUnusable,
    /// The resource's metadata belongs to another resource (RFC 9728 section 3.3).
    ResourceMismatch,
    /// The authorization server's metadata names another issuer than the one it was asked for (RFC 8414 section 3.3).
    IssuerMismatch,
    /// The answer names another issuer than the one that was asked (RFC 9207), or lacks an issuer although it must name one.
    WrongIssuer,
    /// The authorization server does not state that it supports PKCE with S256, without which a code could be stolen.
    NoPkce,
    /// A URL that a server named must not be used, because of its scheme, its form or the address it leads to.
    UnsafeAddress,
    /// There is no client for this authorization server. None is configured, and the server does not register any.
    NoClient,
    /// The authorization server refused to register a client.
    RegistrationRefused,
    /// The authorization server does not support this way of signing in.
    MethodUnsupported,
    /// The answer came in another browser than the one in which the login was begun.
    OtherBrowser,
    /// The login asks for tokens that are bound to a key (DPoP, RFC 9449), and the servers offer none, or issued a
    /// token that is not bound to it.
    NotBound,
    /// The authorization server does not accept the proof that the session has its key (DPoP).
    ProofRefused,
}

impl LoginReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [LoginReason; 36] = [
        LoginReason::Denied,
        LoginReason::TimedOut,
        LoginReason::Cancelled,
        LoginReason::LoggedOut,
        LoginReason::Superseded,
        LoginReason::SubjectChanged,
        LoginReason::Refused,
        LoginReason::ClientRejected,
        LoginReason::Forged,
        LoginReason::HeldElsewhere,
        LoginReason::Unreachable,
        LoginReason::ServerTrouble,
        LoginReason::Lost,
        LoginReason::StoreTrouble,
        LoginReason::ScopeDenied,
        LoginReason::ResourceRefuses,
        LoginReason::DeadlinePassed,
        LoginReason::UnknownLogin,
        LoginReason::SourceMissing,
        LoginReason::TooManyWaiters,
        LoginReason::ShuttingDown,
        LoginReason::NotRunning,
        LoginReason::Aborted,
        LoginReason::NoAuthorizationServer,
        LoginReason::MetadataUnusable,
        LoginReason::ResourceMismatch,
        LoginReason::IssuerMismatch,
        LoginReason::WrongIssuer,
        LoginReason::NoPkce,
        LoginReason::UnsafeAddress,
        LoginReason::NoClient,
        LoginReason::RegistrationRefused,
        LoginReason::MethodUnsupported,
        LoginReason::OtherBrowser,
        LoginReason::NotBound,
        LoginReason::ProofRefused,
    ];

    /// The stable name of the reason, in snake case.
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// One sentence for people, with the problem and the remedy.
    pub const fn advice(self) -> &'static str {
        self.words().1
    }

    /// Whether another attempt may succeed without any other action than asking the person again.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            LoginReason::TimedOut
                | LoginReason::Unreachable
                | LoginReason::ServerTrouble
                | LoginReason::Lost
                | LoginReason::StoreTrouble
                | LoginReason::DeadlinePassed
                | LoginReason::UnknownLogin
                | LoginReason::TooManyWaiters
                | LoginReason::NotRunning
                | LoginReason::Aborted
        )
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            LoginReason::Denied => ("denied", "access was denied: sign in again to allow it"),
            LoginReason::TimedOut => ("timed_out", "the sign-in page was not answered in time: sign in again"),
            LoginReason::Cancelled => ("cancelled", "the sign-in was cancelled: sign in again if that was a mistake"),
            LoginReason::LoggedOut => {
                ("logged_out", "the session was logged out while the person signed in: sign in again")
            }
            LoginReason::Superseded => {
                ("superseded", "another sign-in of this session came first: use its tokens, or sign in again")
            }
            LoginReason::SubjectChanged => (
                "subject_changed",
                "another user signed in than before, and nothing was changed: sign in as the same user, or ask for a \
                 change of the user",
            ),
            LoginReason::Refused => {
                ("refused", "the authorization server refused the sign-in: check the client's configuration and scopes")
            }
            LoginReason::ClientRejected => (
                "client_rejected",
                "the authorization server does not accept this client: renew its registration, then sign in again",
            ),
            LoginReason::Forged => (
                "forged",
                "the answer does not belong to this sign-in and was not used: sign in again, and open only the page \
                 shown then",
            ),
            LoginReason::HeldElsewhere => {
                ("held_elsewhere", "another session already owns these tokens: sign in separately for this one")
            }
            LoginReason::Unreachable => {
                ("unreachable", "the authorization server cannot be reached: check the network, then sign in again")
            }
            LoginReason::ServerTrouble => {
                ("server_trouble", "the authorization server has trouble: sign in again later")
            }
            LoginReason::Lost => {
                ("lost", "the authorization server's answer was lost after the code was presented: sign in again")
            }
            LoginReason::StoreTrouble => {
                ("store_trouble", "the credential store cannot be used: check it, then sign in again")
            }
            LoginReason::ScopeDenied => {
                ("scope_denied", "this permission was denied a short time ago: sign in to allow it, or do without")
            }
            LoginReason::ResourceRefuses => (
                "resource_refuses",
                "the server refuses what the sign-in for this operation brought: check your access there",
            ),
            LoginReason::DeadlinePassed => {
                ("deadline_passed", "the sign-in was not completed in time: it is still open, so ask again")
            }
            LoginReason::UnknownLogin => {
                ("unknown_login", "this sign-in expired or was answered before: start it again")
            }
            LoginReason::SourceMissing => {
                ("source_missing", "this program cannot sign in: give it a login source, or import a login")
            }
            LoginReason::TooManyWaiters => {
                ("too_many_waiters", "too many callers wait for this sign-in: try again later")
            }
            LoginReason::ShuttingDown => ("shutting_down", "the session runtime is shutting down"),
            LoginReason::NotRunning => {
                ("not_running", "the session runtime is not running: start it, or have its supervisor start it again")
            }
            LoginReason::Aborted => ("aborted", "the sign-in broke off inside this process: try again"),
            LoginReason::NoAuthorizationServer => (
                "no_authorization_server",
                "the server names no authorization server to sign in at: check its address, or name the metadata yourself",
            ),
            LoginReason::MetadataUnusable => (
                "metadata_unusable",
                "the server's OAuth metadata cannot be used: report it to the server's operator, or run doctor",
            ),
            LoginReason::ResourceMismatch => (
                "resource_mismatch",
                "the metadata found belongs to another server, so nothing was asked there: check the address",
            ),
            LoginReason::IssuerMismatch => (
                "issuer_mismatch",
                "the authorization server's metadata names another issuer: report it to the operator, or allow the alias",
            ),
            LoginReason::WrongIssuer => (
                "wrong_issuer",
                "the answer came from another authorization server than the one asked, and its code was not used: sign in again",
            ),
            LoginReason::NoPkce => (
                "no_pkce",
                "the authorization server does not offer PKCE with S256: report it to the server's operator",
            ),
            LoginReason::UnsafeAddress => (
                "unsafe_address",
                "the server named an address that must not be used: check the server, or allow loopback if it is yours",
            ),
            LoginReason::NoClient => (
                "no_client",
                "no client is known at this authorization server, and it registers none: register one there and configure its id",
            ),
            LoginReason::RegistrationRefused => (
                "registration_refused",
                "the authorization server refused to register this client: configure one that is registered there",
            ),
            LoginReason::NotBound => (
                "not_bound",
                "no token that is bound to a key (DPoP) can be had from this server, and no other is wanted: report it to the \
                 server's operator, or do without",
            ),
            LoginReason::ProofRefused => (
                "proof_refused",
                "the authorization server refuses the proof that this program has its key (DPoP): check the clock of this \
                 machine, then sign in again",
            ),
            LoginReason::OtherBrowser => (
                "other_browser",
                "the answer came in another browser than the one that began the sign-in, and was not used: sign in again",
            ),
            LoginReason::MethodUnsupported => (
                "method_unsupported",
                "the authorization server does not support this way of signing in: choose another one",
            ),
        }
    }
}

impl fmt::Display for LoginReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInError {
    reason: LoginReason,
    retry_after: Option<Duration>,
}

impl SignInError {
    /// The error for `reason`, without a time for another try.
    pub const fn new(reason: LoginReason) -> Self {
        Self { reason, retry_after: None }
    }

    /// The same error, with the time after which another try makes sense.
    #[must_use]
    pub const fn with_retry_after(self, span: Duration) -> Self {
        Self { retry_after: Some(span), ..self }
    }

    /// The reason, from the fixed vocabulary.
    pub const fn reason(&self) -> LoginReason {
        self.reason
    }

    /// The time after which another try makes sense, counted from when the error was returned. `None` when it is not
    /// known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether another attempt may succeed without any other action than asking the person again.
    pub const fn is_transient(&self) -> bool {
        self.reason.is_transient()
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.advice())?;
        match self.retry_after {
            Some(span) => write!(f, " (in {} s)", span.as_secs().max(1)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SignInError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_unique_snake_case_and_each_reason_has_advice() {
        let words: BTreeSet<_> = LoginReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), LoginReason::ALL.len());
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        assert!(LoginReason::ALL.iter().all(|reason| reason.advice().len() > 20));
        assert_eq!(LoginReason::UnknownLogin.to_string(), "unknown_login");
        assert_eq!(LoginReason::ALL.iter().filter(|reason| reason.is_transient()).count(), 10);
    }

    #[test]
    fn an_error_says_what_to_do_and_when() {
        let error = SignInError::new(LoginReason::ResourceRefuses).with_retry_after(Duration::from_millis(30_900));
        assert!(error.to_string().ends_with("(in 30 s)") && !error.is_transient());
        assert_eq!(
            (error.reason(), error.retry_after()),
            (LoginReason::ResourceRefuses, Some(Duration::from_millis(30_900)))
        );
        assert_eq!(SignInError::new(LoginReason::Denied).to_string(), LoginReason::Denied.advice());
    }
}
