//! Clients that the server has forgotten, whose secrets end, and whose redirect addresses change.

use std::time::Duration;

use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::issuers::Client;
use tokenkeeper::registration::Clients;
use tokenkeeper::{
    InteractionError, LogIn, LoggedIn, LoginCause, LoginMethod, LoginReason, LoginSettings, LoginWish, OfferedPrompt,
    Prompt,
};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Browser, Consent, Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::within::within;

async fn client_of(asked: &Asked) -> String {
    asked.parameter("client_id").unwrap()
}

async fn ask(scene: &Scene) -> Result<Asked, LoginReason> {
    begin(&scene.session, wish(&[]), LoginCause::Person).await
}

/// A host that has signed in and out, so that its client is stored.
async fn signed_out(server: tokenkeeper_testkit::login_server::LoginServerBuilder) -> Scene {
    let scene = Scene::signed_in(server).await;
    scene.session.logout().await.unwrap();
    scene
}

#[tokio::test]
async fn a_forgotten_client_is_noticed_before_the_person_where_requests_are_pushed() {
    for server in [LoginServer::builder(), LoginServer::builder().require_par()] {
        let scene = signed_out(server).await;
        scene.server.forget_clients();
        let asked = ask(&scene).await.unwrap();
        assert_eq!(client_of(&asked).await, "client-2");
        answer(&scene.session, &asked.url).await.unwrap();
        let counts = scene.server.counts();
        assert_eq!((counts.registered, counts.logins, counts.allowed), (2, 2, 2));
        assert_eq!(counts.refused.len(), 0, "no page showed an error");
    }
}

/// The person whose browser opens each page at once.
struct Opens<'a>(&'a LoginServer, Option<fn(&LoginServer)>, std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl tokenkeeper::Interaction for Opens<'_> {
    async fn show(&self, prompt: &Prompt) {
        let OfferedPrompt::Browser { url } = &prompt.prompt else { panic!("{prompt:?}") };
        let visit = Browser::open(url.as_str()).await.unwrap();
        // The server changes while the person reads its page.
        if self.2.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0
            && let Some(change) = self.1
        {
            change(self.0);
        }
        visit.deliver().await.unwrap();
    }
}

async fn log_in(scene: &Scene, change: Option<fn(&LoginServer)>) -> (Result<LoggedIn, InteractionError>, usize) {
    let person = Opens(&scene.server, change, std::sync::atomic::AtomicUsize::new(0));
    let end = within("the login", scene.session.log_in(LogIn::new(), &person)).await;
    (end, person.2.into_inner())
}

#[tokio::test]
async fn a_client_that_is_forgotten_at_the_token_endpoint_costs_a_second_prompt_and_no_third() {
    let scene = Scene::new(LoginServer::builder().without_par()).await;
    let (end, prompts) = log_in(&scene, Some(LoginServer::forget_clients)).await;
    assert_eq!((end, prompts), (Ok(LoggedIn::Here), 2));
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.of(Endpoint::Token), counts.logins), (2, 2, 1));
    assert_eq!(counts.codes.values().copied().collect::<Vec<_>>(), [1, 1]);
    assert_eq!(counts.tokens.refusals.get("invalid_client"), Some(&1));

    let scene = Scene::new(LoginServer::builder().without_par()).await;
    scene.server.next_at(Endpoint::Token, 9, When::Before, Fault::status(401).error("invalid_client"));
    let (end, prompts) = log_in(&scene, None).await;
    let reason = end.unwrap_err().reason();
    assert_eq!((reason, prompts), (Some(LoginReason::ClientRejected), 2));
    assert_eq!(scene.server.counts().registered, 2);
    scene.has_nothing().await;
}

#[tokio::test]
async fn a_client_that_the_page_rejects_is_registered_anew() {
    let scene = Scene::new(LoginServer::builder().without_par().consents(Consent::Fails("unauthorized_client"))).await;
    let asked = ask(&scene).await.unwrap();
    assert_eq!(answer(&scene.session, &asked.url).await, Err(LoginReason::ClientRejected));
    scene.server.consents(Consent::Allow);
    let again = ask(&scene).await.unwrap();
    assert_ne!(client_of(&asked).await, client_of(&again).await);
    answer(&scene.session, &again.url).await.unwrap();
    assert_eq!(scene.server.counts().registered, 2);
}

/// The page of a server that has forgotten the client never calls back.
#[tokio::test]
async fn a_client_whose_prompt_had_no_answer_is_read_or_registered_anew_before_the_next() {
    let scene = signed_out(LoginServer::builder().without_par()).await;
    scene.server.forget_clients();
    let asked = ask(&scene).await.unwrap();
    assert_eq!(open(&asked.url).await.callback, None);
    scene.session.cancel_login(WAIT).await.unwrap();
    let again = ask(&scene).await.unwrap();
    assert_ne!(client_of(&asked).await, client_of(&again).await);
    answer(&scene.session, &again.url).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.of(Endpoint::ClientConfiguration)), (2, 1), "it was asked for first");
    assert_eq!(counts.refused.get("no_callback"), Some(&1));
}

#[tokio::test]
async fn a_client_that_the_server_still_knows_is_used_on_after_a_prompt_without_an_answer() {
    let scene = signed_out(LoginServer::builder().without_par()).await;
    let asked = ask(&scene).await.unwrap();
    // The person closes the tab.
    scene.session.cancel_login(WAIT).await.unwrap();
    let again = ask(&scene).await.unwrap();
    assert_eq!(client_of(&asked).await, client_of(&again).await);
    answer(&scene.session, &again.url).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.of(Endpoint::ClientConfiguration)), (1, 1));
}

/// Each of these answers came by a redirect to the client, which a server that has forgotten it does not make.
#[tokio::test]
async fn any_answer_shows_that_the_server_knows_the_client() {
    for consent in [Consent::Deny, Consent::Fails("server_error"), Consent::Fails("invalid_scope")] {
        let scene = signed_out(LoginServer::builder().without_par()).await;
        scene.server.consents(consent);
        let asked = ask(&scene).await.unwrap();
        answer(&scene.session, &asked.url).await.unwrap_err();
        scene.server.consents(Consent::Allow);
        let asked = ask(&scene).await.unwrap();
        answer(&scene.session, &asked.url).await.unwrap();
        let counts = scene.server.counts();
        assert_eq!((counts.registered, counts.of(Endpoint::ClientConfiguration)), (1, 0), "{consent:?}");
    }
}

#[tokio::test]
async fn a_secret_that_ends_soon_leads_to_a_new_client() {
    let server = LoginServer::builder().auth_methods([ClientAuth::Post]).secrets_expire_in(Duration::from_secs(3_600));
    let scene = signed_out(server).await;
    let asked = ask(&scene).await.unwrap();
    assert_eq!(client_of(&asked).await, "client-1");
    scene.session.cancel_login(WAIT).await.unwrap();
    scene.place.clock.pass(Duration::from_secs(3_590));
    let asked = ask(&scene).await.unwrap();
    assert_eq!(client_of(&asked).await, "client-2");
    assert_eq!(scene.server.counts().registered, 2);
}

#[tokio::test]
async fn a_configured_secret_that_has_ended_is_reported_before_a_person_is_asked() {
    let scene = Scene::with(LoginServer::builder(), |server| {
        let client = Client::from(server.pre_register(ClientAuth::Post, [REDIRECT]));
        let clients = Clients::default().pre_registered(
            server.issuer(),
            client.secret_expires_at(std::time::SystemTime::UNIX_EPOCH),
            [REDIRECT],
        );
        LoginSettings::default().clients(clients)
    })
    .await;
    assert_eq!(ask(&scene).await.unwrap_err(), LoginReason::ClientRejected);
    scene.has_nothing().await;
    assert_eq!(scene.server.counts().of(Endpoint::Authorization), 0);
}

/// A pre-registered client of one issuer is shown to no other one.
#[tokio::test]
async fn a_configured_client_belongs_to_its_issuer() {
    let scene = Scene::with(LoginServer::builder(), |_| {
        let clients = Clients::default()
            .pre_registered(
                "https://other.example.com",
                Client::secret_post("theirs", "their-secret".to_owned()),
                [REDIRECT],
            )
            .without_dynamic();
        LoginSettings::default().clients(clients)
    })
    .await;
    assert_eq!(ask(&scene).await.unwrap_err(), LoginReason::NoClient);
    assert!(scene.server.counts().clients.is_empty());
    scene.has_nothing().await;
}

#[tokio::test]
async fn another_port_is_registered_anew_because_the_server_may_compare_it() {
    let scene = signed_out(LoginServer::builder().flaw(Flaw::ExactRedirectPort)).await;
    let method = LoginMethod::Redirect("http://127.0.0.1:8/callback".to_owned());
    let asked = begin(&scene.session, LoginWish { method, ..wish(&[]) }, LoginCause::Person).await.unwrap();
    assert_eq!(asked.parameter("redirect_uri").as_deref(), Some("http://127.0.0.1:8/callback"));
    answer(&scene.session, &asked.url).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins, counts.refused.len()), (2, 2, 0));
}

/// The listener takes the registered port again.
#[tokio::test]
async fn a_host_that_listens_uses_its_port_and_its_client_again() {
    let scene = Scene::new(LoginServer::builder().flaw(Flaw::ExactRedirectPort)).await;
    assert_eq!(log_in(&scene, None).await, (Ok(LoggedIn::Here), 1));
    scene.session.logout().await.unwrap();
    assert_eq!(log_in(&scene, None).await, (Ok(LoggedIn::Here), 1));
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins), (1, 2));
}

#[tokio::test]
async fn the_terms_of_the_answer_are_used() {
    let server = LoginServer::builder().flaw(Flaw::RegistrationOtherMethod).flaw(Flaw::RegistrationWantsLocalhost);
    let scene = Scene::signed_in(server).await;
    let asked = scene.server.log_of(Endpoint::Registration);
    assert_eq!(asked.iter().map(|request| request.status.unwrap()).collect::<Vec<_>>(), [400, 201]);
    assert_eq!(scene.grant().await.binding.client.auth, ClientAuth::Post);
    let token = &scene.server.log_of(Endpoint::Token)[0];
    assert_eq!(token.parameter("redirect_uri"), "http://localhost:7/callback");
    assert_eq!((token.scheme.as_deref(), token.parameter("client_secret")), (None, "(hidden)"));
}

#[tokio::test]
async fn a_registration_whose_answer_is_lost_is_made_again_by_the_next_login() {
    let scene = Scene::new(LoginServer::builder()).await;
    scene.server.next_at(Endpoint::Registration, 1, When::After, Fault::reset());
    assert_eq!(ask(&scene).await.unwrap_err(), LoginReason::ServerTrouble);
    scene.has_nothing().await;
    let asked = ask(&scene).await.unwrap();
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.server.counts().registered, 2);
}

/// The refresh has shown that the server does not know the client, so no person sees its page.
#[tokio::test]
async fn a_client_that_a_refresh_found_forgotten_is_not_shown_to_a_person() {
    let scene = Scene::signed_in(LoginServer::builder().without_par()).await;
    let first = scene.grant().await.binding.client.id;
    scene.server.forget_clients();
    let force = tokenkeeper::TokenOptions { force: true, ..tokenkeeper::TokenOptions::default() };
    let error = within("an error", scene.session.token_with(force)).await.unwrap_err();
    assert_eq!(error.reason(), tokenkeeper::Reason::ClientRejected);
    let asked = ask(&scene).await.unwrap();
    assert_ne!(client_of(&asked).await, first);
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.refused.len()), (2, 0));
}

/// Its answer is a courtesy where the server does not require the request to be pushed.
#[tokio::test]
async fn a_question_that_gets_no_answer_does_not_hold_the_login_up() {
    for fault in [Fault::status(503), Fault::reset(), Fault::garbage()] {
        let scene = signed_out(LoginServer::builder()).await;
        scene.server.next_at(Endpoint::PushedAuthorization, 1, When::Before, fault);
        scene.log_in(LoginCause::Person).await.unwrap();
        assert_eq!(scene.server.counts().registered, 1);
    }
}
