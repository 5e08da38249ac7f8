//! Requests of a login to the token endpoint and to the endpoints beside it, and their answers.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use tokenkeeper_actors::law::ledger::LoginAccess;
use tokenkeeper_actors::law::profile::{Evidence, Profile, Profiles, Refused};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::login::IssuedLogin;
use tokenkeeper_actors::values::record::{Client, RenewalPlan};
use tokenkeeper_actors::values::{LoginReason, Moment, TokenKind};

use super::pending::PendingAuthorization;
use super::subject;
use crate::grant::{BodyFormat, Signing, answer_for, is_of_unknown_type, token_request};
use crate::http::{Body, Departure, Exchange, HttpClient, HttpError, Reach, decode};

/// The maximum length of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Sends the requests of logins.
#[derive(Clone, Debug)]
pub(super) struct Exchanges {
    pub(super) http: Arc<dyn HttpClient>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) profiles: Profiles,
}

/// An answer, with the time at which it was asked for.
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
    /// The audience of a client that signs its requests.
    pub(super) issuer: &'a str,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// No byte left this machine.
    NotSent(LoginReason),
    /// Bytes may have left.
    Lost,
}

impl Exchanges {
    /// Posts a form, authenticated by the client's own method, at most once. No redirect is followed.
    pub(super) async fn post(
        &self,
        to: Endpoint<'_>,
        parameters: Vec<(&str, &str)>,
        format: BodyFormat,
        timeout: Duration,
    ) -> Result<Answer, Unanswered> {
        let signing = Signing { issuer: to.issuer, now: self.clock.now().wall };
        let request = token_request(to.url, to.client, parameters, format, signing);
        // The client authenticates in a way that is not supported, or the endpoint may receive no secrets.
        let request = request.ok_or(Unanswered::NotSent(LoginReason::ClientRejected))?;
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
        // A token of an unknown type, or one that is bound to a key of which this client knows nothing, must not be used (RFC
        // 6749 section 7.1).
        if tokens.kind == TokenKind::Dpop || is_of_unknown_type(&answer.response) {
            return Err(LoginReason::Refused);
        }
        let requested = pending.requested();
        let access = LoginAccess { token: tokens.access, kind: tokens.kind, validity: tokens.validity };
        Ok(Box::new(IssuedLogin {
            binding: pending.binding(),
            // RFC 6749 section 5.1. The scopes are those that were asked for, unless the answer names others.
            granted: tokens.granted.unwrap_or_else(|| requested.clone()),
            requested,
            subject: subject::of_answer(answer.response.body().as_bytes(), &pending.issuer),
            dpop_key: None,
            renewal,
            refresh: tokens.refresh,
            access: Some(access).filter(|access| access.token.is_well_formed()),
        }))
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Whether there is no endpoint at the URL.
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
        Some(word) if word == "access_denied" => LoginReason::Denied,
        _ if refused.status == 429 || refused.status >= 500 => LoginReason::ServerTrouble,
        _ => LoginReason::Refused,
    }
}
