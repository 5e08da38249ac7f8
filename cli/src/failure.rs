//! The reasons for which a command failed, in text for people and as exit codes for programs.

use std::path::PathBuf;
use std::{fmt, io};

use tokenkeeper::discovery::DiscoveryError;
use tokenkeeper::stores::file::{FileError, FileStore, Trouble};
use tokenkeeper::{
    InstallError, InteractionError, LoginError, LoginReason, LogoutError, Reason, ServerIdentity, StoreFault,
    TokenError,
};

use crate::paint::harmless;

/// The end of every command's help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  3  login required: only a new login helps
  4  refused: by the server, or because it would do harm
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// The reason for which a command failed. Each kind has its own exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command could not do its work.
    Failed(io::Error),
    /// The arguments or the input are not acceptable.
    Usage(String),
    /// Only a new login helps.
    LoginRequired(String),
    /// The server refused the request, or the command would do harm.
    Refused(String),
    /// Trying again may help.
    Unavailable(String),
    /// The home cannot be used.
    Store(String),
    /// A signal ended a command that has a separate exit code for this (`call` and `tools`).
    Interrupted,
}

impl Failure {
    /// The exit code, as [`EXIT_CODES`] lists it. 130 is in the help of its commands.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::LoginRequired(_) => 3,
            Self::Refused(_) => 4,
            Self::Unavailable(_) => 5,
            Self::Store(_) => 6,
            // Shells report a program that SIGINT has ended with this code.
            Self::Interrupted => 130,
        }
    }

    /// The failure for a missing token. A store fault is described in the store's words.
    pub(crate) fn no_token(error: TokenError, store: &FileStore) -> Self {
        let told = format!("{}: {error}", error.reason());
        match error.reason() {
            Reason::StoreTrouble | Reason::ClaimsUnsupported => match store.last_trouble() {
                // The refresh tokens belong to the other home, so this home needs a separate login.
                Some(copy) if matches!(copy.trouble(), Trouble::Copy(_)) => Self::LoginRequired(format!(
                    "{told}\n  {copy}\n  tokenkeeper login gives this home a login of its own"
                )),
                _ => Self::store(told, store),
            },
            Reason::SourceMissing => Self::Refused(format!(
                "{told}\n  a session with a provider of your own needs the file that has it (--providers)"
            )),
            Reason::RequestRefused
            | Reason::ResourceRefuses
            | Reason::CredentialRejected
            | Reason::PolicyDenied
            | Reason::ProofRefused
            | Reason::NotBound => Self::Refused(told),
            Reason::SignOnRequired => Self::LoginRequired(match error.interaction_url() {
                Some(page) => {
                    format!("{told}\n  the server wants you to open this page first: {}", harmless(page.as_str()))
                }
                None => told,
            }),
            Reason::NeverSignedIn => Self::LoginRequired(format!("{told}\n  tokenkeeper login signs you in")),
            reason if reason.is_login_required() => Self::LoginRequired(format!(
                "{told}\n  tokenkeeper login signs in again; tokenkeeper why tells what happened to the old one"
            )),
            reason if reason.is_transient() => Self::Unavailable(told),
            _ => Self::Failed(io::Error::other(told)),
        }
    }

    /// The same failure, with the hint on a separate line if there is one.
    pub(crate) fn with(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.mapped(|told| format!("{told}\n  {hint}")),
            None => self,
        }
    }

    /// The same failure, with this sentence before it.
    pub(crate) fn after(self, sentence: &str) -> Self {
        self.mapped(|told| format!("{sentence}\n  {told}"))
    }

    /// The same failure with another text.
    fn mapped(self, told: impl Fn(String) -> String) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(io::Error::other(told(error.to_string()))),
            Self::Usage(text) => Self::Usage(told(text)),
            Self::LoginRequired(text) => Self::LoginRequired(told(text)),
            Self::Refused(text) => Self::Refused(told(text)),
            Self::Unavailable(text) => Self::Unavailable(told(text)),
            Self::Store(text) => Self::Store(told(text)),
            Self::Interrupted => Self::Interrupted,
        }
    }

    /// The failure for a missing token if `dir` holds no home.
    pub(crate) fn no_home(dir: PathBuf) -> Self {
        let reason = Reason::NeverSignedIn;
        Self::LoginRequired(format!(
            "{reason}: {}\n  there is no home in {}; tokenkeeper login makes one",
            reason.advice(),
            dir.display()
        ))
    }

    /// The failure for a login that was not stored.
    pub(crate) fn not_installed(error: LoginError, store: &FileStore) -> Self {
        let LoginError::Refused(error) = error else { return Self::Usage(error.to_string()) };
        match error {
            InstallError::StoreTrouble(_) => Self::store(error.to_string(), store),
            InstallError::HeldElsewhere
            | InstallError::Marked
            | InstallError::Refused
            | InstallError::Replaced
            | InstallError::Dead => Self::Refused(error.to_string()),
            InstallError::Busy => Self::Unavailable(error.to_string()),
            _ => Self::Failed(io::Error::other(error)),
        }
    }

    /// The failure for a login for which no authorization server was found.
    pub(crate) fn not_discovered(error: DiscoveryError, identity: &ServerIdentity) -> Self {
        let reason = error.reason();
        Self::of_login(reason, with_hint(format!("{}: {error}", reason.as_str()), reason, identity))
    }

    /// The failure for a login that did not end with a session. A store fault is described in the store's words.
    pub(crate) fn not_signed_in(error: InteractionError, identity: &ServerIdentity, store: &FileStore) -> Self {
        match error.reason() {
            Some(LoginReason::StoreTrouble) => Self::store(format!("store_trouble: {error}"), store),
            Some(reason) => {
                Self::of_login(reason, with_hint(format!("{}: {error}", reason.as_str()), reason, identity))
            }
            // There is no reason if the listener could not be opened, for example because its port is taken.
            None => Self::Unavailable(error.to_string()),
        }
    }

    /// The failure for this reason of a login, with this text.
    fn of_login(reason: LoginReason, told: String) -> Self {
        match reason {
            LoginReason::StoreTrouble => Self::Store(told),
            LoginReason::LoggedOut => Self::LoginRequired(told),
            LoginReason::Cancelled
            | LoginReason::SourceMissing
            | LoginReason::ShuttingDown
            | LoginReason::NotRunning
            | LoginReason::Aborted => Self::Failed(io::Error::other(told)),
            reason if reason.is_transient() => Self::Unavailable(told),
            _ => Self::Refused(told),
        }
    }

    /// The failure for a logout that did not end as requested.
    pub(crate) fn not_logged_out(error: LogoutError, store: &FileStore) -> Self {
        match error {
            LogoutError::NotDurable(_) => Self::store(error.to_string(), store),
            LogoutError::Superseded(_) => Self::Refused(error.to_string()),
            LogoutError::Busy => Self::Unavailable(error.to_string()),
            _ => Self::Failed(io::Error::other(error)),
        }
    }

    /// The failure for a fault of the home, in the store's words where it has any.
    pub(crate) fn store_fault(fault: StoreFault, store: &FileStore) -> Self {
        Self::store(fault.to_string(), store)
    }

    fn store(told: String, store: &FileStore) -> Self {
        Self::Store(match store.last_trouble() {
            Some(words) => format!("{told}\n  {words}"),
            None => told,
        })
    }
}

/// The text with a hint at the remedy, if the command has one for this reason.
fn with_hint(told: String, reason: LoginReason, identity: &ServerIdentity) -> String {
    match reason {
        LoginReason::NoAuthorizationServer
        | LoginReason::MetadataUnusable
        | LoginReason::ResourceMismatch
        | LoginReason::IssuerMismatch
        | LoginReason::NoPkce
        | LoginReason::UnsafeAddress
        | LoginReason::Unreachable
        | LoginReason::ServerTrouble => match identity.resource() {
            Some(resource) => format!("{told}\n  tokenkeeper doctor {resource} shows each step, and where it fails"),
            None => told,
        },
        LoginReason::NoClient | LoginReason::RegistrationRefused => format!(
            "{told}\n  --client-id takes a client that the server's operator registered for you, and \
             --client-metadata-url the document of one"
        ),
        LoginReason::SubjectChanged => {
            format!("{told}\n  --as-another lets another user replace the session, and --account gives one of its own")
        }
        LoginReason::MethodUnsupported => format!("{told}\n  choose another with --paste, --device or --no-browser"),
        _ => told,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Usage(told)
            | Self::LoginRequired(told)
            | Self::Refused(told)
            | Self::Unavailable(told)
            | Self::Store(told) => f.write_str(told),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Store(error.to_string())
    }
}
