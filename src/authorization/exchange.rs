//! Requests of a login to the token endpoint and to the endpoints beside it, and their answers.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use tokenkeeper_actors::law::ledger::LoginAccess;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Profiles, Refused};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::login::IssuedLogin;
use tokenkeeper_actors::values::record::{Client, RenewalPlan};
use tokenkeeper_actors::values::{DpopKey, LoginReason, Moment, TokenKind};

use super::pending::PendingAuthorization;
use super::{sign_on, subject};
use crate::grant::{BodyFormat, Signing, answer_for, is_of_unknown_type, token_request};
use crate::http::{Body, Departure, Exchange, HttpClient, HttpError, Reach, decode};
use crate::issuers::Dialect;
use crate::issuers::providers::Providers;
use crate::machine::idp_session;
use crate::proof::{HtTarget, PROOF, PROOF_REFUSED, Proofs, Role, WANTS_NONCE};

/// The maximum length of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Sends the requests of logins.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) providers: Providers,
    pub(crate) profiles: Profiles,
    pub(crate) proofs: Proofs,
}

/// An answer, with the time at which its request was sent.
pub(super) struct Answer {
    response: Response<Body>,
    asked: Moment,
}

/// The destination of a request, which is an endpoint that a server named, and the client that authenticates there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint<'a> {
    pub(super) url: &'a str,
    pub(super) client: &'a Client,
    pub(super) reach: Reach,
    /// The issuer identifier, which is the audience of the assertion with which a client signs its requests.
    pub(super) issuer: &'a str,
}

/// The reason why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// No byte left this machine.
    NotSent(LoginReason),
    /// Bytes may have left.
    Lost,
}

impl Exchanges {
    /// The dialect of the provider of `renewal`.
    pub(super) fn dialect(&self, renewal: &RenewalPlan) -> Dialect {
        self.providers.dialect(renewal.provider.as_ref())
    }

    /// Posts a form, authenticated by the client's own method, at most once. No redirect is followed.
    pub(super) async fn post(
        &self,
        to: Endpoint<'_>,
        parameters: Vec<(&str, &str)>,
        format: BodyFormat,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        self.post_with(to, None, parameters, format, timeout).await
    }

    /// Like [`post`](Self::post), with a proof of possession in the header `DPoP` if there is one.
    async fn post_with(
        &self,
        to: Endpoint<'_>,
        proof: Option<HeaderValue>,
        parameters: Vec<(&str, &str)>,
        format: BodyFormat,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let signing = Signing { issuer: to.issuer, now: self.clock.now().wall };
        let request = token_request(to.url, to.client, parameters, format, signing);
        // There is no request if the client's authentication method is not supported, or if the endpoint may receive no
        // secrets.
        let mut request = request.ok_or(Unanswered::NotSent(LoginReason::ClientRejected))?;
        request.headers_mut().extend(proof.map(|proof| (PROOF, proof)));
        let asked = self.clock.now();
        let exchange =
            Exchange { request, timeout, max_answer: MAX_ANSWER, departure: Departure::at_any_time(), reach: to.reach };
        let sent = self.http.send(exchange).await;
        match sent.and_then(|answer| decode(answer, MAX_ANSWER).map_err(HttpError::MaybeSent)) {
            Ok(response) => Ok(Answer { response, asked }),
            Err(HttpError::NotSent(_)) => Err(Unanswered::NotSent(LoginReason::Unreachable)),
            Err(HttpError::MaybeSent(_)) => Err(Unanswered::Lost),
        }
    }

    /// Posts a form to the token endpoint, with a proof of `key` if there is one. Otherwise like [`post`](Self::post).
    ///
    /// A server that demands a nonce has not processed the request (RFC 9449 section 8), so the request is sent once more
    /// with the nonce. A server that refused the proof may have spent the code, so that request is not repeated. The
    /// server's clock is noted for the next login.
    pub(super) async fn post_for_tokens(
        &self,
        to: Endpoint<'_>,
        key: Option<&DpopKey>,
        parameters: Vec<(&str, &str)>,
        format: BodyFormat,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let Some(key) = key else { return self.post(to, parameters, format, timeout).await };
        let unusable = Unanswered::NotSent(LoginReason::NotBound);
        let target = HtTarget::of(to.url).ok_or(unusable)?;
        let begun = self.clock.now().elapsed;
        let proof = || self.proofs.for_token_endpoint(to.url, key).ok_or(unusable);
        let answer = self.post_with(to, Some(proof()?), parameters.clone(), format, timeout).await?;
        if !self.wants_nonce(&answer, &target) {
            return Ok(answer);
        }
        let left = timeout.saturating_sub(self.clock.now().elapsed.since(begun));
        let answer = self.post_with(to, Some(proof()?), parameters, format, left).await?;
        // The nonce of this answer is for the next request.
        self.wants_nonce(&answer, &target);
        Ok(answer)
    }

    /// Notes the nonce and the date of an answer. Returns whether the answer demands the nonce that it brought.
    fn wants_nonce(&self, answer: &Answer, target: &HtTarget) -> bool {
        let (role, headers) = (Role::Authorization, answer.response.headers());
        let has_nonce = self.proofs.heard_nonce(role, target, headers).is_some();
        self.proofs.heard_date(role, target, headers);
        let is_refusal = matches!(answer.response.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
        is_refusal && has_nonce && answer.error(&Profile::default()).as_deref() == Some(WANTS_NONCE)
    }

    /// Reads the answer of a token endpoint. The error is the reason why there are no tokens.
    pub(super) fn tokens(
        &self,
        answer: &Answer,
        pending: &PendingAuthorization,
        renewal: RenewalPlan,
    ) -> Result<Box<IssuedLogin>, LoginReason> {
        let profile = self.profiles.of(&renewal);
        let evidence = answer_for(&profile, &answer.response, answer.asked, self.clock.now().wall);
        let tokens = match evidence {
            Evidence::Tokens(tokens) => tokens,
            Evidence::Refused(refused) => return Err(reason(&profile, &refused)),
            _ => return Err(LoginReason::ServerTrouble),
        };
        let key = pending.proof_key();
        if key.is_some() && tokens.kind != TokenKind::Dpop {
            return Err(LoginReason::NotBound);
        }
        // A token of an unknown type, or one that is bound to a key of which this client knows nothing, must not be used (RFC
        // 6749 section 7.1).
        if (key.is_none() && tokens.kind == TokenKind::Dpop) || is_of_unknown_type(&answer.response) {
            return Err(LoginReason::Refused);
        }
        let requested = pending.requested();
        let body = answer.response.body().as_bytes();
        let access = if renewal.source == idp_session() {
            // The ID token is the lease of this session, so a login without one is of no use.
            Some(sign_on::id_token(body, answer.asked).ok_or(LoginReason::Refused)?)
        } else {
            let access = LoginAccess { token: tokens.access, kind: tokens.kind, validity: tokens.validity };
            Some(access).filter(|access| access.token.is_well_formed())
        };
        Ok(Box::new(IssuedLogin {
            binding: pending.binding(),
            // By RFC 6749 section 5.1, the granted scopes are the requested ones unless the answer names others.
            granted: tokens.granted.unwrap_or_else(|| requested.clone()),
            requested,
            subject: subject::of_answer(body, &pending.issuer),
            dpop_key: key,
            renewal,
            refresh: tokens.refresh,
            access,
        }))
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Whether the answer shows that there is no such endpoint at the URL.
    pub(super) fn is_gone(&self, profile: &Profile) -> bool {
        let gone = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
        gone.contains(&self.response.status()) && self.error(profile).is_none()
    }

    /// The answer as JSON.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(self.response.body().as_bytes()).ok()
    }

    /// The reason for an answer that is no success.
    pub(super) fn refusal(&self, profile: &Profile) -> LoginReason {
        match answer_for(profile, &self.response, self.asked, self.asked.wall) {
            Evidence::Refused(refused) => reason(profile, &refused),
            _ => LoginReason::ServerTrouble,
        }
    }

    /// The error code of a refusal (RFC 6749 section 5.2), in any of the formats in which tokens are read.
    pub(super) fn error(&self, profile: &Profile) -> Option<String> {
        match answer_for(profile, &self.response, self.asked, self.asked.wall) {
            Evidence::Refused(refused) => refused.error,
            _ => None,
        }
    }
}

/// The reason for a refusal of a token endpoint, or of an endpoint that answers alike.
fn reason(profile: &Profile, refused: &Refused) -> LoginReason {
    match &refused.error {
        Some(word) if profile.client_words.contains(word) => LoginReason::ClientRejected,
        // Zoho limits requests with a word that means elsewhere that the person has declined.
        Some(word) if profile.unspent_words.contains(word) => LoginReason::ServerTrouble,
        Some(word) if word == "access_denied" => LoginReason::Denied,
        Some(word) if word == WANTS_NONCE || word == PROOF_REFUSED => LoginReason::ProofRefused,
        _ if refused.status == 429 || refused.status >= 500 => LoginReason::ServerTrouble,
        _ => LoginReason::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_word_for_trouble_is_no_answer_of_the_person() {
        let refused = Refused { status: 400, error: Some("access_denied".to_owned()), retry_after: None };
        assert_eq!(reason(&Profile::default(), &refused), LoginReason::Denied);
        let zoho = Profile { unspent_words: vec!["access_denied".to_owned()], ..Profile::default() };
        assert_eq!(reason(&zoho, &refused), LoginReason::ServerTrouble);
    }
}
