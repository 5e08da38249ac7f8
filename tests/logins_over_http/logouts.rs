//! The end of a session, and what becomes of its tokens at the server (RFC 7009).

use tokenkeeper::{LoginCause, Reason, RevocationOutcome};
use tokenkeeper_testkit::hostile::{Fault, When};
use tokenkeeper_testkit::login_server::{Endpoint, Flaw, LoginServer};

use crate::rig::*;
use crate::within::within;

#[tokio::test]
async fn a_logout_reports_whether_the_tokens_were_revoked() {
    let server = LoginServer::builder;
    for (server, fault, outcome) in [
        (server(), None, RevocationOutcome::Done),
        (server().flaw(Flaw::NoRefreshToken), None, RevocationOutcome::Done),
        (server().flaw(Flaw::NoRevocationEndpoint), None, RevocationOutcome::NotOffered),
        (server(), Some(Fault::status(503)), RevocationOutcome::Failed),
        (server(), Some(Fault::reset()), RevocationOutcome::Failed),
    ] {
        let scene = Scene::signed_in(server).await;
        if let Some(fault) = fault {
            scene.server.next_at(Endpoint::Revocation, 9, When::Before, fault);
        }
        let old = token(&scene.session).await;
        let ended = within("the logout", scene.session.logout()).await.unwrap();
        assert_eq!(ended.revocation, Some(outcome));
        assert_eq!(scene.session.token().await.unwrap_err().reason(), Reason::LoggedOut);
        scene.has_nothing().await;
        let answer = call(&scene.server.resource_url(), "any", Some(&old)).await;
        let is_revoked = outcome == RevocationOutcome::Done;
        assert_eq!(answer.status().as_u16(), if is_revoked { 401 } else { 200 }, "{outcome:?}");
        // The client outlives the session.
        scene.log_in(LoginCause::Person).await.unwrap();
        assert_eq!(scene.server.counts().registered, 1);
    }
}
