//! A login that a person is being asked for.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use tokenkeeper::discovery::DiscoveryError;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{
    AuthSession, InteractionError, LogIn, LoggedIn, LoginProgress, LoginReason, Prompt, ServerIdentity, SignInError,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::door::{Door, News};
use super::report;
use crate::failure::Failure;
use crate::home::Interruptions;

/// The maximum wait for the end of an interrupted login. The redemption of a code may take this long.
const CANCELLING: Duration = Duration::from_secs(90);

/// The question to a person who signed in as another user.
const REPLACES: &str = "another user signed in than before: sign in again, and replace the session?";

/// The reason why a login ended without a session.
#[derive(Debug)]
pub(super) enum Stop {
    /// No authorization server was found.
    Discovery(DiscoveryError),
    /// The login did not succeed, or was cancelled.
    Login(InteractionError),
    /// Standard input ended, and the answer could only be pasted.
    InputEnded,
    /// The command itself failed.
    Command(Failure),
}

impl Stop {
    /// The word for programs.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Discovery(error) => error.reason().as_str(),
            Self::Login(error) => error.reason().map_or("port_unavailable", LoginReason::as_str),
            Self::InputEnded => "input_ended",
            Self::Command(_) => "failed",
        }
    }

    /// The failure of the command.
    pub(super) fn into_failure(self, identity: &ServerIdentity, store: &FileStore) -> Failure {
        match self {
            Self::Discovery(error) => Failure::not_discovered(error, identity),
            Self::Login(error) => Failure::not_signed_in(error, identity, store),
            Self::InputEnded => Failure::Usage(
                "standard input ended before the address of the answer was pasted: sign in again".to_owned(),
            ),
            Self::Command(failure) => failure,
        }
    }

    fn is(&self, reason: LoginReason) -> bool {
        matches!(self, Self::Login(error) if error.reason() == Some(reason))
    }

    /// Whether another way of asking may succeed, because the server or the client does not support this one.
    fn is_about_way(&self) -> bool {
        let reasons = [
            LoginReason::MethodUnsupported,
            LoginReason::NoClient,
            LoginReason::RegistrationRefused,
            LoginReason::ClientRejected,
            LoginReason::Refused,
        ];
        reasons.into_iter().any(|reason| self.is(reason))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Command(error.into())
    }
}

/// A login that a person is being asked for.
pub(super) struct Asking<'a, W> {
    session: &'a AuthSession,
    door: &'a Door,
    news: UnboundedReceiver<News>,
    /// Whether a program reads the events.
    json: bool,
    out: &'a mut W,
    /// The last request that was shown.
    shown: Option<Prompt>,
}

impl<'a, W: Write> Asking<'a, W> {
    pub(super) fn new(
        session: &'a AuthSession,
        door: &'a Door,
        news: UnboundedReceiver<News>,
        json: bool,
        out: &'a mut W,
    ) -> Self {
        Self { session, door, news, json, out, shown: None }
    }

    /// Tries these requests, which ask in different ways, until the server supports one.
    pub(super) async fn by_any_of(mut self, requests: Vec<LogIn>) -> Result<LoggedIn, Stop> {
        let mut left = requests.len();
        for request in requests {
            left -= 1;
            match self.ask(request.clone()).await {
                Err(stop) if left > 0 && self.shown.is_none() && stop.is_about_way() => {
                    let _ = writeln!(io::stderr(), "note: the server does not support this way: trying another one");
                }
                Err(stop) if stop.is(LoginReason::SubjectChanged) && self.may_replace().await => {
                    return self.ask(request.again().allow_another_subject()).await;
                }
                done => return done,
            }
        }
        Err(Stop::Login(SignInError::new(LoginReason::MethodUnsupported).into()))
    }

    /// Asks the person at the terminal whether another user may replace the one who is signed in.
    async fn may_replace(&self) -> bool {
        io::stderr().is_terminal() && self.door.confirms(REPLACES).await
    }

    async fn ask(&mut self, request: LogIn) -> Result<LoggedIn, Stop> {
        let session = self.session;
        let mut interruptions = Interruptions::new()?;
        let mut login = pin!(session.log_in(request, self.door));
        loop {
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => {
                    if let Err(stop) = note(news, self.json, &mut self.shown, self.out) {
                        cancel(session).await;
                        return Err(stop);
                    }
                }
                done = &mut login => return done.map_err(Stop::Login),
                () = interruptions.next() => break,
            }
        }
        let cancelled = || Err(Stop::Login(SignInError::new(LoginReason::Cancelled).into()));
        tokio::select! {
            biased;
            // If a code is being redeemed, the redemption is not cancelled.
            done = &mut login => done.map_err(Stop::Login),
            is_signed_in = cancel(session) => if is_signed_in { Ok(LoggedIn::Here) } else { cancelled() },
            () = interruptions.next() => cancelled(),
        }
    }
}

/// Notes the login's news, and reports it to a program that reads the events.
fn note(news: News, json: bool, shown: &mut Option<Prompt>, out: &mut impl Write) -> Result<(), Stop> {
    match news {
        News::Asked(prompt) => {
            if json {
                report::asked(out, &prompt)?;
            }
            *shown = Some(*prompt);
            Ok(())
        }
        News::InputEnded if shown.as_ref().is_some_and(|prompt| !prompt.is_listening) => Err(Stop::InputEnded),
        News::InputEnded => Ok(()),
    }
}

/// Cancels the login, and returns whether it succeeded before the cancellation.
async fn cancel(session: &AuthSession) -> bool {
    matches!(session.cancel_login(CANCELLING).await, Ok(LoginProgress::SignedIn))
}
