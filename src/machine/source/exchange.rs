//! The token requests of each kind of machine grant that needs an authorization server.

use std::time::Duration;

use tokenkeeper_actors::law::profile::{Evidence, Tokens, Trouble};
use tokenkeeper_actors::values::record::Binding;
use tokenkeeper_actors::values::{AccessToken, ElapsedTime, Reason, ServerIdentity, Validity};

use super::super::credential::Credential;
use super::super::grant::MachineGrant;
use super::super::idp::Token;
use super::super::judge::{self, unavailable};
use super::super::kinds::Kind;
use super::super::subject::{SubjectToken, TokenType};
use super::{Ask, MachineSource, Parameters};
use crate::RenewalPlan;
use crate::grant::{ID_JAG, TOKEN_EXCHANGE};
use crate::http::Departure;

const CLIENT_CREDENTIALS: &str = "client_credentials";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl MachineSource {
    /// Makes the requests of a grant at an authorization server.
    pub(super) async fn exchange(
        &self,
        identity: &ServerIdentity,
        grant: &MachineGrant,
        kind: &Kind,
        ask: Ask<'_>,
        deadline: ElapsedTime,
    ) -> Result<Box<Tokens>, Evidence> {
        match kind {
            Kind::ClientCredentials => self.tokens(grant, ask, vec![("grant_type", CLIENT_CREDENTIALS)]).await,
            Kind::JwtBearer(assertion) => {
                let subject = self.subject(identity, assertion, deadline).await?;
                let assertion = subject.token.expose();
                self.tokens(grant, ask, vec![("grant_type", JWT_BEARER), ("assertion", assertion)]).await
            }
            Kind::TokenExchange { subject: (token, token_type), actor, audience } => {
                let subject = self.subject(identity, token, deadline).await?;
                let acting = match actor {
                    Some((actor, kind)) => Some((self.subject(identity, actor, deadline).await?, kind)),
                    None => None,
                };
                let mut parameters = of_subject(&subject.token, token_type);
                parameters.push(("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"));
                if let Some((actor, kind)) = &acting {
                    parameters.extend([("actor_token", actor.token.expose()), ("actor_token_type", kind.as_str())]);
                }
                parameters.extend(audience.as_deref().map(|audience| ("audience", audience)));
                let mut tokens = self.tokens(grant, ask, parameters).await?;
                let lifetime = judge::within(tokens.validity.lifetime(), subject.lifetime);
                tokens.validity = Validity::new(tokens.validity.anchored(), lifetime);
                Ok(tokens)
            }
            Kind::Enterprise { idp } => {
                let assertion = self.id_jag(identity, idp, grant, ask.binding, deadline).await?;
                // The deadline for sending applied to the first request, which has been sent.
                let ask = Ask { departure: Departure::at_any_time(), timeout: self.left(deadline), ..ask };
                let parameters = vec![("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
                self.tokens(grant, ask, parameters).await
            }
            Kind::Command(_) | Kind::Static(_) => Err(unavailable(Reason::RequestRefused)),
        }
    }

    /// Sends the token request of the session itself.
    async fn tokens(
        &self,
        grant: &MachineGrant,
        ask: Ask<'_>,
        mut parameters: Parameters<'_>,
    ) -> Result<Box<Tokens>, Evidence> {
        let scope = grant.scope();
        let (binding, is_bound) = (ask.binding, ask.key.is_some());
        complete(&mut parameters, grant, binding, scope.as_deref());
        let (answer, asked) = self.send(ask, parameters).await?;
        let profile = self.profiles.of(&RenewalPlan::default());
        judge::tokens(&profile, &answer, asked, self.clock.now(), is_bound)
    }

    /// Exchanges the ID token for an identity assertion authorization grant (ID-JAG) at the identity provider. An ID-JAG is an
    /// assertion for one authorization server, and is used once.
    async fn id_jag(
        &self,
        identity: &ServerIdentity,
        idp: &ServerIdentity,
        grant: &MachineGrant,
        binding: &Binding,
        deadline: ElapsedTime,
    ) -> Result<AccessToken, Evidence> {
        if let Some(assertion) = self.others.assertion(identity) {
            return Ok(assertion);
        }
        let drawn = self.others.token(identity).map_err(Evidence::Unavailable)?;
        let (server, plan) = drawn.server.as_ref().ok_or_else(|| unavailable(Reason::SignOnRequired))?;
        let id_token = self.alive(&drawn)?;
        let kind = TokenType::id_token();
        let mut parameters = of_subject(&id_token.token, &kind);
        let wanted = grant.id_jag(binding);
        parameters.extend(wanted.iter().map(|(name, value)| (*name, value.as_str())));
        let ask = Ask {
            identity,
            binding: server,
            client: &server.client,
            key: None,
            reach: self.refresh.reach_of(plan, idp),
            departure: Departure::at_any_time(),
            timeout: self.left(deadline),
        };
        let (answer, asked) = self.send(ask, parameters).await.map_err(judge::elsewhere)?;
        let profile = self.profiles.of(plan);
        let failed = match judge::issued(&profile, &answer, asked, self.clock.now(), ID_JAG) {
            Ok(assertion) => return Ok(assertion),
            Err(failed) => failed,
        };
        match failed {
            // The identity provider no longer accepts the ID token. The next attempt gets a new one.
            Evidence::Unavailable(Trouble { reason: Reason::CredentialRejected, .. })
                if judge::refuses_grant(&profile, &answer) =>
            {
                self.others.refused(idp, &drawn.lease).await.map_err(Evidence::Unavailable)?;
                Err(unavailable(Reason::Aborted))
            }
            evidence => Err(judge::elsewhere(evidence)),
        }
    }

    /// Reads the token that a request begins with.
    async fn subject(
        &self,
        identity: &ServerIdentity,
        token: &SubjectToken,
        deadline: ElapsedTime,
    ) -> Result<Credential, Evidence> {
        if token.session_identity().is_some() {
            let drawn = self.others.token(identity).map_err(Evidence::Unavailable)?;
            return self.alive(&drawn);
        }
        let credential = token.read(self.clock.now(), self.left(deadline)).await;
        credential.ok_or_else(|| unavailable(Reason::SubjectUnavailable))
    }

    /// The token of another session, unless it has expired since it was obtained.
    fn alive(&self, drawn: &Token) -> Result<Credential, Evidence> {
        let now = self.clock.now();
        let validity = drawn.lease.validity();
        if !validity.outlasts(Duration::ZERO, &now) {
            return Err(unavailable(Reason::Aborted));
        }
        Ok(Credential { token: drawn.lease.token().clone(), lifetime: validity.remaining(&now) })
    }
}

/// The parameters of an exchange of this token (RFC 8693 section 2.1).
fn of_subject<'a>(token: &'a AccessToken, kind: &'a TokenType) -> Parameters<'a> {
    vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", token.expose()), ("subject_token_type", kind.as_str())]
}

/// Adds the parameters that every grant has, and then the host's. Names that the request has already are left out, and so
/// are names that begin with `client_`, which belong to the client's authentication.
fn complete<'a>(
    parameters: &mut Parameters<'a>,
    grant: &'a MachineGrant,
    binding: &'a Binding,
    scope: Option<&'a str>,
) {
    parameters.extend(binding.resource.as_deref().map(|resource| ("resource", resource)));
    parameters.extend(scope.map(|scope| ("scope", scope)));
    for (name, value) in &grant.parameters {
        let is_there = parameters.iter().any(|(known, _)| known == name) || name.starts_with("client_");
        if !is_there {
            parameters.push((name, value));
        }
    }
}
