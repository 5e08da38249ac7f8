//! The person's side of a login, which the host implements.

use std::fmt;
use std::future::pending;

use async_trait::async_trait;

use crate::callback::CallbackError;
#[cfg(feature = "loopback")]
use crate::callback::ListenError;
use crate::{Account, LoginReason, OfferedPrompt, ServerIdentity, SignInError, Target};
use tokenkeeper_actors::values::WallTime;

/// The maximum length of a user code that is shown, in characters. RFC 8628 section 6.1 recommends eight characters.
const MAX_USER_CODE: usize = 64;

/// The host's way to reach the person, for example a terminal, a window or a chat.
///
/// All futures of this trait may be dropped at any await.
#[async_trait]
pub trait Interaction: Send + Sync {
    /// Shows the request to the person, with the server and the account. A browser is opened only if
    /// [`is_first`](Prompt::is_first). It may return before the person has answered, or stay.
    async fn show(&self, prompt: &Prompt);

    /// Returns the next text that the person pastes, whole and with its line breaks. Returns `None` if none will follow. The
    /// future is dropped when the login ends in another way. By default it never resolves, as without a terminal.
    async fn pasted(&self) -> Option<String> {
        pending().await
    }

    /// Shows the request of another process, for a person who does not see that process. The answer goes to that process, and
    /// nothing is pasted here. No browser is opened, because that process has opened one. By default nothing is shown.
    fn asked_elsewhere(&self, _prompt: &Prompt) {}

    /// Takes a note of a step of the login, for a line on the terminal. By default nothing is done.
    fn progress(&self, _step: Step) {}
}

/// The request to a person.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prompt {
    /// The server and the account that it signs in to. Both belong in what the person sees.
    pub identity: ServerIdentity,
    /// The page to open or the code to enter.
    pub prompt: OfferedPrompt,
    /// The wall time at which the request expires.
    pub expires: WallTime,
    /// Whether this is the first caller with this request. Only the first caller opens a page.
    pub is_first: bool,
    /// Whether this call has shown or awaited a request before. Either the process that asked has died and this is its request,
    /// or the server has forgotten the client and this is a new request.
    pub is_again: bool,
    /// Whether this process listens for the browser's answer.
    pub is_listening: bool,
    /// Whether a pasted address or code is taken.
    pub takes_paste: bool,
}

impl Prompt {
    /// The account.
    pub fn account(&self) -> &Account {
        self.identity.account()
    }

    /// The server.
    pub fn target(&self) -> &Target {
        self.identity.target()
    }

    /// The code that the person enters on another device. Characters that no code contains are left out, because they could
    /// deceive a person on a terminal. `None` for a page.
    pub fn user_code(&self) -> Option<String> {
        match &self.prompt {
            OfferedPrompt::Device { user_code, .. } => {
                Some(user_code.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_USER_CODE).collect())
            }
            _ => None,
        }
    }
}

/// A step of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The listener could not be opened. The person pastes the address instead.
    #[cfg(feature = "loopback")]
    ListenerUnavailable(ListenError),
    /// The server is being asked, and the request is prepared.
    Preparing,
    /// The request is shown.
    Asking,
    /// Another process asks the person. This process waits for its result.
    AskedElsewhere,
    /// The pasted text is no answer to this login. The wait goes on.
    PasteRefused(CallbackError),
    /// The answer has arrived, and the code is being redeemed.
    Redeeming,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "loopback")]
            Self::ListenerUnavailable(error) => write!(f, "{error}"),
            Self::Preparing => f.write_str("asking the server how to sign in"),
            Self::Asking => f.write_str("waiting for you to sign in"),
            Self::AskedElsewhere => f.write_str("another program is asking you to sign in: answer it there"),
            Self::PasteRefused(error) => write!(f, "{error}"),
            Self::Redeeming => f.write_str("the answer is here: completing the sign-in"),
        }
    }
}

/// The error of [`AuthSession::log_in`](crate::AuthSession::log_in).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InteractionError {
    /// The listener could not be opened. No person was asked.
    #[cfg(feature = "loopback")]
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No login was stored.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl InteractionError {
    /// The reason for which no login was stored; `None` if the listener could not be opened.
    pub fn reason(&self) -> Option<LoginReason> {
        match self {
            #[cfg(feature = "loopback")]
            Self::Listen(_) => None,
            Self::SignIn(error) => Some(error.reason()),
        }
    }
}
