//! The events of a runtime, each reported once even if actors end meanwhile, and the state of a session.

use std::sync::Arc;

use futures_util::FutureExt;
use tokenkeeper_actors::ports::store::{EventKind, TokenStore};
use tokenkeeper_actors::runtime::{EventStream, SessionState};
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::Reason;

use super::rig::{End, Rig, all_served, answers, turns};
use crate::support::server::Answer;
use crate::support::{BoundedRuntime, identity, refuse, s, within};

/// All events since the last call.
async fn told(feed: &mut EventStream) -> Vec<(EventKind, Option<Reason>)> {
    let mut told = Vec::new();
    turns(50).await;
    while let Some(Some(news)) = feed.next().now_or_never() {
        let news = news.expect("nothing was missed");
        assert_eq!(news.identity, identity(1));
        told.push((news.kind, news.reason));
    }
    told
}

#[tokio::test(start_paused = true)]
async fn each_happening_is_told_once() {
    let rig = Rig::new().await;
    let mut feed = rig.runtime.events();
    assert_eq!(told(&mut feed).await, []);
    rig.works().await;
    assert_eq!(told(&mut feed).await, [], "a hit is no news");
    rig.world.expire().await;
    all_served(rig.cohort()).await;
    assert_eq!(told(&mut feed).await, [(EventKind::Refreshed, None)]);
    // A fault that passes.
    rig.world.expire().await;
    rig.world.server.plans([Answer::Refuse(429, None)]);
    all_served([rig.calls()]).await;
    let retrying = |reason| (EventKind::Retrying, Some(reason));
    assert_eq!(told(&mut feed).await, [retrying(Reason::Throttled), (EventKind::Refreshed, None)]);
    // A failure.
    rig.world.expire().await;
    rig.world.server.plans((0..8).map(|_| Answer::Refuse(429, None)));
    answers([rig.calls()]).await;
    let mut attempts = vec![retrying(Reason::Throttled); 7];
    attempts.push((EventKind::Failed, Some(Reason::Throttled)));
    assert_eq!(told(&mut feed).await, attempts);
    rig.world.clock.pass(s(60)).await;
    all_served(rig.cohort()).await;
    assert_eq!(told(&mut feed).await, [(EventKind::Refreshed, None)]);
    // A lost answer that the flight itself asks for again.
    rig.world.expire().await;
    rig.world.server.plans([Answer::LostBefore]);
    all_served([rig.calls()]).await;
    assert_eq!(told(&mut feed).await, [(EventKind::Refreshed, None)]);
    // A doubt, and its end.
    rig.world.expire().await;
    rig.world.server.plans((0..8).map(|_| Answer::LostBefore));
    answers([rig.calls()]).await;
    let mut attempts = vec![retrying(Reason::InDoubt); 6];
    attempts.push((EventKind::InDoubt, Some(Reason::InDoubt)));
    assert_eq!(told(&mut feed).await, attempts);
    rig.world.clock.pass(s(60)).await;
    all_served(rig.cohort()).await;
    assert_eq!(told(&mut feed).await.last(), Some(&(EventKind::Refreshed, None)));
    // A logout and a login.
    rig.session.logout().await.expect("logged out");
    assert_eq!(told(&mut feed).await, [(EventKind::LoggedOut, None)]);
    rig.session.install(rig.world.login()).await.expect("installed");
    assert_eq!(told(&mut feed).await, [(EventKind::LoggedIn, None)]);
    // The end of a grant, whose refresh token the server does not know.
    rig.world.expire().await;
    rig.world.server.plans([Answer::LostAfter]);
    answers([rig.calls()]).await;
    rig.world.clock.pass(s(60)).await;
    rig.fails(Reason::GrantEnded).await;
    assert_eq!(told(&mut feed).await.last(), Some(&(EventKind::Ended, Some(Reason::GrantEnded))));
}

#[tokio::test(start_paused = true)]
async fn a_flight_is_told_of_once_though_actors_and_trees_end() {
    for end in End::ALL {
        let rig = Rig::new().await;
        let mut feed = rig.runtime.events();
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        rig.ends(end).await;
        all_served(cohort).await;
        assert_eq!(told(&mut feed).await, [(EventKind::Refreshed, None)]);
        rig.world.expire().await;
        let cohort = rig.cohort();
        rig.takes_off().await;
        rig.fells().await;
        answers(cohort).await;
        rig.world.clock.pass(s(5)).await;
        rig.grows_again().await;
        rig.works().await;
        assert_eq!(told(&mut feed).await, [(EventKind::Refreshed, None)]);
        rig.session.logout().await.expect("logged out");
        rig.ends(end).await;
        assert_eq!(told(&mut feed).await, [(EventKind::LoggedOut, None)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sibling_obtained_is_adopted_once() {
    let rig = Rig::new().await;
    let builder = rig.world.builder_over(Arc::new(rig.world.store.process())).entropy(Entropy::seeded(8));
    let sibling = BoundedRuntime::from(within("a runtime", builder.spawn()).await.expect("a sibling"));
    let other = sibling.session(identity(1));
    let (mut ours, mut theirs) = (rig.runtime.events(), sibling.events());
    let lease = rig.works().await;
    assert_eq!(other.token().await, Ok(lease.clone()));
    rig.world.server.takes(s(5));
    // Both want a token. One of them asks the server, and the other waits for its claim.
    refuse(&rig.session, &lease).await.expect("noted");
    refuse(&other, &lease).await.expect("noted");
    let (one, two) = tokio::join!(rig.session.token(), other.token());
    assert_eq!(one.expect("a lease"), two.expect("a lease"));
    rig.world.server.is_content_with(1);
    rig.world.clock.pass(s(5)).await;
    let mut told = [told(&mut ours).await, told(&mut theirs).await].concat();
    told.sort_by_key(|(what, _)| *what == EventKind::Adopted);
    assert_eq!(told, [(EventKind::Refreshed, None), (EventKind::Adopted, None)]);
}

/// A sibling refreshes, which takes 5 s. The flight of this process waits for its claim when the runtime stops.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_a_failure_of_the_session_only_if_a_caller_still_waits() {
    for wanted in [None, Some(Rig::calls as fn(&Rig) -> _), Some(Rig::writes)] {
        let rig = Rig::new().await;
        let builder = rig.world.builder_over(Arc::new(rig.world.store.process())).entropy(Entropy::seeded(8));
        let sibling = builder.spawn().await.expect("a sibling");
        let other = sibling.session(identity(1));
        rig.world.expire().await;
        rig.world.server.takes(s(5));
        let refreshing = tokio::spawn(async move { other.token().await });
        rig.takes_off().await;

        let mut feed = rig.runtime.events();
        let caller = wanted.unwrap_or(Rig::calls)(&rig);
        turns(50).await;
        assert!(rig.session.state().refreshing, "it waits for the claim");
        if wanted.is_none() {
            caller.abort();
            turns(50).await;
        }
        assert!(rig.runtime.shutdown(s(60)).await.is_clean());
        let failed = wanted.map(|_| (EventKind::Failed, Some(Reason::ShuttingDown)));
        assert_eq!(told(&mut feed).await, Vec::from_iter(failed));
        if wanted.is_some() {
            let answer = answers([caller]).await.pop().expect("an answer");
            assert_eq!(answer.map_err(|error| error.reason()), Err(Reason::ShuttingDown));
        }
        assert!(refreshing.await.expect("no panic").is_ok());
        // The journal has the same entries.
        let journal = rig.world.store.journal(&identity(1), usize::MAX).await.expect("a journal");
        let stopped = journal.iter().filter(|line| line.reason == Some(Reason::ShuttingDown)).count();
        assert_eq!(stopped, usize::from(wanted.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_follows_how_the_session_stands() {
    let rig = Rig::new().await;
    let mut watch = rig.session.watch();
    let at_rest = watch.now();
    assert!(at_rest.lease.is_some() && at_rest == rig.session.state());
    assert!(watch.next().now_or_never().is_none(), "nothing has changed");
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    let flying = within("a change of state", watch.next()).await.expect("a state");
    assert!(flying.refreshing);
    rig.ends(End::Kill).await;
    rig.fells().await;
    rig.grows_again().await;
    turns(50).await;
    assert!(rig.session.state().refreshing, "the flight goes on");
    answers([caller]).await;
    rig.world.clock.pass(s(5)).await;
    let landed = watch.now();
    assert!(!landed.refreshing && !landed.in_doubt && landed.lease != at_rest.lease);
    assert_eq!(landed, rig.session.state());
    rig.session.logout().await.expect("logged out");
    let SessionState { lease, login_required, .. } = watch.now();
    assert_eq!((lease, login_required), (None, Some(Reason::LoggedOut)));
    rig.session.install(rig.world.login()).await.expect("installed");
    let SessionState { lease, login_required, .. } = watch.now();
    assert_eq!((lease.is_some(), login_required), (true, None));
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    assert_eq!(watch.now().lease, None, "nothing is handed out any more");
}
