//! The fixed vocabulary of reasons, shared by errors, events, metrics and the journal.

use std::fmt;

/// The reason why a session cannot do what a caller asked. The names of the reasons are stable, so they may be matched,
/// counted and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No login was ever installed.
    NeverSignedIn,
    /// The session was logged out.
    LoggedOut,
    /// The server ended the grant (`invalid_grant`, RFC 6749 section 5.2).
    GrantEnded,
    /// The refresh token was spent, or may have been, and no tokens that replace it were stored. It is not presented again.
    MaybeConsumed,
    /// The access token has expired and the server never issued a refresh token.
    NotRefreshable,
    /// The server no longer accepts the client (`invalid_client`).
    ClientRejected,
    /// The resource no longer lists the issuer that the session belongs to.
    IssuerChanged,
    /// The server's answer was for another subject than the signed-in one.
    SubjectChanged,

    /// The caller's deadline passed.
    DeadlinePassed,
    /// The token endpoint could not be reached. Nothing was sent.
    Unreachable,
    /// No secure connection to the token endpoint could be established. Its certificate is not trusted, or TLS failed
    /// otherwise. Nothing was sent.
    Untrusted,
    /// The server reported an internal error (5xx).
    ServerTrouble,
    /// The server limits the rate of requests (429, or an issuer's `Retry-After`).
    Throttled,
    /// The answer was lost or unreadable. It is unknown whether the refresh token was spent, until the server gives a
    /// definite answer to a later request.
    InDoubt,
    /// The server refused the request. The grant has not ended, and waiting does not help.
    RequestRefused,
    /// The server does not accept the credentials of a source that needs no login, such as the client's secret or key,
    /// or an assertion.
    CredentialRejected,
    /// The organisation's policy denies the access. Neither a login nor time changes that.
    PolicyDenied,
    /// The session's tokens derive from a session at an identity provider, which wants the person to sign on there.
    SignOnRequired,
    /// The file or the command from which the source takes the subject token (RFC 8693, RFC 7523) gave none.
    SubjectUnavailable,
    /// The server does not accept the proof that the session's key was used for the request (DPoP, RFC 9449).
    ProofRefused,
    /// The session's tokens are bound to a key (DPoP), and the server issued a token that is not. It is never used.
    NotBound,
    /// The token expired before it arrived.
    ExpiredOnArrival,
    /// Another process holds the right to refresh and has not finished.
    Contended,
    /// The store cannot be read or written.
    StoreTrouble,
    /// The store cannot grant claims, so no flight may spend a refresh token of it.
    ClaimsUnsupported,
    /// The runtime has no token source of the name and kind in the record's renewal plan. Nothing was presented.
    SourceMissing,

    /// The resource refuses even a token that was minted for this refusal, so refreshing does not help.
    ResourceRefuses,
    /// The refused lease does not belong to this session. Nothing was changed.
    WrongSession,
    /// Too many callers are waiting for this identity.
    TooManyWaiters,
    /// The runtime is shutting down.
    ShuttingDown,
    /// The runtime has not been started, or its supervision tree has ended and has not been restarted.
    NotRunning,
    /// The request was aborted inside this process, by a defect or because a runtime was dropped.
    Aborted,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Reason; 32] = [
        Reason::NeverSignedIn,
        Reason::LoggedOut,
        Reason::GrantEnded,
        Reason::MaybeConsumed,
        Reason::NotRefreshable,
        Reason::ClientRejected,
        Reason::IssuerChanged,
        Reason::SubjectChanged,
        Reason::DeadlinePassed,
        Reason::Unreachable,
        Reason::Untrusted,
        Reason::ServerTrouble,
        Reason::Throttled,
        Reason::InDoubt,
        Reason::RequestRefused,
        Reason::CredentialRejected,
        Reason::PolicyDenied,
        Reason::SignOnRequired,
        Reason::SubjectUnavailable,
        Reason::ProofRefused,
        Reason::NotBound,
        Reason::ExpiredOnArrival,
        Reason::Contended,
        Reason::StoreTrouble,
        Reason::ClaimsUnsupported,
        Reason::SourceMissing,
        Reason::ResourceRefuses,
        Reason::WrongSession,
        Reason::TooManyWaiters,
        Reason::ShuttingDown,
        Reason::NotRunning,
        Reason::Aborted,
    ];

    /// The stable name of the reason, in snake case.
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// One sentence for people, with the problem and the remedy.
    pub const fn advice(self) -> &'static str {
        self.words().1
    }

    /// Whether only a new login helps.
    pub const fn is_login_required(self) -> bool {
        matches!(
            self,
            Reason::NeverSignedIn
                | Reason::LoggedOut
                | Reason::GrantEnded
                | Reason::MaybeConsumed
                | Reason::NotRefreshable
                | Reason::ClientRejected
                | Reason::IssuerChanged
                | Reason::SubjectChanged
        )
    }

    /// Whether a later request may succeed without any action.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Reason::DeadlinePassed
                | Reason::Unreachable
                | Reason::Untrusted
                | Reason::ServerTrouble
                | Reason::Throttled
                | Reason::InDoubt
                | Reason::SubjectUnavailable
                | Reason::ExpiredOnArrival
                | Reason::Contended
                | Reason::StoreTrouble
                | Reason::TooManyWaiters
                | Reason::NotRunning
                | Reason::Aborted
        )
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Reason::NeverSignedIn => ("never_signed_in", "nobody is signed in here: sign in"),
            Reason::LoggedOut => ("logged_out", "this session was logged out: sign in again"),
            Reason::GrantEnded => ("grant_ended", "the authorization server ended this session: sign in again"),
            Reason::MaybeConsumed => {
                ("maybe_consumed", "the refresh token may have been used up in a refresh that failed: sign in again")
            }
            Reason::NotRefreshable => {
                ("not_refreshable", "the token is over and the server gave no way to renew it: sign in again")
            }
            Reason::ClientRejected => (
                "client_rejected",
                "the authorization server no longer accepts this client: check or renew its registration, then sign in again",
            ),
            Reason::IssuerChanged => (
                "issuer_changed",
                "the server now names another authorization server: make sure that is expected, then sign in again",
            ),
            Reason::SubjectChanged => (
                "subject_changed",
                "the authorization server answered for another user: sign in again as the one you want",
            ),
            Reason::DeadlinePassed => ("deadline_passed", "no token was ready in time: try again"),
            Reason::Unreachable => ("unreachable", "the authorization server cannot be reached: check the network"),
            Reason::Untrusted => (
                "untrusted",
                "no secure connection to the authorization server: check that its certificate is valid and trusted here, \
                 and whether a proxy replaces it",
            ),
            Reason::ServerTrouble => ("server_trouble", "the authorization server has trouble: try again later"),
            Reason::Throttled => ("throttled", "the authorization server limits requests: try again later"),
            Reason::InDoubt => (
                "in_doubt",
                "the authorization server gave no clear answer to the last refresh: the next request asks it again",
            ),
            Reason::RequestRefused => {
                ("request_refused", "the authorization server refuses the request: check the client's configuration")
            }
            Reason::CredentialRejected => (
                "credential_rejected",
                "the authorization server does not accept this program's credentials: check the client, its secret or key, \
                 and the audience of its assertion",
            ),
            Reason::PolicyDenied => {
                ("policy_denied", "your organisation's policy does not allow this access: ask your administrator")
            }
            Reason::SignOnRequired => {
                ("sign_on_required", "the identity provider wants you to sign on again: sign on there, then try again")
            }
            Reason::SubjectUnavailable => (
                "subject_unavailable",
                "the file or the command that provides the token gave none: check that it exists, ends in time and may be read",
            ),
            Reason::ProofRefused => (
                "proof_refused",
                "the authorization server refuses the proof that this session has its key (DPoP): check the clock of this \
                 machine, and that the key is the one of the login",
            ),
            Reason::NotBound => (
                "not_bound",
                "the authorization server issued a token that is not bound to this session's key (DPoP), and it is not \
                 used: report it to the server's operator",
            ),
            Reason::ExpiredOnArrival => (
                "expired_on_arrival",
                "the new token was over before it arrived: check the clocks and the server's token lifetime",
            ),
            Reason::Contended => {
                ("contended", "another process is renewing this token and has not finished: try again")
            }
            Reason::StoreTrouble => ("store_trouble", "the credential store cannot be used: check it, then try again"),
            Reason::ClaimsUnsupported => (
                "claims_unsupported",
                "the credential store cannot lock here, so nothing may be refreshed safely: use another store or place",
            ),
            Reason::SourceMissing => (
                "source_missing",
                "this program has no token source of the kind that this session was stored with: give it that source, \
                 or configure the session for another one",
            ),
            Reason::ResourceRefuses => (
                "resource_refuses",
                "the server refuses a token that was just renewed: check its audience, scopes and your access",
            ),
            Reason::WrongSession => (
                "wrong_session",
                "this session has no such lease: report the refusal to the session that handed the lease out",
            ),
            Reason::TooManyWaiters => ("too_many_waiters", "too many callers wait for this token: try again later"),
            Reason::ShuttingDown => ("shutting_down", "the session runtime is shutting down"),
            Reason::NotRunning => {
                ("not_running", "the session runtime is not running: start it, or have its supervisor start it again")
            }
            Reason::Aborted => ("aborted", "the refresh broke off inside this process: try again"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_unique_snake_case_and_each_reason_has_advice() {
        let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        assert!(Reason::ALL.iter().all(|reason| reason.advice().len() > 20));
        assert_eq!(Reason::MaybeConsumed.to_string(), "maybe_consumed");
    }

    #[test]
    fn no_reason_is_both_transient_and_a_matter_for_a_person() {
        assert!(Reason::ALL.iter().all(|reason| !(reason.is_transient() && reason.is_login_required())));
        assert_eq!(Reason::ALL.iter().filter(|reason| reason.is_login_required()).count(), 8);
        assert_eq!(Reason::ALL.iter().filter(|reason| reason.is_transient()).count(), 13);
    }
}
