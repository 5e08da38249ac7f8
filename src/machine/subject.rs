//! The tokens that a grant presents to get others. These are the assertion of a JWT bearer grant, and the subject and the actor
//! of an exchange.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokenkeeper_actors::values::{AccessToken, Moment, ServerIdentity};

use super::command::ExecCommand;
use super::credential::{self, Credential};
use super::offload;
use crate::grant::jwt_lifetime;

/// The maximum length of a token file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The place of a token that a grant presents. It is read for each token request, so a token that was replaced there is used
/// from the next request on.
#[derive(Clone, PartialEq)]
pub struct SubjectToken(pub(super) From);

/// The place of a token.
#[derive(Clone, PartialEq)]
pub(super) enum From {
    File(String),
    Command(ExecCommand),
    Session(ServerIdentity),
    Fixed(AccessToken),
}

/// The type of a token in an exchange (RFC 8693 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenType(pub(super) String);

impl SubjectToken {
    /// The token in the file at this path, in UTF-8. White space around it is ignored. The file has at most 64 KiB.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(From::File(path.into().to_string_lossy().into_owned()))
    }

    /// The token that a command prints.
    pub fn command(command: ExecCommand) -> Self {
        Self(From::Command(command))
    }

    /// The token of another session of the same runtime. It is obtained, and refreshed where needed, before the permit and the
    /// claim of this session's request are taken.
    pub fn session(identity: ServerIdentity) -> Self {
        Self(From::Session(identity))
    }

    /// This token, which is stored in the record.
    pub fn fixed(token: impl Into<AccessToken>) -> Self {
        Self(From::Fixed(token.into()))
    }

    /// The file or the command, in words.
    pub(super) fn origin(&self) -> Option<String> {
        match &self.0 {
            From::File(path) => Some(format!("the file {path}")),
            From::Command(command) => Some(command.name()),
            From::Session(_) | From::Fixed(_) => None,
        }
    }

    pub(super) fn session_identity(&self) -> Option<&ServerIdentity> {
        match &self.0 {
            From::Session(identity) => Some(identity),
            _ => None,
        }
    }

    /// Reads the token. Returns `None` if there is no token, or if it is that of another session.
    pub(super) async fn read(&self, now: Moment, timeout: Duration) -> Option<Credential> {
        let credential = match &self.0 {
            From::Session(_) => None,
            From::Fixed(token) => Some(Credential { token: token.clone(), lifetime: None }),
            From::File(path) => {
                let path = path.clone();
                let bytes = offload::run(move || offload::read_file(&path, MAX_FILE)).await??;
                credential::read(&bytes, now)
            }
            From::Command(command) => {
                let command = command.clone();
                let bytes = offload::run(move || command.output(timeout)).await??;
                credential::read(&bytes, now)
            }
        }?;
        let lifetime = credential.lifetime.or_else(|| jwt_lifetime(credential.token.expose(), now.wall));
        Some(Credential { lifetime, ..credential })
    }
}

impl TokenType {
    /// An access token of OAuth.
    pub fn access_token() -> Self {
        Self::registered("access_token")
    }

    /// An ID token of OpenID Connect.
    pub fn id_token() -> Self {
        Self::registered("id_token")
    }

    /// A JWT of any issuer.
    pub fn jwt() -> Self {
        Self::registered("jwt")
    }

    /// The type with this identifier, which is a URI.
    pub fn named(uri: impl Into<String>) -> Self {
        Self(uri.into())
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn registered(name: &str) -> Self {
        Self(format!("urn:ietf:params:oauth:token-type:{name}"))
    }
}

impl fmt::Debug for SubjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            From::File(path) => f.debug_tuple("File").field(path).finish(),
            From::Command(command) => fmt::Debug::fmt(command, f),
            From::Session(identity) => f.debug_tuple("Session").field(identity).finish(),
            From::Fixed(token) => f.debug_tuple("Fixed").field(token).finish(),
        }
    }
}
