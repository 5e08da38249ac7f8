//! The command that a person can run if a session needs a person.

use tokenkeeper::engine::values::record::{ClientAuth, Record};
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{CallError, Reason, ServerIdentity};

use crate::home::HomeArguments;
use crate::neighbour;
use crate::paint::harmless;

/// The commands that help one session, according to its record.
#[derive(Clone, Debug)]
pub(crate) struct Remedy {
    login: String,
    renewal: RenewalKind,
}

/// The way in which a session that has no token can be helped.
#[derive(Clone, Debug)]
enum RenewalKind {
    /// A person signs in to it.
    Person,
    /// A person signs in at its identity provider, with this command.
    SignOn(String),
    /// No command is known, because the session was signed in with options that the record does not contain. If its tokens come
    /// from a file or a command, this is its name.
    Machine(Option<String>),
}

impl Remedy {
    /// The remedy of `identity`, whose record is in `store`.
    pub(crate) async fn of(home: &HomeArguments, store: &FileStore, identity: &ServerIdentity) -> Self {
        let record = store.inspect(identity).await.ok().flatten();
        let grant = record.and_then(|record| MachineGrant::of_plan(&record.grant()?.renewal));
        let renewal = match &grant {
            None => RenewalKind::Person,
            Some(grant) => match grant.other_session() {
                Some(other) => RenewalKind::SignOn(sign_on(home, store, other).await),
                None => RenewalKind::Machine(grant.origin()),
            },
        };
        Self { login: home.login_command(identity), renewal }
    }

    /// The command that signs in, at the server or at its identity provider.
    pub(crate) fn login(&self) -> &str {
        match &self.renewal {
            RenewalKind::SignOn(command) => command,
            RenewalKind::Person | RenewalKind::Machine(_) => &self.login,
        }
    }

    /// The command that helps after this error, if there is one.
    pub(crate) fn command(&self, error: &CallError) -> Option<String> {
        match (&self.renewal, error) {
            (RenewalKind::Person, CallError::StepUp(step_up)) => {
                let scopes: Vec<_> = step_up.scopes().iter().map(str::to_owned).collect();
                let scopes = shlex::try_quote(&scopes.join(" ")).ok()?.into_owned();
                Some(format!("{} --again --scope {scopes}", self.login))
            }
            (RenewalKind::Person, error) => error.is_login_required().then(|| self.login.clone()),
            (RenewalKind::SignOn(command), error) => is_sign_on(error).then(|| command.clone()),
            (RenewalKind::Machine(_), _) => None,
        }
    }

    /// A sentence for the person whose session has no token for this reason, if there is one.
    pub(crate) async fn hint(&self, store: &FileStore, identity: &ServerIdentity, reason: Reason) -> Option<String> {
        match (reason, &self.renewal) {
            (Reason::NeverSignedIn, _) => neighbour::hint(store, identity).await,
            (Reason::SignOnRequired, RenewalKind::SignOn(command)) => {
                Some(format!("{command} signs in at the identity provider of {identity}"))
            }
            (Reason::SubjectUnavailable, RenewalKind::Machine(Some(origin))) => {
                let origin = harmless(origin);
                Some(format!("the tokens of {identity} come from {origin}"))
            }
            _ => None,
        }
    }
}

/// Whether a person has to sign in, at the server or at its identity provider.
pub(crate) fn needs_person(error: &CallError) -> bool {
    error.is_login_required() || is_sign_on(error)
}

fn is_sign_on(error: &CallError) -> bool {
    error.token_error().is_some_and(|error| error.reason() == Reason::SignOnRequired)
}

#[cfg(test)]
impl From<&str> for Remedy {
    fn from(login: &str) -> Self {
        Self { login: login.to_owned(), renewal: RenewalKind::Person }
    }
}

/// The command that signs in at the identity provider whose session is `other`, with the client of that session.
async fn sign_on(home: &HomeArguments, store: &FileStore, other: &ServerIdentity) -> String {
    let mut command = home.login_command(other);
    let record = store.inspect(other).await.ok().flatten();
    let Some(grant) = record.as_deref().and_then(Record::grant) else { return command };
    let client = &grant.binding.client;
    if let Ok(id) = shlex::try_quote(&client.id) {
        command.push_str(&format!(" --client-id {id}"));
        command.push_str(match client.auth {
            ClientAuth::None => "",
            ClientAuth::PrivateKeyJwt => " --client-key FILE",
            _ => " --client-secret-file FILE",
        });
    }
    command
}

#[cfg(test)]
mod tests {
    use tokenkeeper::engine::values::TokenError;

    use super::*;

    fn error(reason: Reason) -> CallError {
        CallError::Token { error: TokenError::new(reason).into(), challenge: None }
    }

    #[test]
    fn a_command_is_named_only_where_it_helps() {
        let (login, sign_on) = ("tokenkeeper login https://a.example/mcp", "tokenkeeper login idp:https://idp.example");
        let of = |renewal| Remedy { login: login.to_owned(), renewal };
        let person = of(RenewalKind::Person);
        let drawn = of(RenewalKind::SignOn(sign_on.to_owned()));
        let machine = of(RenewalKind::Machine(None));
        let (ended, asked, down) =
            (error(Reason::GrantEnded), error(Reason::SignOnRequired), error(Reason::Unreachable));
        assert_eq!(person.command(&ended).as_deref(), Some(login));
        assert_eq!(drawn.command(&asked).as_deref(), Some(sign_on));
        assert_eq!((person.login(), drawn.login(), machine.login()), (login, sign_on, login));
        for (remedy, error) in
            [(&person, &down), (&drawn, &ended), (&drawn, &down), (&machine, &ended), (&machine, &asked)]
        {
            assert_eq!(remedy.command(error), None, "{remedy:?} {error}");
        }
        assert!(needs_person(&ended) && needs_person(&asked) && !needs_person(&down));
    }
}
