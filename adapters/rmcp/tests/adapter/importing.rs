//! Credentials of rmcp's own store.

use std::time::{SystemTime, UNIX_EPOCH};

use rmcp::transport::auth::{AuthError, CredentialStore, InMemoryCredentialStore, StoredCredentials};
use serde_json::json;
use tokenkeeper::issuers::IssuerSettings;
use tokenkeeper_rmcp::import::{ImportError, login};
use tokenkeeper_testkit::hostile::Grant;

use crate::host::{Host, echo};
use crate::within::within;

/// The credentials as rmcp stores them, received `age` seconds ago.
pub fn stored(grant: &Grant, age: u64, issuer: Option<&str>) -> StoredCredentials {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    serde_json::from_value(json!({
        "client_id": grant.binding.client.id,
        "token_response": {
            "access_token": grant.access_token.expose(),
            "token_type": "bearer",
            "expires_in": grant.lifetime.as_secs(),
            "refresh_token": grant.refresh_token.expose(),
            "scope": grant.scope,
        },
        "granted_scopes": grant.scope.split(' ').collect::<Vec<_>>(),
        "token_received_at": now - age,
        "issuer": issuer,
    }))
    .unwrap()
}

async fn store_of(credentials: StoredCredentials) -> InMemoryCredentialStore {
    let store = InMemoryCredentialStore::new();
    store.save(credentials).await.unwrap();
    store
}

#[tokio::test]
async fn a_session_goes_on_with_the_tokens_of_an_auth_client() {
    for (age, token_requests) in [(60, 0), (2 * 3600, 1)] {
        let host = Host::never_signed_in(|_| {}, |_| {}).await;
        let grant = host.grant();
        let store = store_of(stored(&grant, age, Some(host.server.issuer()))).await;
        let login = login(&store, |stored| {
            assert_eq!(stored.client_id, grant.binding.client.id);
            Ok(IssuerSettings::from(grant.binding.clone()))
        });
        let login = within("the import", login).await.unwrap();
        within("the login", host.session.install(login)).await.unwrap();
        store.clear().await.unwrap();

        let lease = within("a token", host.session.token()).await.unwrap();
        assert!(lease.scopes().iter().any(|scope| scope == "tools:read"));
        let mcp = host.connect(&host.own_client()).await;
        within("a call", echo(&mcp, "x")).await.unwrap();
        assert_eq!((host.server.counts().token_requests, host.server.counts().replays), (token_requests, 0));
        assert_eq!(host.resource.counts().status(401), 0);
        host.server.kill_access_tokens();
        within("a call", echo(&mcp, "x")).await.unwrap();
        assert_eq!(host.server.counts().token_requests, token_requests + 1);
    }
}

#[tokio::test]
async fn credentials_of_another_issuer_or_without_tokens_are_not_taken_over() {
    let host = Host::never_signed_in(|_| {}, |_| {}).await;
    let grant = host.grant();
    let settings = |_: &StoredCredentials| Ok(IssuerSettings::from(grant.binding.clone()));
    let store = store_of(stored(&grant, 0, Some("https://other.example.com"))).await;
    let error = login(&store, settings).await.unwrap_err();
    let ImportError::OtherIssuer { stored } = &error else { panic!("{error:?}") };
    assert_eq!(stored, "https://other.example.com");
    assert!(store.load().await.unwrap().is_some());

    let empty = store_of(StoredCredentials::new("client".to_owned(), None, Vec::new(), None)).await;
    assert!(matches!(login(&empty, settings).await, Err(ImportError::Empty)));
    assert!(matches!(login(&InMemoryCredentialStore::new(), settings).await, Err(ImportError::Empty)));
    assert!(matches!(login(&Broken, settings).await, Err(ImportError::Store(_))));
}

struct Broken;

#[tokenkeeper_testkit::store_contract::async_trait]
impl CredentialStore for Broken {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        Err(AuthError::CredentialStoreError("broken".to_owned()))
    }

    async fn save(&self, _: StoredCredentials) -> Result<(), AuthError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), AuthError> {
        Ok(())
    }
}
