//! A server in public, whose metadata leads a client into its own network or to plain HTTP.

use std::sync::Arc;

use tokenkeeper::http::ReqwestClient;
use tokenkeeper::{AuthRuntime, LoginCause, LoginReason, LoginSettings, stores};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::wire::{PUBLIC, Public};
use crate::within::within;

/// A login at a server that is public, by its names.
async fn log_in(flaws: &[Flaw]) -> (Result<(), LoginReason>, LoginServer) {
    let builder = LoginServer::builder().host("mcp.example.com");
    let server = flaws.iter().fold(builder, |builder, flaw| builder.flaw(*flaw)).start().await.unwrap();
    let own = server.origin().to_owned();
    let address = format!("http://{}", server.hostile().address());
    let http = Arc::new(Public { client: ReqwestClient::new().unwrap(), own, address: address.clone() });
    let builder = AuthRuntime::builder(stores::memory::open().unwrap()).http(http).login(LoginSettings::default());
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
    (end, server)
}

#[tokio::test]
async fn a_sound_server_in_public_is_signed_in_to() {
    let (end, server) = log_in(&[]).await;
    assert_eq!(end, Ok(()));
    assert_eq!(requests(&server), of_one_login());
}

#[tokio::test]
async fn metadata_of_a_public_server_leads_neither_to_this_machine_nor_to_plain_http() {
    for flaw in [Flaw::MetadataRedirectsToLoopback, Flaw::MetadataRedirectsToHttp] {
        let (end, server) = log_in(&[flaw]).await;
        assert_eq!(end, Err(LoginReason::UnsafeAddress), "{flaw}");
        let counts = server.counts();
        assert_eq!((counts.of(Endpoint::Elsewhere), counts.registered, counts.of(Endpoint::Token)), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_public_resource_that_lists_an_issuer_on_this_machine_is_refused() {
    let inner = LoginServer::start().await.unwrap();
    let builder = LoginServer::builder().host("mcp.example.com").start().await.unwrap();
    builder.list_issuers([inner.issuer(), "https://10.0.0.1".to_owned(), "http://as.example.com".to_owned()]);
    let own = builder.origin().to_owned();
    let address = format!("http://{}", builder.hostile().address());
    let http = Arc::new(Public { client: ReqwestClient::new().unwrap(), own, address });
    let runtime = AuthRuntime::builder(stores::memory::open().unwrap()).http(http).spawn().await.unwrap();
    let session = session(&runtime, &format!("{PUBLIC}/mcp"));
    let end = begin(&session, wish(&[]), LoginCause::Person).await.map(drop);
    assert_eq!(end, Err(LoginReason::UnsafeAddress));
    assert!(requests(&inner).is_empty(), "nothing on this machine was asked");
}
