//! The ways in which the answer to a login's prompt reaches this process, which are a loopback listener and a pasted text.

use std::future::pending;

#[cfg(feature = "loopback")]
use super::interaction::Step;
use super::interaction::{Interaction, InteractionError};
use super::request::{LogIn, Way};
#[cfg(feature = "loopback")]
use crate::callback::{ListenError, LoopbackListener, LoopbackOptions, Outcome, Received};
use crate::{Callback, LoginKey, LoginMethod, OfferedPrompt, SignInError};

/// The ways in which the answer of one login can arrive. It holds the loopback listener, if there is one.
pub(super) struct Entrance {
    /// How the person is asked.
    pub(super) method: LoginMethod,
    /// Whether a pasted answer is taken.
    pub(super) takes_paste: bool,
    #[cfg(feature = "loopback")]
    listener: Option<LoopbackListener>,
}

/// An answer that a browser brought.
pub(super) struct Arrival {
    pub(super) callback: Callback,
    #[cfg(feature = "loopback")]
    received: Received,
}

impl Arrival {
    /// Shows the result in the browser.
    pub(super) async fn respond(self, result: Result<(), SignInError>) {
        #[cfg(feature = "loopback")]
        self.received.respond(Outcome::of(result)).await;
        #[cfg(not(feature = "loopback"))]
        let _ = result;
    }
}

impl Entrance {
    fn without_listener(request: &LogIn, way: Way) -> Self {
        let method = match way {
            Way::Device => LoginMethod::Device,
            _ => LoginMethod::Redirect(request.unserved_redirect()),
        };
        Self {
            takes_paste: way != Way::Device,
            method,
            #[cfg(feature = "loopback")]
            listener: None,
        }
    }
}

#[cfg(not(feature = "loopback"))]
impl Entrance {
    pub(super) async fn open(
        request: &LogIn,
        _registered: &[String],
        _interaction: &dyn Interaction,
    ) -> Result<Self, InteractionError> {
        Ok(Self::without_listener(request, request.way))
    }

    pub(super) fn is_listening(&self) -> bool {
        false
    }

    pub(super) async fn move_to(&mut self, _prompt: &OfferedPrompt) {}

    pub(super) async fn next(&self, _key: LoginKey) -> Arrival {
        pending().await
    }
}

#[cfg(feature = "loopback")]
impl Entrance {
    /// Opens the entrance before the login begins, because the redirect address is a part of the request.
    ///
    /// The listener takes the first of the `registered` addresses whose port is free, or else a new address.
    pub(super) async fn open(
        request: &LogIn,
        registered: &[String],
        interaction: &dyn Interaction,
    ) -> Result<Self, InteractionError> {
        let may_paste = match request.way {
            Way::Best if request.redirect.is_none() => true,
            Way::Loopback => false,
            way => return Ok(Self::without_listener(request, way)),
        };
        let options =
            LoopbackOptions { port: request.port, preferred: request.preferred_port, ..LoopbackOptions::default() };
        let listens = |listener: LoopbackListener| Self {
            method: LoginMethod::Redirect(listener.redirect_uri().to_owned()),
            takes_paste: may_paste,
            listener: Some(listener),
        };
        for options in registered.iter().filter_map(|uri| LoopbackOptions::of_redirect_uri(uri)) {
            if let Ok(listener) = LoopbackListener::bind(options).await {
                return Ok(listens(listener));
            }
        }
        match LoopbackListener::bind(options).await {
            Ok(listener) => Ok(listens(listener)),
            // If the required port is taken, the program that has it would get the answer, so that error is returned.
            Err(error @ ListenError::Unavailable(_)) if may_paste => {
                interaction.progress(Step::ListenerUnavailable(error));
                Ok(Self::without_listener(request, Way::Paste))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listener.is_some()
    }

    /// Listens at the redirect address of `prompt`, if this entrance listens at all and a process that has died prepared the
    /// request. If the port is taken, or not known because the request was pushed (RFC 9126), only a pasted answer can arrive.
    pub(super) async fn move_to(&mut self, prompt: &OfferedPrompt) {
        let (OfferedPrompt::Browser { url }, true) = (prompt, self.listener.is_some()) else { return };
        let Some(address) = redirect_uri(url.as_str()) else { return };
        let Some(options) = LoopbackOptions::of_redirect_uri(&address) else { return self.listener = None };
        if self.listener.as_ref().is_none_or(|listener| !listener.serves(&options)) {
            self.listener = LoopbackListener::bind(options).await.ok();
        }
    }

    pub(super) async fn next(&self, key: LoginKey) -> Arrival {
        match &self.listener {
            Some(listener) => {
                let received = listener.next(&[key]).await;
                Arrival { callback: received.callback().clone(), received }
            }
            None => pending().await,
        }
    }
}

/// The redirect address in an authorization request (RFC 6749 section 4.1.1).
#[cfg(feature = "loopback")]
fn redirect_uri(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    url.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value.into_owned())
}
