//! Logins for more scopes, when a server refuses an operation. They are bounded, and those at once are one prompt.

use std::time::Duration;

use futures_util::future::join_all;
use tokenkeeper::{ChallengeKey, LoginCause, LoginProgress, LoginReason, OperationKey, Reason, Scopes};
use tokenkeeper_testkit::scripted::{LoginStep, PersonAnswer};

use super::{OPERATION, Place, WAIT, begin, offered, refused, wish};
use crate::within::within;

#[tokio::test(start_paused = true)]
async fn logins_for_one_operation_are_bounded_until_a_person_asks() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    for scope in ["a", "b", "c"] {
        let lease = session.token().await.unwrap();
        let step_up = session.step_up(&lease, Scopes::new([scope]), wish(&[]).method, OPERATION, WAIT);
        let (_, key) = offered(within("a prompt", step_up).await.unwrap());
        assert_eq!(session.token().await.unwrap().generation(), lease.generation(), "the present lease is served");
        session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
        let again = session.step_up(&lease, Scopes::new([scope]), wish(&[]).method, OPERATION, WAIT).await;
        assert_eq!(again, Ok(LoginProgress::SignedIn), "there is a newer lease");
    }
    let lease = session.token().await.unwrap();
    assert_eq!(lease.scopes().iter().collect::<Vec<_>>(), ["a", "b", "c"], "each asks for all that was granted");
    let step_up = session.step_up(&lease, Scopes::new(["d"]), wish(&[]).method, OPERATION, WAIT).await;
    let error = step_up.unwrap_err();
    assert_eq!(error.reason(), LoginReason::ResourceRefuses);
    assert!(error.retry_after().is_some_and(|span| span <= Duration::from_secs(600)));
    assert_eq!(place.counts(), (4, 4, 4));
    offered(begin(&session, LoginCause::Again).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn callers_that_are_refused_while_a_step_up_is_redeemed_wait_for_it() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    let lease = session.token().await.unwrap();
    let step_up = session.step_up(&lease, Scopes::new(["write"]), wish(&[]).method, OPERATION, WAIT);
    let (_, key) = offered(step_up.await.unwrap());
    place.logins.push(LoginStep::Takes(Duration::from_secs(5)));
    let redeeming = session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT);
    // The server has ended the old grant as soon as the person had answered.
    let refused = async {
        place.clock.pass(Duration::from_secs(1)).await;
        join_all((0..32).map(|number| {
            let (session, lease) = (session.clone(), lease.clone());
            async move {
                session.invalidate(&lease, OperationKey(number), ChallengeKey(1)).await.unwrap();
                let again = session.begin_login(wish(&[]), LoginCause::Person, WAIT);
                assert_eq!(within("an answer", again).await, Ok(LoginProgress::SignedIn), "no second prompt");
                session.token().await.unwrap().token().expose().to_owned()
            }
        }))
        .await
    };
    let (done, tokens) = within("the step-up", async { tokio::join!(redeeming, refused) }).await;
    done.unwrap();
    assert_eq!(tokens, vec!["at-2"; 32]);
    assert_eq!(place.counts(), (2, 2, 2));
}

/// Schedule 12: `{a}`, `{b}` and `{a, b}` are asked for at once, the person says no, and `{b}` is refused again.
#[tokio::test(start_paused = true)]
async fn step_ups_at_once_are_one_prompt_for_all_scopes_or_two() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    let lease = session.token().await.unwrap();
    let step_up = |scopes: &'static [&'static str], operation| {
        let scopes = Scopes::new(scopes.iter().copied());
        session.step_up(&lease, scopes, wish(&[]).method, OperationKey(operation), WAIT)
    };
    let begun = join_all([step_up(&["a"], 1), step_up(&["b"], 2), step_up(&["a", "b"], 3)]).await;
    let keys: Vec<_> = begun.into_iter().map(|begun| offered(begun.unwrap()).1).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "one prompt");
    let asked = place.logins.scopes_of(keys[0]).unwrap();
    let no = place.logins.answer(keys[0], PersonAnswer::No);
    assert_eq!(refused(session.complete_login(no, WAIT).await), LoginReason::Denied);
    for scope in asked.iter() {
        let again = session.step_up(&lease, Scopes::new([scope]), wish(&[]).method, OPERATION, WAIT);
        assert_eq!(refused(again.await), LoginReason::ScopeDenied, "{scope}");
    }
    // The person asks, and all is open again.
    let (_, key) = offered(begin(&session, LoginCause::Again).await.unwrap());
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    let lease = session.token().await.unwrap();
    let step_up = session.step_up(&lease, Scopes::new(["b"]), wish(&[]).method, OPERATION, WAIT);
    offered(step_up.await.unwrap());
    assert_eq!(place.counts(), (4, 4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_a_person_declined_is_not_asked_for_again_at_once() {
    let place = Place::new();
    let (_, session) = place.signed_in().await;
    let lease = session.token().await.unwrap();
    let step_up =
        |scope: &'static str| session.step_up(&lease, Scopes::new([scope]), wish(&[]).method, OPERATION, WAIT);
    let (_, key) = offered(step_up("write").await.unwrap());
    let no = place.logins.answer(key, PersonAnswer::No);
    assert_eq!(refused(session.complete_login(no, WAIT).await), LoginReason::Denied);
    assert_eq!(refused(step_up("write").await), LoginReason::ScopeDenied);
    let (_, key) = offered(step_up("read").await.unwrap());
    assert_eq!(place.logins.scopes_of(key), Some(Scopes::new(["read"])));
    assert_eq!(session.token().await.unwrap().generation(), lease.generation());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_does_not_help_an_operation_is_not_repeated() {
    let place = Place::new();
    place.logins.push(LoginStep::WithoutRefresh);
    let (_, session) = place.signed_in().await;
    let lease = session.token().await.unwrap();
    session.invalidate(&lease, OPERATION, ChallengeKey(1)).await.unwrap();
    assert_eq!(session.token().await.unwrap_err().reason(), Reason::NotRefreshable);
    place.logins.push(LoginStep::WithoutRefresh);
    let cause = LoginCause::Operation { refused: Some(lease.generation()), operation: OPERATION };
    let (_, key) = offered(begin(&session, cause).await.unwrap());
    session.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    let lease = session.token().await.unwrap();
    let refusal = session.invalidate(&lease, OPERATION, ChallengeKey(1)).await;
    assert_eq!(refusal.unwrap_err().reason(), Reason::ResourceRefuses);
    assert_eq!(session.token().await.unwrap().generation(), lease.generation(), "others keep the lease");
    session.invalidate(&lease, OperationKey(2), ChallengeKey(1)).await.unwrap();
    assert_eq!(session.token().await.unwrap_err().reason(), Reason::NotRefreshable);
}
