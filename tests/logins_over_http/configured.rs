//! The host's configuration of metadata, accepted deviations and further parameters.

use tokenkeeper::{LoginCause, LoginReason, LoginSettings, ResourceUri, SessionSpec};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer};

use crate::rig::*;

#[tokio::test]
async fn an_issuer_with_a_slash_too_many_is_accepted_only_as_an_alias() {
    let server = || LoginServer::builder().flaw(Flaw::IssuerTrailingSlash).without_iss();
    let scene = Scene::new(server()).await;
    assert_eq!(scene.log_in(LoginCause::Person).await, Err(LoginReason::IssuerMismatch));
    let scene = Scene::with(server(), |server| {
        let (listed, documented) = (server.issuer(), format!("{}/", server.issuer()));
        LoginSettings::default().discovery(move |discovery| Ok(discovery.issuer_alias(&*listed, &*documented)))
    })
    .await;
    scene.log_in(LoginCause::Person).await.unwrap();
    assert_eq!(scene.grant().await.binding.issuer.0, format!("{}/", scene.server.issuer()));
    renewed(&scene.session).await;
    scene.log_in(LoginCause::Again).await.unwrap();
    assert_eq!(requests(&scene.server)[&Endpoint::ServerMetadata], 1);
}

/// The alias is for the metadata. The answer is compared with the documented issuer (RFC 9207 section 2.4).
#[tokio::test]
async fn an_alias_relaxes_no_iss() {
    let scene = Scene::with(LoginServer::builder().flaw(Flaw::IssuerTrailingSlash), |server| {
        let (listed, documented) = (server.issuer(), format!("{}/", server.issuer()));
        LoginSettings::default().discovery(move |discovery| Ok(discovery.issuer_alias(&*listed, &*documented)))
    })
    .await;
    assert_eq!(scene.log_in(LoginCause::Person).await, Err(LoginReason::WrongIssuer));
    assert_eq!(scene.server.counts().of(Endpoint::Token), 0);
    scene.has_nothing().await;
}

#[tokio::test]
async fn a_metadata_url_of_the_host_comes_before_all_discovery() {
    let server = LoginServer::builder().silent_about_metadata().resource_metadata([]).issuer_path("/tenant1");
    let scene = Scene::with(server, |server| {
        let resource = ResourceUri::parse(&server.resource_url()).unwrap();
        let url = format!("{}/.well-known/oauth-authorization-server/tenant1", server.origin());
        LoginSettings::default().discovery(move |discovery| discovery.metadata_url(resource.clone(), &url))
    })
    .await;
    scene.log_in(LoginCause::Person).await.unwrap();
    let mut wanted = of_one_login();
    wanted.remove(&Endpoint::ResourceMetadata);
    assert_eq!(requests(&scene.server), wanted);
    assert_eq!(scene.call("any").await, 200);
}

#[tokio::test]
async fn further_parameters_and_a_hint_are_sent_where_the_host_wants_them() {
    let scene = Scene::with(LoginServer::builder(), |_| {
        LoginSettings::default().parameter("audience", "ours").parameter("state", "forged").hint_account()
    })
    .await;
    let spec = SessionSpec::mcp(&scene.server.resource_url()).unwrap();
    for (account, hint) in [("ann@example.com", Some("ann@example.com")), ("work", None)] {
        let session = scene.runtime.session(spec.clone().account(account).unwrap());
        let asked = begin(&session, wish(&[]), LoginCause::Person).await.unwrap();
        assert_eq!(asked.parameter("login_hint").as_deref(), hint);
        assert_eq!(asked.parameter("audience").as_deref(), Some("ours"));
        answer(&session, &asked.url).await.unwrap();
    }
}
