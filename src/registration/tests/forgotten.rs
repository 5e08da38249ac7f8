//! Clients that a server has forgotten: retired, suspect, read again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokenkeeper_actors::values::WallTime;
use tokenkeeper_actors::values::issuer::ClientRegistration;
use tokenkeeper_actors::values::record::ClientAuth;

use super::faulty::Faulty;
use super::rig::{Answer, Asked, ISSUER, NAME, NOW, REDIRECT, Rig, Server, Still, answer, confirmed, key, memory, raw};
use crate::StoreFault;
use crate::registration::Clients;

#[tokio::test(start_paused = true)]
async fn a_client_is_retired_by_its_identifier_once() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    // The report of a login with an older client retires nothing.
    rig.registrar.retire(&key(NAME), "client-9").await.unwrap();
    assert_eq!(rig.client().await.unwrap().client.id, "client-0");
    rig.registrar.retire(&key(NAME), "client-0").await.unwrap();
    assert_eq!(rig.stored(NAME).await, None);
    let anew = rig.client().await.unwrap();
    assert_eq!((anew.client.id.as_str(), anew.is_reused), ("client-1", false));
    rig.registrar.retire(&key(NAME), "client-0").await.unwrap();
    assert_eq!((rig.client().await.unwrap().client.id.as_str(), http.count()), ("client-1", 2));
    rig.registrar.retire(&key("loopback https://unknown.example.com"), "client-1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_only_in_memory_is_retired_too() {
    let (store, http) = (Arc::new(Faulty::new(memory())), Server::willing());
    let rig = Rig::over(Clients::default(), &http, store.clone(), Arc::new(Still::new()), 1);
    store.fail(Some(StoreFault::Gone));
    rig.client().await.unwrap();
    assert_eq!(rig.registrar.retire(&key(NAME), "client-0").await, Err(StoreFault::Gone));
    assert_eq!((rig.client().await.unwrap().client.id.as_str(), http.count()), ("client-1", 2));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_without_an_answer_makes_its_client_suspect() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    rig.registrar.opened(&key(NAME), "client-9").await.unwrap();
    assert_eq!(rig.stored(NAME).await.unwrap().suspect_since, None);
    rig.registrar.opened(&key(NAME), "client-0").await.unwrap();
    rig.clock.pass(Duration::from_secs(60));
    rig.registrar.opened(&key(NAME), "client-0").await.unwrap();
    assert_eq!(rig.stored(NAME).await.unwrap().suspect_since, Some(WallTime::from_millis(NOW)));
    // Without management, the next login registers anew.
    let anew = rig.client().await.unwrap();
    assert_eq!((anew.client.id.as_str(), anew.is_reused, http.count()), ("client-1", false, 2));
    assert_eq!(rig.stored(NAME).await.unwrap().suspect_since, None);
    assert_eq!(rig.client().await.unwrap().client.id, "client-1");
}

#[tokio::test(start_paused = true)]
async fn any_answer_ends_the_suspicion() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    rig.registrar.opened(&key(NAME), "client-0").await.unwrap();
    rig.registrar.answered(&key(NAME), "client-9").await.unwrap();
    assert!(rig.stored(NAME).await.unwrap().suspect_since.is_some());
    rig.registrar.answered(&key(NAME), "client-0").await.unwrap();
    assert_eq!(rig.stored(NAME).await.unwrap().suspect_since, None);
    let revision = rig.store.load_issuer(&key(NAME)).await.unwrap().unwrap().revision;
    rig.registrar.answered(&key(NAME), "client-0").await.unwrap();
    assert_eq!(rig.store.load_issuer(&key(NAME)).await.unwrap().unwrap().revision, revision);
    assert_eq!((rig.client().await.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_device_logins_is_never_suspect() {
    let http = Server::willing();
    let rig = Rig::new(Clients::default(), &http);
    let device = rig.client_at(None).await.unwrap();
    rig.registrar.opened(&device.key.unwrap(), "client-0").await.unwrap();
    assert_eq!((rig.client_at(None).await.unwrap().client.id.as_str(), http.count()), ("client-0", 1));
}

/// A server that answers reads of the client with `read`, and the process that has a suspect client there.
async fn suspect(read: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Arc<Server>, Rig) {
    let http = Server::new(move |asked, number| {
        if asked.method == http::Method::GET {
            return read(asked);
        }
        let mut client = confirmed(asked, number);
        client["client_secret"] = json!("secret-1");
        client["token_endpoint_auth_method"] = json!("client_secret_basic");
        client["registration_access_token"] = json!("rat-1");
        client["registration_client_uri"] = json!(format!("{ISSUER}/register/{number}"));
        answer(201, client)
    });
    let rig = Rig::new(Clients::default(), &http);
    rig.client().await.unwrap();
    rig.registrar.opened(&key(NAME), "client-0").await.unwrap();
    (http, rig)
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_the_server_knows_is_kept_with_its_new_secret_and_token() {
    let (http, rig) = suspect(|_| {
        answer(
            200,
            json!({
                "client_id": "client-0", "client_secret": "secret-2", "token_endpoint_auth_method": "client_secret_post",
                "client_secret_expires_at": 0, "redirect_uris": [REDIRECT, "http://127.0.0.1:22/callback"],
                "registration_access_token": "rat-2", "registration_client_uri": format!("{ISSUER}/register/moved"),
            }),
        )
    })
    .await;
    let client = rig.client().await.unwrap();
    assert_eq!((client.client.id.as_str(), client.client.auth, client.is_reused), ("client-0", ClientAuth::Post, true));
    let asked = http.asked();
    assert_eq!((asked.len(), asked[1].url.as_str()), (2, "https://as.example.com/register/0"));
    let authorization = asked[1].authorization.as_ref().unwrap();
    assert!(authorization == "Bearer rat-1" && authorization.is_sensitive());
    let stored = rig.stored(NAME).await.unwrap();
    assert_eq!((stored.client.secret.unwrap().expose(), stored.suspect_since), ("secret-2", None));
    assert_eq!(stored.redirect_uris, [REDIRECT]);
    let management = stored.management.unwrap();
    assert_eq!(
        (management.uri.as_str(), management.token.expose()),
        ("https://as.example.com/register/moved", "rat-2")
    );
    // The next login reads nothing.
    rig.client().await.unwrap();
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_answer_about_a_suspect_keeps_what_it_leaves_out() {
    let (http, rig) = suspect(|_| answer(200, json!({"client_id": "client-0"}))).await;
    let before = rig.stored(NAME).await.unwrap();
    assert_eq!(rig.client().await.unwrap().client, before.client);
    let after = rig.stored(NAME).await.unwrap();
    assert_eq!(after, ClientRegistration { suspect_since: None, ..before });
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_is_gone_or_of_no_use_is_registered_anew() {
    type Read = fn() -> Answer;
    let reads: [Read; 9] = [
        || raw(401, ""),
        || raw(404, "{}"),
        || raw(403, ""),
        || raw(500, ""),
        || raw(302, ""),
        || raw(200, "no"),
        || answer(200, json!({"client_id": "client-7"})),
        || answer(200, json!({"client_id": "client-0", "redirect_uris": ["http://127.0.0.1:1/callback"]})),
        || Err(crate::http::HttpError::MaybeSent(crate::http::MaybeSent::TimedOut)),
    ];
    for (number, read) in reads.into_iter().enumerate() {
        let (http, rig) = suspect(move |_| read()).await;
        let anew = rig.client().await.unwrap();
        assert_eq!((anew.client.id.as_str(), anew.is_reused, http.count()), ("client-2", false, 3), "{number}");
        assert_eq!(rig.stored(NAME).await.unwrap().client.id, "client-2", "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_look_at_a_suspect() {
    let (http, rig) = suspect(|_| raw(401, "")).await;
    let clients = futures_util::future::join_all((0..50).map(|_| rig.client())).await;
    assert!(clients.into_iter().all(|client| client.unwrap().client.id == "client-2"));
    assert_eq!(http.count(), 3);
}
