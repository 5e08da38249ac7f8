//! Tokens go to the vendor of a built-in mapping only if the vendor issued them.

use tokenkeeper::ProviderName;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::user::UserMapping;

use super::web::*;
use super::*;

const GHE: &str = "https://ghe.corp.example/login/oauth";
const GHE_TOKEN: &str = "https://ghe.corp.example/login/oauth/access_token";

/// Asks for the user of a session that signed in with `login`. The vendors' own places would answer.
async fn asked(login: Login, configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> (Arc<Web>, bool) {
    let web = Arc::new(Web::default());
    web.json("https://api.github.com/user", json!({ "id": 1, "login": "octocat" }));
    web.json("https://slack.com/api/auth.test", json!({ "ok": true, "user_id": "U1" }));
    web.json("https://api.atlassian.com/me", json!({ "account_id": "5b:1" }));
    web.json("https://ghe.corp.example/api/v3/user", json!({ "id": 7 }));
    let runtime = runtime_in(&web, configure).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login).await.unwrap();
    let is_known = user(&session).await.is_ok();
    (web, is_known)
}

/// The hosts that received a token.
fn receivers(web: &Web) -> Vec<String> {
    web.sent().into_iter().filter(|sent| !sent.token.is_empty()).map(|sent| sent.url).collect()
}

/// A login at a server of another operator that has the vendor's name, for its dialect.
#[tokio::test(start_paused = true)]
async fn a_token_of_a_self_hosted_server_does_not_go_to_the_vendor() {
    for (vendor, issuer, token) in [
        ("github", GHE, GHE_TOKEN),
        // A host that names the vendor's issuer does not make the token the vendor's.
        ("github", "https://github.com/login/oauth", GHE_TOKEN),
        ("github", "https://github.com/login/oauth", "https://github.com.corp.example/login/oauth/access_token"),
        ("github", "https://github.com/login/oauth", "https://github.com:8443/login/oauth/access_token"),
        ("slack", "https://slack-gov.com", "https://slack-gov.com/api/oauth.v2.access"),
        ("atlassian", "https://auth.atlassian.example", "https://auth.atlassian.example/oauth/token"),
    ] {
        let (web, is_known) = asked(login_at(Some(vendor), issuer, token, "secret"), |builder| builder).await;
        assert!(!is_known && receivers(&web).is_empty(), "{vendor} at {token}: {:?}", web.urls());
    }
}

/// A file that moves a known row to another server moves its tokens with it, and not to the vendor.
#[tokio::test(start_paused = true)]
async fn a_row_that_a_file_has_moved_sends_no_token_to_the_vendor() {
    let entry = |extends: &str| {
        format!(
            r#"{{ "version": 1, "providers": {{ "github": {{ {extends} "issuer": "{GHE}",
                "endpoints": {{ "authorization": "{GHE}/authorize", "token": "{GHE_TOKEN}" }},
                "api": ["https://ghe.corp.example/api/v3"] }} }} }}"#
        )
    };
    for extends in ["", r#""extends": "standard","#] {
        let providers = Providers::from_json(&entry(extends)).unwrap();
        let login = || login_at(Some("github"), GHE, GHE_TOKEN, "secret");
        let (web, is_known) = asked(login(), |builder| builder.providers(providers.clone())).await;
        assert!(!is_known && receivers(&web).is_empty(), "{:?}", web.urls());
        // A mapping of the host names the place that the token belongs to.
        let mapping = r#"{ "requests": [{ "name": "me", "at": { "url": "https://ghe.corp.example/api/v3/user" } }],
            "fields": { "subject": ["/me/id"] } }"#;
        let mapping = UserMapping::from_json(mapping).unwrap();
        let name = ProviderName::new("github").unwrap();
        let (web, is_known) = asked(login(), |builder| builder.providers(providers).user_mapping(name, mapping)).await;
        assert!(is_known);
        assert_eq!(receivers(&web), ["https://ghe.corp.example/api/v3/user"]);
    }
}

/// The vendor's own server may have several token endpoints.
#[tokio::test(start_paused = true)]
async fn a_token_of_the_vendor_goes_to_the_vendor() {
    let other = login_at(Some("slack"), "https://slack.com", "https://slack.com/api/oauth.v2.user.access", "xoxp");
    for (login, place) in [
        (login_of("github", "gho"), "https://api.github.com/user"),
        (login_of("atlassian", "at"), "https://api.atlassian.com/me"),
        (other, "https://slack.com/api/auth.test"),
    ] {
        let (web, is_known) = asked(login, |builder| builder).await;
        assert!(is_known && receivers(&web).iter().any(|url| url == place), "{place}");
    }
}

/// The vendors' own places, with the answers of their documentation.
#[tokio::test(start_paused = true)]
async fn each_provider_with_an_api_describes_the_person() {
    let notion = json!({
        "object": "user", "id": "bot-1", "name": "our bot", "type": "bot",
        "bot": { "owner": { "type": "user", "user": {
            "object": "user", "id": "p1", "name": "Ann", "type": "person", "person": { "email": "ann@example.com" },
        } } },
    });
    let linear = json!({ "data": { "viewer": { "id": "p1", "name": "Ann", "email": "ann@example.com" } } });
    for (vendor, place, answer) in [
        (
            "asana",
            "https://app.asana.com/api/1.0/users/me",
            json!({ "data": { "gid": "p1", "name": "Ann", "email": "ann@example.com", "workspaces": [] } }),
        ),
        ("linear", "https://api.linear.app/graphql", linear),
        ("notion-api", "https://api.notion.com/v1/users/me", notion),
        (
            "sentry",
            "https://sentry.io/oauth/userinfo/",
            json!({ "sub": "p1", "name": "Ann", "email": "ann@example.com", "email_verified": true }),
        ),
        (
            "supabase",
            "https://api.supabase.com/v1/profile",
            json!({ "gotrue_id": "p1", "primary_email": "ann@example.com", "username": "Ann" }),
        ),
        (
            "zoho",
            "https://accounts.zoho.com/oauth/user/info",
            json!({ "ZUID": "p1", "Display_Name": "Ann", "First_Name": "Ann", "Email": "ann@example.com" }),
        ),
    ] {
        let web = Arc::new(Web::default());
        web.json(place, answer);
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::provider(vendor).unwrap());
        session.install(login_of(vendor, "at")).await.unwrap();
        let ann = user(&session).await.unwrap();
        assert_eq!((ann.subject(), ann.name(), ann.email()), ("p1", Some("Ann"), Some("ann@example.com")), "{vendor}");
        assert_eq!(receivers(&web), [place]);
        let sent = &web.sent()[0];
        assert_eq!(sent.headers.contains_key("notion-version"), vendor == "notion-api");
        assert_eq!(sent.method == "POST", vendor == "linear");
    }
    // Each data centre of Zoho has users of its own.
    let web = Arc::new(Web::default());
    web.json("https://accounts.zoho.eu/oauth/user/info", json!({ "ZUID": 12, "First_Name": "Ann" }));
    let runtime = runtime_in(&web, |builder| builder).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    let token = "https://accounts.zoho.eu/oauth/v2/token";
    session.install(login_at(Some("zoho"), "https://accounts.zoho.eu", token, "at")).await.unwrap();
    assert_eq!(user(&session).await.unwrap().subject(), "12");
}

/// Linear answers with 400 where others answer with 401 and 429.
#[tokio::test(start_paused = true)]
async fn the_errors_of_a_query_are_told_by_their_codes() {
    const GRAPHQL: &str = "https://api.linear.app/graphql";
    let failed = |code: &str| json!({ "errors": [{ "message": "no", "extensions": { "code": code } }] });
    for (code, expected, refreshes) in [
        ("AUTHENTICATION_ERROR", UserError::Refused, 1),
        ("RATELIMITED", UserError::ServerTrouble { status: 400, retry_after: None }, 0),
        ("INVALID_INPUT", UserError::Unreadable { status: 400 }, 0),
    ] {
        let web = Arc::new(Web::default());
        let answer = failed(code);
        web.on(GRAPHQL, move |_| (400, answer.clone()));
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
        session.install(login_of("linear", "at")).await.unwrap();
        assert_eq!((user(&session).await, web.refreshes()), (Err(expected), refreshes), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_describes_no_one_says_so() {
    for vendor in ["hubspot", "withings"] {
        let web = Arc::new(Web::default());
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::provider(vendor).unwrap());
        session.install(login_of(vendor, "at")).await.unwrap();
        let error = user(&session).await.unwrap_err();
        assert_eq!((&error, error.is_transient()), (&UserError::NotDescribed, false));
        assert!(error.to_string().contains("user_mapping") && web.sent().is_empty(), "{error}");
        // A mapping of the host for all that have none is asked.
        let mapping = r#"{ "requests": [{ "name": "me", "at": { "url": "https://people.example.com/me" } }],
            "fields": { "subject": ["/me/id"] } }"#;
        let mapping = UserMapping::from_json(mapping).unwrap();
        web.json("https://people.example.com/me", json!({ "id": "p1" }));
        let runtime = runtime_in(&web, |builder| builder.default_user_mapping(mapping)).await;
        let session = runtime.session(SessionSpec::provider(vendor).unwrap());
        session.install(login_of(vendor, "at")).await.unwrap();
        assert_eq!(user(&session).await.unwrap().subject(), "p1");
    }
}
