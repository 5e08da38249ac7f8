//! Revocations, in the standard's form and in those of providers.

use super::*;

#[tokio::test]
async fn revoking_names_the_refresh_token_and_believes_only_a_success() {
    let key = DigestKey::new([1; 32]);
    let revocation = |binding| Revocation {
        renewal: RenewalPlan::default(),
        binding,
        refresh: Some(RefreshCredential::new(RefreshToken::new("rt-1"), &key)),
        access: None,
    };
    let (failed, not_offered) = (Err(NotRevoked::Failed), Err(NotRevoked::NotOffered));
    for (answer, revoked) in [
        (Ok((200, "")), Ok(())),
        (Ok((204, "")), Ok(())),
        (Ok((400, r#"{"error":"unsupported_token_type"}"#)), not_offered),
        (Ok((400, r#"{"error":"invalid_client"}"#)), failed),
        (Ok((503, "")), failed),
        (Err(HttpError::MaybeSent(MaybeSent::TimedOut)), failed),
        (Err(HttpError::NotSent(NotSent::Unreachable)), failed),
    ] {
        let (source, http) = source(answer);
        assert_eq!(source.revoke(&identity(), revocation(grant().binding)).await, revoked, "{answer:?}");
        let asked = http.asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].request.uri(), "https://as.example.com/revoke");
        assert_eq!(body(&asked[0]), "token=rt-1&token_type_hint=refresh_token&client_id=host+1");
        assert_eq!(asked[0].timeout, Duration::from_secs(10));
    }

    let (source, http) = source(Ok((200, "")));
    let nowhere = Binding { revocation_endpoint: None, ..grant().binding };
    let in_the_clear = Binding { revocation_endpoint: Some("http://as.example.com/r".to_owned()), ..grant().binding };
    assert_eq!(source.revoke(&identity(), revocation(nowhere)).await, not_offered);
    assert_eq!(source.revoke(&identity(), revocation(in_the_clear)).await, failed);
    let nothing = Revocation { refresh: None, ..revocation(grant().binding) };
    assert_eq!(source.revoke(&identity(), nothing.clone()).await, Ok(()));
    assert_eq!(http.asked.lock().unwrap().len(), 0);

    let access_alone = Revocation { access: Some(AccessToken::new("at-1")), ..nothing };
    assert_eq!(source.revoke(&identity(), access_alone).await, Ok(()));
    let asked = http.asked.lock().unwrap();
    assert_eq!(body(&asked[0]), "token=at-1&token_type_hint=access_token&client_id=host+1");
}

/// A grant at a provider whose row has this form of revocation.
fn at(form: &str, auth: ClientAuth) -> (Providers, Binding, RenewalPlan) {
    let table = format!(r#"{{ "version": 1, "providers": {{ "acme": {{ "revocation": "{form}" }} }} }}"#);
    let mut binding = grant().binding;
    binding.client.auth = auth;
    binding.client.id = "our-app".to_owned();
    binding.client.secret = (auth != ClientAuth::None).then(|| ClientSecret::new("hush"));
    let name = ProviderName::new("acme".to_owned()).unwrap();
    (Providers::from_json(&table).unwrap(), binding, RenewalPlan::at(name))
}

/// A revocation of a refresh token if `refresh` is true, and of an access token if `access` is true.
fn of(binding: &Binding, renewal: &RenewalPlan, refresh: bool, access: bool) -> Revocation {
    let refresh = refresh.then(|| RefreshCredential::new(RefreshToken::new("rt-1"), &DigestKey::new([1; 32])));
    let access = access.then(|| AccessToken::new("at-1"));
    Revocation { binding: binding.clone(), renewal: renewal.clone(), refresh, access }
}

#[tokio::test]
async fn a_provider_that_revokes_by_the_bearer_ends_the_access_token_alone() {
    let (providers, binding, renewal) = at("bearer", ClientAuth::Basic);
    let (failed, done) = (Err(NotRevoked::Failed), Ok(()));
    for (answer, revoked) in [
        (Ok((200, r#"{"ok":true,"revoked":true}"#)), done),
        (Ok((200, r#"{"ok":true}"#)), done),
        (Ok((200, r#"{"ok":true,"revoked":false}"#)), failed),
        (Ok((200, r#"{"ok":false,"error":"token_revoked"}"#)), done),
        (Ok((200, r#"{"ok":false,"error":"token_expired"}"#)), done),
        (Ok((200, r#"{"ok":false,"error":"invalid_auth"}"#)), failed),
        (Ok((200, r#"{"ok":false}"#)), failed),
        (Ok((200, "<html>")), failed),
        (Ok((429, r#"{"ok":false,"error":"ratelimited"}"#)), failed),
        (Err(HttpError::MaybeSent(MaybeSent::TimedOut)), failed),
    ] {
        for refresh in [true, false] {
            let (grant, http) = source(answer);
            let grant = grant.providers(providers.clone());
            let told = grant.revoke(&identity(), of(&binding, &renewal, refresh, true)).await;
            // The refresh token may live on.
            let due = if refresh && revoked.is_ok() { Err(NotRevoked::AccessTokenAlone) } else { revoked };
            assert_eq!(told, due, "{answer:?}");
            let asked = http.asked.lock().unwrap();
            let request = &asked[0].request;
            assert_eq!(
                (request.method(), &*request.uri().to_string()),
                (&http::Method::POST, "https://as.example.com/revoke")
            );
            assert_eq!((&request.headers()["authorization"], body(&asked[0])), (&"Bearer at-1".parse().unwrap(), ""));
            assert!(request.headers()["authorization"].is_sensitive());
        }
    }
    // Neither the refresh token nor the client's secret goes there.
    let (grant, http) = source(Ok((200, "{}")));
    let told = grant.providers(providers).revoke(&identity(), of(&binding, &renewal, true, false)).await;
    assert_eq!((told, http.asked.lock().unwrap().len()), (Err(NotRevoked::NotOffered), 0));
}

#[tokio::test]
async fn a_provider_whose_clients_delete_tokens_ends_the_access_token_alone() {
    let (providers, binding, renewal) = at("delete_token", ClientAuth::Post);
    for (status, refresh, due) in [
        (204, false, Ok(())),
        (204, true, Err(NotRevoked::AccessTokenAlone)),
        (404, true, Err(NotRevoked::Failed)),
        (422, false, Err(NotRevoked::Failed)),
    ] {
        let (grant, http) = source(Ok((status, "")));
        let told = grant.providers(providers.clone()).revoke(&identity(), of(&binding, &renewal, refresh, true)).await;
        assert_eq!(told, due, "{status}");
        let asked = http.asked.lock().unwrap();
        let request = &asked[0].request;
        assert_eq!(request.method(), http::Method::DELETE);
        assert_eq!(request.uri(), "https://as.example.com/revoke/our-app/token");
        // The Base64 of `our-app:hush`. The client's own authentication method does not matter here.
        assert_eq!(request.headers()["authorization"], "Basic b3VyLWFwcDpodXNo");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(body(&asked[0]), r#"{"access_token":"at-1"}"#);
    }
    let (grant, http) = source(Ok((204, "")));
    let grant = grant.providers(providers.clone());
    let expired = grant.revoke(&identity(), of(&binding, &renewal, true, false)).await;
    assert_eq!(expired, Err(NotRevoked::NotOffered));
    let public = Binding { client: Client { secret: None, ..binding.client.clone() }, ..binding.clone() };
    let told = grant.revoke(&identity(), of(&public, &renewal, false, true)).await;
    assert_eq!(told, Err(NotRevoked::NotOffered), "a client without a secret cannot");
    for id in ["..", "a/b", "a?b", "a%2Fb", ""] {
        let odd = Binding { client: Client { id: id.to_owned(), ..binding.client.clone() }, ..binding.clone() };
        let told = grant.revoke(&identity(), of(&odd, &renewal, false, true)).await;
        assert_eq!(told, Err(NotRevoked::Failed), "{id}");
    }
    assert_eq!(http.asked.lock().unwrap().len(), 0);
}
