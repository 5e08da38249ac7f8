//! The exchange of codes for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.6), and the grants that come of it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::LoginGrant;
use super::authorize::Asked;
use super::device;
use super::flaw::Flaw;
use super::site::Site;
use super::tally::present;
use crate::hostile::authority::{Authority, ChainId, Issued, Refusal};
use crate::hostile::clock::unix_seconds;
use crate::hostile::form::Form;
use crate::hostile::reply::Reply;

/// The lifetime of a code.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// An authorization code.
pub(super) struct Code {
    ordinal: usize,
    asked: Asked,
    subject: String,
    expires: Duration,
    /// Its first presentation, with the chain that came of it.
    spent: Option<Option<ChainId>>,
}

impl Code {
    pub(super) fn new(ordinal: usize, asked: Asked, subject: String, now: Duration) -> Self {
        Self { ordinal, asked, subject, expires: now.saturating_add(CODE_LIFETIME), spent: None }
    }
}

/// The grants of all persons.
#[derive(Default)]
pub(super) struct Grants(Vec<LoginGrant>);

impl Grants {
    pub(super) fn all(&self) -> Vec<LoginGrant> {
        self.0.clone()
    }

    pub(super) fn add(&mut self, grant: LoginGrant) {
        self.0.push(grant);
    }

    /// The person of one chain.
    pub(super) fn subject(&self, chain: ChainId) -> Option<&str> {
        self.0.iter().find(|grant| grant.chain == chain).map(|grant| &*grant.subject)
    }

    /// Ends all grants of a person and a client.
    pub(super) fn end_all(&self, authority: &mut Authority, client: &str, subject: &str) {
        for grant in self.0.iter().filter(|grant| grant.client == client && grant.subject == subject) {
            authority.end(grant.chain);
        }
    }

    /// Ends all grants of the person and the client of one chain.
    fn end_all_of(&self, authority: &mut Authority, chain: ChainId) {
        if let Some(grant) = self.0.iter().find(|grant| grant.chain == chain) {
            self.end_all(authority, &grant.client, &grant.subject);
        }
    }
}

/// An approved request for tokens.
pub(super) struct Approved<'a> {
    pub(super) client: &'a str,
    pub(super) subject: &'a str,
    pub(super) scope: &'a str,
    pub(super) resource: Option<&'a str>,
    pub(super) nonce: Option<&'a str>,
}

impl Site {
    /// Processes a token request.
    pub(in crate::hostile) fn token(
        &mut self,
        authority: &mut Authority,
        form: &Form,
        now: Duration,
    ) -> Result<Issued, Refusal> {
        let issued = match form.grant_type.as_deref() {
            Some("authorization_code") => self.exchange(authority, form, now)?,
            Some(device::GRANT_TYPE) => device::poll(self, authority, form, now)?,
            _ => {
                let answer = authority.token(form, now);
                if let Err(Refusal::Replayed { token_id, .. } | Refusal::Ended(token_id)) = &answer
                    && self.has(Flaw::GrantWideReuse)
                {
                    self.grants.end_all_of(authority, token_id.chain);
                }
                answer?
            }
        };
        Ok(issued)
    }

    /// Applies the flaws of the token endpoint's answers.
    pub(in crate::hostile) fn flawed_tokens(&self, reply: Reply) -> Reply {
        let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&reply.body) else { return reply };
        if self.has(Flaw::UnknownTokenType) && body.get("token_type").is_some() {
            body["token_type"] = "mac".into();
        }
        if let Some(members) = body.as_object_mut().filter(|_| self.has(Flaw::ScopeOmitted)) {
            members.remove("scope");
        }
        if body.get("error").is_some() {
            body["error_description"] = self.description("refused").into();
        }
        Reply { body: body.to_string().into(), ..reply }
    }

    /// Issues the tokens of a login.
    pub(super) fn issue(&mut self, authority: &mut Authority, approved: &Approved<'_>, now: Duration) -> Issued {
        let Approved { client, subject, scope, resource, nonce } = *approved;
        // A server that does not check the resource knows one only.
        let resource = resource.map_or_else(|| self.resource(), str::to_owned);
        let (token_id, mut issued) = authority.grant(client, &resource, scope, now);
        if self.has(Flaw::GrantWideReuse) {
            self.grants.end_all(authority, client, subject);
        }
        self.grants.add(LoginGrant { chain: token_id.chain, client: client.to_owned(), subject: subject.to_owned() });
        let has = |name: &str| scope.split(' ').any(|scope| scope == name);
        let registered = self.clients.get(client).is_none_or(super::registration::Known::may_refresh);
        let offline = !self.settings.refresh_needs_offline || has("offline_access");
        if self.has(Flaw::NoRefreshToken) || !registered || !offline {
            issued.refresh = None;
        }
        if has("openid") {
            issued.id_token = Some(id_token(&self.issuer(), client, subject, nonce));
        }
        self.tally.counts.logins += 1;
        issued
    }

    fn exchange(&mut self, authority: &mut Authority, form: &Form, now: Duration) -> Result<Issued, Refusal> {
        let presented = form.others.get("code");
        let ordinal = presented.and_then(|code| self.codes.get(code)).map(|code| format!("code-{}", code.ordinal));
        present(&mut self.tally.counts.codes, ordinal);
        authority.authenticate(&form.client)?;
        let presented = presented.ok_or(Refusal::Malformed)?;
        let code = self.codes.get_mut(presented).ok_or(Refusal::Unknown)?;
        if code.asked.client != form.client.id {
            return Err(Refusal::Unknown);
        }
        if let Some(chain) = code.spent {
            // The tokens of the first presentation are revoked (RFC 6749 section 4.1.2).
            self.tally.counts.code_replays += 1;
            if let Some(chain) = chain {
                authority.end(chain);
            }
            return Err(Refusal::Unknown);
        }
        // A refused presentation spends the code too, so that a verifier cannot be guessed.
        code.spent = Some(None);
        let other = |name: &str| form.others.get(name).map_or("", String::as_str);
        let verifier = other("code_verifier");
        if now >= code.expires
            || other("redirect_uri") != code.asked.redirect
            || !(43..=128).contains(&verifier.len())
            || s256(verifier) != code.asked.challenge
        {
            return Err(Refusal::Unknown);
        }
        if authority.rules.checks_resource && form.resources.iter().ne(&code.asked.resource) {
            return Err(Refusal::Resource);
        }
        let (asked, subject) = (code.asked.clone(), code.subject.clone());
        let approved = Approved {
            client: &asked.client,
            subject: &subject,
            scope: &asked.scope,
            resource: asked.resource.as_deref(),
            nonce: asked.nonce.as_deref(),
        };
        let issued = self.issue(authority, &approved, now);
        if let Some(code) = self.codes.get_mut(presented) {
            code.spent = Some(issued.token_id.map(|token_id| token_id.chain));
        }
        Ok(issued)
    }
}

/// The challenge of a verifier (RFC 7636 section 4.2).
fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// An unsigned ID token. It comes from the token endpoint itself, so a client need not check a signature (OpenID Connect
/// Core section 3.1.3.7).
fn id_token(issuer: &str, client: &str, subject: &str, nonce: Option<&str>) -> String {
    let now = unix_seconds();
    let mut claims = json!({ "iss": issuer, "sub": subject, "aud": client, "iat": now, "exp": now + 3600 });
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(json!({ "alg": "none" })), part(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(s256(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
