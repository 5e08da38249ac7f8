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
