//! The sign-on of a person at the identity provider, whose ID token is the lease of the session.

use std::time::Duration;

use tokenkeeper::engine::values::record::Refresh;
use tokenkeeper::issuers::Client;
use tokenkeeper::registration::Clients;
use tokenkeeper::{
    AuthRuntime, AuthSession, LoginCause, LoginMethod, LoginProgress, LoginSettings, LoginWish, OfferedPrompt, Scopes,
    SessionSpec, callback,
};
use tokenkeeper_testkit::login_server::Browser;

use super::host::{Host, token};
use super::server::{BEARER, CODE, EXCHANGE, REFRESH};
use super::within;

const REDIRECT: &str = "http://127.0.0.1:7/callback";
const WAIT: Duration = Duration::from_secs(25);

/// A runtime on the host's store that signs people on as the client of the identity provider.
async fn runtime(host: &Host) -> AuthRuntime {
    let clients = Clients::default().pre_registered(host.server.idp(), Client::public("desktop"), [REDIRECT]);
    let builder = AuthRuntime::builder(host.store.clone()).login(LoginSettings::default().clients(clients));
    within("a runtime", builder.spawn()).await.unwrap()
}

async fn sign_on(session: &AuthSession) {
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    let wish = LoginWish { scopes: Scopes::default(), method, same_subject: false, extends: false };
    let begun = within("a page", session.begin_login(wish, LoginCause::Again, WAIT)).await.unwrap();
    let LoginProgress::Offered { offer, .. } = begun else { panic!("{begun:?}") };
    let OfferedPrompt::Browser { url } = offer.prompt else { panic!("no page") };
    let visit = within("the browser", Browser::open(url.as_str())).await.unwrap();
    let answer = callback::read(&visit.callback.unwrap()).unwrap();
    within("the sign-on", session.complete_login(answer, WAIT)).await.unwrap();
}

#[tokio::test]
async fn a_person_signs_on_at_the_identity_provider_and_servers_draw_from_the_session() {
    let host = Host::new().await;
    let auth = runtime(&host).await;
    let spec = SessionSpec::idp(&host.server.idp()).unwrap();
    let session = auth.session(spec.clone());
    sign_on(&session).await;
    let page = &host.server.pages()[0];
    assert_eq!((page["scope"].as_str(), page["client_id"].as_str()), ("openid offline_access", "desktop"));
    assert!(!page.contains_key("resource"), "an identity provider knows no MCP server");
    let code = host.server.requests().remove(0);
    assert!(!code.form.contains_key("resource") && code.path == "/idp/token");

    let grant = host.grant(session.identity()).await;
    assert_eq!(grant.renewal.source.as_str(), "idp_session");
    assert!(matches!(grant.refresh, Refresh::Held(_)));
    let lease = within("a token", session.token()).await.unwrap();
    assert_eq!(lease.token().expose().split('.').count(), 3, "the lease is the ID token");
    assert_eq!(lease.validity().lifetime(), Some(Duration::from_secs(3_600)));

    // Another process of the host needs the records alone.
    assert!(within("a shutdown", host.auth.shutdown(WAIT)).await.is_clean());
    let host = host.another_process().await;
    assert!(token(&host.session(0, &host.enterprise())).await.is_ok());
    host.expire();
    assert!(token(&host.session(0, &host.enterprise())).await.is_ok());
    let counts = [CODE, REFRESH, EXCHANGE, BEARER].map(|grant| host.server.count(grant));
    assert_eq!((counts, host.server.replays()), ([1, 1, 2, 2], 0));
}
