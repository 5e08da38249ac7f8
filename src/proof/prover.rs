//! The proofs of possession of requests to a resource. Those of token requests are made in `grant::proving`.

use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use std::sync::Arc;
use zeroize::Zeroizing;

use super::{HtTarget, Nonce, PROOF, ProofError, ProofKey, Proofs, Proven, Role};
use crate::http::{Body, Departure, Exchange, HttpClient, Reach};
use crate::{Lease, TokenKind};

/// The time-out of a request that asks for a nonce.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum length of the answer to that request in bytes. Only its headers are used.
const MAX_ANSWER: usize = 64 * 1024;

/// An MCP message that changes nothing even if the server processes it.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Makes the proofs of requests to resources, and asks the resources for nonces.
#[derive(Clone, Debug)]
pub(crate) struct Prover {
    pub(crate) proofs: Proofs,
    pub(crate) http: Arc<dyn HttpClient>,
}

/// A lease that is presented with a proof, at one target.
#[derive(Clone, Debug)]
pub(crate) struct BoundLease {
    proofs: Proofs,
    key: Arc<ProofKey>,
    lease: Lease,
    target: HtTarget,
    method: Method,
    /// The nonce of a challenge to this request.
    nonce: Option<Nonce>,
}

impl Prover {
    /// Binds an attempt with `lease` to its target, so that proofs can be made for it. `None` for a bearer token.
    ///
    /// # Errors
    ///
    /// The reason why there is no proof. A lease that should be bound is never presented as a bearer token.
    pub(crate) fn bind(
        prover: Option<&Self>,
        lease: &Lease,
        target: Option<&HtTarget>,
        method: &Method,
        nonce: Option<Nonce>,
    ) -> Result<Option<BoundLease>, ProofError> {
        let key = match (lease.kind(), lease.proof_key()) {
            (TokenKind::Bearer, None) => return Ok(None),
            (TokenKind::Bearer, Some(_)) => return Err(ProofError::NotBound),
            (TokenKind::Dpop, key) if ProofKey::IS_SUPPORTED => key.ok_or(ProofError::NoKey)?,
            (TokenKind::Dpop, _) => return Err(ProofError::Unsupported),
        };
        let (Some(prover), Some(target)) = (prover, target) else { return Err(ProofError::Unsupported) };
        let key = prover.proofs.key(key).ok_or(ProofError::NoKey)?;
        let (proofs, lease) = (prover.proofs.clone(), lease.clone());
        Ok(Some(BoundLease { proofs, key, lease, target: target.clone(), method: method.clone(), nonce }))
    }

    /// Asks the resource for a nonce, for a client that does not expose the headers of answers. `seen` is the number of nonces
    /// that had arrived before the challenge. If another call has received a newer one since, nothing is sent. Returns whether
    /// there is a newer nonce.
    pub(crate) async fn ask(&self, bound: &BoundLease, seen: u64) -> bool {
        let _asking = self.proofs.asking(&bound.target).await;
        let heard = || self.proofs.nonces_heard(Role::Resource, &bound.target);
        if heard() > seen {
            return true;
        }
        let Ok(uri) = bound.target.htu().parse() else { return false };
        let mut request = Request::new(Body::new(PING));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        BoundLease { method: Method::POST, ..bound.clone() }.apply(headers);
        let departure = Departure::at_any_time();
        let exchange = Exchange { request, timeout: TIMEOUT, max_answer: MAX_ANSWER, departure, reach: Reach::Any };
        if let Ok(answer) = self.http.send(exchange).await {
            bound.heard(answer.status(), answer.headers());
        }
        heard() > seen
    }
}

impl BoundLease {
    /// Puts the token and a new proof into a request's headers (RFC 9449 section 7.1). If no proof can be made, both
    /// headers are removed.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let token = self.lease.token();
        let proven = Proven {
            role: Role::Resource,
            method: &self.method,
            target: &self.target,
            token: Some(token),
            nonce: self.nonce.as_ref(),
        };
        let mut text = Zeroizing::new(String::with_capacity("DPoP ".len() + token.expose().len()));
        text.push_str("DPoP ");
        text.push_str(token.expose());
        match (HeaderValue::from_str(&text), self.proofs.proof(&self.key, proven)) {
            (Ok(mut value), Some(proof)) => {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
                headers.insert(PROOF, proof);
            }
            _ => {
                headers.remove(AUTHORIZATION);
                headers.remove(PROOF);
            }
        }
    }

    /// Remembers the nonce and the clock in the headers of an answer to the request. Returns the nonce.
    pub(crate) fn heard(&self, status: StatusCode, headers: &HeaderMap) -> Option<Nonce> {
        // Only a 401 is used, because other answers may come from a cache, with an old `Date`.
        if status == StatusCode::UNAUTHORIZED {
            self.proofs.heard_date(Role::Resource, &self.target, headers);
        }
        self.proofs.heard_nonce(Role::Resource, &self.target, headers)
    }

    /// The number of nonces that the resource has sent.
    pub(crate) fn nonces_heard(&self) -> u64 {
        self.proofs.nonces_heard(Role::Resource, &self.target)
    }

    /// The error for a proof that was refused.
    pub(crate) fn refused(&self) -> ProofError {
        ProofError::Refused { skew: self.proofs.skew(Role::Resource, &self.target) }
    }
}
