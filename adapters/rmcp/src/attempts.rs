//! The attempts of one request, each with its own lease.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::{HeaderMap, Method};
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokenkeeper::{Authorization, Call, CallError, Destination, Next};

use crate::SessionError;
use crate::messages::Headers;
use crate::refusal::{Refusal, RefusalOf};
use crate::unsent::Note;

/// The attempts of one request. Each attempt begins with its [`token`](Self::token). After an error, [`again`](Self::again)
/// decides whether there is another attempt.
pub(crate) struct Attempts<N> {
    call: Call,
    to: Destination,
    method: Method,
    /// Called when the request has to wait for a token, before it is sent and after a refusal.
    note: N,
    waiting: Option<Note>,
    /// The challenge of the last refusal.
    challenge: Option<String>,
}

impl<N: Fn() -> Option<Note>> Attempts<N> {
    pub(crate) fn new(call: Call, to: Destination, method: Method, note: N) -> Self {
        Self { call, to, method, note, waiting: None, challenge: None }
    }

    /// Returns the token of the next attempt, and the headers to send with it. There is no token if the attempt is sent without
    /// one. A token that is bound to a key is in the headers, with its proof, because rmcp would present it as a bearer token.
    pub(crate) async fn token(&mut self, headers: &Headers) -> Result<(Option<String>, Headers), SessionError> {
        let authorization = match self.call.at_hand(&self.to, &self.method) {
            // The request does not wait, so it is not noted.
            Ok(Some(authorization)) => Ok(Some(authorization)),
            // The wait is boxed, because few messages wait. Otherwise the future of every message would be larger.
            Ok(None) => Box::pin(self.awaited()).await,
            Err(error) => Err(error),
        };
        self.settle();
        match authorization {
            Ok(None) => Ok((None, headers.clone())),
            Ok(Some(authorization)) => match authorization.bearer() {
                Some(token) => Ok((Some(token.expose().to_owned()), headers.clone())),
                None => {
                    let (mut headers, mut proven) = (headers.clone(), HeaderMap::new());
                    authorization.apply(&mut proven);
                    headers.extend(proven.into_iter().filter_map(|(name, value)| Some((name?, value))));
                    Ok((None, headers))
                }
            },
            Err(error) => Err(SessionError::new(error, self.challenge.take())),
        }
    }

    /// Waits for the authorization of the next attempt. The request is noted, unless the authorization is there at once.
    async fn awaited(&mut self) -> Result<Option<Authorization>, CallError> {
        let mut authorizing = pin!(self.call.authorize(&self.to, &self.method));
        match first_poll(authorizing.as_mut()).await {
            Some(authorization) => authorization,
            None => {
                self.waiting = self.waiting.take().or_else(&self.note);
                authorizing.await
            }
        }
    }

    /// Returns `Ok` if the request is to be sent again after `error`, and otherwise the error of the request.
    pub(crate) async fn again<E>(&mut self, error: StreamableHttpError<E>) -> Result<(), StreamableHttpError<E>>
    where
        E: RefusalOf + Send + Sync + 'static,
    {
        let Some(refusal) = Refusal::of(&error) else { return Err(error) };
        self.waiting = (self.note)();
        if let Some(challenge) = refusal.challenge {
            self.challenge = Some(challenge.to_owned());
        }
        match self.call.next_of(refusal.status, refusal.challenge.map(str::as_bytes)).await {
            Ok(Next::Again) => Ok(()),
            Ok(Next::Done) => {
                self.settle();
                Err(error)
            }
            Err(own) => {
                self.settle();
                Err(SessionError::new(own, self.challenge.take()).into_rmcp())
            }
        }
    }

    /// Removes the note that the request waits, because it is sent now, or has failed.
    fn settle(&mut self) {
        if let Some(note) = self.waiting.take() {
            note.settle();
        }
    }
}

/// Polls a future once. Returns its value if it has one.
async fn first_poll<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
