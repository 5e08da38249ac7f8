//! One registration over all callers, logins and processes, and stores that cannot be used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokenkeeper_actors::law::ledger::EntryChange;
use tokenkeeper_actors::ports::store::{ClaimAnswer, TokenStore};
use tokenkeeper_actors::values::issuer::{ClientRegistration, EntryContent};
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{FlightId, Revision, StoreFault, WallTime};

use super::faulty::Faulty;
use super::rig::{ISSUER, NAME, NOW, REDIRECT, Rig, Server, answer, confirmed, identity, key, memory, refusal, work};
use crate::registration::{Clients, DynamicClient, Registered, RegistrationError, Sharing};

/// Two processes over one store.
fn two_processes(http: &Arc<Server>) -> [Rig; 2] {
    let store = memory();
    let one = Rig::over(Clients::default(), http, Arc::new(store.process()), Arc::new(super::rig::Still::new()), 1);
    let clock = Arc::clone(&one.clock);
    [one, Rig::over(Clients::default(), http, Arc::new(store.process()), clock, 2)]
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_in_two_processes_register_once() {
    let http = Server::willing();
    let processes = two_processes(&http);
    let calls = (0..50).map(|number| processes[number % 2].client());
    let clients: Vec<Registered> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(http.count(), 1);
    assert!(clients.iter().all(|client| client.client.id == "client-0" && !client.is_reused));
    // The claim has ended.
    let claim = processes[0].store.claim_entry(&key(NAME), FlightId(9), Duration::ZERO).await.unwrap();
    assert!(matches!(claim, ClaimAnswer::Granted(_)));
}

#[tokio::test(start_paused = true)]
async fn fifty_callers_of_one_process_share_one_refusal() {
    let http = Server::new(|_, _| refusal("access_denied"));
    let rig = Rig::new(Clients::default(), &http);
    let outcomes = join_all((0..50).map(|_| rig.client())).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(RegistrationError::Refused { .. }))));
    assert_eq!(http.count(), 1);
    // A later login asks again.
    rig.client().await.unwrap_err();
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_registration() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    assert!(tokio::time::timeout(Duration::from_millis(100), rig.client()).await.is_err());
    let client = rig.client().await.unwrap();
    assert_eq!((client.client.id.as_str(), http.count()), ("client-0", 1));
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_used_again_after_a_restart() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    let first = rig.client().await.unwrap();
    let again = rig.restarted(Clients::default()).client().await.unwrap();
    assert_eq!((&again.client, again.key.clone(), again.is_reused), (&first.client, Some(key(NAME)), true));
    assert_eq!(http.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn accounts_share_and_resources_do_not_unless_the_issuer_is_shared() {
    let http = Server::willing();
    let resources = ["https://mcp.example.com/mcp", "https://other.example.com/mcp"];
    let rig = Rig::new(Clients::default(), &http);
    for (account, resource, id) in
        [("work", resources[0], "client-0"), ("home", resources[0], "client-0"), ("work", resources[1], "client-1")]
    {
        assert_eq!(rig.client_of(&identity(account, resource), Some(REDIRECT)).await.unwrap().client.id, id);
    }
    let rig = Rig::new(Clients::default().sharing(Sharing::PerIssuer), &http);
    for resource in resources {
        assert_eq!(rig.client_of(&identity("work", resource), Some(REDIRECT)).await.unwrap().client.id, "client-2");
    }
    assert_eq!((rig.stored("loopback").await.unwrap().client.id.as_str(), http.count()), ("client-2", 3));
}

#[tokio::test(start_paused = true)]
async fn another_issuer_never_sees_the_client() {
    let http = Server::willing();
    let mut rig = Rig::new(Clients::default(), &http);
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    for (number, issuer) in ["https://b.example.com", "https://as.example.com/"].into_iter().enumerate() {
        rig.metadata.issuer = issuer.to_owned();
        let other = rig.client().await.unwrap();
        assert_eq!(other.client.id, format!("client-{}", number + 1));
        assert_eq!(other.key.unwrap().issuer, Issuer(issuer.to_owned()));
    }
    rig.metadata.issuer = ISSUER.to_owned();
    assert_eq!((rig.client().await.unwrap().client.id.as_str(), http.count()), ("client-0", 3));
}

#[tokio::test(start_paused = true)]
async fn changed_settings_and_a_changed_port_register_anew() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    let renamed = rig.restarted(Clients::default().dynamic(DynamicClient::named("Our Host")));
    assert_eq!(renamed.client().await.unwrap().client.id, "client-1");
    assert_eq!(renamed.client().await.unwrap().client.id, "client-1");
    let moved = renamed.client_at(Some("http://127.0.0.1:5001/callback")).await.unwrap();
    assert_eq!((moved.client.id.as_str(), moved.is_reused), ("client-2", false));
    assert_eq!(moved.redirect_uri.as_deref(), Some("http://127.0.0.1:5001/callback"));
    let other_path = renamed.client_at(Some("http://127.0.0.1:5001/other")).await.unwrap();
    assert_eq!((other_path.client.id.as_str(), http.count()), ("client-3", 4));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_ends_within_five_minutes_registers_anew() {
    let http = Server::new(|asked, number| {
        let mut client = confirmed(asked, number);
        client["client_secret"] = json!("s");
        client["token_endpoint_auth_method"] = json!("client_secret_basic");
        client["client_secret_expires_at"] = json!(NOW / 1000 + 3_600);
        answer(201, client)
    });
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    rig.clock.pass(Duration::from_secs(3_600 - 301));
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    rig.clock.pass(Duration::from_secs(1));
    // The secret of the new client ends just as soon, and is used nevertheless, because the server issues no better one.
    assert_eq!(rig.client().await.unwrap().client.id, "client-1");
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_winner_that_does_not_come_is_waited_for_fifteen_seconds() {
    let http = Server::willing();
    let [one, other] = two_processes(&http);
    let claim = other.store.claim_entry(&key(NAME), FlightId(9), Duration::ZERO).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(one.client().await.unwrap().client.id, "client-0");
    let waited = begun.elapsed();
    assert!((Duration::from_secs(15)..Duration::from_secs(16)).contains(&waited), "{waited:?} of paused time");
    // The other process ends its claim late, and uses the stored registration.
    let ClaimAnswer::Granted(claim) = claim else { panic!("{claim:?}") };
    other.store.end_entry_claim(&key(NAME), &claim).await.unwrap();
    assert_eq!((other.client().await.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_winners_claim_is_taken_at_once() {
    let http = Server::willing();
    let [one, other] = two_processes(&http);
    other.store.claim_entry(&key(NAME), FlightId(9), Duration::ZERO).await.unwrap();
    let call = async { (one.client().await, tokio::time::Instant::now()) };
    let death = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(other);
        tokio::time::Instant::now()
    };
    let ((client, done), died) = tokio::join!(call, death);
    assert_eq!((client.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
    assert!(done - died < Duration::from_secs(1), "{:?} of paused time", done - died);
}

#[tokio::test(start_paused = true)]
async fn a_loser_adopts_the_registration_of_the_winner() {
    // The winner writes while the loser registers, as after a lease that ran out.
    let store = memory();
    let process = store.process();
    let http = Server::willing();
    let rig = Rig::over(Clients::default(), &http, Arc::new(store), Arc::new(super::rig::Still::new()), 1);
    let (call, write) = (rig.client(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        process.change_issuer(&Issuer(ISSUER.into()), put(None, registration("winner"))).await.unwrap();
    });
    let (client, ()) = tokio::join!(call, write);
    assert_eq!((client.unwrap().client.id.as_str(), http.count()), ("winner", 1));
    assert_eq!(rig.stored(NAME).await.unwrap().client.id, "winner");
}

#[tokio::test(start_paused = true)]
async fn a_registration_of_no_use_is_written_over() {
    let store = memory();
    let process = store.process();
    let http = Server::willing();
    let rig = Rig::over(Clients::default(), &http, Arc::new(store), Arc::new(super::rig::Still::new()), 1);
    let other_port =
        ClientRegistration { redirect_uris: vec!["http://127.0.0.1:1/callback".into()], ..registration("other") };
    let (call, write) = (rig.client(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        process.change_issuer(&Issuer(ISSUER.into()), put(None, other_port)).await.unwrap();
    });
    let (client, ()) = tokio::join!(call, write);
    assert_eq!(client.unwrap().client.id, "client-0");
    assert_eq!(rig.stored(NAME).await.unwrap().client.id, "client-0");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_delays_no_login_and_is_written_later() {
    for fault in [StoreFault::Failed, StoreFault::Unreadable, StoreFault::Gone] {
        let (store, http) = (Arc::new(Faulty::new(memory())), Server::willing());
        let rig = Rig::over(Clients::default(), &http, store.clone(), Arc::new(super::rig::Still::new()), 1);
        store.fail(Some(fault));
        let first = join_all((0..50).map(|_| rig.client())).await;
        assert!(first.into_iter().all(|client| client.unwrap().client.id == "client-0"));
        let again = rig.client().await.unwrap();
        assert_eq!((again.client.id.as_str(), again.is_reused, http.count()), ("client-0", true, 1));
        assert_eq!(rig.registrar.registered_redirects(&work(), None).await, [REDIRECT]);
        store.fail(None);
        assert_eq!(rig.stored(NAME).await, None);
        assert_eq!(rig.client().await.unwrap().client.id, "client-0");
        assert_eq!((rig.stored(NAME).await.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_stored_is_used_and_stored_later() {
    let (store, http) = (Arc::new(Faulty::new(memory())), Server::willing());
    let rig = Rig::over(Clients::default(), &http, store.clone(), Arc::new(super::rig::Still::new()), 1);
    store.fail_writes(Some(StoreFault::Full));
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    assert_eq!((rig.stored(NAME).await, http.count()), (None, 1));
    store.fail_writes(None);
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    assert_eq!((rig.stored(NAME).await.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up() {
    let (store, http) = (Arc::new(Faulty::new(memory())), Server::willing());
    let rig = Rig::over(Clients::default(), &http, store.clone(), Arc::new(super::rig::Still::new()), 1);
    store.hang();
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    assert_eq!(http.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_our_own() {
    let (store, http) = (Arc::new(Faulty::new(memory())), Server::willing());
    let rig = Rig::over(Clients::default(), &http, store.clone(), Arc::new(super::rig::Still::new()), 1);
    store.lose_answer_of_next_write();
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    assert_eq!(rig.stored(NAME).await.unwrap().client.id, "client-0");
    assert_eq!((rig.client().await.unwrap().is_reused, http.count()), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_registration_of_a_server_that_registers_no_more_is_still_used() {
    let http = Server::willing();
    let mut rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    rig.metadata.registration_endpoint = None;
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    rig.registrar.retire(&key(NAME), "client-0").await.unwrap();
    assert!(matches!(rig.client().await, Err(RegistrationError::NoClient { .. })));
}

fn put(expected: Option<Revision>, registration: ClientRegistration) -> EntryChange {
    EntryChange::Put { expected, content: EntryContent::Registration(Box::new(registration)) }
}

/// A registration that the jobs of this file can use.
fn registration(id: &str) -> ClientRegistration {
    let job = super::rig::job();
    let client = crate::issuers::Client::public(id).into();
    ClientRegistration {
        name: job.name,
        origin: tokenkeeper_actors::values::issuer::RegistrationOrigin::Dynamic,
        client,
        redirect_uris: vec![REDIRECT.to_owned()],
        application_type: None,
        grant_types: vec![],
        scopes: None,
        management: None,
        metadata_digest: Some(job.digest),
        registered_at: WallTime::from_millis(NOW),
        registered_by: None,
        suspect_since: None,
    }
}
