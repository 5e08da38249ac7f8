//! The meaning of a token endpoint's answers for machine grants, which spend nothing and need no login.

use std::borrow::Cow;
use std::time::Duration;

use http::Response;
use serde::Deserialize;
use tokenkeeper_actors::law::profile::{Evidence, Lost, Profile, Refused, Tokens, Trouble};
use tokenkeeper_actors::values::{AccessToken, Moment, Reason, TokenKind};

use crate::grant::{answer_for, is_of_unknown_type};
use crate::http::{Body, HttpError, MaybeSent};

/// The error codes of a server that wants the person to sign on again (OpenID Connect Core section 3.1.2.6, RFC 9470
/// section 3).
pub(super) const SIGN_ON_WORDS: [&str; 5] = [
    "account_selection_required",
    "consent_required",
    "insufficient_user_authentication",
    "interaction_required",
    "login_required",
];

/// The failure for this reason.
pub(super) fn unavailable(reason: Reason) -> Evidence {
    Evidence::Unavailable(Trouble::new(reason))
}

/// The evidence for a request without a complete answer.
pub(super) fn unanswered(error: HttpError) -> Evidence {
    match error {
        HttpError::NotSent(why) => Evidence::NotSent(why),
        HttpError::MaybeSent(MaybeSent::TimedOut) => Evidence::Lost(Lost::TimedOut),
        HttpError::MaybeSent(MaybeSent::Broken | MaybeSent::TooLarge) => Evidence::Lost(Lost::Broken),
    }
}

/// Reads the answer of a token endpoint. `asked` is the moment at which the request began, and `now` is the present.
/// `is_bound` states whether the grant's tokens are bound to a key.
///
/// # Errors
///
/// The evidence for an answer without a token that can be used.
pub(super) fn tokens(
    profile: &Profile,
    answer: &Response<Body>,
    asked: Moment,
    now: Moment,
    is_bound: bool,
) -> Result<Box<Tokens>, Evidence> {
    match answer_for(profile, answer, asked, now.wall) {
        Evidence::Tokens(tokens) if is_bound && tokens.kind == TokenKind::Bearer => {
            drop(tokens);
            Err(unavailable(Reason::NotBound))
        }
        // A token of an unknown type, or one that is bound to an unknown key, must not be used (RFC 6749 section 7.1).
        Evidence::Tokens(tokens) if (!is_bound && tokens.kind == TokenKind::Dpop) || is_of_unknown_type(answer) => {
            drop(tokens);
            Err(unavailable(Reason::RequestRefused))
        }
        Evidence::Tokens(tokens) if !tokens.access.is_well_formed() => Err(unavailable(Reason::ServerTrouble)),
        Evidence::Tokens(tokens) => Ok(tokens),
        Evidence::Refused(refused) => Err(refusal(profile, refused)),
        evidence => Err(evidence),
    }
}

/// Reads the answer to an exchange for a token of this type (RFC 8693 section 2.2.1), which is not meant for a resource.
///
/// # Errors
///
/// The evidence for an answer without such a token.
pub(super) fn issued(
    profile: &Profile,
    answer: &Response<Body>,
    asked: Moment,
    now: Moment,
    wanted: &str,
) -> Result<AccessToken, Evidence> {
    #[derive(Deserialize)]
    struct Issued<'a> {
        #[serde(borrow)]
        issued_token_type: Option<Cow<'a, str>>,
    }
    match answer_for(profile, answer, asked, now.wall) {
        Evidence::Tokens(tokens) => {
            let issued = serde_json::from_slice::<Issued<'_>>(answer.body().as_bytes()).ok();
            let issued = issued.and_then(|issued| issued.issued_token_type);
            // An access token must not be presented as an assertion.
            let is_wanted = issued.is_none_or(|issued| issued == wanted);
            let access = Some(tokens.access).filter(|token| is_wanted && token.is_well_formed());
            access.ok_or_else(|| unavailable(Reason::RequestRefused))
        }
        Evidence::Refused(refused) => Err(refusal(profile, refused)),
        evidence => Err(evidence),
    }
}

/// Whether the answer refuses the token that was exchanged, and not the client.
pub(super) fn refuses_grant(profile: &Profile, answer: &Response<Body>) -> bool {
    match answer_for(profile, answer, Moment::default(), Moment::default().wall) {
        Evidence::Refused(refused) => refused.error.is_some_and(|word| profile.dead_words.contains(&word)),
        _ => false,
    }
}

/// The evidence for a refusal. A login of a person at this server would not help, so the evidence never asks for one.
pub(super) fn refusal(profile: &Profile, refused: Refused) -> Evidence {
    let word = refused.error.as_deref().unwrap_or_default();
    let is_one_of = |words: &[String]| words.iter().any(|known| known == word);
    let judged = (200..500).contains(&refused.status) && refused.status != 429;
    match refused.status {
        _ if !judged => {}
        _ if word == "access_denied" => return unavailable(Reason::PolicyDenied),
        _ if SIGN_ON_WORDS.contains(&word) => return unavailable(Reason::SignOnRequired),
        _ if is_one_of(&profile.client_words) || is_one_of(&profile.dead_words) => {
            return unavailable(Reason::CredentialRejected);
        }
        _ => {}
    }
    // An unknown code is dropped, because it may repeat a secret of the request.
    Evidence::Refused(Refused { error: refused.error.filter(|word| profile.knows(word)), ..refused })
}

/// The evidence of a request to another server than the session's own. A throttle of that server does not concern the issuer
/// of the session, so it pauses only this session.
pub(super) fn elsewhere(evidence: Evidence) -> Evidence {
    match evidence {
        Evidence::Refused(refused) => {
            Evidence::Unavailable(Trouble { reason: refused.reason(), retry_after: refused.throttle() })
        }
        Evidence::Lost(_) => unavailable(Reason::ServerTrouble),
        evidence => evidence,
    }
}

/// The shorter of the lifetimes of a token and of its subject, as far as they are known.
pub(super) fn within(lifetime: Option<Duration>, subject: Option<Duration>) -> Option<Duration> {
    match (lifetime, subject) {
        (Some(lifetime), Some(subject)) => Some(lifetime.min(subject)),
        (lifetime, subject) => lifetime.or(subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(status: u16, word: &str) -> Option<Reason> {
        let refused = Refused { status, error: Some(word.to_owned()), retry_after: None };
        match refusal(&Profile::default(), refused) {
            Evidence::Unavailable(trouble) => Some(trouble.reason),
            _ => None,
        }
    }

    #[test]
    fn no_refusal_leads_to_a_login_of_a_person_at_the_server() {
        assert_eq!(reason(401, "invalid_client"), Some(Reason::CredentialRejected));
        assert_eq!(reason(400, "invalid_grant"), Some(Reason::CredentialRejected));
        assert_eq!(reason(403, "access_denied"), Some(Reason::PolicyDenied));
        for word in SIGN_ON_WORDS {
            assert_eq!(reason(400, word), Some(Reason::SignOnRequired), "{word}");
        }
        for (status, word) in [(400, "invalid_scope"), (429, "access_denied"), (503, "invalid_grant"), (400, "hush")] {
            assert_eq!(reason(status, word), None, "{status} {word}");
        }
        let all =
            [Reason::CredentialRejected, Reason::PolicyDenied, Reason::SignOnRequired, Reason::SubjectUnavailable];
        assert!(all.iter().all(|reason| !reason.is_login_required()));
    }

    #[test]
    fn an_unknown_code_is_not_repeated() {
        let refused = Refused { status: 400, error: Some("client-secret".to_owned()), retry_after: None };
        let Evidence::Refused(refused) = refusal(&Profile::default(), refused) else { panic!("no refusal") };
        assert_eq!(refused.error, None);
    }

    #[test]
    fn a_token_lives_no_longer_than_its_subject() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(within(s(60), s(30)), s(30));
        assert_eq!(within(s(60), None), s(60));
        assert_eq!(within(None, s(30)), s(30));
    }
}
