//! The attempts of one request.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::StatusCode;
use pin_project_lite::pin_project;
use tokenkeeper::{Call, CallError, Destination, Next};
use tower_service::Service;

use crate::{Incoming, Outgoing, SendError};

/// Makes a copy of a request, if that is possible.
pub(crate) type Again<R> = Arc<dyn Fn(&R) -> Option<R> + Send + Sync>;

type Answer<S, R> = Result<<S as Service<R>>::Response, SendError<<S as Service<R>>::Error>>;

pin_project! {
    /// The future of a [`SessionService`](crate::SessionService).
    ///
    /// If a request is sent with the token at hand, and the token is not refused, the future allocates nothing. All other
    /// requests wait, and their waits are boxed.
    #[must_use = "futures do nothing unless polled"]
    pub struct SessionFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R>,
    }
}

pin_project! {
    #[project = StateOf]
    enum State<S, R>
    where
        S: Service<R>,
    {
        // The request is sent unchanged, and the caller gets any answer.
        Untouched { #[pin] answer: S::Future },
        // The first attempt, with the token at hand. The answer takes `rest`, which it needs to decide.
        Sent { #[pin] answer: S::Future, rest: Option<Rest<S, R>> },
        // A wait for a token, or an attempt after one.
        Waiting { attempts: Pin<Box<dyn Future<Output = Answer<S, R>> + Send>> },
        // The request failed before it was sent. The first poll takes the error.
        Failed { error: Option<CallError> },
    }
}

/// The state that decides about an attempt's answer, and the copy of the request for another attempt.
struct Rest<S, R> {
    sending: Sending<S, R>,
    copy: Option<R>,
}

/// One request's state between its attempts.
pub(crate) struct Sending<S, R> {
    service: S,
    call: Call,
    to: Destination,
    again: Again<R>,
}

impl<S: Service<R>, R> SessionFuture<S, R> {
    pub(crate) fn untouched(answer: S::Future) -> Self {
        Self { state: State::Untouched { answer } }
    }

    pub(crate) fn failed(error: CallError) -> Self {
        Self { state: State::Failed { error: Some(error) } }
    }
}

impl<S, R> Future for SessionFuture<S, R>
where
    S: Service<R> + Send + 'static,
    S::Response: Incoming,
    S::Future: Send,
    R: Outgoing,
{
    type Output = Answer<S, R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateOf::Untouched { answer } => return answer.poll(context).map_err(SendError::Inner),
                StateOf::Waiting { attempts } => return attempts.as_mut().poll(context),
                // A future that is polled after its end stays pending.
                StateOf::Failed { error } => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error.into())));
                }
                StateOf::Sent { answer, rest } => {
                    let answer = ready!(answer.poll(context)).map_err(SendError::Inner)?;
                    let Some(Rest { mut sending, copy }) = rest.take() else { return Poll::Pending };
                    if sending.is_done(&answer) {
                        return Poll::Ready(Ok(answer));
                    }
                    State::Waiting { attempts: Box::pin(sending.go_on(answer, copy)) }
                }
            };
            // The attempt's own future is dropped here, with its permit if the service has permits.
            state.set(next);
        }
    }
}

impl<S, R> Sending<S, R> {
    #[inline]
    pub(crate) fn new(service: S, call: Call, to: Destination, again: Again<R>) -> Self {
        Self { service, call, to, again }
    }
}

impl<S, R> Sending<S, R>
where
    S: Service<R> + Send + 'static,
    S::Response: Incoming,
    S::Future: Send,
    R: Outgoing,
{
    /// Sends the request, at once if the session has a token at hand. `service` is ready.
    #[inline]
    pub(crate) fn begin(mut self, mut request: R) -> SessionFuture<S, R> {
        let authorization = match self.call.at_hand(&self.to, request.method()) {
            Ok(Some(authorization)) => authorization,
            Ok(None) => return SessionFuture { state: State::Waiting { attempts: Box::pin(self.attempts(request)) } },
            Err(error) => return SessionFuture::failed(error),
        };
        let copy = (self.again)(&request);
        authorization.apply(request.headers_mut());
        let answer = self.service.call(request);
        SessionFuture { state: State::Sent { answer, rest: Some(Rest { sending: self, copy }) } }
    }

    /// All attempts of the request. `service` is ready.
    pub(crate) async fn attempts(mut self, mut request: R) -> Answer<S, R> {
        loop {
            let method = request.method().clone();
            let authorization = self.call.authorize(&self.to, &method).await?;
            let copy = (self.again)(&request);
            if let Some(authorization) = authorization {
                authorization.apply(request.headers_mut());
            }
            let answer = self.service.call(request).await.map_err(SendError::Inner)?;
            request = match self.answered(answer, copy).await? {
                Answered::Done(answer) => return Ok(answer),
                Answered::Again(copy) => copy,
            };
        }
    }

    /// The attempts after the first one, which was refused with `answer`.
    async fn go_on(mut self, answer: S::Response, copy: Option<R>) -> Answer<S, R> {
        let copy = match self.answered(answer, copy).await? {
            Answered::Done(answer) => return Ok(answer),
            Answered::Again(copy) => copy,
        };
        self.attempts(copy).await
    }

    /// Decides about an answer. After it has returned `Again`, `service` is ready.
    async fn answered(
        &mut self,
        answer: S::Response,
        copy: Option<R>,
    ) -> Result<Answered<S::Response, R>, SendError<S::Error>> {
        if self.is_done(&answer) {
            return Ok(Answered::Done(answer));
        }
        // The headers are cloned, because a borrow of the answer across an await would require answers that are `Sync`.
        let headers = answer.headers().clone();
        match (self.call.next(answer.status(), &headers).await?, copy) {
            (Next::Again, Some(copy)) => {
                // After the drop, the connection of the answer is closed, or free for the next attempt.
                drop(answer);
                poll_fn(|context| self.service.poll_ready(context)).await.map_err(SendError::Inner)?;
                Ok(Answered::Again(copy))
            }
            // If the request cannot be sent again, the caller gets the refusal, which the session has noted.
            (Next::Again, None) | (Next::Done, _) => Ok(Answered::Done(answer)),
        }
    }

    /// Whether the caller gets the answer without any wait. The call decides about these answers, too.
    fn is_done(&mut self, answer: &S::Response) -> bool {
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return false;
        }
        let next = at_once(pin!(self.call.next(answer.status(), answer.headers())));
        matches!(next, Some(Ok(Next::Done)))
    }
}

/// The decision about an answer.
enum Answered<A, R> {
    /// The caller gets the answer.
    Done(A),
    /// The request is sent again.
    Again(R),
}

impl<S: Service<R>, R> fmt::Debug for SessionFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}

/// The result of a future that is ready at its first poll. `None` if it is not ready. The future is not polled again.
fn at_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
