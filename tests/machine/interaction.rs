//! A token endpoint that wants a person first, and the page that it names.

use tokenkeeper::issuers::Client;
use tokenkeeper::machine::{MachineGrant, SubjectToken};
use tokenkeeper::{LoginUrl, Reason, TokenError};

use super::host::{Host, crowd, token, try_token};
use super::server::{BEARER, EXCHANGE, Fault};

const PAGE: &str = "https://login.example.com/consent?ticket=7";

fn page(error: &TokenError) -> Option<&str> {
    error.interaction_url().map(LoginUrl::as_str)
}

/// As Entra ID's on-behalf-of.
fn on_behalf_of() -> MachineGrant {
    let grant = MachineGrant::jwt_bearer(SubjectToken::fixed("wl-1")).client(Client::secret_basic("app", "app-secret"));
    grant.parameter("requested_token_use", "on_behalf_of")
}

#[tokio::test]
async fn every_caller_gets_the_page_and_the_next_answer_ends_it() {
    let host = Host::new().await;
    let session = host.session(0, &on_behalf_of());
    host.server.next(BEARER, [Fault::WantsPerson(PAGE)]);
    host.server.hold(BEARER);
    let callers = tokio::spawn({
        let session = session.clone();
        async move { crowd(std::slice::from_ref(&session), 20).await }
    });
    host.server.until(BEARER, 1).await;
    host.server.release();
    for answer in callers.await.unwrap() {
        let error = answer.unwrap_err();
        assert_eq!((error.reason(), page(&error)), (Reason::SignOnRequired, Some(PAGE)));
        assert!(!error.is_login_required() && !error.is_transient());
        assert!(!format!("{error} {error:?}").contains("ticket"), "an address may be logged only by the host");
    }
    assert_eq!(host.server.count(BEARER), 1, "it is not repeated, and no browser is opened");

    // Once the person has consented, a caller that asks again gets a token.
    assert!(token(&session).await.is_ok());
    host.expire();
    host.server.next(BEARER, [Fault::Refuse(400, "interaction_required", None)]);
    let error = try_token(&session).await.unwrap_err();
    assert_eq!((error.reason(), page(&error)), (Reason::SignOnRequired, None), "the page before is over");
}

#[tokio::test]
async fn a_page_that_is_no_https_address_is_not_passed_on() {
    let host = Host::new().await;
    let session = host.session(0, &on_behalf_of());
    for bad in ["http://login.example.com/consent", "https://login.example.com/\u{1b}[2J", "file:///etc/passwd"] {
        host.server.next(BEARER, [Fault::WantsPerson(bad)]);
        let error = try_token(&session).await.unwrap_err();
        assert_eq!((error.reason(), page(&error)), (Reason::SignOnRequired, None), "{bad:?}");
    }
}

#[tokio::test]
async fn the_page_of_the_identity_provider_is_passed_on_too() {
    let host = Host::new().await;
    host.signed_on().await;
    let session = host.session(0, &host.enterprise());
    host.server.next(EXCHANGE, [Fault::WantsPerson(PAGE)]);
    let error = try_token(&session).await.unwrap_err();
    assert_eq!((error.reason(), page(&error)), (Reason::SignOnRequired, Some(PAGE)));
    let other = host.session(1, &host.enterprise());
    assert!(token(&other).await.is_ok(), "another session has no part in it");
}
