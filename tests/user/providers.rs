//! The built-in mappings, at providers that answer as their documentation has it.

use serde_json::Value;
use tokenkeeper::http::Reach;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::user::{UserMapping, UserMappingError};
use tokenkeeper::{BuildError, ProviderName};

use super::web::*;
use super::*;

/// The person of a session at `provider`, with the requests that were sent.
async fn person(web: &Arc<Web>, login: Login) -> Result<UserContext, UserError> {
    person_by(web, login, |builder| builder).await
}

async fn person_by(
    web: &Arc<Web>,
    login: Login,
    configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> Result<UserContext, UserError> {
    let runtime = runtime_in(web, configure).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login).await.unwrap();
    user(&session).await
}

#[tokio::test(start_paused = true)]
async fn github_has_the_address_at_an_endpoint_of_its_own() {
    let web = Arc::new(Web::default());
    web.json("https://api.github.com/user", json!({ "id": 583_231, "login": "octocat", "name": null, "email": null }));
    web.json(
        "https://api.github.com/user/emails",
        json!([
            { "email": "old@example.com", "primary": false, "verified": true },
            { "email": "octocat@example.com", "primary": true, "verified": true, "visibility": "private" },
        ]),
    );
    let octocat = person(&web, login_of("github", "gho")).await.unwrap();
    assert_eq!((octocat.subject(), octocat.name()), ("583231", Some("octocat")));
    assert_eq!((octocat.email(), octocat.is_email_verified()), (Some("octocat@example.com"), Some(true)));
    let sent = web.sent();
    assert_eq!(web.urls(), ["https://api.github.com/user", "https://api.github.com/user/emails"]);
    assert!(sent.iter().all(|sent| sent.token == "gho" && sent.headers["accept"] == "application/vnd.github+json"));
}

/// A token without the scope for addresses still names the person. The refusal costs no refresh.
#[tokio::test(start_paused = true)]
async fn a_refused_optional_request_does_not_fail_the_whole() {
    for status in [401, 403, 404] {
        let web = Arc::new(Web::default());
        web.json("https://api.github.com/user", json!({ "id": 1, "login": "octocat", "email": "public@example.com" }));
        web.on("https://api.github.com/user/emails", move |_| (status, json!({ "message": "Not Found" })));
        let octocat = person(&web, login_of("github", "gho")).await.unwrap();
        assert_eq!((octocat.email(), octocat.is_email_verified()), (Some("public@example.com"), None));
        assert_eq!(octocat.claims().get("emails"), None);
        assert_eq!((web.sent().len(), web.refreshes()), (2, 0), "{status}");
    }
}

/// Trouble passes. A person without the part that is missing now would be kept as if there were no more to know.
#[tokio::test(start_paused = true)]
async fn trouble_with_an_optional_request_is_not_kept_as_a_person() {
    const EMAILS: &str = "https://api.github.com/user/emails";
    for status in [408, 429, 500, 503] {
        let web = Arc::new(Web::default());
        web.json("https://api.github.com/user", json!({ "id": 1, "login": "octocat", "email": null }));
        web.on(EMAILS, move |_| (status, json!({})));
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
        session.install(login_of("github", "gho")).await.unwrap();
        assert_eq!(user(&session).await, Err(UserError::ServerTrouble { status, retry_after: None }));
        web.json(EMAILS, json!([{ "email": "octocat@example.com", "primary": true, "verified": true }]));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(user(&session).await.unwrap().email(), Some("octocat@example.com"));
    }
}

#[tokio::test(start_paused = true)]
async fn keycloak_has_the_roles_in_the_access_token() {
    let web = Arc::new(Web::default());
    let issuer = "https://keycloak.example.com/realms/work";
    let userinfo = format!("{issuer}/protocol/openid-connect/userinfo");
    web.json(
        "https://keycloak.example.com/.well-known/oauth-authorization-server/realms/work",
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/protocol/openid-connect/auth"),
            "token_endpoint": format!("{issuer}/protocol/openid-connect/token"),
            "userinfo_endpoint": userinfo,
            "code_challenge_methods_supported": ["S256"],
        }),
    );
    web.json(
        &userinfo,
        json!({ "sub": "f:1", "preferred_username": "ann", "email": "ann@example.com", "email_verified": false }),
    );
    let access = jwt(&json!({
        "sub": "f:1",
        "realm_access": { "roles": ["admin", "user"] },
        "resource_access": { "account": { "roles": ["view-profile"] }, "mcp": { "roles": ["user", "caller"] } },
    }));
    let ann = person(&web, login(Some("keycloak"), issuer, &access).subject("f:1")).await.unwrap();
    assert_eq!((ann.subject(), ann.name(), ann.is_email_verified()), ("f:1", Some("ann"), Some(false)));
    assert_eq!(ann.groups(), ["admin", "user", "view-profile", "caller"]);
    assert_eq!(ann.claims()["access_token"]["sub"], "f:1");
}

#[tokio::test(start_paused = true)]
async fn google_okta_and_auth0_have_a_userinfo_endpoint() {
    for (provider, issuer, userinfo) in [
        ("google", "https://accounts.google.com", "https://openidconnect.googleapis.com/v1/userinfo"),
        ("okta", "https://acme.okta.com", "https://acme.okta.com/oauth2/v1/userinfo"),
        ("auth0", "https://acme.eu.auth0.com", "https://acme.eu.auth0.com/userinfo"),
    ] {
        let web = Arc::new(Web::default());
        metadata(&web, issuer, userinfo);
        web.json(userinfo, json!({ "sub": "1", "name": "Ann", "email": "a@example.com", "email_verified": "true" }));
        let ann = person(&web, login(Some(provider), issuer, "opaque")).await.unwrap();
        assert_eq!(
            (ann.name(), ann.is_email_verified(), ann.groups().len()),
            (Some("Ann"), Some(true), 0),
            "{provider}"
        );
        assert_eq!(web.urls().last().unwrap(), userinfo);
    }
}

#[tokio::test(start_paused = true)]
async fn atlassian_has_the_person_and_the_sites() {
    let web = Arc::new(Web::default());
    web.json(
        "https://api.atlassian.com/me",
        json!({ "account_id": "5b:1", "name": "Ann", "email": "ann@example.com" }),
    );
    web.json(
        "https://api.atlassian.com/oauth/token/accessible-resources",
        json!([{ "id": "1324a887", "name": "acme", "url": "https://acme.atlassian.net", "scopes": ["read:jira-work"] }]),
    );
    let ann = person(&web, login_of("atlassian", "at")).await.unwrap();
    assert_eq!((ann.subject(), ann.email()), ("5b:1", Some("ann@example.com")));
    assert_eq!(ann.claims()["sites"][0]["id"], "1324a887");
}

/// The host differs from organisation to organisation (mxcp names login.salesforce.com for all).
#[tokio::test(start_paused = true)]
async fn salesforce_is_asked_at_the_host_of_the_organisation() {
    let web = Arc::new(Web::default());
    let host = "https://acme.my.salesforce.com";
    let sub = "https://login.salesforce.com/id/00D/005";
    web.json(&format!("{host}/services/oauth2/userinfo"), json!({ "sub": sub, "user_id": "005", "name": "Ann" }));
    let token = format!("{host}/services/oauth2/token");
    let login = login_at(Some("salesforce"), host, &token, "00D!").subject(sub);
    assert_eq!(person(&web, login.clone()).await.unwrap().subject(), sub);
    assert_eq!(web.urls(), [format!("{host}/services/oauth2/userinfo")]);
    assert_eq!(person(&web, login.subject("another")).await, Err(UserError::SubjectMismatch));
}

#[tokio::test(start_paused = true)]
async fn slack_errors_come_with_status_200() {
    const TEST: &str = "https://slack.com/api/auth.test";
    const OPENID: &str = "https://slack.com/api/openid.connect.userInfo";
    let slack = || login_of("slack", "xoxp");
    let web = Arc::new(Web::default());
    let good = json!({ "ok": true, "user_id": "U1", "user": "ann", "team_id": "T1", "team": "Acme" });
    web.json(TEST, good.clone());
    web.json(OPENID, json!({ "ok": false, "error": "missing_scope" }));
    let ann = person(&web, slack()).await.unwrap();
    assert_eq!((ann.subject(), ann.name(), ann.email()), ("U1", Some("ann"), None));
    assert_eq!((web.sent().len(), web.refreshes()), (2, 0));

    // `token_expired` is what a 401 is. One refresh, and one more request.
    for word in ["token_expired", "invalid_auth"] {
        let web = Arc::new(Web::default());
        let good = good.clone();
        web.on(TEST, move |sent| {
            let is_old = sent.token == "xoxp";
            (200, if is_old { json!({ "ok": false, "error": word }) } else { good.clone() })
        });
        web.json(OPENID, json!({ "ok": true, "sub": "U1", "email": "ann@example.com", "email_verified": true }));
        assert_eq!(person(&web, slack()).await.unwrap().email(), Some("ann@example.com"));
        assert_eq!((web.urls(), web.refreshes()), (vec![TEST.into(), TEST.into(), OPENID.into()], 1));
    }

    for (word, expected) in [
        ("user_not_found", UserError::ErrorInAnswer),
        ("missing_scope", UserError::ScopeMissing { scopes: Default::default() }),
        ("ratelimited", UserError::ServerTrouble { status: 200, retry_after: None }),
    ] {
        let web = Arc::new(Web::default());
        web.json(TEST, json!({ "ok": false, "error": word }));
        assert_eq!(person(&web, slack()).await, Err(expected));
        assert_eq!((web.sent().len(), web.refreshes()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn entra_describes_the_person_in_the_access_token_alone() {
    let web = Arc::new(Web::default());
    let claims = json!({
        "oid": "00000000-aaaa", "sub": "pairwise", "name": "Ann", "preferred_username": "ann@example.com",
        "roles": ["Caller"], "groups": ["g1"],
    });
    let entra = |access: &str| login(Some("entra"), "https://login.microsoftonline.com/t/v2.0", access);
    let ann = person(&web, entra(&jwt(&claims))).await.unwrap();
    assert_eq!((ann.subject(), ann.name()), ("00000000-aaaa", Some("Ann")));
    assert_eq!(ann.groups(), ["Caller", "g1"]);
    assert!(web.sent().is_empty(), "no endpoint takes a token for another resource");
    assert!(!ann.has_more_groups());
    assert_eq!(person(&web, entra("opaque")).await, Err(UserError::NoSubject));
}

/// Tokens of 60 KB were seen in the field (case M01). Beyond 200 groups, Entra names none and refers to Graph.
#[tokio::test(start_paused = true)]
async fn many_groups_are_read_and_groups_that_are_left_out_are_told() {
    let web = Arc::new(Web::default());
    let entra = |claims: &Value| login(Some("entra"), "https://login.microsoftonline.com/t/v2.0", &jwt(claims));
    let many: Vec<_> = (0..1_000).map(|number| format!("{number:0>36}")).collect();
    let claims = json!({ "oid": "a", "groups": many });
    assert!(jwt(&claims).len() > 50_000);
    let ann = person(&web, entra(&claims)).await.unwrap();
    assert_eq!((ann.groups().len(), ann.has_more_groups()), (1_000, false));
    for (overage, has_more) in [
        (json!({ "oid": "a", "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } }), true),
        (json!({ "oid": "a", "hasgroups": true }), true),
        (json!({ "oid": "a", "hasgroups": "true" }), true),
        (json!({ "oid": "a", "hasgroups": false, "_claim_names": { "other": "src1" } }), false),
    ] {
        let ann = person(&web, entra(&overage)).await.unwrap();
        assert_eq!((ann.groups().len(), ann.has_more_groups()), (0, has_more), "{overage}");
    }
    // The same at a userinfo endpoint (OpenID Connect Core section 5.6.2).
    let (issuer, userinfo) = ("https://as.example.com", "https://as.example.com/userinfo");
    metadata(&web, issuer, userinfo);
    web.json(userinfo, json!({ "sub": "ann", "_claim_names": { "groups": "src1" } }));
    assert!(person(&web, login(None, issuer, "at")).await.unwrap().has_more_groups());
}

/// The lease of a session at an identity provider is the ID token. It describes the person, and is sent nowhere.
#[tokio::test(start_paused = true)]
async fn an_id_token_describes_the_person_and_goes_nowhere() {
    let web = Arc::new(Web::default());
    let runtime = runtime_in(&web, |builder| builder).await;
    let issuer = "https://idp.example.com";
    let session = runtime.session(SessionSpec::idp(issuer).unwrap());
    let settings =
        tokenkeeper::issuers::IssuerSettings::new(issuer, TOKEN, tokenkeeper::issuers::Client::public("host"));
    let id_token = jwt(&json!({ "iss": issuer, "sub": "ann", "name": "Ann", "exp": 1_800_003_600 }));
    let login = Login::at(settings.unwrap().identity_provider()).id_token(id_token.as_str()).subject("ann");
    session.install(login.clone()).await.unwrap();
    let ann = user(&session).await.unwrap();
    assert_eq!((ann.subject(), ann.name()), ("ann", Some("Ann")));
    assert!(web.sent().is_empty());
    session.install(login.subject("bob")).await.unwrap();
    assert_eq!(user(&session).await, Err(UserError::SubjectMismatch));
}

#[tokio::test(start_paused = true)]
async fn a_mapping_of_the_host_comes_first_and_may_post() {
    let mapping = UserMapping::from_json(
        r#"{
            "requests": [{
                "name": "graphql",
                "at": { "url": "https://api.linear.app/graphql" },
                "body": { "query": "{ viewer { id name email } }" },
                "headers": { "X-Api-Version": "2" }
            }],
            "fields": { "subject": ["/graphql/data/viewer/id"], "email": ["/graphql/data/viewer/email"] }
        }"#,
    )
    .unwrap();
    let web = Arc::new(Web::default());
    web.json(
        "https://api.linear.app/graphql",
        json!({ "data": { "viewer": { "id": "u1", "email": "ann@example.com", "name": "evil\u{1b}[2J" } } }),
    );
    let linear = || login(Some("linear"), "https://linear.app", "lin");
    let name = ProviderName::new("linear").unwrap();
    let ann = person_by(&web, linear(), |builder| builder.user_mapping(name.clone(), mapping.clone())).await.unwrap();
    assert_eq!((ann.subject(), ann.email(), ann.name()), ("u1", Some("ann@example.com"), None));
    let sent = &web.sent()[0];
    assert_eq!((&*sent.method, &*sent.token, &*sent.headers["x-api-version"]), ("POST", "lin", "2"));
    assert_eq!(sent.body, r#"{"query":"{ viewer { id name email } }"}"#);
    let fallback = person_by(&web, login(None, "https://linear.app", "lin"), |builder| {
        builder.default_user_mapping(mapping.clone())
    });
    assert_eq!(fallback.await.unwrap().subject(), "u1");
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_cannot_be_used_is_an_error_of_the_builder() {
    let mut mapping = UserMapping::openid();
    mapping.requests[0].at = tokenkeeper::user::UserPlace::Url("http://api.example.com/me".to_owned());
    let builder = AuthRuntime::builder(MemoryStore::new(digest_key())).default_user_mapping(mapping);
    let error = builder.spawn().await.unwrap_err();
    assert_eq!(error, BuildError::UserMapping(UserMappingError::Address));
}

/// A userinfo endpoint that a server names must be https and public. The rest of its metadata stays usable.
#[tokio::test(start_paused = true)]
async fn a_token_goes_to_no_unsafe_endpoint_that_a_server_names() {
    let issuer = "https://as.example.com";
    for userinfo in
        ["http://as.example.com/userinfo", "https://user@as.example.com/userinfo", "https://as.example.com/u#f"]
    {
        let web = Arc::new(Web::default());
        metadata(&web, issuer, userinfo);
        assert_eq!(person(&web, login(None, issuer, "at")).await, Err(UserError::NoEndpoint), "{userinfo}");
        assert!(web.sent().iter().all(|sent| sent.token.is_empty()));
    }
    let web = Arc::new(Web::default());
    metadata(&web, issuer, "https://10.0.0.1/userinfo");
    let settings =
        tokenkeeper::issuers::IssuerSettings::new(issuer, TOKEN, tokenkeeper::issuers::Client::public("host"));
    let named = Login::at(settings.unwrap().server_named()).access_token("at", None);
    assert_eq!(person(&web, named.clone()).await, Err(UserError::NoEndpoint));
    metadata(&web, issuer, "https://as.example.com/userinfo");
    web.json("https://as.example.com/userinfo", json!({ "sub": "ann" }));
    let web = {
        assert_eq!(person(&web, named).await.unwrap().subject(), "ann");
        web
    };
    assert_eq!(web.sent().last().unwrap().reach, Reach::Public);
}

/// RFC 8414 does not have the userinfo endpoint, and some servers leave it out of that document.
#[tokio::test(start_paused = true)]
async fn the_endpoint_may_be_in_the_openid_configuration_alone() {
    let web = Arc::new(Web::default());
    let issuer = "https://sso.example.com/realms/work";
    let (oauth, openid) = (
        "https://sso.example.com/.well-known/oauth-authorization-server/realms/work",
        "https://sso.example.com/realms/work/.well-known/openid-configuration",
    );
    let server = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "code_challenge_methods_supported": ["S256"],
    });
    web.json(oauth, server.clone());
    // As many servers have it, without PKCE.
    let configuration = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/me"),
    });
    web.json(openid, configuration.clone());
    web.on(&format!("{issuer}/me"), |sent| (200, json!({ "sub": sent.token })));
    let runtime = runtime_in(&web, |builder| builder).await;
    for account in ["ann", "bob", "carol"] {
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap().account(account).unwrap());
        session.install(login(None, issuer, account)).await.unwrap();
        assert!(web.urls().iter().all(|url| url != openid) || account != "ann", "no one has asked for the user yet");
        assert_eq!(user(&session).await.unwrap().subject(), account);
    }
    let asked = |wanted: &str| web.urls().iter().filter(|url| *url == wanted).count();
    assert_eq!((asked(oauth), asked(openid), asked(&format!("{issuer}/me"))), (1, 1, 3), "each document once");
    assert!(web.sent().iter().filter(|sent| sent.url == openid).all(|sent| sent.token.is_empty()));

    // A document of another issuer counts for nothing.
    let web = Arc::new(Web::default());
    web.json(oauth, server);
    web.json(
        openid,
        json!({ "issuer": "https://evil.example", "token_endpoint": "https://evil.example/token",
        "authorization_endpoint": "https://evil.example/authorize", "userinfo_endpoint": "https://evil.example/me" }),
    );
    assert_eq!(person(&web, login(None, issuer, "at")).await, Err(UserError::NoEndpoint));
    assert!(web.sent().iter().all(|sent| sent.token.is_empty()));
    // A server that has trouble now may have it later.
    web.on(openid, |_| (503, json!({})));
    let trouble = person(&web, login(None, issuer, "at")).await.unwrap_err();
    assert!(matches!(trouble, UserError::Discovery(_)) && trouble.is_transient(), "{trouble}");
}

/// A signature is not verified here, so that a claim under one counts for nothing, also if the body can be read.
#[tokio::test(start_paused = true)]
async fn a_signed_answer_is_an_error_of_its_own_and_names_no_one() {
    let web = Arc::new(Web::default());
    let (issuer, userinfo) = ("https://as.example.com", "https://as.example.com/userinfo");
    metadata(&web, issuer, userinfo);
    web.json(userinfo, json!({ "sub": "ann" }));
    web.header(userinfo, "content-type", "Application/JWT; charset=utf-8");
    let error = person(&web, login(None, issuer, "at")).await.unwrap_err();
    assert_eq!((&error, error.is_transient(), error.is_login_required()), (&UserError::Signed, false, false));
    assert!(error.to_string().contains("without userinfo_signed_response_alg"), "{error}");
    assert_eq!(web.refreshes(), 0);
}

/// A server that behaves as a known one is asked for the user as that one is, as far as its own places are asked.
#[tokio::test(start_paused = true)]
async fn a_provider_of_a_file_has_the_mapping_of_the_one_that_it_extends() {
    let table = r#"{ "version": 1, "providers": {
        "staff": { "extends": "keycloak", "hosts": ["sso.example.com"] },
        "interns": { "extends": "staff", "hosts": ["sso.example.org"] },
        "plain": { "extends": "keycloak", "user": null },
        "hub": { "extends": "github" }
    } }"#;
    let providers = Providers::from_json(table).unwrap();
    let of = |name: &str| providers.named(name).unwrap().user.clone();
    assert_eq!(
        (of("staff"), of("interns")),
        (UserMapping::of_provider("keycloak"), UserMapping::of_provider("keycloak"))
    );
    assert_eq!((of("plain"), of("hub"), of("keycloak")), (None, None, None), "the places of github are its own");
    let (web, issuer) = (Arc::new(Web::default()), "https://sso.example.com/realms/work");
    let userinfo = format!("{issuer}/userinfo");
    web.json(
        "https://sso.example.com/.well-known/oauth-authorization-server/realms/work",
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": userinfo,
            "code_challenge_methods_supported": ["S256"],
        }),
    );
    web.json(&userinfo, json!({ "sub": "f:1", "name": "Ann" }));
    let access = jwt(&json!({ "realm_access": { "roles": ["admin"] } }));
    let login = login(Some("staff"), issuer, &access);
    let ann = person_by(&web, login, |builder| builder.providers(providers)).await.unwrap();
    assert_eq!((ann.name(), ann.groups()), (Some("Ann"), &["admin".to_owned()][..]));
}
