//! The revocation of a logout's tokens. The record is cleared first, and the answer reports the outcome.

use tokenkeeper_actors::law::session::{LoggedOut, RevocationOutcome};
use tokenkeeper_actors::ports::source::NotRevoked;
use tokenkeeper_actors::values::{LogoutError, Reason};

use super::rig::{End, Rig, turns};
use crate::support::{identity, s};

/// The answer of a logout without a doubt.
fn logged_out(revocation: RevocationOutcome) -> Result<LoggedOut, LogoutError> {
    Ok(LoggedOut { has_unknown_token: false, revocation: Some(revocation) })
}

#[tokio::test(start_paused = true)]
async fn a_logout_reports_what_the_server_answered() {
    let rig = Rig::new().await;
    rig.works().await;
    rig.world.server.takes_to_revoke(s(2));
    let began = rig.world.clock.moment().elapsed;
    assert_eq!(rig.session.logout().await, logged_out(RevocationOutcome::Done));
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(2));
    assert_eq!(rig.world.server.revoked(), 1);

    // A second logout finds nothing to revoke.
    assert_eq!(rig.session.logout().await, Ok(LoggedOut { has_unknown_token: false, revocation: None }));

    for (why, outcome) in
        [(NotRevoked::NotOffered, RevocationOutcome::NotOffered), (NotRevoked::Failed, RevocationOutcome::Failed)]
    {
        let rig = Rig::new().await;
        rig.works().await;
        rig.world.server.revokes_nothing(why);
        assert_eq!(rig.session.logout().await, logged_out(outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn the_record_is_cleared_before_the_server_answers_and_the_answer_is_waited_for_3_s() {
    let rig = Rig::new().await;
    rig.works().await;
    rig.world.server.takes_to_revoke(s(60));
    let session = rig.session.clone();
    let logout = tokio::spawn(async move { session.logout().await });
    turns(50).await;
    assert!(rig.record().await.held().is_none(), "cleared");
    rig.fails(Reason::LoggedOut).await;
    assert!(!logout.is_finished());
    let began = rig.world.clock.moment().elapsed;
    assert_eq!(logout.await.expect("no panic"), logged_out(RevocationOutcome::InTheAir));
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(3));

    // It goes on, and a shutdown that does not wait for it reports it.
    assert_eq!(rig.world.server.revoked(), 0);
    let report = rig.runtime.shutdown(s(5)).await;
    assert_eq!((report.is_clean(), report.unrevoked), (false, vec![identity(1)]));
    rig.world.clock.pass(s(60)).await;
    assert_eq!(rig.world.server.revoked(), 1);
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_outlives_its_caller_and_the_actor() {
    for end in [None, Some(End::Drain), Some(End::Stop), Some(End::Kill), Some(End::Panic)] {
        let rig = Rig::new().await;
        rig.works().await;
        rig.world.server.takes_to_revoke(s(1));
        let session = rig.session.clone();
        let logout = tokio::spawn(async move { session.logout().await });
        turns(50).await;
        assert!(rig.record().await.held().is_none(), "cleared");
        match end {
            Some(end) => {
                rig.ends(end).await;
                assert_eq!(logout.await.expect("no panic"), logged_out(RevocationOutcome::Done), "{end:?}");
            }
            None => logout.abort(),
        }
        rig.world.clock.pass(s(2)).await;
        assert_eq!(rig.world.server.revoked(), 1, "{end:?}");
        assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    }
}
