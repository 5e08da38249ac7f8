//! Another gateway takes the place of one, with the same store and key, or with a new key.

use tokenkeeper_gateway::GatewayKey;

use crate::rig::{Rig, Tokens};

#[cfg(all(unix, feature = "file"))]
mod with_a_file {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tokenkeeper_gateway::store::{FileGatewayStore, GatewayStore};
    use tokenkeeper_testkit::login_server::LoginServer;

    use super::*;

    struct Kept {
        rig: Rig,
        store: FileGatewayStore,
        folder: tempfile::TempDir,
    }

    impl Kept {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = opened(folder.path());
            let given: Arc<dyn GatewayStore> = Arc::new(store.clone());
            let rig = Rig::with(LoginServer::start().await.unwrap(), |builder| builder.store(given)).await;
            Self { rig, store, folder }
        }

        async fn restart(&mut self) {
            self.store.close().await;
            self.store = opened(self.folder.path());
            let store: Arc<dyn GatewayStore> = Arc::new(self.store.clone());
            self.rig.restart(|builder| builder.store(store)).await;
        }
    }

    fn opened(folder: &Path) -> FileGatewayStore {
        FileGatewayStore::open(folder.join("store")).unwrap()
    }

    #[tokio::test]
    async fn a_restart_signs_nobody_out() {
        let mut kept = Kept::new().await;
        let client = kept.rig.register().await;
        let mut browser = kept.rig.browser();
        let code = kept.rig.code(&mut browser, &client).await;
        let tokens = Tokens::of(&kept.rig.redeem(&client, &code).await.1);
        let before = kept.rig.call(&tokens.access).await;
        assert_eq!(before.status, 200, "{}", before.body);
        kept.restart().await;

        let after = kept.rig.call(&tokens.access).await;
        assert_eq!((after.status, after.json()), (200, before.json()), "the access token, and the same person");
        let (status, answer) = kept.rig.refresh(&client, &tokens.refresh).await;
        assert_eq!(status, 200, "{answer}");
        let next = Tokens::of(&answer);
        assert_eq!(kept.rig.call(&next.access).await.status, 200);
        kept.restart().await;
        // An answer that was lost with the gateway is given again within the grace.
        let (status, again) = kept.rig.refresh(&client, &tokens.refresh).await;
        assert_eq!((status, Tokens::of(&again).refresh), (200, next.refresh));
    }

    #[tokio::test]
    async fn a_replay_after_a_restart_ends_the_family() {
        let mut kept = Kept::new().await;
        let client = kept.rig.register().await;
        let (first, other) = (kept.rig.signed_in(&client).await, kept.rig.signed_in(&client).await);
        let next = Tokens::of(&kept.rig.refresh(&client, &first.refresh).await.1);
        kept.restart().await;
        kept.rig.clock.pass(Duration::from_secs(60));
        let (status, answer) = kept.rig.refresh(&client, &first.refresh).await;
        assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into()), "{answer}");
        assert_eq!(kept.rig.gateway.counts().replayed, 1);
        kept.restart().await;
        assert_eq!(kept.rig.call(&next.access).await.status, 401);
        assert_eq!(kept.rig.refresh(&client, &next.refresh).await.0, 400, "the family has ended for good");
        assert_eq!(kept.rig.refresh(&client, &other.refresh).await.0, 200, "another sign-in goes on");
    }

    #[tokio::test]
    async fn what_was_ended_before_a_restart_stays_so() {
        let mut kept = Kept::new().await;
        let client = kept.rig.register().await;
        let mut browser = kept.rig.browser();
        let code = kept.rig.code(&mut browser, &client).await;
        let tokens = Tokens::of(&kept.rig.redeem(&client, &code).await.1);
        let (revoked, subject) = (kept.rig.signed_in(&client).await, kept.rig.call(&tokens.access).await);
        assert_eq!(kept.rig.revoke(&client, &revoked.refresh).await, 200);
        kept.rig.gateway.sign_out(subject.json()["subject"].as_str().unwrap()).await.unwrap();
        kept.restart().await;
        for tokens in [&tokens, &revoked] {
            assert_eq!(kept.rig.call(&tokens.access).await.status, 401);
            assert_eq!(kept.rig.refresh(&client, &tokens.refresh).await.0, 400);
        }
        assert_eq!(kept.rig.redeem(&client, &code).await.0, 400);
    }
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_previous_one_without_a_sign_out() {
    let mut rig = Rig::new().await;
    let client = rig.register().await;
    let mut browser = rig.browser();
    let page = browser.get(&rig.authorize(&client, &[])).await;
    let (tokens, other) = (rig.signed_in(&client).await, rig.signed_in(&client).await);
    let code = rig.code(&mut rig.browser(), &client).await;
    let previous = std::mem::replace(&mut rig.key, GatewayKey::random().unwrap());
    rig.restart(|builder| builder.previous_key(previous)).await;

    assert_eq!(rig.call(&tokens.access).await.status, 200);
    assert_eq!(rig.redeem(&client, &code).await.0, 200, "a code that was under way");
    let cookies = browser.cookies;
    let mut browser = rig.browser();
    browser.cookies = cookies;
    let back = browser.allow(&rig, &page).await;
    assert!(back.starts_with(crate::rig::BACK) && back.contains("code="), "a page that was open: {back}");
    let (status, answer) = rig.refresh(&client, &tokens.refresh).await;
    assert_eq!(status, 200, "{answer}");
    let next = Tokens::of(&answer);

    // Once the previous key is gone, only texts of the new one are good.
    rig.restart(|builder| builder).await;
    assert_eq!(rig.call(&next.access).await.status, 200, "the refreshed token has the new key");
    assert_eq!(rig.call(&other.access).await.status, 401);
    let (status, answer) = rig.refresh(&client, &next.refresh).await;
    assert_eq!((status, &answer["error"]), (401, &"invalid_client".into()), "the client is of the previous key");
    let anew = rig.register().await;
    assert_eq!(rig.refresh(&anew, &other.refresh).await.1["error"], "invalid_grant");
}
