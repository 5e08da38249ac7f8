//! A login during the work of another command, whose standard input and output do not belong to the person.

use std::env;

use async_trait::async_trait;
use tokenkeeper::{AuthSession, Interaction, InteractionError, LogIn, LoggedIn, Prompt, Step, Way};

use super::browser::Browser;
use super::door::Door;
use super::surroundings::{Surroundings, Wanted};

/// Signs a person in by the browser, and shows the request on standard error as well.
#[derive(Debug)]
pub(crate) struct BackgroundLogin {
    place: Surroundings,
}

impl BackgroundLogin {
    pub(crate) fn of_process() -> Self {
        // Standard input does not belong to the person.
        Self { place: Surroundings { takes_lines: false, ..Surroundings::of_process() } }
    }

    /// Signs a person in, or joins the login that is under way in any process. `shown` is called with each request that is
    /// shown to the person. A browser is opened only if `opens_browser`.
    ///
    /// # Errors
    ///
    /// The reason why no session was stored.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the login stays open, and other processes may continue it.
    pub(crate) async fn sign_in(
        &self,
        session: &AuthSession,
        opens_browser: bool,
        shown: &(dyn Fn(&Prompt) + Send + Sync),
    ) -> Result<LoggedIn, InteractionError> {
        let browser = (opens_browser && self.place.has_browser()).then(|| {
            let listed = env::var("BROWSER").ok().and_then(|variable| Browser::listed(&variable));
            listed.unwrap_or_else(Browser::of_system)
        });
        let (door, _news) = Door::new(browser, None, self.place.is_remote);
        let way = self.place.ways(Wanted::Best, false).first().copied().unwrap_or(Way::Best);
        session.log_in(LogIn::new().way(way), &ObservedDoor { door, shown }).await
    }
}

/// A door that also reports its requests to another part of the command.
struct ObservedDoor<'a> {
    door: Door,
    shown: &'a (dyn Fn(&Prompt) + Send + Sync),
}

#[async_trait]
impl Interaction for ObservedDoor<'_> {
    async fn show(&self, prompt: &Prompt) {
        (self.shown)(prompt);
        self.door.show(prompt).await;
    }

    async fn pasted(&self) -> Option<String> {
        self.door.pasted().await
    }

    fn progress(&self, step: Step) {
        self.door.progress(step);
    }
}
