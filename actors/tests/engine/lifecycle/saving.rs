//! A store that fails or hangs when a token is saved. The token is served, kept, and saved later, even if actors end
//! meanwhile.

use std::sync::Arc;

use tokenkeeper_actors::ports::store::{EventKind, TokenStore};
use tokenkeeper_actors::runtime::EventStream;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::record::MarkState;
use tokenkeeper_actors::values::{Epoch, InstallError, LogoutError, Reason, StoreFault};

use super::rig::{End, Rig, all_served, answers, turns};
use super::tricks::{TrickStore, Writing};
use crate::support::{BoundedRuntime, BoundedSession, World, identity, refuse, s, within};

/// Another process on the same store, for which the store works.
async fn sibling(world: &World) -> (BoundedRuntime, BoundedSession) {
    let store = TrickStore::new(world.store.process());
    let builder = world.builder_over(Arc::new(store)).entropy(Entropy::seeded(8));
    let runtime = BoundedRuntime::from(within("a runtime", builder.spawn()).await.expect("a sibling"));
    let session = runtime.session(identity(1));
    (runtime, session)
}

/// The number of events of this kind since the last call.
async fn told(feed: &mut EventStream, what: EventKind) -> usize {
    let mut times = 0;
    turns(20).await;
    while let Some(Some(news)) = futures_util::FutureExt::now_or_never(feed.next()) {
        times += usize::from(news.expect("nothing was missed").kind == what);
    }
    times
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_saved_is_served_and_saved_when_the_store_returns() {
    for writing in [Writing::NoCommits, Writing::CommitsHang] {
        for end in [None, Some(End::Drain), Some(End::Stop), Some(End::Kill), Some(End::Panic)] {
            let rig = Rig::new().await;
            let (_runtime, sibling) = sibling(&rig.world).await;
            let mut feed = rig.runtime.events();
            rig.world.expire().await;
            rig.store.writes(writing);
            let lease = all_served(rig.cohort()).await;
            assert!(rig.session.state().unsaved);
            assert!(rig.record().await.held().expect("a refresh token").mark.is_some());
            if let Some(end) = end {
                rig.ends(end).await;
                turns(50).await;
                assert!(rig.session.state().unsaved, "it is the flight's, not the actor's");
            }
            assert_eq!(rig.works().await, lease);
            // No other process spends the token meanwhile.
            let answer = sibling.token().await.map_err(|error| error.reason());
            assert!(matches!(answer, Err(Reason::Contended | Reason::DeadlinePassed)), "{answer:?}");
            rig.world.server.is_content_with(1);
            // Nor does this process, even after a refusal.
            refuse(&rig.session, &lease).await.expect("noted");
            rig.fails(Reason::StoreTrouble).await;
            rig.world.server.is_content_with(1);
            assert!(rig.store.commits() > 1, "it tries again and again");
            rig.store.writes(Writing::Works);
            rig.world.clock.pass(s(61)).await;
            assert!(!rig.session.state().unsaved);
            assert_eq!(told(&mut feed, EventKind::Degraded).await, 1);
            let newer = rig.works().await;
            assert!(newer.generation().supersedes(&lease.generation()));
            rig.world.server.is_content_with(2);
            rig.is_settled().await;
            assert_eq!(told(&mut feed, EventKind::Refreshed).await, 1);
            turns(50).await;
            assert_eq!(sibling.token().await, Ok(newer), "the sibling takes it over");
            rig.world.server.is_content_with(2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_saved_outlives_the_tree() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.store.writes(Writing::NoCommits);
    let lease = all_served(rig.cohort()).await;
    rig.fells().await;
    rig.fails(Reason::NotRunning).await;
    rig.grows_again().await;
    turns(50).await;
    assert_eq!(rig.works().await, lease);
    assert!(rig.session.state().unsaved);
    rig.fells().await;
    rig.store.writes(Writing::Works);
    rig.world.clock.pass(s(61)).await;
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "saved without a tree");
    rig.grows_again().await;
    turns(50).await;
    assert_eq!(rig.works().await, lease);
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_with_something_unsaved_does_not_sleep() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    rig.store.writes(Writing::NoCommits);
    all_served(rig.cohort()).await;
    rig.world.clock.pass(s(300)).await;
    assert!(rig.actor().is_some());
    rig.store.writes(Writing::Works);
    rig.world.clock.pass(s(120)).await;
    assert!(rig.actor().is_none());
    rig.world.server.is_content_with(1);
    rig.is_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_cannot_be_stored_holds_in_this_process_and_is_stored_later() {
    for end in [None, Some(End::Drain), Some(End::Stop), Some(End::Kill), Some(End::Panic)] {
        let rig = Rig::new().await;
        rig.works().await;
        rig.store.writes(Writing::NoCommits);
        let answer = rig.session.logout().await;
        assert!(matches!(answer, Err(LogoutError::NotDurable(_))), "{answer:?}");
        rig.fails(Reason::LoggedOut).await;
        if let Some(end) = end {
            rig.ends(end).await;
            turns(50).await;
            rig.fails(Reason::LoggedOut).await;
        }
        assert!(rig.record().await.held().is_some(), "the store does not know yet");
        rig.store.writes(Writing::Works);
        rig.world.clock.pass(s(120)).await;
        assert!(rig.record().await.held().is_none(), "now it does");
        rig.fails(Reason::LoggedOut).await;
        assert_eq!((rig.world.server.requests(), rig.world.server.replays()), (0, 0));
        rig.session.install(rig.world.login()).await.expect("installed");
        rig.works().await;
    }
}

// Shutdown.

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_cannot_save_says_whose_and_whether_the_store_knows() {
    for (writing, noted) in [(Writing::NoCommits, true), (Writing::Nothing, false)] {
        for felled in [false, true] {
            let rig = Rig::new().await;
            rig.world.expire().await;
            let caller = rig.calls();
            rig.takes_off().await;
            rig.store.writes(writing);
            all_served([caller]).await;
            if felled {
                rig.fells().await;
            }
            let report = rig.runtime.shutdown(s(60)).await;
            let unsaved: Vec<_> =
                report.unsaved.iter().map(|unsaved| (unsaved.identity.clone(), unsaved.noted)).collect();
            assert_eq!(unsaved, [(identity(1), noted)]);
            assert!(report.unfinished.is_empty());
            let mark = rig.record().await.held().expect("a refresh token").mark.clone().expect("a mark");
            assert_eq!(mark.state == MarkState::Spent, noted);
            let answer = rig.session.token().await.map_err(|error| error.reason());
            assert_eq!(answer, Err(Reason::ShuttingDown));
            if noted {
                // The next process never presents it again.
                let (_runtime, sibling) = sibling(&rig.world).await;
                rig.world.clock.pass(s(120)).await;
                let answer = sibling.token().await.map_err(|error| error.reason());
                assert_eq!(answer, Err(Reason::MaybeConsumed));
            }
            rig.world.server.is_content_with(1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_saves_as_soon_as_the_store_takes_it() {
    for writing in [Writing::NoCommits, Writing::Nothing, Writing::CommitsHang] {
        let rig = Rig::new().await;
        rig.world.expire().await;
        let caller = rig.calls();
        rig.takes_off().await;
        rig.store.writes(writing);
        all_served([caller]).await;
        let (store, clock) = (rig.store.clone(), rig.world.clock.clone());
        let began = clock.moment().elapsed;
        tokio::spawn(async move {
            tokio::time::sleep(s(9)).await;
            store.writes(Writing::Works);
        });
        assert!(rig.runtime.shutdown(s(50)).await.is_clean(), "{writing:?}");
        assert!(clock.moment().elapsed.since(began) < s(9 + 3), "{writing:?}");
        assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "{writing:?}");
        rig.world.server.is_content_with(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_that_is_unanswered_at_the_deadline_is_unfinished_and_not_lost() {
    let rig = Rig::new().await;
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    rig.store.writes(Writing::Slow(s(90)));
    all_served([caller]).await;
    let report = rig.runtime.shutdown(s(20)).await;
    assert_eq!((report.unsaved.len(), report.unfinished), (0, vec![identity(1)]));
    rig.world.clock.pass(s(90)).await;
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "saved after all");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_past_its_deadline_says_what_is_unfinished_and_that_is_stored_all_the_same() {
    let rig = Rig::new().await;
    rig.world.server.takes(s(20));
    rig.world.expire().await;
    let caller = rig.calls();
    rig.takes_off().await;
    let began = rig.world.clock.moment().elapsed;
    let report = rig.runtime.shutdown(s(5)).await;
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(5));
    assert_eq!((report.unsaved.len(), report.unfinished), (0, vec![identity(1)]));
    let told = answers([caller]).await;
    assert_eq!(told[0].as_ref().map_err(|error| error.reason()).err(), Some(Reason::ShuttingDown));
    rig.world.clock.pass(s(20)).await;
    rig.world.server.is_content_with(1);
    assert!(rig.record().await.held().expect("a refresh token").mark.is_none());
    assert!(rig.runtime.shutdown(s(5)).await.is_clean(), "asked again, it is done");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_logout_to_be_written_and_revoked() {
    let rig = Rig::new().await;
    let lease = rig.works().await;
    rig.store.writes(Writing::Slow(s(3)));
    rig.world.server.takes_to_revoke(s(1));
    let session = rig.session.clone();
    let logout = tokio::spawn(async move { session.logout().await });
    turns(50).await;
    assert!(rig.record().await.held().is_some(), "the tombstone is being written");
    let began = rig.world.clock.moment().elapsed;
    assert!(rig.runtime.shutdown(s(60)).await.is_clean());
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(3 + 1));
    assert!(rig.record().await.held().is_none());
    assert!(!rig.world.server.accepts(&lease), "what was logged out of was revoked");
    // The caller did not have to wait, and its answer is all that was known.
    assert_eq!(logout.await.expect("no panic"), Err(LogoutError::NotDurable(StoreFault::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_login_to_be_written() {
    let rig = Rig::new().await;
    rig.store.writes(Writing::Slow(s(3)));
    let (session, login) = (rig.session.clone(), rig.world.login());
    let install = tokio::spawn(async move { session.install(login).await });
    turns(50).await;
    assert_eq!(rig.record().await.epoch, Epoch::new(1), "the login is being written");
    let began = rig.world.clock.moment().elapsed;
    assert!(rig.runtime.shutdown(s(60)).await.is_clean());
    assert_eq!(rig.world.clock.moment().elapsed.since(began), s(3));
    assert_eq!(rig.record().await.epoch, Epoch::new(2));
    assert_eq!(install.await.expect("no panic"), Err(InstallError::StoreTrouble(StoreFault::TimedOut)));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_before_anything_was_sent_sends_nothing() {
    for yields in 0..=60 {
        let rig = Rig::brief().await;
        rig.world.expire().await;
        let cohort = [rig.calls(), rig.calls(), rig.calls()];
        turns(yields).await;
        assert!(rig.runtime.shutdown(s(60)).await.is_clean());
        let told = answers(cohort).await;
        assert!(told.iter().all(|answer| answer.as_ref().is_err_and(|error| error.reason() == Reason::ShuttingDown)));
        assert!(rig.world.server.requests() <= 1);
        assert_eq!(rig.world.server.most_in_flight(), rig.world.server.requests());
        rig.world.server.is_content_with(rig.world.server.requests());
        assert!(rig.record().await.held().expect("a refresh token").mark.is_none(), "sent and saved, or taken back");
        let (_runtime, sibling) = sibling(&rig.world).await;
        rig.world.server.accepts(&sibling.token().await.expect("a lease"));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_everything_says_so() {
    let rig = Rig::new().await;
    let lease = rig.works().await;
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    let answer = rig.session.token().await.map_err(|error| error.reason());
    assert_eq!(answer, Err(Reason::ShuttingDown), "not even a hit");
    let refusal = refuse(&rig.session, &lease).await.map_err(|error| error.reason());
    assert_eq!(refusal, Err(Reason::ShuttingDown));
    let install = rig.session.install(rig.world.login()).await.map_err(|error| error.to_string());
    assert_eq!(install.err().as_deref(), Some("the session runtime is shutting down"));
    assert!(rig.session.logout().await.is_err());
    let other = rig.runtime.session(identity(2)).token().await.map_err(|error| error.reason());
    assert_eq!(other, Err(Reason::ShuttingDown));
    assert!(rig.runtime.shutdown(s(5)).await.is_clean());
    let record = rig.world.store.load(&identity(1)).await.expect("a store").expect("a record");
    assert!(record.held().is_some(), "nothing was changed");
    rig.world.server.is_content_with(0);
}
