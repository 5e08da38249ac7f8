//! Sessions at the first upstream that will not be used again are forgotten.

use std::time::Duration;

use tokenkeeper_testkit::login_server::{Endpoint, LoginServer};

use super::rig::{Rig, query};
use super::within::within;

/// The accounts of which the runtime's store has a record.
async fn accounts(rig: &Rig) -> Vec<String> {
    let identities = rig.runtime.identities().await.unwrap();
    identities.iter().map(|identity| identity.account().as_str().to_owned()).collect()
}

/// Waits until the runtime's store has as many records.
async fn settles_at(rig: &Rig, records: usize) {
    let settles = async {
        while accounts(rig).await.len() != records {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the records are forgotten", settles).await;
}

/// Lets everything pass that has an end within this time.
fn pass(rig: &Rig, time: Duration) {
    rig.clock.pass(time);
    rig.upstream_clock.pass(time);
}

#[tokio::test]
async fn a_person_who_signs_in_two_hundred_times_has_two_sessions() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let mut tokens = rig.signed_in(&client).await;
    for _ in 1..200 {
        tokens = rig.signed_in(&client).await;
    }
    settles_at(&rig, 2).await;
    assert_eq!(rig.gateway.counts().forgotten, 198);
    let called = rig.call(&tokens.access).await;
    assert_eq!((called.status, called.json()["upstream"].as_str()), (200, Some("alice")));
    assert_eq!(rig.upstream.counts().of(Endpoint::Revocation), 0, "the upstream is asked to revoke nothing");
    // A sweep leaves sessions that are signed in, however old they are.
    pass(&rig, Duration::from_secs(3 * 3600));
    assert_eq!(rig.gateway.sweep().await, Ok(0));
    assert_eq!(accounts(&rig).await.len(), 2);
}

#[tokio::test]
async fn logins_that_were_begun_and_abandoned_leave_no_record() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    for _ in 0..200 {
        let mut browser = rig.browser();
        let page = browser.get(&rig.authorize(&client, &[])).await;
        browser.press(&rig, &page.form(), "allow", &[]).await;
    }
    assert_eq!(accounts(&rig).await.len(), 200);
    assert_eq!(rig.gateway.sweep().await, Ok(0), "they may still be answered");
    pass(&rig, Duration::from_secs(1_201));
    assert_eq!(rig.gateway.sweep().await, Ok(200));
    assert_eq!(accounts(&rig).await, Vec::<String>::new());
    assert_eq!((rig.gateway.counts().forgotten, rig.gateway.counts().open_logins), (200, 0));
}

#[tokio::test]
async fn a_sign_in_forgets_the_logins_that_another_replica_has_left_behind() {
    let rig = Rig::new().await;
    let client = rig.register().await;
    let mut browser = rig.browser();
    let page = browser.get(&rig.authorize(&client, &[])).await;
    browser.press(&rig, &page.form(), "allow", &[]).await;
    let abandoned = accounts(&rig).await;
    assert_eq!(abandoned.len(), 1);
    pass(&rig, Duration::from_secs(1_201));
    let tokens = rig.signed_in(&client).await;
    settles_at(&rig, 1).await;
    assert_ne!(accounts(&rig).await, abandoned);
    assert_eq!(rig.call(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_session_whose_person_cannot_be_named_is_forgotten() {
    let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.identify(nobody())).await;
    let (client, mut browser) = (rig.register().await, rig.browser());
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let callback = browser.allow(&rig, &page).await;
    assert_eq!(query(&callback, "error").as_deref(), Some("server_error"));
    assert_eq!(accounts(&rig).await, Vec::<String>::new());
}

/// Names no person.
fn nobody() -> std::sync::Arc<dyn tokenkeeper_gateway::Identify> {
    #[derive(Debug)]
    struct Nobody;

    #[async_trait::async_trait]
    impl tokenkeeper_gateway::Identify for Nobody {
        async fn identify(
            &self,
            _: &tokenkeeper::AuthSession,
        ) -> Result<tokenkeeper_gateway::UpstreamUser, tokenkeeper_gateway::IdentifyError> {
            Err(tokenkeeper_gateway::IdentifyError::NoPerson)
        }
    }

    std::sync::Arc::new(Nobody)
}
