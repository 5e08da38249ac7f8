//! The testkit's login server, which the processes find by discovery and register at.

use std::collections::BTreeMap;

use tokenkeeper_testkit::hostile::When;
use tokenkeeper_testkit::login_server::{Browser, Endpoint, LoginServer};

use crate::crew::{Command, Crew, Death, Message, REDEEMER_DEATHS, at_each_effect};
use crate::within::within;

/// Opens a page, whose person allows at once, and returns the answer.
async fn allow(page: String) -> String {
    within("the page", Browser::open(&page)).await.unwrap().callback.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_with_fifty_callers_each_lead_to_one_discovery_one_registration_and_one_code() {
    let (folder, server) = (tempfile::tempdir().unwrap(), LoginServer::start().await.unwrap());
    let crew = Crew { folder: folder.path(), server: Some(server.resource_url()) };
    let (offered, token) = crew.all_sign_in(allow).await;
    assert_eq!(offered.len(), 1, "one caller opened a page");
    let counts = server.counts();
    let wanted = [
        (Endpoint::Resource, 1),
        (Endpoint::ResourceMetadata, 1),
        (Endpoint::ServerMetadata, 1),
        (Endpoint::Registration, 1),
        (Endpoint::Authorization, 1),
        (Endpoint::Token, 1),
    ];
    assert_eq!(counts.requests, BTreeMap::from(wanted));
    assert_eq!((counts.logins, counts.code_replays), (1, 0));
    assert!(server.hostile().is_alive(server.grants()[0].chain));
    assert!(!token.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_effect_costs_no_second_registration_and_presents_no_code_twice() {
    at_each_effect(|death| async {
        let (folder, server) = (tempfile::tempdir().unwrap(), LoginServer::start().await.unwrap());
        let crew = Crew { folder: folder.path(), server: Some(server.resource_url()) };
        crew.outlives(death, allow).await;
        let counts = server.counts();
        assert_eq!((counts.registered, counts.code_replays, counts.tokens.replays), (1, 0, 0));
        assert!(counts.codes.values().all(|times| *times == 1), "{counts:?}");
        assert!(counts.tokens.refusals.is_empty(), "{counts:?}");
        assert!(server.hostile().is_alive(server.grants().last().unwrap().chain), "the newest grant lives");
        // Each process that prepares a prompt reads the metadata once.
        (counts.of(Endpoint::ResourceMetadata) as usize, counts.of(Endpoint::Token) as usize)
    })
    .await;
}

/// The redeemer is a replica, and the process that asks lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_of_the_redeemer_presents_no_code_twice_and_the_asker_goes_on() {
    let points =
        REDEEMER_DEATHS.iter().flat_map(|(name, before, after)| [(*name, true, *before), (*name, false, *after)]);
    let deaths = points.map(|(name, before, wanted)| async move {
        let (folder, server) = (tempfile::tempdir().unwrap(), LoginServer::start().await.unwrap());
        let crew = Crew { folder: folder.path(), server: Some(server.resource_url()) };
        let death = Death { effect: name.to_owned(), number: 1, before };
        let point = format!("{} {name}", if before { "before" } else { "after" });
        within(point.clone(), crew.outlives_its_redeemer(death, allow)).await;
        let counts = server.counts();
        assert_eq!(counts.of(Endpoint::Token), wanted as u64, "{point}");
        assert_eq!((counts.registered, counts.code_replays, counts.tokens.replays), (1, 0, 0), "{point}");
        assert!(counts.codes.values().all(|times| *times == 1), "{point}: {counts:?}");
        assert!(server.hostile().is_alive(server.grants().last().unwrap().chain), "{point}");
    });
    futures_util::future::join_all(deaths).await;
}

/// The asker dies while a request of its preparation is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_within_a_request_of_the_preparation_is_taken_over_at_once() {
    let points = [Endpoint::Resource, Endpoint::ResourceMetadata, Endpoint::ServerMetadata, Endpoint::Registration];
    let deaths = points.into_iter().flat_map(|endpoint| [(endpoint, When::Before), (endpoint, When::After)]);
    let deaths = deaths.map(|(endpoint, when)| async move {
        let (folder, server) = (tempfile::tempdir().unwrap(), LoginServer::start().await.unwrap());
        let gate = server.hold_at(endpoint, when);
        let crew = Crew { folder: folder.path(), server: Some(server.resource_url()) };
        let (mut first, _) = crew.start(None).await;
        first.send(&Command::SignIn(1)).await.unwrap();
        within("the request", server.until(|counts| counts.of(endpoint) == 1)).await;
        let (mut second, mut output) = crew.start(None).await;
        second.send(&Command::SignIn(50)).await.unwrap();
        drop(first);
        let mut offered = 0;
        loop {
            match within("a message", output.next::<Message>()).await.unwrap() {
                Message::Offered(page) => {
                    offered += 1;
                    second.send(&Command::Complete(allow(page).await)).await.unwrap();
                }
                Message::SignedIn(tokens) => break assert_eq!(tokens.len(), 50),
                Message::Ready => {}
            }
        }
        // A held request is processed once the gate opens, although its client has gone.
        let counts = server.counts();
        gate.open();
        let lost = u64::from(endpoint == Endpoint::Registration && when == When::After);
        assert_eq!((offered, counts.of(Endpoint::Token), counts.code_replays), (1, 1, 0), "{endpoint:?} {when:?}");
        assert!(counts.registered <= 1 + lost, "{endpoint:?} {when:?}");
    });
    futures_util::future::join_all(deaths).await;
}
