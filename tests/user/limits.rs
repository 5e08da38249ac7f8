//! Refusals whose status means something else, and the pauses of rate limits.

use serde_json::Value;
use tokenkeeper::user::{UserMapping, UserMappingError};

use super::web::*;
use super::*;

const GITHUB: &str = "https://api.github.com/user";

/// The headers of an answer.
type Headers = &'static [(&'static str, &'static str)];

async fn signed_in(web: &Arc<Web>, login: Login) -> AuthSession {
    let runtime = runtime_in(web, |builder| builder).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login).await.unwrap();
    session
}

/// Salesforce answers an expired token with 403 and one word of plain text.
#[tokio::test(start_paused = true)]
async fn a_403_for_an_expired_token_is_one_refresh_and_one_more_request() {
    const USERINFO: &str = "https://acme.my.salesforce.com/services/oauth2/userinfo";
    let host = "https://acme.my.salesforce.com";
    let login = || login_at(Some("salesforce"), host, &format!("{host}/services/oauth2/token"), "expired");
    for (refused, refreshed, asked) in [("expired", Ok("005"), 2), ("", Err(UserError::Refused), 2)] {
        let web = Arc::new(Web::default());
        web.on(USERINFO, move |sent| match sent.token.contains(refused) {
            true => (403, json!("Bad_OAuth_Token")),
            false => (200, json!({ "sub": "005" })),
        });
        let session = signed_in(&web, login()).await;
        let answer = user(&session).await;
        assert_eq!(answer.as_ref().map(UserContext::subject), refreshed.as_ref().copied());
        assert_eq!((web.urls().len(), web.refreshes()), (asked, 1));
    }
    // Any other 403 is about the scope.
    let web = Arc::new(Web::default());
    web.on(USERINFO, |_| (403, json!("Missing_Scope")));
    let session = signed_in(&web, login()).await;
    assert!(matches!(user(&session).await, Err(UserError::ScopeMissing { .. })));
    assert_eq!((web.urls().len(), web.refreshes()), (1, 0));
}

/// Atlassian answers a token without the scope `read:me` with 401, and a refresh would not add it.
#[tokio::test(start_paused = true)]
async fn a_401_for_a_missing_scope_costs_no_refresh() {
    const ME: &str = "https://api.atlassian.com/me";
    let web = Arc::new(Web::default());
    web.on(ME, |_| (401, json!({ "code": 401, "message": "Unauthorized; scope does not match" })));
    web.header(ME, "x-failure-category", "FAILURE_CLIENT_SCOPE_CHECK");
    let session = signed_in(&web, login_of("atlassian", "at")).await;
    let error = user(&session).await.unwrap_err();
    assert!(matches!(error, UserError::ScopeMissing { .. }) && error.is_login_required(), "{error:?}");
    assert_eq!((web.urls().len(), web.refreshes()), (1, 0));
    // Any other 401 is about the token.
    let web = Arc::new(Web::default());
    web.on(ME, |sent| match &*sent.token {
        "at" => (401, json!({ "code": 401, "message": "Unauthorized" })),
        _ => (200, json!({ "account_id": "5b:1" })),
    });
    let session = signed_in(&web, login_of("atlassian", "at")).await;
    assert_eq!(user(&session).await.unwrap().subject(), "5b:1");
    assert_eq!(web.refreshes(), 1);
}

/// GitHub answers its limits with 403 or 429.
#[tokio::test(start_paused = true)]
async fn a_403_of_a_rate_limit_is_trouble_and_no_missing_scope() {
    // The clock of the tests begins at 1,800,000,000.
    let cases: [(Headers, Value, Option<u64>); 5] = [
        (&[("retry-after", "40")], json!({}), Some(40)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000050")], json!({}), Some(50)),
        (&[("x-ratelimit-remaining", "0")], json!({}), None),
        (&[("ratelimit", r#""default";r=0;t=30"#)], json!({}), Some(30)),
        (&[], json!({ "message": "You have exceeded a secondary rate limit." }), None),
    ];
    for (headers, body, pause) in cases {
        let web = Arc::new(Web::default());
        web.on(GITHUB, move |_| (403, body.clone()));
        for (name, value) in headers {
            web.header(GITHUB, name, value);
        }
        let session = signed_in(&web, login_of("github", "gho")).await;
        let retry_after = pause.map(Duration::from_secs);
        let error = user(&session).await.unwrap_err();
        assert_eq!(error, UserError::ServerTrouble { status: 403, retry_after }, "{headers:?}");
        assert!(!error.is_login_required());
        // It is remembered for the pause, and for no longer.
        let asked = web.urls().len();
        tokio::time::advance(Duration::from_secs(pause.unwrap_or(1) - 1)).await;
        assert!(user(&session).await.is_err());
        assert_eq!(web.urls().len(), asked);
        web.json(GITHUB, json!({ "id": 1 })).json(&format!("{GITHUB}/emails"), json!([]));
        tokio::time::advance(Duration::from_secs(pause.unwrap_or(1) / 4 + 2)).await;
        assert_eq!(user(&session).await.unwrap().subject(), "1");
    }
    // A limit with requests left has refused nothing.
    let web = Arc::new(Web::default());
    web.on(GITHUB, |_| (403, json!({ "message": "Resource not accessible by integration" })));
    web.header(GITHUB, "x-ratelimit-remaining", "4999").header(GITHUB, "x-ratelimit-reset", "1800000050");
    let session = signed_in(&web, login_of("github", "gho")).await;
    assert!(matches!(user(&session).await, Err(UserError::ScopeMissing { .. })));
}

/// The pause is read as that of a token endpoint, in all its forms, and by the server's clock.
#[tokio::test(start_paused = true)]
async fn the_pause_of_a_limit_is_read_in_all_its_forms() {
    let cases: [(u16, Headers, Option<u64>); 6] = [
        (429, &[("x-ratelimit-reset", "1800000050")], Some(50_000)),
        (429, &[("x-rate-limit-reset", "1800000020"), ("x-rate-limit-remaining", "0")], Some(20_000)),
        (429, &[("retry-after-ms", "2500")], Some(2_500)),
        (500, &[("retry-after-ms", "2500")], Some(2_500)),
        (500, &[("x-ratelimit-reset", "1800000050")], None),
        // The server's clock is ten minutes ahead of this process's.
        (
            503,
            &[("date", "Fri, 15 Jan 2027 08:10:00 GMT"), ("retry-after", "Fri, 15 Jan 2027 08:10:30 GMT")],
            Some(30_000),
        ),
    ];
    for (status, headers, pause) in cases {
        let web = Arc::new(Web::default());
        web.on(GITHUB, move |_| (status, json!({})));
        for (name, value) in headers {
            web.header(GITHUB, name, value);
        }
        let session = signed_in(&web, login_of("github", "gho")).await;
        let retry_after = pause.map(Duration::from_millis);
        assert_eq!(user(&session).await, Err(UserError::ServerTrouble { status, retry_after }), "{headers:?}");
    }
}

#[test]
fn a_mapping_may_give_a_refusal_another_meaning() {
    let with = |refusal: &str| {
        UserMapping::from_json(&format!(
            r#"{{ "requests": [{{ "name": "me", "at": "userinfo", "refusals": [{refusal}] }}],
                "fields": {{ "subject": ["/me/sub"] }} }}"#
        ))
    };
    let mapping = with(r#"{ "status": 403, "text": "expired", "means": "unauthorized" }"#).unwrap();
    assert_eq!(mapping.requests[0].refusals.len(), 1);
    for refusal in [
        r#"{ "status": 403, "text": "", "means": "throttled" }"#,
        r#"{ "status": 200, "text": "no", "means": "forbidden" }"#,
        r#"{ "status": 600, "text": "no", "means": "forbidden" }"#,
    ] {
        assert_eq!(with(refusal), Err(UserMappingError::Refusal), "{refusal}");
    }
    assert!(matches!(with(r#"{ "status": 403, "text": "no" }"#), Err(UserMappingError::Unreadable(_))));
}

/// Some servers put a byte order mark before their answers.
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_before_the_answer_is_no_fault() {
    let web = Arc::new(Web::default());
    web.json(GITHUB, json!("\u{feff}{\"id\": 1}")).json(&format!("{GITHUB}/emails"), json!("\u{feff}[]"));
    let session = signed_in(&web, login_of("github", "gho")).await;
    assert_eq!(user(&session).await.unwrap().subject(), "1");
}
