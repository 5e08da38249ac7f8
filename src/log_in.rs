//! A complete login for hosts with one person ([`AuthSession::log_in`]). The prompt is shown through the host's
//! [`Interaction`], its answer is awaited, and the login is completed.

mod entrance;
mod interaction;
mod request;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::callback::{CallbackError, pasted};
use crate::{AttemptId, AuthSession, Callback, LoginKey, LoginOffer, LoginProgress, LoginReason, SignInError};

use entrance::{Arrival, Entrance};

pub use interaction::{Interaction, InteractionError, Prompt, Step};
pub use request::{LogIn, Way};

/// The maximum wait for the redemption of an answer. A redemption takes less time, even if it waits for the store.
const REDEMPTION: Duration = Duration::from_secs(120);

/// The result of a login that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoggedIn {
    /// The session was signed in already, and nothing was asked.
    Already,
    /// The person has signed in.
    Here,
    /// The person has signed in at the prompt of another process.
    Elsewhere,
}

impl AuthSession {
    /// Signs a person in. It begins a login or joins the one under way, shows it through `interaction`, which is the
    /// host's way to the person, takes the answer from the browser or as pasted, and returns once the login is stored.
    ///
    /// The first answer with the login's `state` counts, whether it comes from the browser or is pasted (RFC 6749 section
    /// 10.12). If the person closes the tab, only the time-out ends the wait. If another process asks the person, this one
    /// waits for its result, and shows the same request again if that process dies.
    ///
    /// # Errors
    ///
    /// [`InteractionError::Listen`] if the required port is taken. Otherwise [`InteractionError::SignIn`] with the
    /// [`LoginReason`]. After [`LogIn::timeout`] the reason is `DeadlinePassed`, and the login stays open.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. The listener is closed, and the attempt goes on (law 18) until it is answered in another way, expires, or
    /// is cancelled with [`cancel_login`](Self::cancel_login). An answer that has arrived is redeemed. A further call joins the
    /// attempt, shows the same request, and listens at the same address.
    pub async fn log_in(&self, request: LogIn, interaction: &dyn Interaction) -> Result<LoggedIn, InteractionError> {
        let registered = if request.names_port() { Vec::new() } else { self.registered_redirects().await };
        let mut entrance = Entrance::open(&request, &registered, interaction).await?;
        interaction.progress(Step::Preparing);
        let wish = request.wish(entrance.method.clone());
        let mut progress = self.begin_login(wish.clone(), request.cause(), request.timeout).await?;
        // Only a dynamically registered client can be replaced. A configured one would be the same in the next attempt.
        let mut renews_client = self.logins().is_none_or(|logins| logins.registers_clients());
        let mut end = LoggedIn::Already;
        let mut is_again = false;
        loop {
            progress = match progress {
                LoginProgress::SignedIn => return Ok(end),
                LoginProgress::Cancelled => return Err(SignInError::new(LoginReason::Cancelled).into()),
                LoginProgress::Elsewhere { attempt } => {
                    end = LoggedIn::Elsewhere;
                    interaction.progress(Step::AskedElsewhere);
                    if let Some(prompt) = self.prompt_elsewhere().await {
                        interaction.asked_elsewhere(&prompt);
                    }
                    self.login_done(attempt, request.timeout).await?
                }
                LoginProgress::Offered { attempt, key, offer, is_first } => {
                    end = LoggedIn::Here;
                    entrance.move_to(&offer.prompt).await;
                    let prompt = self.prompt(*offer, is_first, is_again, &entrance);
                    interaction.progress(Step::Asking);
                    match self.answered(attempt, key, &prompt, &entrance, interaction, request.timeout).await {
                        // The server has forgotten the client, and the source has removed the registration. The person is
                        // asked once more.
                        Err(error) if error.reason() == LoginReason::ClientRejected && renews_client => {
                            renews_client = false;
                            self.begin_login(wish.clone(), request.cause(), request.timeout).await?
                        }
                        progress => progress?,
                    }
                }
            };
            is_again = true;
        }
    }

    /// Returns the loopback redirect addresses that are registered for this session, the best first. A host that listens for
    /// the answer itself binds the first one whose port is free, so that the client of an earlier login is used again.
    /// [`log_in`](Self::log_in) does this. Empty if no address is registered, or the store cannot be read.
    ///
    /// # Cancellation
    ///
    /// Safe to drop.
    pub async fn registered_redirects(&self) -> Vec<String> {
        match self.logins() {
            Some(logins) => logins.registered_redirects(self.identity()).await,
            None => Vec::new(),
        }
    }

    /// The request of another process, if it can be read.
    async fn prompt_elsewhere(&self) -> Option<Prompt> {
        let offer = self.engine.open_offer().await?;
        Some(Prompt {
            identity: self.identity().clone(),
            prompt: offer.prompt,
            expires: offer.expires,
            is_first: false,
            is_again: false,
            is_listening: false,
            takes_paste: false,
        })
    }

    fn prompt(&self, offer: LoginOffer, is_first: bool, is_again: bool, entrance: &Entrance) -> Prompt {
        let is_listening = entrance.is_listening();
        // Another caller or process may have begun the login with other settings. Without a listener here, only a pasted
        // answer can arrive.
        let takes_paste = entrance.takes_paste || !is_listening;
        Prompt {
            identity: self.identity().clone(),
            takes_paste: takes_paste && matches!(offer.prompt, crate::OfferedPrompt::Browser { .. }),
            prompt: offer.prompt,
            expires: offer.expires,
            is_first,
            is_again,
            is_listening,
        }
    }

    /// Shows the request, and waits for its first answer or its end.
    async fn answered(
        &self,
        attempt: AttemptId,
        key: LoginKey,
        prompt: &Prompt,
        entrance: &Entrance,
        interaction: &dyn Interaction,
        timeout: Duration,
    ) -> Result<LoginProgress, SignInError> {
        let mut shown = Some(interaction.show(prompt));
        let mut done = pin!(self.login_done(attempt, timeout));
        let mut arrival = pin!(entrance.next(key));
        let mut paste = prompt.takes_paste.then(|| interaction.pasted());
        loop {
            let news = poll_fn(|cx| {
                if is_ready(&mut shown, cx).is_some() {
                    shown = None;
                }
                if let Poll::Ready(arrival) = arrival.as_mut().poll(cx) {
                    return Poll::Ready(Event::Arrived(arrival));
                }
                if let Poll::Ready(result) = done.as_mut().poll(cx) {
                    return Poll::Ready(Event::Done(result));
                }
                is_ready(&mut paste, cx).map_or(Poll::Pending, |text| Poll::Ready(Event::Pasted(text)))
            })
            .await;
            match news {
                Event::Done(result) => return result,
                Event::Arrived(arrival) => {
                    let result = self.redeem(arrival.callback.clone(), interaction).await;
                    arrival.respond(result).await;
                    return result.map(|()| LoginProgress::SignedIn);
                }
                Event::Pasted(None) => paste = None,
                Event::Pasted(Some(text)) => match pasted(key, &text) {
                    Ok(callback) => {
                        let result = self.redeem(callback, interaction).await;
                        // The browser's answer may have arrived at the same time. It gets the page with the same result.
                        if let Some(arrival) = poll_fn(|cx| Poll::Ready(ready(arrival.as_mut().poll(cx)))).await {
                            arrival.respond(result).await;
                        }
                        return result.map(|()| LoginProgress::SignedIn);
                    }
                    Err(error) => {
                        // An empty line is no attempt to paste an answer, so it is ignored without a note.
                        if !(text.trim().is_empty() && error == CallbackError::NoAnswer) {
                            interaction.progress(Step::PasteRefused(error));
                        }
                        paste = Some(interaction.pasted());
                        // The host's input may always be ready. The yield gives other tasks a turn.
                        tokio::task::yield_now().await;
                    }
                },
            }
        }
    }

    async fn redeem(&self, callback: Callback, interaction: &dyn Interaction) -> Result<(), SignInError> {
        interaction.progress(Step::Redeeming);
        self.complete_login(callback, REDEMPTION).await
    }
}

/// The next event while the request of a login is shown.
enum Event {
    Arrived(Arrival),
    Pasted(Option<String>),
    Done(Result<LoginProgress, SignInError>),
}

type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Polls a wait. A wait that is `None` has ended before, and is never ready.
fn is_ready<T>(wait: &mut Option<Wait<'_, T>>, cx: &mut Context<'_>) -> Option<T> {
    ready(wait.as_mut()?.as_mut().poll(cx))
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
