//! Token requests in the dialect of the provider that the record names.

use super::*;
use crate::issuers::providers::ProviderFacts;

#[tokio::test]
async fn a_dialect_changes_the_body_and_names_scopes() {
    let json = || Dialect { body: BodyFormat::Json, scope: ScopeOnRefresh::Granted, ..Dialect::default() };
    let name = || ProviderName::new("example").unwrap();
    let speak = async |grant: Grant| {
        let (source, http) = source(Ok((200, TOKENS)));
        let grant = Grant { renewal: RenewalPlan::at(name()), ..grant };
        let facts = ProviderFacts { token_request: json(), ..ProviderFacts::default() };
        let providers = Providers::builtin().with(name(), facts).unwrap();
        asked((source.providers(providers), http), grant).await.0
    };
    let exchange = speak(confidential(ClientAuth::Post)).await;
    assert_eq!(header(&exchange, header::CONTENT_TYPE), Some("application/json"));
    let said: serde_json::Value = serde_json::from_str(body(&exchange)).unwrap();
    assert_eq!(
        said,
        serde_json::json!({
            "grant_type": "refresh_token", "refresh_token": "rt 1+/=", "resource": "https://mcp.example.com/mcp",
            "scope": "a b", "client_id": "host 1", "client_secret": "p&ss:w+rd/é",
        })
    );
    let unsaid = speak(Grant { granted: Scopes::default(), ..grant() }).await;
    assert!(body(&unsaid).contains(r#""scope":"a b c""#), "{}", body(&unsaid));
    let neither = speak(Grant { granted: Scopes::default(), requested: Scopes::default(), ..grant() }).await;
    assert!(!body(&neither).contains("scope"));
}

#[tokio::test]
async fn the_provider_in_the_record_has_its_dialect() {
    let content_type = |renewal: RenewalPlan| async move {
        let (exchange, _) = asked(source(Ok((200, TOKENS))), Grant { renewal, ..grant() }).await;
        header(&exchange, header::CONTENT_TYPE).map(str::to_owned)
    };
    let at = |name: &'static str| RenewalPlan::at(ProviderName::new(name).unwrap());
    let form = Some("application/x-www-form-urlencoded".to_owned());
    assert_eq!(content_type(at("atlassian")).await.as_deref(), Some("application/json"));
    for plan in [RenewalPlan::default(), at("notion"), at("unknown")] {
        assert_eq!(content_type(plan).await, form);
    }
}

#[tokio::test]
async fn a_session_at_an_api_whose_provider_is_not_known_here_asks_nothing() {
    for (provider, requests) in [("github", 1), ("of-a-file-that-is-missing", 0)] {
        let (source, http) = source(Ok((200, TOKENS)));
        let identity = ServerIdentity::new(Account::default(), Target::api(provider).unwrap());
        let evidence = source.request(&identity, token_request(Some(grant()))).await;
        assert_eq!(http.asked.lock().unwrap().len(), requests, "{provider}");
        let is_missing = matches!(&evidence, Evidence::Unavailable(trouble) if trouble.reason == Reason::SourceMissing);
        assert_eq!(is_missing, requests == 0, "{evidence:?}");
    }
}

/// The addresses that a refresh asks, and the lifetime that comes of it.
async fn looked_up(answer: &'static str, token_endpoint: &str) -> (Vec<String>, Option<Duration>) {
    let (source, http) = source(Ok((200, answer)));
    let mut grant = Grant { renewal: RenewalPlan::at(ProviderName::new("salesforce").unwrap()), ..grant() };
    grant.binding.token_endpoint = token_endpoint.to_owned();
    let evidence = source.request(&identity(), token_request(Some(grant))).await;
    let Evidence::Tokens(tokens) = evidence else { panic!("{evidence:?}") };
    let asked = http.asked.lock().unwrap().iter().map(|exchange| exchange.request.uri().to_string()).collect();
    (asked, tokens.validity.lifetime())
}

#[tokio::test]
async fn a_lifetime_is_looked_up_where_nothing_can_be_lost_by_it() {
    const OWN: &str = "https://login.salesforce.com/services/oauth2/token";
    const INTROSPECTION: &str = "https://login.salesforce.com/services/oauth2/introspect";
    let both = vec![OWN.to_owned(), INTROSPECTION.to_owned()];
    // The same answer is the one of both endpoints. The clock stands at 1767225600.
    let named = r#"{"access_token":"at","active":true,"exp":1767229200}"#;
    assert_eq!(looked_up(named, OWN).await, (both.clone(), Some(Duration::from_secs(3600))));
    let as_text = r#"{"access_token":"at","active":true,"exp":"1767229200"}"#;
    assert_eq!(looked_up(as_text, OWN).await, (both.clone(), Some(Duration::from_secs(3600))));
    let in_years = r#"{"access_token":"at","active":true,"exp":4102444800}"#;
    assert_eq!(looked_up(in_years, OWN).await, (both.clone(), Some(Duration::from_secs(90 * 86_400))));
    for unusable in [
        r#"{"access_token":"at"}"#,
        r#"{"access_token":"at","active":false,"exp":1767229200}"#,
        r#"{"access_token":"at","active":true}"#,
        r#"{"access_token":"at","active":true,"exp":"soon"}"#,
        r#"{"access_token":"at","active":true,"exp":18446744073709551615}"#,
    ] {
        assert_eq!(looked_up(unusable, OWN).await, (both.clone(), None), "{unusable}");
    }
    // A new refresh token is stored at once.
    let rotated = r#"{"access_token":"at","refresh_token":"rt","active":true,"exp":1767229200}"#;
    assert_eq!(looked_up(rotated, OWN).await, (vec![OWN.to_owned()], None));
    let told = r#"{"access_token":"at","expires_in":60,"active":true,"exp":1767229200}"#;
    assert_eq!(looked_up(told, OWN).await, (vec![OWN.to_owned()], Some(Duration::from_secs(60))));
    // The client's secret goes to no other server than the one that issued the tokens.
    let elsewhere = "https://x.my.salesforce.com/services/oauth2/token";
    assert_eq!(looked_up(named, elsewhere).await, (vec![elsewhere.to_owned()], None));
}
