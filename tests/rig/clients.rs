//! The ways in which a client authenticates: none, basic, post.

use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::Profile;
use tokenkeeper::engine::values::ClientSecret;
use tokenkeeper::engine::values::record::ClientAuth;

use crate::authority::Authority;
use crate::row::POLICIES;
use crate::scene::{Scene, install};

#[tokio::test]
async fn the_rigs_own_clients_refresh() {
    let Some(authority) = Authority::start().await else { return };
    for client in [Authority::public(), Authority::basic(), Authority::post()] {
        let story = format!("{:?}", client.auth);
        let scene = Scene::new(&authority, client, Profile::default()).await;
        scene.assert_whole((1, 1), &story).await;
    }
}

#[tokio::test]
async fn registered_clients_refresh() {
    let Some(authority) = Authority::start().await else { return };
    for auth in [ClientAuth::None, ClientAuth::Basic, ClientAuth::Post] {
        let client = authority.register(auth).await;
        let scene = Scene::new(&authority, client, Profile::default()).await;
        scene.assert_whole((1, 1), &format!("{auth:?}")).await;
    }
}

/// After `invalid_client` the refresh token is as good as before for a client with the right secret.
#[tokio::test]
async fn a_wrong_secret_spends_nothing() {
    let Some(authority) = Authority::start().await else { return };
    for client in [Authority::basic(), Authority::post()] {
        for policy in POLICIES {
            let story = format!("{:?} {policy:?}", client.auth);
            let profile = policy.applied(Profile::default());
            let scene = Scene::new(&authority, client.clone(), profile).await;
            let grant = authority.sign_in(&client).await;
            let mut wrong = grant.clone();
            wrong.binding.client.secret = Some(ClientSecret::new("not the secret"));
            install(&scene.host, wrong).await.unwrap();
            for posts in 2..=3 {
                // Only a caller that insists tries the client again.
                assert_eq!(scene.host.renew().await.unwrap_err().reason(), Reason::ClientRejected, "{story}");
                assert_eq!(scene.host.token().await.unwrap_err().reason(), Reason::ClientRejected, "{story}");
                assert_eq!(scene.host.mark().await, None, "{story}");
                scene.assert_counts((posts, 1, 0, 0), &story);
            }
            // The same refresh token succeeds with the correct client.
            install(&scene.host, grant).await.unwrap();
            assert!(scene.host.renew().await.is_ok(), "{story}");
            scene.assert_counts((4, 2, 0, 0), &story);
            scene.host.shut_down().await;
        }
    }
}
