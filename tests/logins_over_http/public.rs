//! A server in public, whose metadata leads a client into its own network or to plain HTTP.

use std::sync::Arc;

use tokenkeeper::http::Reach;
use tokenkeeper::{AuthRuntime, LoginCause, LoginReason, LoginSettings, stores};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::wire::{PUBLIC, Public};
use crate::within::within;

/// A login at a server that is public, by its names.
async fn log_in(flaws: &[Flaw]) -> (Result<(), LoginReason>, LoginServer, Arc<Public>) {
    let builder = LoginServer::builder().host("mcp.example.com");
    let server = flaws.iter().fold(builder, |builder, flaw| builder.flaw(*flaw)).start().await.unwrap();
    let address = format!("http://{}", server.hostile().address());
    let http = Arc::new(Public::new(&server));
    let builder =
        AuthRuntime::builder(stores::memory::open().unwrap()).http(http.clone()).login(LoginSettings::default());
    let runtime = within("a runtime", builder.spawn()).await.unwrap();
    let session = session(&runtime, &format!("{PUBLIC}/mcp"));
    let end = match begin(&session, wish(&[]), LoginCause::Person).await {
        Ok(asked) => {
            assert!(asked.url.starts_with(PUBLIC), "{}", asked.url);
            let encoded = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
            let page = asked.url.replace(&encoded(PUBLIC), &encoded(server.origin())).replace(PUBLIC, &address);
            let redirect = open(&page).await.callback.unwrap();
            deliver(&session, &redirect.replace(&encoded(server.origin()), &encoded(PUBLIC))).await
        }
        Err(reason) => Err(reason),
    };
    assert_eq!(within("a token", session.token()).await.is_ok(), end.is_ok());
    if end.is_ok() {
        renewed(&session).await;
        session.logout().await.unwrap();
    }
    (end, server, http)
}

#[tokio::test]
async fn a_sound_server_in_public_is_signed_in_to() {
    let (end, server, http) = log_in(&[]).await;
    assert_eq!(end, Ok(()));
    let mut wanted = of_one_login();
    wanted.extend([(Endpoint::Token, 2), (Endpoint::Revocation, 1)]);
    assert_eq!(requests(&server), wanted);
    // The person named the resource, and a server named all other URLs.
    assert_eq!(http.reaches("/mcp"), [Reach::Any]);
    for (path, number) in
        [("/.well-known/oauth-authorization-server", 1), ("/register", 1), ("/token", 2), ("/revoke", 1)]
    {
        assert_eq!(http.reaches(path), vec![Reach::Public; number], "{path}");
    }
}

#[tokio::test]
async fn metadata_of_a_public_server_leads_neither_to_this_machine_nor_to_plain_http() {
    for flaw in [Flaw::MetadataRedirectsToLoopback, Flaw::MetadataRedirectsToHttp] {
        let (end, server, _) = log_in(&[flaw]).await;
        assert_eq!(end, Err(LoginReason::UnsafeAddress), "{flaw}");
        let counts = server.counts();
        assert_eq!((counts.of(Endpoint::Elsewhere), counts.registered, counts.of(Endpoint::Token)), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_public_resource_that_lists_an_issuer_on_this_machine_is_refused() {
    let inner = LoginServer::start().await.unwrap();
    let outer = LoginServer::builder().host("mcp.example.com").start().await.unwrap();
    outer.list_issuers([inner.issuer(), "https://10.0.0.1".to_owned(), "http://as.example.com".to_owned()]);
    let http = Arc::new(Public::new(&outer));
    let runtime = AuthRuntime::builder(stores::memory::open().unwrap()).http(http).spawn().await.unwrap();
    let session = session(&runtime, &format!("{PUBLIC}/mcp"));
    let end = begin(&session, wish(&[]), LoginCause::Person).await.map(drop);
    assert_eq!(end, Err(LoginReason::UnsafeAddress));
    assert!(requests(&inner).is_empty(), "nothing on this machine was asked");
}
