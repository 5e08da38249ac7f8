//! Whole logins of hosts with one person, by `log_in`, at servers that change under them.

use std::sync::{Arc, Mutex};

use tokenkeeper::{InteractionError, LogIn, LoggedIn, LoginReason, OfferedPrompt, Prompt, Step, Way};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Browser, Consent, Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::within::{until, within};

/// A person who opens each page that is to be opened, and pastes nothing.
#[derive(Default)]
struct Person {
    /// The pages at which the browser has arrived. It outlives the login.
    pages: Arc<Mutex<Vec<String>>>,
    shown: Mutex<Vec<String>>,
    steps: Mutex<Vec<Step>>,
}

impl Person {
    fn prompts(&self) -> usize {
        self.shown.lock().unwrap().len()
    }
}

#[async_trait::async_trait]
impl tokenkeeper::Interaction for Person {
    async fn show(&self, prompt: &Prompt) {
        let OfferedPrompt::Browser { url } = &prompt.prompt else { panic!("{prompt:?}") };
        self.shown.lock().unwrap().push(url.as_str().to_owned());
        if prompt.is_first {
            let (url, pages) = (url.as_str().to_owned(), Arc::clone(&self.pages));
            tokio::spawn(async move {
                let visit = Browser::complete(&url).await.unwrap();
                pages.lock().unwrap().push(visit.page);
            });
        }
    }

    fn progress(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }
}

async fn log_in(scene: &Scene, request: LogIn, person: &Person) -> Result<LoggedIn, Option<LoginReason>> {
    let end = within("the login", scene.session.log_in(request, person)).await;
    end.map_err(|error: InteractionError| error.reason())
}

/// Nothing of the server's text is on the page of this machine.
#[tokio::test]
async fn the_page_says_what_happened_in_its_own_words() {
    for (consent, flaw, reason, words) in [
        (Consent::Deny, None, LoginReason::Denied, "Access was declined"),
        (Consent::Fails("server_error"), None, LoginReason::ServerTrouble, "The sign-in was not completed"),
        (Consent::Allow, Some(Flaw::IssWrong), LoginReason::WrongIssuer, "does not match"),
        (Consent::Allow, Some(Flaw::UnknownTokenType), LoginReason::Refused, "The sign-in was not completed"),
    ] {
        let server = LoginServer::builder().consents(consent).flaw(Flaw::TerminalEscapes);
        let scene = Scene::new(flaw.into_iter().fold(server, |server, flaw| server.flaw(flaw))).await;
        let person = Person::default();
        assert_eq!(log_in(&scene, LogIn::new(), &person).await, Err(Some(reason)), "{consent:?} {flaw:?}");
        until("the page", || !person.pages.lock().unwrap().is_empty()).await;
        let page = person.pages.lock().unwrap()[0].clone();
        assert!(page.contains(words), "{reason}: {page}");
        assert!(!page.contains(['\u{1b}', '\u{202e}']) && !page.contains("attacker"), "{page}");
        scene.has_nothing().await;
    }
}

/// Another program of this machine, or a page, calls the listener with a state of its own.
#[tokio::test]
async fn a_forged_answer_at_the_listener_leaves_the_login_open() {
    let scene = Scene::new(LoginServer::builder().flaw(Flaw::StateForged)).await;
    let person = Person::default();
    let logging = log_in(&scene, LogIn::new(), &person);
    let mended = async {
        until("the first page", || !person.pages.lock().unwrap().is_empty()).await;
        assert!(person.pages.lock().unwrap()[0].contains("does not match"));
        assert_eq!(scene.server.counts().of(Endpoint::Token), 0);
        scene.server.mend(Flaw::StateForged);
        let url = person.shown.lock().unwrap()[0].clone();
        within("the page", Browser::complete(&url)).await.unwrap()
    };
    let (end, visit) = tokio::join!(logging, mended);
    assert_eq!(end, Ok(LoggedIn::Here));
    assert!(visit.page.contains("You are signed in"), "{}", visit.page);
    assert_eq!((person.prompts(), scene.server.counts().of(Endpoint::Token)), (1, 1));
}

#[tokio::test]
async fn an_error_before_the_prompt_shows_nothing() {
    for flaw in [Flaw::NoPkceList, Flaw::WrongIssuer, Flaw::RegistrationRefused, Flaw::ScriptEndpoint] {
        let scene = Scene::new(LoginServer::builder().flaw(flaw)).await;
        let person = Person::default();
        log_in(&scene, LogIn::new(), &person).await.unwrap_err().unwrap();
        assert_eq!((person.prompts(), person.steps.lock().unwrap().clone()), (0, vec![Step::Preparing]), "{flaw}");
        scene.has_nothing().await;
    }
}

#[tokio::test]
async fn a_person_pastes_the_address_of_the_page_that_no_program_serves() {
    struct Pastes(Mutex<Option<String>>, tokio::sync::Notify);
    #[async_trait::async_trait]
    impl tokenkeeper::Interaction for Pastes {
        async fn show(&self, prompt: &Prompt) {
            let OfferedPrompt::Browser { url } = &prompt.prompt else { panic!("{prompt:?}") };
            let visit = Browser::open(url.as_str()).await.unwrap();
            *self.0.lock().unwrap() = visit.callback;
            self.1.notify_one();
        }

        async fn pasted(&self) -> Option<String> {
            self.1.notified().await;
            self.0.lock().unwrap().clone()
        }
    }
    let scene = Scene::new(LoginServer::builder()).await;
    let person = Pastes(Mutex::default(), tokio::sync::Notify::new());
    let end = within("the login", scene.session.log_in(LogIn::new().way(Way::Paste), &person)).await;
    assert_eq!(end, Ok(LoggedIn::Here));
    let mut wanted = of_one_login();
    assert_eq!(requests(&scene.server), wanted);
    assert_eq!(scene.call("any").await, 200);
    // The same redirect address is used again, with the same client.
    scene.session.logout().await.unwrap();
    let end = within("the login", scene.session.log_in(LogIn::new().way(Way::Paste), &person)).await;
    assert_eq!(end, Ok(LoggedIn::Here));
    for (endpoint, number) in [
        (Endpoint::Resource, 3),
        (Endpoint::PushedAuthorization, 1),
        (Endpoint::Authorization, 2),
        (Endpoint::Token, 2),
        (Endpoint::Revocation, 1),
    ] {
        wanted.insert(endpoint, number);
    }
    assert_eq!(requests(&scene.server), wanted);
}

/// Each of two programs wants to be signed in. One of them asks.
#[tokio::test]
async fn two_programs_ask_one_person_once() {
    let scene = Scene::new(LoginServer::builder().consents(Consent::Page)).await;
    let other = scene.place.runtime(tokenkeeper::LoginSettings::default()).await;
    let replica = session(&other, &scene.server.resource_url());
    let (first, second) = (Person::default(), Person::default());
    let logins =
        async { tokio::join!(scene.session.log_in(LogIn::new(), &first), replica.log_in(LogIn::new(), &second)) };
    let answers = async {
        within("the page", scene.server.until(|counts| counts.pages == 1)).await;
        let shown = [&first, &second].map(|person| person.shown.lock().unwrap().clone()).concat();
        assert_eq!(shown.len(), 1, "one of them shows the page");
        let visit = within("the page", Browser::open(&shown[0])).await.unwrap();
        within("the answer", visit.press(Consent::Allow)).await.unwrap().deliver().await.unwrap()
    };
    let ((here, there), visit) = within("both", async { tokio::join!(logins, answers) }).await;
    let mut ends = [here.unwrap(), there.unwrap()];
    ends.sort_by_key(|end| *end == LoggedIn::Elsewhere);
    assert_eq!(ends, [LoggedIn::Here, LoggedIn::Elsewhere]);
    assert!(visit.page.contains("You are signed in"), "{}", visit.page);
    assert_eq!(token(&scene.session).await, token(&replica).await);
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins, counts.of(Endpoint::Token)), (1, 1, 1));
    assert_eq!((counts.of(Endpoint::ResourceMetadata), counts.of(Endpoint::ServerMetadata)), (1, 1));
}

/// The token endpoint cannot be reached for a moment after the person has answered.
#[tokio::test]
async fn a_code_that_was_not_sent_is_sent_again() {
    let scene = Scene::new(LoginServer::builder()).await;
    scene.server.next_at(Endpoint::Token, 1, When::Before, Fault::status(429));
    let person = Person::default();
    let end = log_in(&scene, LogIn::new(), &person).await;
    assert_eq!(end, Err(Some(LoginReason::ServerTrouble)), "a 429 is an answer");
    assert_eq!(scene.server.counts().code_replays, 0);
    assert_eq!(log_in(&scene, LogIn::new(), &person).await, Ok(LoggedIn::Here));
}
