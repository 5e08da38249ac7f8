//! Errands, which are token exchanges that present a session's refresh token as their subject (RFC 8693 section 2.1), in place of
//! a refresh.
//!
//! A server may replace a refresh token for each such exchange. It is therefore presented by the one flight of its session,
//! and it is marked like any other refresh token. The exchanges of a session wait here for its flights, each of which makes
//! one.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Response;
use serde::Deserialize;
use tokenkeeper_actors::law::profile::{Evidence, Refused};
use tokenkeeper_actors::values::{AccessToken, ServerIdentity, TokenKind, Validity};
use tokio::sync::oneshot;

use crate::http::Body;

/// The parameters of an exchange beside its subject.
pub(crate) type Wanted = Vec<(&'static str, String)>;

/// The answer to an exchange. An error is the definite refusal of the server.
pub(crate) type Exchanged = Result<AccessToken, Refused>;

/// The exchanges that wait, by the session whose refresh token they present.
#[derive(Debug, Default)]
pub(crate) struct Errands(Mutex<BTreeMap<ServerIdentity, VecDeque<Errand>>>);

/// An exchange that waits.
#[derive(Debug)]
struct Errand {
    wanted: Wanted,
    reply: oneshot::Sender<Exchanged>,
}

impl Errands {
    /// Puts an exchange behind those that wait. The exchange is given up when the receiver is dropped.
    pub(crate) fn put(&self, identity: &ServerIdentity, wanted: Wanted) -> oneshot::Receiver<Exchanged> {
        let (reply, receiver) = oneshot::channel();
        self.all().entry(identity.clone()).or_default().push_back(Errand { wanted, reply });
        receiver
    }

    /// The exchange that is next. It stays the next one until it is [concluded](Self::conclude).
    pub(super) fn next(&self, identity: &ServerIdentity) -> Option<Wanted> {
        let mut all = self.all();
        let waiting = all.get_mut(identity)?;
        while waiting.front().is_some_and(|errand| errand.reply.is_closed()) {
            waiting.pop_front();
        }
        if waiting.is_empty() {
            all.remove(identity);
            return None;
        }
        waiting.front().map(|errand| errand.wanted.clone())
    }

    /// Answers the next exchange, if the evidence of its request is a definite answer. The session keeps the refresh token of
    /// that answer, and no access token of its own.
    pub(super) fn conclude(&self, identity: &ServerIdentity, evidence: &mut Evidence, answer: &Response<Body>) {
        let exchanged = match evidence {
            Evidence::Tokens(tokens) => {
                // The assertion is for another session, and is of no use as this session's lease. Without a lifetime it is
                // never refreshed early.
                tokens.validity = Validity::new(tokens.validity.anchored(), None);
                tokens.kind = TokenKind::Bearer;
                let token = Some(tokens.access.clone()).filter(|token| token.is_well_formed() && is_assertion(answer));
                token.ok_or_else(Refused::default)
            }
            Evidence::Refused(refused) if refused.error.is_some() && (400..429).contains(&refused.status) => {
                Err(refused.clone())
            }
            _ => return,
        };
        let errand = self.all().get_mut(identity).and_then(VecDeque::pop_front);
        if let Some(errand) = errand {
            // The caller may have dropped the receiver.
            drop(errand.reply.send(exchanged));
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ServerIdentity, VecDeque<Errand>>> {
        // The queues are consistent between two statements, so a panic of another thread does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the answer brings an identity assertion authorization grant (ID-JAG). The token of an answer that does not name its
/// type is taken for one.
fn is_assertion(answer: &Response<Body>) -> bool {
    #[derive(Deserialize)]
    struct Issued<'a> {
        #[serde(borrow)]
        issued_token_type: Option<Cow<'a, str>>,
    }
    let issued = serde_json::from_slice::<Issued<'_>>(answer.body().as_bytes()).ok();
    issued.and_then(|issued| issued.issued_token_type).is_none_or(|issued| issued == ID_JAG)
}

/// The grant type of a token exchange (RFC 8693 section 2.1).
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The type of an identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant).
pub(crate) const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The type of a refresh token (RFC 8693 section 3).
pub(super) const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
