//! One request to a resource, with a lease for each attempt, bounded repeats, and the interpretation of refusals.

mod authorization;
mod destination;
mod error;
mod report;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::WWW_AUTHENTICATE;
use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokenkeeper_actors::values;

use crate::discovery::Challenge;
use crate::proof::{BoundLease, Nonce, PROOF_REFUSED, Prover, WANTS_NONCE};
use crate::{AuthSession, Generation, Lease, OperationKey, Reason, TokenError, TokenOptions};

pub use authorization::Authorization;
pub use destination::{Destination, Misdirected};
pub use error::{CallError, StepUp};
use report::Report;

/// The default time that a call waits for tokens.
const PATIENCE: Duration = Duration::from_secs(30);

/// The maximum number of times that a request is sent again after a refusal. The second repeat is needed if another
/// caller's refusal invalidated the new token while the request was on its way.
const MAX_REPEATS: u32 = 2;

impl AuthSession {
    /// Begins a call. `operation` names the operation at the resource, so that a refusal that no refresh cures is remembered
    /// for this operation only (law 11).
    #[inline]
    pub fn call(&self, operation: OperationKey) -> Call {
        Call {
            session: self.clone(),
            operation,
            patience: PATIENCE,
            min_lifetime: Duration::ZERO,
            sent: None,
            was_refused: false,
            challenge: None,
            repeats: 0,
            max_repeats: MAX_REPEATS,
            is_elsewhere: false,
            bound: None,
            nonces_heard: 0,
            proofs: Proofs::default(),
        }
    }
}

/// One request to a resource, with a lease for each attempt and a decision after each answer.
///
/// It sends nothing itself, so it serves any HTTP client. Every attempt is [authorized](Self::authorize), and every answer's
/// status and headers go to [`next`](Self::next).
///
/// ```no_run
/// use http::{HeaderMap, Method, StatusCode};
/// use tokenkeeper::{AuthSession, CallError, Destination, Next, OperationKey};
///
/// # async fn send(_url: &str, headers: HeaderMap) -> (StatusCode, HeaderMap) { (StatusCode::OK, headers) }
/// async fn search(session: &AuthSession, to: &Destination) -> Result<StatusCode, CallError> {
///     let mut call = session.call(OperationKey::of("tools/call search"));
///     loop {
///         let mut headers = HeaderMap::new();
///         if let Some(authorization) = call.authorize(to, &Method::POST).await? {
///             authorization.apply(&mut headers);
///         }
///         let (status, headers) = send(to.url(), headers).await; // of the host's own client, which follows no redirects
///         match call.next(status, &headers).await? {
///             Next::Again => continue,
///             Next::Done => return Ok(status),
///         }
///     }
/// }
/// ```
///
/// # Bounds
///
/// All attempts together wait for tokens no longer than [`patience`](Self::patience), and a request is sent at most three
/// times. The time in which the host sends is not counted.
///
/// A request whose token is bound to a key is sent once more with each token if the server asks for a nonce (RFC 9449 section
/// 9), and once more if it refuses the proof, for example because of a clock. In both cases the token itself was not refused,
/// and is not refreshed.
///
/// The host's client must follow no redirects, except to URLs that have a [`Destination`]. A redirect would carry the token
/// to another server.
#[derive(Debug)]
pub struct Call {
    session: AuthSession,
    operation: OperationKey,
    /// The time for which this call may still wait for tokens, of its [`patience`](Self::patience).
    patience: Duration,
    min_lifetime: Duration,
    /// The lease of the last attempt. `None` if it was sent without one.
    sent: Option<Lease>,
    /// Whether the server has answered 401, so that sending without a token cannot help.
    was_refused: bool,
    /// The challenge of the last refusal.
    challenge: Option<Arc<Challenge>>,
    repeats: u32,
    max_repeats: u32,
    /// Whether the request goes to another server than the session's own. The challenges of that server are not used.
    is_elsewhere: bool,
    /// The last attempt, if its token is bound to a key.
    bound: Option<Arc<BoundLease>>,
    /// The number of nonces that the resource had sent before the last attempt.
    nonces_heard: u64,
    proofs: Proofs,
}

/// The repeats of a request with the same lease and another proof.
#[derive(Debug, Default)]
struct Proofs {
    /// The nonce for the next attempt, which the resource has demanded.
    nonce: Option<Nonce>,
    /// Whether the request was repeated because the server asked for a nonce.
    has_answered: bool,
    /// Whether the request was repeated because the server refused a proof.
    has_corrected: bool,
}

/// The decision after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "`Again` asks for another attempt"]
pub enum Next {
    /// The call is over, and the caller uses the answer. The answer may have any status.
    Done,
    /// The request is authorized and sent again, with another token, or with the same token and another proof (DPoP).
    Again,
}

impl Call {
    /// The same call, which waits for tokens for at most `span` in all. Default: 30 s.
    #[must_use]
    pub fn patience(self, span: Duration) -> Self {
        Self { patience: span, ..self }
    }

    /// The same call, whose tokens live at least `span` longer ([`TokenOptions::min_lifetime`]). Default: no limit.
    #[must_use]
    pub fn min_lifetime(self, span: Duration) -> Self {
        Self { min_lifetime: span, ..self }
    }

    /// The same call, whose requests go to an endpoint elsewhere that takes the session's tokens ([`Destination::elsewhere`]),
    /// and are sent again at most `max_repeats` times after a refusal.
    #[must_use]
    pub(crate) fn elsewhere(self, max_repeats: u32) -> Self {
        Self { is_elsewhere: true, max_repeats, ..self }
    }

    /// The generation of the lease that the last attempt was sent with. `None` if there was none.
    pub fn generation(&self) -> Option<Generation> {
        self.sent.as_ref().map(Lease::generation)
    }

    /// Returns the authorization of the next attempt, which goes to `to` with `method`.
    ///
    /// `None` means that the identity never signed in, and that the server has not asked for a login in this call. The request
    /// is then sent without a header, because only a 401 shows that a server wants a login. A session that was logged out,
    /// whose grant has ended or that is parked returns an error. Its requests are never sent without a token.
    ///
    /// `method` is part of a proof of possession (RFC 9449 section 4.2), and so is the destination's URL without its query. A
    /// bearer token ignores both.
    ///
    /// # Errors
    ///
    /// [`CallError::Misdirected`] if another session made the destination. [`CallError::Token`] with the reason why there is no
    /// token, at the latest when the patience has run out. [`CallError::Proof`] for a token that needs a proof of possession,
    /// if none can be made.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. A refresh that has begun goes on.
    pub async fn authorize(&mut self, to: &Destination, method: &Method) -> Result<Option<Authorization>, CallError> {
        if let Some(authorization) = self.at_hand(to, method)? {
            return Ok(Some(authorization));
        }
        match self.lease().await {
            Ok(lease) => Ok(Some(self.authorization(lease, to, method)?)),
            Err(error) if error.reason() == Reason::NeverSignedIn && !self.was_refused => {
                (self.sent, self.bound) = (None, None);
                Ok(None)
            }
            Err(error) => Err(self.no_token(error)),
        }
    }

    /// Returns the authorization of the next attempt without a future, if the session's lease is fresh. Returns `None` if
    /// [`authorize`](Self::authorize) may have to wait.
    ///
    /// # Errors
    ///
    /// [`CallError::Misdirected`] and [`CallError::Proof`], as [`authorize`](Self::authorize).
    #[inline]
    pub fn at_hand(&mut self, to: &Destination, method: &Method) -> Result<Option<Authorization>, CallError> {
        if !to.belongs_to(self.session.identity()) {
            return Err(Misdirected::OtherSession.into());
        }
        if !self.min_lifetime.is_zero() {
            return Ok(None);
        }
        self.session.at_hand().map(|lease| self.authorization(lease, to, method)).transpose()
    }

    #[inline]
    fn authorization(&mut self, lease: Lease, to: &Destination, method: &Method) -> Result<Authorization, CallError> {
        let nonce = self.proofs.nonce.take();
        let bound = Prover::bind(self.session.proofs(), &lease, to.target(), method, nonce)?;
        self.bound = bound.map(Arc::new);
        self.nonces_heard = self.bound.as_ref().map_or(0, |bound| bound.nonces_heard());
        self.sent = Some(lease.clone());
        Ok(Authorization::new(lease, self.bound.clone()))
    }

    /// Decides after the answer to the last attempt whether the request is sent again.
    ///
    /// After a 401 the refused lease is invalidated, and [`Next::Again`] asks for another attempt, at most twice. All callers
    /// with the refused lease share one refresh. A 401 to a request without a token asks for a login, unless the session
    /// has signed in meanwhile. A challenge with `insufficient_scope` (RFC 6750 section 3.1) is a [`StepUp`] and never a
    /// refresh. Any other answer ends the call with [`Next::Done`], even a 403 without that challenge.
    ///
    /// # Errors
    ///
    /// [`CallError::StepUp`] if the token lacks scopes. [`CallError::Token`] with the reason why there is no other token. Its
    /// reason is `ResourceRefuses` if the server refuses fresh tokens, too (law 11). [`CallError::Proof`] if the server refuses
    /// the proofs of possession. The caller may use the answer itself in each case.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any await. Once the future was polled, the refusal is noted. The method may be called again with the
    /// same answer.
    pub async fn next(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<Next, CallError> {
        let seen_nonce = self.bound.as_ref().map(|bound| bound.heard(status, headers));
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
        self.decide(status, challenges, seen_nonce).await
    }

    /// Like [`next`](Self::next), for a client that does not expose the header map. `challenges` are the values of the answer's
    /// `WWW-Authenticate` headers that it kept. There may be none.
    ///
    /// If the server wants a nonce, it is in a header that such a client does not expose. The runtime's own HTTP client then
    /// asks the resource for a nonce with a `ping`, once for all calls that wait for one.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Cancellation
    ///
    /// As [`next`](Self::next).
    pub async fn next_of<'h>(
        &mut self,
        status: StatusCode,
        challenges: impl IntoIterator<Item = &'h [u8]> + Send,
    ) -> Result<Next, CallError> {
        self.decide(status, challenges, None).await
    }

    /// Decides on an answer. `seen_nonce` is the nonce in its headers, if there is one, or `None` if no headers were seen.
    async fn decide<'h>(
        &mut self,
        status: StatusCode,
        challenges: impl IntoIterator<Item = &'h [u8]> + Send,
        seen_nonce: Option<Option<Nonce>>,
    ) -> Result<Next, CallError> {
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(Next::Done);
        }
        let challenges = Challenge::read(challenges);
        if status == StatusCode::UNAUTHORIZED
            && let Some(bound) = self.bound.clone()
        {
            let has = |word| challenges.iter().any(|challenge| challenge.error() == Some(word));
            if has(WANTS_NONCE) {
                return self.nonce_wanted(&bound, seen_nonce).await;
            }
            if has(PROOF_REFUSED) {
                let is_first = !std::mem::replace(&mut self.proofs.has_corrected, true);
                return if is_first { Ok(Next::Again) } else { Err(bound.refused().into()) };
            }
        }
        let lacks_scope = challenges.iter().find(|challenge| challenge.is_insufficient_scope());
        match (lacks_scope, self.sent.clone()) {
            (Some(challenge), Some(lease)) => {
                Err(StepUp::new(self.session.clone(), &lease, self.operation, challenge.clone()).into())
            }
            // A 403 for another reason is none of the session's.
            (None, _) if status == StatusCode::FORBIDDEN => Ok(Next::Done),
            // A 401, or a demand for scopes after a request without a token.
            (_, lease) => self.refused(lease, &challenges).await,
        }
    }

    /// Answers a challenge with a nonce, once with each lease. `seen_nonce` is as in [`decide`](Self::decide).
    async fn nonce_wanted(&mut self, bound: &BoundLease, seen_nonce: Option<Option<Nonce>>) -> Result<Next, CallError> {
        if self.proofs.has_answered {
            return Err(bound.refused().into());
        }
        let has_nonce = match (seen_nonce, self.session.proofs().cloned()) {
            (Some(nonce), _) => {
                // The nonce of this challenge is used, not the latest one, because a server may accept each nonce once.
                self.proofs.nonce = nonce;
                self.proofs.nonce.is_some()
            }
            // The client does not expose the headers of the answer, so that the runtime asks for a nonce itself.
            (None, Some(prover)) => {
                let asking = prover.ask(bound, self.nonces_heard);
                self.within(self.patience, asking).await.unwrap_or_default()
            }
            (None, None) => false,
        };
        // This is set after the wait, which may be dropped and begun again.
        self.proofs.has_answered = true;
        if has_nonce { Ok(Next::Again) } else { Err(bound.refused().into()) }
    }

    /// Takes another lease after a refusal of `lease`, or of a request without one.
    async fn refused(&mut self, lease: Option<Lease>, challenges: &[Challenge]) -> Result<Next, CallError> {
        self.was_refused = true;
        self.challenge = Challenge::for_discovery(challenges).cloned().map(Arc::new);
        let session = self.session.clone();
        let report = lease.map(|lease| Report::new(session.clone(), lease, self.operation, Challenge::key(challenges)));
        if let Some(challenge) = self.challenge.clone().filter(|_| !self.is_elsewhere) {
            // The metadata may be slow. The look-up goes on after the time-out, and half of the patience is left for the
            // refresh.
            self.within(self.patience / 2, session.challenged(&challenge)).await;
        }
        let result = match report {
            Some(report) => {
                self.within(self.patience, report.make()).await.unwrap_or_else(|| Err(error(Reason::DeadlinePassed)))
            }
            None => self.lease().await.map(drop),
        };
        result.map_err(|error| self.no_token(error))?;
        if self.repeats == self.max_repeats {
            return Err(self.no_token(error(Reason::ResourceRefuses)));
        }
        self.repeats += 1;
        self.proofs = Proofs::default();
        Ok(Next::Again)
    }

    async fn lease(&mut self) -> Result<Lease, TokenError> {
        let begun = self.session.engine.now().elapsed;
        let options =
            TokenOptions { timeout: self.patience, min_lifetime: self.min_lifetime, ..TokenOptions::default() };
        let lease = self.session.token_with(options).await;
        self.patience = self.patience.saturating_sub(self.session.engine.now().elapsed.since(begun));
        lease
    }

    /// Waits for `wait` for at most `span`, and takes the time from the patience. `None` if the time has run out. Polls `wait`
    /// at least once, so that a report takes effect.
    async fn within<T>(&mut self, span: Duration, wait: impl Future<Output = T>) -> Option<T> {
        let begun = self.session.engine.now().elapsed;
        #[expect(
            clippy::disallowed_methods,
            reason = "the time-out bounds a report, which takes effect once it was polled"
        )]
        let done = tokio::time::timeout(span, wait).await.ok();
        self.patience = self.patience.saturating_sub(self.session.engine.now().elapsed.since(begun));
        done
    }

    fn no_token(&self, error: TokenError) -> CallError {
        CallError::Token { error, challenge: self.challenge.clone() }
    }
}

fn error(reason: Reason) -> TokenError {
    values::TokenError::new(reason).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_and_errors_cross_threads() {
        fn crosses<T: Send>(_: &T) {}
        fn is_shared<T: Clone + Send + Sync + 'static>() {}
        // The closure is never called. Only its types are checked.
        let _futures = |call: &mut Call, to: &Destination, headers: &HeaderMap| {
            crosses(&call.authorize(to, &Method::POST));
            crosses(&call.next(StatusCode::OK, headers));
            crosses(&call.next_of(StatusCode::OK, [b"Bearer".as_slice()]));
        };
        let _login = |session: &AuthSession| crosses(&session.signed_in());
        let _step_up = |step_up: &StepUp, method| crosses(&step_up.begin(method, PATIENCE));
        is_shared::<CallError>();
        is_shared::<Destination>();
        is_shared::<Authorization>();
    }
}
