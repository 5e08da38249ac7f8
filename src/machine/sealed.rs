//! The form in which a record keeps a machine grant. The store seals the whole record, so this form does not encrypt anything.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tokenkeeper_actors::values::record::Client;
use tokenkeeper_actors::values::{AccessToken, ClientSecret, Scopes, ServerIdentity, SourceSettings, WallTime};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::command::ExecCommand;
use super::grant::{MachineGrant, NamedServer};
use super::kinds::Kind;
use super::subject::{From, SubjectToken, TokenType};
use crate::issuers::{auth_method_name, auth_method_of};
use crate::{RenewalPlan, Spending};

/// The version of the form. A source does not read another one.
const VERSION: u32 = 1;

/// A grant in its stored form. Secrets are in Base64, because a JSON reader makes an extra copy of a text with an escape.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u32,
    kind: SealedKind,
    client: SealedClient,
    scopes: Vec<String>,
    server: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    sends_resource: bool,
    parameters: Vec<(String, String)>,
    /// Not written if it is false, so that versions without keys can read the settings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dpop: bool,
}

/// The stored form of a [`Kind`].
#[derive(Serialize, Deserialize, Zeroize)]
#[serde(rename_all = "snake_case")]
enum SealedKind {
    ClientCredentials,
    JwtBearer(SealedSubject),
    TokenExchange {
        subject: SealedSubject,
        subject_type: String,
        actor: Option<(SealedSubject, String)>,
        audience: Option<String>,
    },
    Enterprise(String),
    Command(SealedCommand),
    Static(String),
}

/// The stored form of a [`SubjectToken`].
#[derive(Serialize, Deserialize, Zeroize)]
#[serde(rename_all = "snake_case")]
enum SealedSubject {
    File(String),
    Command(SealedCommand),
    Session(String),
    Fixed(String),
}

/// The stored form of an [`ExecCommand`].
#[derive(Serialize, Deserialize, Zeroize)]
#[serde(deny_unknown_fields)]
struct SealedCommand {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    timeout_ms: u64,
}

/// The stored form of a [`Client`].
#[derive(Serialize, Deserialize, Zeroize)]
#[serde(deny_unknown_fields)]
struct SealedClient {
    id: String,
    secret: Option<String>,
    auth: String,
    secret_expires_at: Option<u64>,
}

impl MachineGrant {
    /// The plan of a session whose tokens are obtained by this grant, for [`SessionSpec::renewal`](crate::SessionSpec::renewal)
    /// and [`AuthSession::configure`](crate::AuthSession::configure). It contains the credentials.
    pub fn plan(&self) -> RenewalPlan {
        RenewalPlan {
            source: self.source(),
            spending: Spending::Repeatable,
            server_named: self.server.is_none(),
            settings: Some(stored_form(self)),
            ..RenewalPlan::default()
        }
    }

    /// The grant that `plan` contains, such as the plan of a stored session. `None` for the plan of another source, and for a
    /// grant of a later version.
    pub fn of_plan(plan: &RenewalPlan) -> Option<Self> {
        plan.settings.as_ref().and_then(open)
    }
}

/// The stored form of `grant`.
fn stored_form(grant: &MachineGrant) -> SourceSettings {
    let sealed = Sealed {
        version: VERSION,
        kind: SealedKind::of(&grant.kind),
        client: SealedClient {
            id: grant.client.id.clone(),
            secret: grant.client.secret.as_ref().map(|secret| hidden(secret.expose())),
            auth: auth_method_name(grant.client.auth).to_owned(),
            secret_expires_at: grant.client.secret_expires_at.map(WallTime::as_millis),
        },
        scopes: grant.scopes.iter().map(str::to_owned).collect(),
        server: grant.server.as_ref().map(|server| (server.issuer.clone(), server.token_endpoint.clone())),
        issuer: grant.issuer.clone(),
        sends_resource: grant.sends_resource,
        parameters: grant.parameters.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
        dpop: grant.binds,
    };
    // The struct has only texts, numbers and truth values, so the conversion does not fail.
    SourceSettings::new(serde_json::to_string(&sealed).unwrap_or_default())
}

/// The grant in its stored form. `None` for another version, or a damaged one.
pub(super) fn open(settings: &SourceSettings) -> Option<MachineGrant> {
    let sealed: Sealed = serde_json::from_str(settings.expose()).ok()?;
    if sealed.version != VERSION {
        return None;
    }
    let secret = match &sealed.client.secret {
        Some(secret) => Some(ClientSecret::new(shown(secret)?)),
        None => None,
    };
    let parameters = sealed.parameters.iter().map(|(name, value)| Some((name.clone(), shown(value)?)));
    let server = sealed.server.clone();
    Some(MachineGrant {
        kind: sealed.kind.open()?,
        client: Client {
            id: sealed.client.id.clone(),
            secret,
            auth: auth_method_of(&sealed.client.auth)?,
            secret_expires_at: sealed.client.secret_expires_at.map(WallTime::from_millis),
        },
        scopes: Scopes::new(sealed.scopes.iter().map(String::as_str)),
        server: server.map(|(issuer, token_endpoint)| NamedServer { issuer, token_endpoint }),
        issuer: sealed.issuer.clone(),
        sends_resource: sealed.sends_resource,
        parameters: parameters.collect::<Option<_>>()?,
        binds: sealed.dpop,
    })
}

impl SealedKind {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::ClientCredentials => Self::ClientCredentials,
            Kind::JwtBearer(assertion) => Self::JwtBearer(SealedSubject::of(assertion)),
            Kind::TokenExchange { subject: (subject, kind), actor, audience } => Self::TokenExchange {
                subject: SealedSubject::of(subject),
                subject_type: kind.0.clone(),
                actor: actor.as_ref().map(|(actor, kind)| (SealedSubject::of(actor), kind.0.clone())),
                audience: audience.clone(),
            },
            Kind::Enterprise { idp } => Self::Enterprise(idp.key()),
            Kind::Command(command) => Self::Command(SealedCommand::of(command)),
            Kind::Static(token) => Self::Static(hidden(token.expose())),
        }
    }

    fn open(&self) -> Option<Kind> {
        Some(match self {
            Self::ClientCredentials => Kind::ClientCredentials,
            Self::JwtBearer(assertion) => Kind::JwtBearer(assertion.open()?),
            Self::TokenExchange { subject, subject_type, actor, audience } => Kind::TokenExchange {
                subject: (subject.open()?, TokenType(subject_type.clone())),
                actor: match actor {
                    Some((actor, kind)) => Some((actor.open()?, TokenType(kind.clone()))),
                    None => None,
                },
                audience: audience.clone(),
            },
            Self::Enterprise(idp) => Kind::Enterprise { idp: ServerIdentity::from_key(idp).ok()? },
            Self::Command(command) => Kind::Command(command.open()?),
            Self::Static(token) => Kind::Static(AccessToken::new(shown(token)?)),
        })
    }
}

impl SealedSubject {
    fn of(subject: &SubjectToken) -> Self {
        match &subject.0 {
            From::File(path) => Self::File(path.clone()),
            From::Command(command) => Self::Command(SealedCommand::of(command)),
            From::Session(identity) => Self::Session(identity.key()),
            From::Fixed(token) => Self::Fixed(hidden(token.expose())),
        }
    }

    fn open(&self) -> Option<SubjectToken> {
        Some(SubjectToken(match self {
            Self::File(path) => From::File(path.clone()),
            Self::Command(command) => From::Command(command.open()?),
            Self::Session(key) => From::Session(ServerIdentity::from_key(key).ok()?),
            Self::Fixed(token) => From::Fixed(AccessToken::new(shown(token)?)),
        }))
    }
}

impl SealedCommand {
    fn of(command: &ExecCommand) -> Self {
        let timeout = command.timeout.as_millis();
        Self {
            program: command.program.clone(),
            arguments: command.arguments.iter().map(|argument| hidden(argument)).collect(),
            environment: command.environment.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
            timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX),
        }
    }

    fn open(&self) -> Option<ExecCommand> {
        let variables = self.environment.iter().map(|(name, value)| Some((name.clone(), shown(value)?)));
        Some(ExecCommand {
            program: self.program.clone(),
            arguments: self.arguments.iter().map(|argument| shown(argument)).collect::<Option<_>>()?,
            environment: variables.collect::<Option<_>>()?,
            timeout: Duration::from_millis(self.timeout_ms),
        })
    }
}

/// A text in Base64, in which no character needs an escape.
fn hidden(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(secret)
}

/// The text that [`hidden`] has encoded.
fn shown(hidden: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(hidden).ok()?).ok()
}

#[cfg(test)]
mod tests;
