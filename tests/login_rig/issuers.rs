//! An issuer with a path, and one that takes pushed authorization requests only.

use tokenkeeper::{LogIn, LoggedIn};

use crate::authority::{Authority, Counts};
use crate::automatic::ONE;
use crate::host::{Host, end};
use crate::person::Person;

#[tokio::test]
async fn an_issuer_with_a_path_is_found_and_signs_in() {
    let Some(authority) = Authority::start(&[("ISSUER_PATH", "/tenant1")]) else { return };
    assert!(authority.issuer().ends_with("/tenant1"));
    let host = Host::new(&authority).await;
    host.sign_in(LogIn::new()).await;
    host.assert_served(&authority, "alice").await;
    host.assert_leaves_nothing(&authority).await;
    assert_eq!(authority.counts(), Counts { refreshes: 1, revoked: 1, ..ONE });
}

/// RFC 9126 section 5.
#[tokio::test]
async fn the_request_is_pushed_where_the_server_requires_it() {
    let Some(authority) = Authority::start(&[("REQUIRE_PAR", "1")]) else { return };
    let host = Host::new(&authority).await;
    let person = Person::new();
    let logging = host.log_in(LogIn::new(), &person);
    let page = person.page().await;
    let names: Vec<_> = page.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"]);
    let callback = host.web.consent(&page).await;
    host.web.open(&callback).await;
    assert_eq!(end(logging).await, Ok(LoggedIn::Here));
    host.assert_served(&authority, "alice").await;
    host.assert_leaves_nothing(&authority).await;
    assert_eq!(authority.counts(), Counts { pushed: 1, refreshes: 1, revoked: 1, ..ONE });
}
