//! The order of the clients, and the configured ones.

use std::time::{Duration, UNIX_EPOCH};

use tokenkeeper_actors::values::issuer::RegistrationOrigin;
use tokenkeeper_actors::values::record::ClientAuth;

use super::rig::{ISSUER, NOW, REDIRECT, Rig, Server};
use crate::LoginReason;
use crate::issuers::Client;
use crate::registration::{Clients, MetadataDocument, RegistrationError};

const DOCUMENT: &str = "https://host.example.com/client.json";

fn document() -> MetadataDocument {
    MetadataDocument::new(DOCUMENT, ["http://127.0.0.1/callback", "https://host.example.com/callback"]).unwrap()
}

fn none() -> [&'static str; 0] {
    []
}

#[tokio::test(start_paused = true)]
async fn the_order_is_pre_registered_document_dynamic() {
    let http = Server::willing();
    let all = Clients::default().metadata_document(document()).pre_registered(
        ISSUER,
        Client::secret_post("given", "s"),
        ["http://127.0.0.1/callback"],
    );
    let mut rig = Rig::new(all, &http);
    rig.metadata.accepts_metadata_documents = true;
    let given = rig.client().await.unwrap();
    assert_eq!((given.client.id.as_str(), given.client.auth), ("given", ClientAuth::Post));
    assert_eq!((given.origin, given.key, given.is_reused), (RegistrationOrigin::PreRegistered, None, false));
    assert_eq!(given.redirect_uri.as_deref(), Some(REDIRECT));

    let mut rig = Rig::new(Clients::default().metadata_document(document()), &http);
    rig.metadata.accepts_metadata_documents = true;
    let described = rig.client().await.unwrap();
    assert_eq!((described.client.id.as_str(), described.client.auth), (DOCUMENT, ClientAuth::None));
    assert_eq!((described.origin, described.key), (RegistrationOrigin::MetadataDocument, None));
    assert_eq!((described.client.secret, http.count()), (None, 0));

    rig.metadata.accepts_metadata_documents = false;
    let dynamic = rig.client().await.unwrap();
    assert_eq!((dynamic.client.id.as_str(), dynamic.origin), ("client-0", RegistrationOrigin::Dynamic));
    assert_eq!(http.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_client_is_an_error_that_says_what_to_configure() {
    let http = Server::willing();
    let mut rig = Rig::new(Clients::default(), &http);
    rig.metadata.registration_endpoint = None;
    let error = rig.client().await.unwrap_err();
    assert_eq!(error, RegistrationError::NoClient { issuer: ISSUER.into(), configured: vec![] });
    assert_eq!(error.reason(), LoginReason::NoClient);

    let rig = Rig::new(Clients::default().without_dynamic(), &http);
    assert_eq!(rig.client().await.unwrap_err().reason(), LoginReason::NoClient);
    assert_eq!(http.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_issuer_is_never_used_and_named_only_when_nothing_else_works() {
    let http = Server::willing();
    let other = Clients::default().pre_registered(format!("{ISSUER}/"), Client::public("other"), none());
    let rig = Rig::new(other.clone(), &http);
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");

    let rig = Rig::new(other.without_dynamic(), &http);
    let error = rig.client().await.unwrap_err();
    let configured = vec![format!("{ISSUER}/")];
    assert_eq!(error, RegistrationError::NoClient { issuer: ISSUER.into(), configured });
    assert!(error.to_string().contains("https://as.example.com/ alone"), "{error}");
    assert_eq!(http.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pre_registered_client_that_does_not_fit_is_an_error_and_no_other_is_used() {
    let http = Server::willing();
    let end = |millis| UNIX_EPOCH + Duration::from_millis(millis);
    let clients = |end, redirects: &[&str]| {
        let client = Client::secret_basic("given", "s3cret").secret_expires_at(end);
        Clients::default().pre_registered(ISSUER, client, redirects.iter().copied())
    };
    let ended = Rig::new(clients(end(NOW), &[]), &http).client().await.unwrap_err();
    assert_eq!(ended, RegistrationError::SecretExpired { issuer: ISSUER.into() });
    assert_eq!(ended.reason(), LoginReason::ClientRejected);
    assert_eq!(Rig::new(clients(end(NOW + 1), &[]), &http).client().await.unwrap().client.id, "given");

    let rig = Rig::new(clients(end(NOW + 1), &["http://localhost:3000/callback", "https://h.example/"]), &http);
    let error = rig.client().await.unwrap_err();
    assert_eq!(error.reason(), LoginReason::NoClient);
    assert!(error.to_string().contains("http://localhost:3000/callback, https://h.example/"), "{error}");
    let port = rig.client_at(Some("http://127.0.0.1:3000/callback")).await.unwrap();
    assert_eq!(port.redirect_uri.as_deref(), Some("http://localhost:3000/callback"));
    let device = rig.client_at(None).await.unwrap();
    assert_eq!((device.client.id.as_str(), device.redirect_uri), ("given", None));
    assert_eq!(http.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_document_is_used_by_a_method_of_ours_theirs_and_its_own() {
    let http = Server::willing();
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    for (theirs, own, fits) in [
        (words(&["private_key_jwt", "none"]), vec!["none"], true),
        (words(&["private_key_jwt", "none"]), vec!["private_key_jwt", "none"], true),
        (None, vec!["none"], true),
        // This version cannot use the first method of the server.
        (words(&["private_key_jwt", "client_secret_basic"]), vec!["none"], false),
        (words(&["none", "private_key_jwt"]), vec!["private_key_jwt"], false),
        (words(&[]), vec!["none"], false),
    ] {
        let clients = Clients::default().metadata_document(document().auth_methods(own.clone())).without_dynamic();
        let mut rig = Rig::new(clients, &http);
        rig.metadata.accepts_metadata_documents = true;
        rig.metadata.auth_methods = theirs.clone();
        match rig.client().await {
            Ok(registered) => assert!(fits && registered.client.auth == ClientAuth::None, "{theirs:?} {own:?}"),
            Err(error) => {
                assert!(!fits, "{theirs:?} {own:?} {error}");
                assert!(matches!(error, RegistrationError::NoSharedMethod { .. }), "{error}");
                assert_eq!(error.reason(), LoginReason::NoClient);
            }
        }
    }
    assert_eq!(http.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_does_not_fit_gives_way_to_dynamic_registration() {
    let http = Server::willing();
    let elsewhere = MetadataDocument::new(DOCUMENT, ["https://host.example.com/callback"]).unwrap();
    let mut rig = Rig::new(Clients::default().metadata_document(elsewhere), &http);
    rig.metadata.accepts_metadata_documents = true;
    assert_eq!(rig.client().await.unwrap().origin, RegistrationOrigin::Dynamic);
    let hosted = rig.client_at(Some("https://host.example.com/callback")).await.unwrap();
    assert_eq!(hosted.client.id, DOCUMENT);
    // Without dynamic registration, the error is about the document.
    rig.metadata.registration_endpoint = None;
    let other = super::rig::identity("work", "https://other.example.com");
    let error = rig.client_of(&other, Some(REDIRECT)).await.unwrap_err();
    assert!(matches!(error, RegistrationError::RedirectNotListed { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_address_is_https_or_on_loopback() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default().pre_registered(ISSUER, Client::public("given"), none()), &http);
    for bad in ["http://host.example.com/callback", "com.example:/callback", "javascript:alert(1)", "", "https://u@h/"]
    {
        let error = rig.client_at(Some(bad)).await.unwrap_err();
        assert_eq!(
            (error.clone(), error.reason()),
            (RegistrationError::UnusableRedirect, LoginReason::MethodUnsupported)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn redirect_addresses_with_a_port_are_offered_again() {
    let http = Server::willing();
    let clients = Clients::default()
        .pre_registered(
            ISSUER,
            Client::public("given"),
            ["http://localhost:3000/callback", "http://127.0.0.1/callback"],
        )
        .pre_registered("https://b.example", Client::public("b"), ["http://127.0.0.1:4000/", "https://b.example/cb"])
        .metadata_document(MetadataDocument::new(DOCUMENT, ["http://127.0.0.1:6000/callback"]).unwrap());
    let rig = Rig::new(clients, &http);
    let all = rig.registrar.registered_redirects(&super::rig::work(), None).await;
    assert_eq!(all, ["http://localhost:3000/callback", "http://127.0.0.1:4000/", "http://127.0.0.1:6000/callback"]);
    let of_issuer = rig.registrar.registered_redirects(&super::rig::work(), Some(ISSUER)).await;
    assert_eq!(of_issuer, ["http://localhost:3000/callback", "http://127.0.0.1:6000/callback"]);

    let rig = Rig::new(Clients::default(), &http);
    assert!(rig.registrar.registered_redirects(&super::rig::work(), None).await.is_empty());
    rig.client().await.unwrap();
    for (issuer, found) in [(None, true), (Some(ISSUER), true), (Some("https://b.example"), false)] {
        let redirects = rig.registrar.registered_redirects(&super::rig::work(), issuer).await;
        assert_eq!(redirects == [REDIRECT], found, "{issuer:?} {redirects:?}");
    }
    let other = super::rig::identity("work", "https://other.example.com");
    assert!(rig.registrar.registered_redirects(&other, None).await.is_empty());
    let other_account = super::rig::identity("home", "https://mcp.example.com/mcp");
    assert_eq!(rig.registrar.registered_redirects(&other_account, None).await, [REDIRECT]);
}
