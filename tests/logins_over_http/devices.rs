//! Logins by a code on another device (RFC 8628).

use std::time::Duration;

use tokenkeeper::{LoginCause, LoginMethod, LoginProgress, LoginReason, LoginWish, OfferedPrompt};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;
use crate::within::within;

/// A login by a device code, and the code that the person is shown.
async fn shown(scene: &Scene) -> Result<(tokenkeeper::AttemptId, String), LoginReason> {
    let wish = LoginWish { method: LoginMethod::Device, ..wish(&[]) };
    let begun = within("a code", scene.session.begin_login(wish, LoginCause::Person, WAIT)).await;
    match begun.map_err(|error| error.reason())? {
        LoginProgress::Offered { attempt, offer, .. } => match offer.prompt {
            OfferedPrompt::Device { user_code, .. } => Ok((attempt, user_code)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn done(scene: &Scene, attempt: tokenkeeper::AttemptId) -> Result<(), LoginReason> {
    scene.skip(Duration::from_secs(2)).await;
    let done = within("the end of the login", scene.session.login_done(attempt, WAIT)).await;
    done.map(drop).map_err(|error| error.reason())
}

/// With the shortest pause between polls.
fn server() -> LoginServerBuilder {
    LoginServer::builder().device_interval(1)
}

async fn polls(scene: &Scene, number: u64) {
    within("a poll", scene.server.until(|counts| counts.of(Endpoint::Token) >= number)).await;
}

#[tokio::test]
async fn a_person_allows_after_a_poll_that_came_too_early() {
    let scene = Scene::new(server()).await;
    let (attempt, code) = shown(&scene).await.unwrap();
    polls(&scene, 1).await;
    assert!(scene.server.approve_device(&code));
    done(&scene, attempt).await.unwrap();
    assert_eq!(scene.call("any").await, 200);
    let counts = scene.server.counts();
    let refused = counts.tokens.refusals.get("authorization_pending").copied().unwrap_or_default();
    assert_eq!(counts.of(Endpoint::Token), refused + 1);
    for (endpoint, number) in [
        (Endpoint::ResourceMetadata, 1),
        (Endpoint::ServerMetadata, 1),
        (Endpoint::Registration, 1),
        (Endpoint::DeviceAuthorization, 1),
        (Endpoint::Authorization, 0),
    ] {
        assert_eq!(counts.of(endpoint), number, "{endpoint:?}");
    }
    let (request, poll) = (
        scene.server.log_of(Endpoint::DeviceAuthorization).pop().unwrap(),
        scene.server.log_of(Endpoint::Token).pop().unwrap(),
    );
    let resource = scene.server.resource_url();
    assert_eq!((request.parameter("resource"), poll.parameter("resource")), (&*resource, &*resource));
    assert_eq!(sorted(request.parameter("scope")), ["tools:call", "tools:read"]);
    renewed(&scene.session).await;
    assert_eq!(scene.server.log_of(Endpoint::Token).pop().unwrap().parameter("resource"), resource);
}

/// The source asks for the longer pause, and the engine's own tests count it.
#[tokio::test]
async fn slow_down_ends_nothing() {
    let scene = Scene::new(server()).await;
    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.slow_device(&code, 1));
    assert!(scene.server.approve_device(&code));
    done(&scene, attempt).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!(counts.tokens.refusals.get("slow_down"), Some(&1));
    assert_eq!(counts.of(Endpoint::Token), 2);
}

#[tokio::test]
async fn a_person_declines_or_comes_too_late() {
    let scene = Scene::new(server()).await;
    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.deny_device(&code));
    assert_eq!(done(&scene, attempt).await, Err(LoginReason::Denied));
    scene.has_nothing().await;

    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.expire_device(&code));
    assert_eq!(done(&scene, attempt).await, Err(LoginReason::TimedOut));
    scene.has_nothing().await;
    assert_eq!(scene.server.counts().logins, 0);
}

#[tokio::test]
async fn a_lost_answer_to_a_poll_ends_nothing() {
    let scene = Scene::new(server()).await;
    scene.server.next_at(Endpoint::Token, 1, When::Before, Fault::reset());
    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.approve_device(&code));
    done(&scene, attempt).await.unwrap();
    assert_eq!(scene.server.counts().logins, 1);
}

#[tokio::test]
async fn a_server_without_device_codes_is_asked_for_nothing() {
    let scene = Scene::new(server().without_devices()).await;
    assert_eq!(shown(&scene).await, Err(LoginReason::MethodUnsupported));
    let counts = scene.server.counts();
    assert_eq!((counts.of(Endpoint::Token), counts.of(Endpoint::Registration)), (0, 0));
    scene.has_nothing().await;
}

#[tokio::test]
async fn a_code_that_could_deceive_on_a_terminal_is_not_shown() {
    let scene = Scene::new(server().flaw(Flaw::TerminalEscapes)).await;
    assert_eq!(shown(&scene).await, Err(LoginReason::MetadataUnusable));
    assert_eq!(scene.server.counts().of(Endpoint::Token), 0);
    scene.has_nothing().await;
}

#[tokio::test]
async fn a_client_that_the_server_forgot_is_registered_anew_before_the_code_is_shown() {
    let scene = Scene::new(server()).await;
    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.approve_device(&code));
    done(&scene, attempt).await.unwrap();
    scene.session.logout().await.unwrap();
    scene.server.forget_clients();
    let (attempt, code) = shown(&scene).await.unwrap();
    assert!(scene.server.approve_device(&code));
    done(&scene, attempt).await.unwrap();
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins, counts.of(Endpoint::DeviceAuthorization)), (2, 2, 3));
}

/// The person is sent to this page, on another device even.
#[tokio::test]
async fn a_page_that_must_not_be_opened_is_not_shown() {
    for page in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "http://as.example.com/device",
        "https://10.0.0.1/device",
        "https://ann@as.example.com/device",
    ] {
        let scene = Scene::new(server()).await;
        let body =
            format!(r#"{{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"{page}","expires_in":60}}"#);
        scene.server.next_at(Endpoint::DeviceAuthorization, 1, When::Before, Fault::body("application/json", body));
        assert_eq!(shown(&scene).await.map(drop), Err(LoginReason::UnsafeAddress), "{page}");
        assert_eq!(scene.server.counts().of(Endpoint::Token), 0);
        scene.has_nothing().await;
    }
}

#[tokio::test]
async fn an_answer_without_a_code_or_a_page_is_an_error() {
    for body in [
        "{}",
        "[]",
        r#"{"device_code":"d","user_code":"ABCD"}"#,
        r#"{"device_code":"","user_code":"ABCD","verification_uri":"https://as.example.com"}"#,
        r#"{"device_code":"d","user_code":"","verification_uri":"https://as.example.com"}"#,
    ] {
        let scene = Scene::new(server()).await;
        scene.server.next_at(Endpoint::DeviceAuthorization, 1, When::Before, Fault::body("application/json", body));
        assert_eq!(shown(&scene).await.map(drop), Err(LoginReason::MetadataUnusable), "{body}");
        scene.has_nothing().await;
    }
}
