//! Logins for more scopes, after a 403, and logins after a 401 that no refresh mends. Both are bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokenkeeper::discovery::Challenge;
use tokenkeeper::{
    AuthSession, ChallengeKey, Lease, LoginCause, LoginMethod, LoginProgress, LoginReason, LoginWish, OperationKey,
    Reason, Scopes, SignInError,
};
use tokenkeeper_testkit::login_server::{Consent, Endpoint, Flaw, LoginServer, LoginServerBuilder};

use crate::rig::*;
use crate::within::within;

fn server() -> LoginServerBuilder {
    LoginServer::builder()
        .scopes(["files:read", "files:write", "files:delete"])
        .required(["files:read"])
        .tool("write", ["files:write"])
        .tool("delete", ["files:delete"])
}

/// Calls a tool. The error has the lease that was used, and the scopes that are missing.
async fn missing(scene: &Scene, tool: &str) -> Result<(), (Lease, Scopes)> {
    let lease = within("a token", scene.session.token()).await.unwrap();
    let answer = call(&scene.server.resource_url(), tool, Some(lease.token().expose())).await;
    match answer.status().as_u16() {
        200 => Ok(()),
        403 => {
            let challenges = Challenge::parse(answer.headers());
            let challenge = challenges.iter().find(|challenge| challenge.is_insufficient_scope());
            Err((lease, challenge.and_then(Challenge::scopes).unwrap_or_default()))
        }
        status => panic!("{status}"),
    }
}

async fn step_up(
    session: &AuthSession,
    lease: &Lease,
    scopes: Scopes,
    operation: &str,
) -> Result<LoginProgress, SignInError> {
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    within("a step-up", session.step_up(lease, scopes, method, OperationKey::of(operation), WAIT)).await
}

#[tokio::test]
async fn a_403_leads_to_a_login_for_all_scopes_and_the_present_lease_serves_meanwhile() {
    let scene = Scene::signed_in(server()).await;
    let (lease, scopes) = missing(&scene, "write").await.unwrap_err();
    assert_eq!(scopes, Scopes::new(["files:write"]), "the challenge names what is missing");
    let asked = asked(step_up(&scene.session, &lease, scopes, "write").await.unwrap());
    assert_eq!(sorted(&asked.parameter("scope").unwrap()), ["files:read", "files:write"]);
    let first = &scene.server.log_of(Endpoint::Authorization)[0];
    for name in ["client_id", "resource", "redirect_uri"] {
        assert_eq!(asked.parameter(name).unwrap(), first.parameter(name), "{name}");
    }
    assert_ne!(asked.parameter("state").unwrap(), first.parameter("state"));
    assert_ne!(asked.parameter("code_challenge").unwrap(), first.parameter("code_challenge"));
    assert_eq!(token(&scene.session).await, lease.token().expose());
    assert_eq!(scene.call("read").await, 200);
    answer(&scene.session, &asked.url).await.unwrap();
    assert_eq!(missing(&scene, "write").await.map_err(drop), Ok(()));
    assert_eq!(scene.call("read").await, 200);
    let counts = scene.server.counts();
    assert_eq!((counts.registered, counts.logins, counts.tokens.refresh_grants), (1, 2, 0), "no refresh steps up");
    let late = step_up(&scene.session, &lease, Scopes::new(["files:write"]), "write").await;
    assert_eq!(late, Ok(LoginProgress::SignedIn), "there is a newer lease");
}

#[tokio::test]
async fn thirty_two_callers_that_lack_one_of_two_scopes_cost_two_prompts_at_most() {
    let scene = Scene::signed_in(server()).await;
    let prompts = AtomicUsize::new(0);
    let callers = (0..32).map(|number| {
        let (scene, prompts, tool) = (&scene, &prompts, ["write", "delete"][number % 2]);
        async move {
            for _ in 0..8 {
                let Err((lease, scopes)) = missing(scene, tool).await else { return };
                match step_up(&scene.session, &lease, scopes, tool).await {
                    Ok(LoginProgress::Offered { attempt, offer, is_first, .. }) => {
                        if is_first {
                            prompts.fetch_add(1, Ordering::SeqCst);
                            let tokenkeeper::OfferedPrompt::Browser { url } = offer.prompt else { panic!() };
                            answer(&scene.session, url.as_str()).await.unwrap();
                        } else {
                            within("the login", scene.session.login_done(attempt, WAIT)).await.unwrap();
                        }
                    }
                    Ok(LoginProgress::SignedIn) => {}
                    other => panic!("{other:?}"),
                }
            }
            panic!("never enough");
        }
    });
    futures_util::future::join_all(callers).await;
    assert!((1..=2).contains(&prompts.load(Ordering::SeqCst)), "{prompts:?}");
    let counts = scene.server.counts();
    assert_eq!(counts.logins, 1 + prompts.load(Ordering::SeqCst) as u64);
    assert_eq!((counts.code_replays, counts.tokens.replays, counts.registered), (0, 0, 1));
}

#[tokio::test]
async fn a_scope_that_the_person_declined_is_not_asked_for_again_and_another_one_is() {
    let scene = Scene::signed_in(server()).await;
    let (lease, scopes) = missing(&scene, "write").await.unwrap_err();
    scene.server.consents(Consent::Deny);
    let asked = asked(step_up(&scene.session, &lease, scopes.clone(), "write").await.unwrap());
    assert_eq!(answer(&scene.session, &asked.url).await, Err(LoginReason::Denied));
    assert_eq!(token(&scene.session).await, lease.token().expose(), "the session stays");
    scene.server.consents(Consent::Allow);
    let before = requests(&scene.server);
    for operation in ["write", "another"] {
        let again = step_up(&scene.session, &lease, scopes.clone(), operation).await.unwrap_err();
        assert_eq!(again.reason(), LoginReason::ScopeDenied);
        assert!(again.retry_after().is_some());
    }
    assert_eq!(requests(&scene.server), before);
    let other =
        crate::rig::asked(step_up(&scene.session, &lease, Scopes::new(["files:delete"]), "delete").await.unwrap());
    assert_eq!(sorted(&other.parameter("scope").unwrap()), ["files:delete", "files:read"]);
    answer(&scene.session, &other.url).await.unwrap();
}

#[tokio::test]
async fn step_ups_that_do_not_help_end_after_three() {
    for withholds in [false, true] {
        let server = if withholds { server() } else { server().flaw(Flaw::NeverEnoughScope) };
        let scene = Scene::signed_in(server).await;
        if withholds {
            scene.server.withhold(["files:write"]);
        }
        let mut prompts = 0;
        let error = loop {
            let (lease, scopes) = missing(&scene, "write").await.unwrap_err();
            match step_up(&scene.session, &lease, scopes, "write").await {
                Ok(progress) => answer(&scene.session, &asked(progress).url).await.unwrap(),
                Err(error) => break error,
            }
            prompts += 1;
            assert!(prompts <= 3, "without a bound");
        };
        assert_eq!((error.reason(), prompts), (LoginReason::ResourceRefuses, 3));
        assert_eq!(scene.server.counts().of(Endpoint::Authorization), 1 + prompts);
        assert_eq!(scene.call("read").await, 200);
    }
}

/// A 403 has other causes, too, for example a wrong `Origin`.
#[tokio::test]
async fn a_403_without_the_error_is_no_reason_to_ask() {
    let scene = Scene::signed_in(server().flaw(Flaw::ForbiddenWithoutChallenge)).await;
    let (_, scopes) = missing(&scene, "write").await.unwrap_err();
    assert!(scopes.is_empty());
}

#[tokio::test]
async fn a_resource_that_refuses_every_token_gets_one_new_one_and_three_logins() {
    let scene = Scene::signed_in(server().flaw(Flaw::RefusesTokens)).await;
    let operation = OperationKey::of("read");
    let mut prompts = 0;
    let end = loop {
        let lease = within("a token", scene.session.token()).await.unwrap();
        assert_eq!(scene.call("read").await, 401);
        match within("an answer", scene.session.invalidate(&lease, operation, ChallengeKey(1))).await {
            Ok(()) => continue,
            Err(error) => assert_eq!(error.reason(), Reason::ResourceRefuses),
        }
        let cause = LoginCause::Operation { refused: Some(lease.generation()), operation };
        match begin(&scene.session, wish(&[]), cause).await {
            Ok(asked) => answer(&scene.session, &asked.url).await.unwrap(),
            Err(reason) => break reason,
        }
        prompts += 1;
        assert!(prompts <= 3, "without a bound");
    };
    assert_eq!((end, prompts), (LoginReason::ResourceRefuses, 3));
    let counts = scene.server.counts();
    assert_eq!(counts.tokens.refresh_grants, 1, "the login's own leases are not refreshed in vain");
    assert_eq!(counts.tokens.replays, 0);
}

#[tokio::test]
async fn a_step_up_as_another_person_changes_nothing() {
    let server = LoginServer::builder().scopes(["openid", "a", "b"]).required(["a", "openid"]).tool("b", ["b"]);
    let scene = Scene::signed_in(server.flaw(Flaw::OtherSubject)).await;
    let lease = scene.session.token().await.unwrap();
    let asked = asked(step_up(&scene.session, &lease, Scopes::new(["b"]), "b").await.unwrap());
    assert_eq!(answer(&scene.session, &asked.url).await, Err(LoginReason::SubjectChanged));
    assert_eq!(token(&scene.session).await, lease.token().expose());
}

#[tokio::test]
async fn a_step_up_goes_to_the_issuer_of_its_session_alone() {
    let (scene, other) = (Scene::signed_in(server()).await, LoginServer::start().await.unwrap());
    let (lease, scopes) = missing(&scene, "write").await.unwrap_err();
    scene.server.list_issuers([other.issuer()]);
    let answer = call(&scene.server.resource_url(), "write", Some(lease.token().expose())).await;
    scene.session.challenged(&Challenge::parse(answer.headers())[0]).await;
    let error = step_up(&scene.session, &lease, scopes, "write").await.unwrap_err();
    assert_eq!(error.reason(), LoginReason::NoAuthorizationServer);
    assert_eq!(requests(&other).get(&Endpoint::Registration), None);
    assert_eq!(scene.session.token().await.unwrap_err().reason(), Reason::IssuerChanged);
    // A login anew may go there.
    let cause = LoginCause::Again;
    let asked = begin(&scene.session, LoginWish { same_subject: false, ..wish(&[]) }, cause).await.unwrap();
    assert!(asked.url.starts_with(other.origin()));
}
