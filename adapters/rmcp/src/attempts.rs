//! The attempts of one request, each with a lease of its own.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::Method;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokenkeeper::{Call, CallError, Destination, Next};

use crate::SessionError;
use crate::refusal::{Refusal, RefusalOf};
use crate::unsent::Note;

/// The reason why a request failed.
pub(crate) enum Failure<E: Error + Send + Sync + 'static> {
    /// The session did not send it, or not again.
    Session(SessionError),
    /// The inner client returned this error, which is the host's.
    Inner(StreamableHttpError<E>),
}

impl<E: Error + Send + Sync + 'static> From<Failure<E>> for StreamableHttpError<E> {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Session(error) => error.into_rmcp(),
            Failure::Inner(error) => error,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<CallError> for Failure<E> {
    fn from(error: CallError) -> Self {
        Self::Session(SessionError::new(error, None))
    }
}

/// Sends a request to `to` as often as `call` asks for. `send` sends one attempt with this token. `note` is called when the
/// request has to wait for a token, before it is sent and after a refusal.
pub(crate) async fn send_with<T, E, S, F>(
    mut call: Call,
    to: &Destination,
    method: &Method,
    note: impl Fn() -> Option<Note>,
    send: S,
) -> Result<T, Failure<E>>
where
    E: RefusalOf + Send + Sync + 'static,
    S: Fn(Option<String>) -> F,
    F: Future<Output = Result<T, StreamableHttpError<E>>>,
{
    let mut waiting = None;
    let mut challenge = None;
    loop {
        let authorization = {
            let mut authorizing = pin!(call.authorize(to, method));
            // A token at hand is returned by the first poll. Nothing is noted then.
            match first_poll(authorizing.as_mut()).await {
                Some(authorization) => authorization,
                None => {
                    waiting = waiting.or_else(&note);
                    authorizing.await
                }
            }
        };
        if let Some(note) = waiting.take() {
            note.settle();
        }
        let token = match authorization {
            Ok(None) => None,
            Ok(Some(authorization)) => match authorization.bearer() {
                Some(token) => Some(token.expose().to_owned()),
                // The request must not go without the proof, and rmcp has no place for one yet.
                None => return Err(CallError::BoundToken.into()),
            },
            Err(error) => return Err(Failure::Session(SessionError::new(error, challenge))),
        };
        let error = match send(token).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(refusal) = Refusal::of(&error) else { return Err(Failure::Inner(error)) };
        waiting = note();
        challenge = refusal.challenge.map(str::to_owned).or(challenge);
        let next = call.next_of(refusal.status, refusal.challenge.map(str::as_bytes)).await;
        if !matches!(next, Ok(Next::Again))
            && let Some(note) = waiting.take()
        {
            note.settle();
        }
        match next {
            Ok(Next::Again) => {}
            Ok(Next::Done) => return Err(Failure::Inner(error)),
            Err(error) => return Err(Failure::Session(SessionError::new(error, challenge))),
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
