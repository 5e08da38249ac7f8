//! Client credentials whose tokens are bound.

use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::issuers::Client;
use tokenkeeper::machine::MachineGrant;
use tokenkeeper::{Dpop, Reason, SessionSpec};
use tokenkeeper_testkit::login_server::LoginServer;

use crate::scene::{Host, Scene};

#[tokio::test]
async fn client_credentials_are_bound_to_the_key_of_the_session() {
    let scene = Scene::new(LoginServer::builder().dpop(), Dpop::Off).await;
    scene.server.hostile().proof_rules(|rules| (rules.server_nonces, rules.resource_nonces) = (true, true));
    let known = scene.server.pre_register(ClientAuth::Basic, ["http://127.0.0.1/callback"]);
    let client = Client::secret_basic(&known.id, known.secret.as_ref().unwrap().expose());
    let grant = MachineGrant::client_credentials(client).dpop();

    // A session that was never signed in has no place for a key.
    let spec = SessionSpec::mcp(&scene.server.resource_url()).unwrap().account("other").unwrap();
    let other = Host::of(scene.host.runtime.clone(), spec.renewal(grant.plan()));
    assert_eq!(other.token().await.unwrap_err().reason(), Reason::RequestRefused);
    assert_eq!(scene.requests().0, 0);

    scene.host.session.sign_in_as(&grant).await.unwrap();
    assert_eq!(scene.host.send().await.unwrap(), 200);
    let key = scene.host.key().await;
    let host = scene.restarted(Dpop::Off).await;
    host.renewed().await.unwrap();
    assert_eq!((host.key().await, host.send().await.unwrap()), (key, 200));
    let (proofs, counts) = (scene.proofs(), scene.server.hostile().counts());
    assert_eq!((proofs.server_challenges, proofs.resource_challenges, counts.mints), (2, 2, 2));
    scene.assert_clean();

    scene.server.hostile().proof_rules(|rules| rules.issues_bearer = true);
    assert_eq!(host.renewed().await.unwrap_err().reason(), Reason::NotBound);
}
