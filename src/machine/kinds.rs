//! The kinds of machine grants.

use tokenkeeper_actors::values::{AccessToken, ServerIdentity, SourceName};

use super::command::ExecCommand;
use super::names;
use super::subject::{SubjectToken, TokenType};

/// The kind of a grant, with its own data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    ClientCredentials,
    JwtBearer(SubjectToken),
    TokenExchange {
        subject: (SubjectToken, TokenType),
        actor: Option<(SubjectToken, TokenType)>,
        audience: Option<String>,
    },
    Enterprise {
        idp: ServerIdentity,
    },
    Command(ExecCommand),
    Static(AccessToken),
}

impl Kind {
    /// The name of the source that carries the grant out.
    pub(super) fn source(&self) -> SourceName {
        names::name(match self {
            Self::ClientCredentials => names::CLIENT_CREDENTIALS,
            Self::JwtBearer(_) => names::JWT_BEARER,
            Self::TokenExchange { .. } => names::TOKEN_EXCHANGE,
            Self::Enterprise { .. } => names::ID_JAG,
            Self::Command(_) => names::EXEC,
            Self::Static(_) => names::STATIC_TOKEN,
        })
    }

    /// The other session whose token the grant uses, if it uses one.
    pub(super) fn other_session(&self) -> Option<&ServerIdentity> {
        match self {
            Self::Enterprise { idp } => Some(idp),
            Self::JwtBearer(subject) | Self::TokenExchange { subject: (subject, _), .. } => subject.session_identity(),
            Self::ClientCredentials | Self::Command(_) | Self::Static(_) => None,
        }
    }

    /// The file or the command that the grant begins with, in words.
    pub(super) fn origin(&self) -> Option<String> {
        match self {
            Self::JwtBearer(subject) | Self::TokenExchange { subject: (subject, _), .. } => subject.origin(),
            Self::Command(command) => Some(command.name()),
            Self::ClientCredentials | Self::Enterprise { .. } | Self::Static(_) => None,
        }
    }

    /// Whether an authorization server issues the tokens.
    pub(super) fn has_server(&self) -> bool {
        !matches!(self, Self::Command(_) | Self::Static(_))
    }
}
