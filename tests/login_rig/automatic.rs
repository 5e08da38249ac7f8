//! Logins of a client that registers by itself, from the first 401 to the logout.

use serde_json::json;
use tokenkeeper::{LogIn, LoggedIn, LoginReason, Way};

use crate::authority::{Authority, Counts};
use crate::host::{Host, end};
use crate::person::{Person, page_of, parameter};

/// The counts after one login of a new client.
pub(crate) const ONE: Counts =
    Counts { registrations: 1, pushed: 0, codes: 1, refreshes: 0, refused: 0, grants: 1, revoked: 0 };

#[tokio::test]
async fn a_session_lives_from_its_login_to_its_logout() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    assert!(host.token().await.unwrap_err().is_login_required());
    let page = host.sign_in(LogIn::new()).await;
    assert!(page.contains("<h1>You are signed in</h1>"), "{page}");
    assert_eq!(authority.counts(), ONE);

    host.assert_served(&authority, "alice").await;
    assert_eq!(authority.counts(), Counts { refreshes: 1, ..ONE });
    let mcp = &authority.stats()["mcp"]["by_status"];
    // Discovery asks without a token, and one token was refused.
    assert_eq!(*mcp, json!({ "200": 2, "401": 2 }));

    let person = Person::new();
    assert_eq!(end(host.log_in(LogIn::new(), &person)).await, Ok(LoggedIn::Already));
    assert!(person.is_left_alone().await);

    host.assert_leaves_nothing(&authority).await;
    assert_eq!(authority.counts(), Counts { refreshes: 1, revoked: 1, ..ONE });
}

#[tokio::test]
async fn a_refusal_is_shown_and_nothing_is_stored() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    authority.tell("/deny", &json!({ "n": 1 }));
    let person = Person::new();
    let logging = host.log_in(LogIn::new(), &person);
    let callback = host.web.consent(&person.page().await).await;
    assert_eq!(parameter(&callback, "error").as_deref(), Some("access_denied"));
    let page = host.web.open(&callback).await;
    assert!(page.contains("<h1>Access was declined</h1>"), "{page}");
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::Denied));
    assert!(host.token().await.unwrap_err().is_login_required());
    assert_eq!(authority.counts(), Counts { registrations: 1, ..Counts::default() });

    host.sign_in(LogIn::new()).await;
    host.assert_served(&authority, "alice").await;
    host.assert_leaves_nothing(&authority).await;
}

#[tokio::test]
async fn a_pasted_address_is_redeemed_and_a_bare_code_is_not() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    let request = || LogIn::new().way(Way::Paste);
    let person = Person::new();
    let logging = host.log_in(request(), &person);
    let callback = host.web.consent(&person.page().await).await;
    // The server promises `iss` with each answer (RFC 9207 section 2.4), and a bare code comes without it.
    person.paste(parameter(&callback, "code").unwrap());
    assert_eq!(end(logging).await.unwrap_err().reason(), Some(LoginReason::WrongIssuer));
    assert_eq!(authority.counts().codes, 0);

    let logging = host.log_in(request(), &person);
    let prompt = person.asked().await;
    assert!(prompt.takes_paste && !prompt.is_listening);
    let callback = host.web.consent(&page_of(&prompt.prompt)).await;
    person.paste(format!("  {callback}\n"));
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    host.assert_served(&authority, "alice").await;
    // The second request was pushed first, to ask whether the client is known. The first one's grant has no token.
    assert_eq!(authority.counts(), Counts { pushed: 1, grants: 2, refreshes: 1, ..ONE });
    host.end().await;
}

/// The server that has forgotten a client shows an error page, and never redirects.
#[tokio::test]
async fn a_forgotten_client_is_found_before_the_browser_opens() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    let person = Person::new();
    let mut clients = Vec::new();
    for (forgets, registrations, pushed) in [(false, 1, 0), (false, 1, 1), (true, 2, 1)] {
        if forgets {
            authority.tell("/forget-clients", &json!({}));
        }
        let logging = host.log_in(LogIn::new().again(), &person);
        let page = person.page().await;
        clients.push(parameter(&page, "client_id").unwrap());
        host.web.open(&host.web.consent(&page).await).await;
        assert_eq!(end(logging).await, Ok(LoggedIn::Here));
        let counts = authority.counts();
        assert_eq!((counts.registrations, counts.pushed, counts.refused), (registrations, pushed, 0), "{clients:?}");
    }
    assert!(clients[0] == clients[1] && clients[1] != clients[2], "{clients:?}");
    assert!(person.is_left_alone().await);
    assert_eq!(authority.stats()["authorizations"], json!({ "success": 3, "error": 0 }));
    assert_eq!(host.assert_served(&authority, "alice").await, clients[2]);
    host.end().await;
}

#[tokio::test]
async fn a_client_that_is_forgotten_before_the_code_is_redeemed_is_replaced_and_the_person_asked_once_more() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    let person = Person::new();
    let logging = host.log_in(LogIn::new(), &person);
    let first = person.page().await;
    let callback = host.web.consent(&first).await;
    authority.tell("/forget-clients", &json!({}));
    let page = host.web.open(&callback).await;
    assert!(page.contains("<h1>The sign-in was not completed</h1>"), "{page}");

    let prompt = person.asked().await;
    assert!(prompt.is_first, "a browser is opened for it");
    let second = page_of(&prompt.prompt);
    assert_ne!(parameter(&second, "client_id"), parameter(&first, "client_id"));
    host.web.open(&host.web.consent(&second).await).await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    assert_eq!(authority.counts(), Counts { registrations: 2, refused: 1, grants: 2, ..ONE });
    assert_eq!(Some(host.assert_served(&authority, "alice").await), parameter(&second, "client_id"));
    host.end().await;
}
