//! The wait for a login, by a session that sleeps meanwhile.

use std::time::Duration;

use tokenkeeper::{AuthSession, LoginCause, Reason};
use tokenkeeper_testkit::scripted::PersonAnswer;

use super::{Place, WAIT, begin, offered, session};
use crate::within::{until, within};

/// Longer than an idle session stays awake.
const ASLEEP: Duration = Duration::from_secs(600);

/// Waits until the session has looked into the store, and sleeps.
async fn sleeps(place: &Place, session: &AuthSession) {
    until("the first look", || session.state().login_required == Some(Reason::NeverSignedIn)).await;
    place.clock.pass(ASLEEP).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_in_another_process_ends_the_wait_of_a_session_that_sleeps() {
    let place = Place::new();
    let (here, there) = (place.runtime().await, place.runtime().await);
    let (waiting, signing) = (session(&here), session(&there));
    let login = async {
        sleeps(&place, &waiting).await;
        let (_, key) = offered(begin(&signing, LoginCause::Person).await.unwrap());
        signing.complete_login(place.logins.answer(key, PersonAnswer::Yes), WAIT).await.unwrap();
    };
    let (end, ()) = within("the login", async { tokio::join!(waiting.signed_in(), login) }).await;
    end.unwrap();
    assert_eq!(waiting.token().await.unwrap().token().expose(), "at-1");
    assert_eq!(place.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_runtime_ends_the_wait_of_a_session_that_sleeps() {
    let place = Place::new();
    let runtime = place.runtime().await;
    let waiting = session(&runtime);
    let shutdown = async {
        sleeps(&place, &waiting).await;
        assert!(runtime.shutdown(WAIT).await.is_clean());
    };
    let (end, ()) = within("the end", async { tokio::join!(waiting.signed_in(), shutdown) }).await;
    assert_eq!(end.unwrap_err().reason(), Reason::ShuttingDown);
}
