//! The behaviour of each vendor's servers, as it is documented or was seen. Written without a look at the rows.

use super::server::{Body, Form, Lost, Method, Odd, Offline, Page, Revocation, Rotation, Vendor};

/// A server that keeps to the standards, and to nothing else.
const STRICT: Vendor = Vendor {
    name: "",
    issuer: "https://as.example.com",
    token: "https://as.example.com/token",
    page: None,
    body: Body::Form,
    method: Method::Post,
    token_parameters: &[],
    refuses_resource: false,
    wants_scope: false,
    exchange: r#"{"access_token":"{at}","token_type":"Bearer","expires_in":3600,"refresh_token":"{rt}","scope":"{scope}"}"#,
    refresh: r#"{"access_token":"{at}","token_type":"Bearer","expires_in":3600,"refresh_token":"{rt}"}"#,
    lifetime: Some(3600),
    dead: (400, r#"{"error":"invalid_grant"}"#),
    rotation: Rotation::Strict,
    lost: Lost::Ends,
    revocation: None,
    introspection: None,
    api: "",
    odd: &[],
};

const PAGE: Page = Page {
    url: "",
    parameters: &[],
    scope: "scope",
    separator: ' ',
    asks: &["read", "write"],
    offline: Offline::Always,
};

pub(crate) static ALL: &[Vendor] = &[
    Vendor {
        name: "asana",
        issuer: "https://app.asana.com",
        token: "https://app.asana.com/-/oauth_token",
        page: Some(Page { url: "https://app.asana.com/-/oauth_authorize", ..PAGE }),
        exchange: r#"{"access_token":"{at}","expires_in":3600,"token_type":"bearer","refresh_token":"{rt}",
            "data":{"id":4673218951,"gid":"4673218951","name":"Greg Sanchez","email":"gsanchez@example.com"}}"#,
        refresh: r#"{"access_token":"{at}","expires_in":3600,"token_type":"bearer","refresh_token":"{rt}",
            "data":{"gid":"4673218951"}}"#,
        revocation: Some(Revocation { url: "https://app.asana.com/-/oauth_revoke", ..REVOCATION }),
        api: "https://app.asana.com/api/1.0/users/me",
        ..STRICT
    },
    Vendor {
        name: "atlassian",
        issuer: "https://auth.atlassian.com",
        token: "https://auth.atlassian.com/oauth/token",
        page: Some(Page {
            url: "https://auth.atlassian.com/authorize",
            parameters: &[("audience", "api.atlassian.com"), ("prompt", "consent")],
            offline: Offline::Scope("offline_access"),
            ..PAGE
        }),
        body: Body::Json,
        dead: (403, r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#),
        // For ten minutes (community.developer.atlassian.com, t/54172).
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        api: "https://api.atlassian.com/me",
        odd: &[
            (403, r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#, Odd::Dead),
            (429, "", Odd::Passes),
        ],
        ..STRICT
    },
    Vendor {
        name: "auth0",
        issuer: "https://acme.eu.auth0.com/",
        dead: (403, r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#),
        ..STRICT
    },
    // The old refresh token stays good until the new one is used.
    Vendor { name: "cloudflare", rotation: Rotation::UntilUsed, lost: Lost::Recovers, ..STRICT },
    Vendor {
        name: "entra",
        issuer: "https://login.microsoftonline.com/organizations/v2.0",
        token: "https://login.microsoftonline.com/organizations/oauth2/v2.0/token",
        page: Some(Page {
            url: "https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize",
            parameters: &[("prompt", "select_account")],
            offline: Offline::Scope("offline_access"),
            ..PAGE
        }),
        refuses_resource: true,
        wants_scope: true,
        exchange: r#"{"token_type":"Bearer","scope":"read write","expires_in":4021,"ext_expires_in":4021,
            "access_token":"{at}","refresh_token":"{rt}"}"#,
        refresh: r#"{"token_type":"Bearer","scope":"read write","expires_in":4021,"ext_expires_in":4021,
            "access_token":"{at}","refresh_token":"{rt}"}"#,
        lifetime: Some(4021),
        dead: (
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired due to inactivity.",
                "error_codes":[700082],"trace_id":"t","correlation_id":"c"}"#,
        ),
        rotation: Rotation::OldStaysGood,
        lost: Lost::Recovers,
        api: "https://graph.microsoft.com/v1.0/me",
        odd: &[
            (
                400,
                r#"{"error":"interaction_required","error_description":"AADSTS50076: multi-factor authentication",
                    "suberror":"basic_action"}"#,
                Odd::Dead,
            ),
            (400, r#"{"error":"consent_required","error_description":"AADSTS65001: no consent"}"#, Odd::Dead),
            (400, r#"{"error":"login_required","error_description":"AADSTS50058: no session"}"#, Odd::Dead),
        ],
        ..STRICT
    },
    Vendor {
        name: "firebase",
        issuer: "https://securetoken.google.com/project",
        refresh: r#"{"access_token":"{at}","expires_in":"3600","token_type":"Bearer","refresh_token":"{rt}","user_id":"u",
            "project_id":"1"}"#,
        dead: (
            400,
            r#"{"error":{"code":400,"message":"INVALID_REFRESH_TOKEN","errors":[{"message":"INVALID_REFRESH_TOKEN",
                "domain":"global","reason":"invalid"}]}}"#,
        ),
        odd: &[
            (400, r#"{"error":{"code":400,"message":"TOKEN_EXPIRED","status":"INVALID_ARGUMENT"}}"#, Odd::Dead),
            (400, r#"{"error":{"code":400,"message":"USER_DISABLED","status":"INVALID_ARGUMENT"}}"#, Odd::Dead),
        ],
        ..STRICT
    },
    Vendor {
        name: "fitbit",
        issuer: "https://www.fitbit.com",
        lifetime: Some(28_800),
        refresh: r#"{"access_token":"{at}","expires_in":28800,"refresh_token":"{rt}","scope":"activity","token_type":"Bearer",
            "user_id":"26F"}"#,
        dead: (
            400,
            r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: abc. Visit the site."}],
                "success":false}"#,
        ),
        ..STRICT
    },
    // In its grace period, a repeat brings an access token alone.
    Vendor {
        name: "flowfuse",
        issuer: "https://app.flowfuse.com",
        rotation: Rotation::AccessInGrace,
        lost: Lost::Serves,
        ..STRICT
    },
    Vendor {
        name: "github",
        issuer: "https://github.com/login/oauth",
        token: "https://github.com/login/oauth/access_token",
        page: Some(Page { url: "https://github.com/login/oauth/authorize", ..PAGE }),
        exchange: r#"{"access_token":"{at}","expires_in":28800,"refresh_token":"{rt}","refresh_token_expires_in":15811200,
            "token_type":"bearer","scope":"read,write"}"#,
        refresh: "access_token={at}&expires_in=28800&refresh_token={rt}&refresh_token_expires_in=15811200&scope=\
                  &token_type=bearer",
        lifetime: Some(28_800),
        dead: (
            200,
            r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.",
                "error_uri":"https://docs.github.com"}"#,
        ),
        // docs.github.com/rest/apps/oauth-applications, "Delete an app token".
        revocation: Some(Revocation {
            url: "https://api.github.com/applications/our-app/token",
            form: Form::Delete,
            answer: "",
            ..REVOCATION
        }),
        api: "https://api.github.com/user",
        odd: &[
            (200, r#"{"error":"incorrect_client_credentials","error_description":"no"}"#, Odd::Client),
            (200, "error=bad_refresh_token&error_description=gone", Odd::Dead),
        ],
        ..STRICT
    },
    Vendor {
        name: "google",
        issuer: "https://accounts.google.com",
        token: "https://oauth2.googleapis.com/token",
        page: Some(Page {
            url: "https://accounts.google.com/o/oauth2/v2/auth",
            offline: Offline::Parameters(&[("access_type", "offline"), ("prompt", "consent")]),
            ..PAGE
        }),
        refresh: r#"{"access_token":"{at}","expires_in":3599,"scope":"read write","token_type":"Bearer"}"#,
        lifetime: Some(3599),
        dead: (400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#),
        rotation: Rotation::None,
        lost: Lost::Recovers,
        revocation: Some(Revocation { url: "https://oauth2.googleapis.com/revoke", ..REVOCATION }),
        api: "https://www.googleapis.com/drive/v3/about",
        ..STRICT
    },
    Vendor {
        name: "hubspot",
        issuer: "https://app.hubspot.com",
        token: "https://api.hubapi.com/oauth/2026-03/token",
        page: Some(Page { url: "https://app.hubspot.com/oauth/authorize", ..PAGE }),
        lifetime: Some(1800),
        refresh: r#"{"token_type":"bearer","refresh_token":"{rt}","access_token":"{at}","expires_in":1800}"#,
        dead: (
            400,
            r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"c"}"#,
        ),
        revocation: Some(Revocation { url: "https://api.hubapi.com/oauth/2026-03/token/revoke", ..REVOCATION }),
        api: "https://api.hubapi.com/crm/v3/objects/contacts",
        odd: &[(400, r#"{"status":"BAD_CLIENT_ID","message":"missing or unknown client id"}"#, Odd::Client)],
        ..STRICT
    },
    Vendor {
        name: "keycloak",
        refresh: r#"{"access_token":"{at}","expires_in":300,"refresh_expires_in":0,"refresh_token":"{rt}",
            "token_type":"Bearer","not-before-policy":0,"session_state":"s","scope":"email profile"}"#,
        lifetime: Some(300),
        dead: (400, r#"{"error":"invalid_grant","error_description":"Session not active"}"#),
        odd: &[(
            400,
            r#"{"error":"invalid_grant","error_description":"Maximum allowed refresh token reuse exceeded"}"#,
            Odd::Dead,
        )],
        ..STRICT
    },
    Vendor {
        name: "linear",
        issuer: "https://linear.app",
        token: "https://api.linear.app/oauth/token",
        page: Some(Page { url: "https://linear.app/oauth/authorize", separator: ',', ..PAGE }),
        refresh: r#"{"access_token":"{at}","token_type":"Bearer","expires_in":86399,"scope":"read write","refresh_token":"{rt}"}"#,
        lifetime: Some(86_399),
        dead: (400, r#"{"error":"invalid_grant","error_description":"Grant not found"}"#),
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        revocation: Some(Revocation { url: "https://api.linear.app/oauth/revoke", ..REVOCATION }),
        api: "https://api.linear.app/graphql",
        ..STRICT
    },
    // A replay ends the whole grant, on every device.
    Vendor { name: "notion", issuer: "https://mcp.notion.com", lost: Lost::NeverAgain, ..STRICT },
    Vendor {
        name: "notion-api",
        issuer: "https://api.notion.com",
        token: "https://api.notion.com/v1/oauth/token",
        page: Some(Page {
            url: "https://api.notion.com/v1/oauth/authorize",
            parameters: &[("owner", "user")],
            asks: &[],
            ..PAGE
        }),
        body: Body::Json,
        method: Method::Basic,
        exchange: r#"{"access_token":"{at}","token_type":"bearer","refresh_token":"{rt}","bot_id":"b","workspace_id":"w",
            "workspace_name":"W","workspace_icon":null,"owner":{"type":"user","user":{"object":"user","id":"u"}},
            "duplicated_template_id":null,"request_id":"r"}"#,
        refresh: r#"{"access_token":"{at}","token_type":"bearer","refresh_token":"{rt}","bot_id":"b"}"#,
        lifetime: None,
        lost: Lost::NeverAgain,
        revocation: Some(Revocation { url: "https://api.notion.com/v1/oauth/revoke", body: Body::Json, ..REVOCATION }),
        api: "https://api.notion.com/v1/users/me",
        ..STRICT
    },
    Vendor {
        name: "okta",
        issuer: "https://acme.okta.com/oauth2/default",
        dead: (400, r#"{"error":"invalid_grant","error_description":"The refresh token is invalid or expired."}"#),
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        ..STRICT
    },
    Vendor {
        name: "openai",
        issuer: "https://auth.openai.com",
        dead: (
            401,
            r#"{"error":{"message":"Your refresh token has already been used.","type":"invalid_request_error","param":null,
                "code":"refresh_token_reused"}}"#,
        ),
        odd: &[
            (401, r#"{"error":{"message":"expired","code":"refresh_token_expired"}}"#, Odd::Dead),
            (401, r#"{"error":{"message":"gone","code":"refresh_token_invalidated"}}"#, Odd::Dead),
            (401, r#"{"error":{"message":"gone","code":"token_expired"}}"#, Odd::Dead),
        ],
        ..STRICT
    },
    Vendor {
        name: "posthog",
        issuer: "https://us.posthog.com",
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        ..STRICT
    },
    Vendor {
        name: "rovo",
        issuer: "https://mcp.atlassian.com",
        method: Method::Public,
        dead: (403, r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#),
        ..STRICT
    },
    Vendor {
        name: "salesforce",
        issuer: "https://login.salesforce.com",
        token: "https://login.salesforce.com/services/oauth2/token",
        page: Some(Page {
            url: "https://login.salesforce.com/services/oauth2/authorize",
            offline: Offline::Scope("refresh_token"),
            ..PAGE
        }),
        exchange: r#"{"access_token":"{at}","refresh_token":"{rt}","signature":"s=","scope":"api refresh_token",
            "instance_url":"https://x.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer",
            "issued_at":"1767225600123"}"#,
        refresh: r#"{"access_token":"{at}","signature":"s=","scope":"api refresh_token","token_type":"Bearer",
            "instance_url":"https://x.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005",
            "issued_at":"1767225600123"}"#,
        // By introspection.
        lifetime: Some(7200),
        introspection: Some("https://login.salesforce.com/services/oauth2/introspect"),
        dead: (400, r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#),
        rotation: Rotation::None,
        lost: Lost::Recovers,
        revocation: Some(Revocation { url: "https://login.salesforce.com/services/oauth2/revoke", ..REVOCATION }),
        ..STRICT
    },
    Vendor {
        name: "sentry",
        issuer: "https://sentry.io",
        token: "https://sentry.io/oauth/token/",
        page: Some(Page { url: "https://sentry.io/oauth/authorize/", ..PAGE }),
        refresh: r#"{"access_token":"{at}","refresh_token":"{rt}","expires_in":2591999,"expires_at":"2056-11-27T23:20:21.054320Z",
            "token_type":"bearer","scope":"org:read project:read","user":{"id":"2","name":"Jane","email":"jane@example.com"}}"#,
        lifetime: Some(2_591_999),
        api: "https://sentry.io/api/0/organizations/",
        ..STRICT
    },
    Vendor {
        name: "slack",
        issuer: "https://slack.com",
        token: "https://slack.com/api/oauth.v2.access",
        page: Some(Page { url: "https://slack.com/oauth/v2/authorize", scope: "user_scope", separator: ',', ..PAGE }),
        method: Method::Basic,
        exchange: r#"{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"read,write","access_token":"{at}",
            "token_type":"user","refresh_token":"{rt}","expires_in":43200},"team":{"id":"T1"},"enterprise":null}"#,
        refresh: r#"{"ok":true,"access_token":"{at}","expires_in":43200,"refresh_token":"{rt}","token_type":"user",
            "scope":"read,write","team":{"id":"T1"}}"#,
        lifetime: Some(43_200),
        dead: (200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
        revocation: Some(Revocation {
            url: "https://slack.com/api/auth.revoke",
            form: Form::Bearer,
            answer: r#"{"ok":true,"revoked":true,"response_metadata":{"scopes":["identify"]}}"#,
            ..REVOCATION
        }),
        api: "https://slack.com/api/conversations.list",
        odd: &[
            (200, r#"{"ok":false,"error":"bad_client_secret"}"#, Odd::Client),
            (200, r#"{"ok":false,"error":"invalid_client_id"}"#, Odd::Client),
        ],
        ..STRICT
    },
    Vendor {
        name: "supabase",
        issuer: "https://api.supabase.com",
        token: "https://api.supabase.com/v1/oauth/token",
        page: Some(Page { url: "https://api.supabase.com/v1/oauth/authorize", ..PAGE }),
        method: Method::Basic,
        dead: (
            400,
            r#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}"#,
        ),
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        api: "https://api.supabase.com/v1/projects",
        odd: &[
            (422, r#"{"message":"Unrecognized client_id"}"#, Odd::Client),
            (
                400,
                r#"{"code":400,"error_code":"refresh_token_already_used","msg":"Invalid Refresh Token: Already Used"}"#,
                Odd::Dead,
            ),
            (
                403,
                r#"{"code":403,"error_code":"session_not_found","msg":"Session from session_id claim does not exist"}"#,
                Odd::Dead,
            ),
        ],
        ..STRICT
    },
    Vendor {
        name: "twitch",
        issuer: "https://id.twitch.tv/oauth2",
        refresh: r#"{"access_token":"{at}","refresh_token":"{rt}","expires_in":14124,"scope":["read"],"token_type":"bearer"}"#,
        lifetime: Some(14_124),
        dead: (400, r#"{"error":"Bad Request","status":400,"message":"Invalid refresh token"}"#),
        ..STRICT
    },
    Vendor {
        name: "withings",
        issuer: "https://account.withings.com",
        token: "https://wbsapi.withings.net/v2/oauth2",
        page: Some(Page { url: "https://account.withings.com/oauth2_user/authorize2", separator: ',', ..PAGE }),
        token_parameters: &[("action", "requesttoken")],
        exchange: r#"{"status":0,"body":{"userid":"363","access_token":"{at}","refresh_token":"{rt}","scope":"read,write",
            "expires_in":10800,"token_type":"Bearer","csrf_token":"x"}}"#,
        refresh: r#"{"status":0,"body":{"userid":363,"access_token":"{at}","refresh_token":"{rt}","scope":"read,write",
            "expires_in":10800,"token_type":"Bearer"}}"#,
        lifetime: Some(10_800),
        dead: (200, r#"{"status":503,"body":{},"error":"Invalid Params: invalid refresh_token"}"#),
        rotation: Rotation::UntilUsed,
        lost: Lost::Recovers,
        api: "https://wbsapi.withings.net/measure",
        odd: &[
            (200, r#"{"status":401,"body":{},"error":"Invalid refresh token"}"#, Odd::Dead),
            (200, r#"{"status":601,"body":{},"error":"Too Many Requests"}"#, Odd::Passes),
        ],
        ..STRICT
    },
    // A repeat within 30 s is answered with the same pair.
    Vendor {
        name: "workos",
        issuer: "https://acme.authkit.app",
        rotation: Rotation::Grace,
        lost: Lost::Recovers,
        ..STRICT
    },
    Vendor {
        name: "zoho",
        issuer: "https://accounts.zoho.com",
        token: "https://accounts.zoho.com/oauth/v2/token",
        page: Some(Page {
            url: "https://accounts.zoho.com/oauth/v2/auth",
            separator: ',',
            offline: Offline::Parameters(&[("access_type", "offline"), ("prompt", "consent")]),
            ..PAGE
        }),
        exchange: r#"{"access_token":"{at}","refresh_token":"{rt}","api_domain":"https://www.zohoapis.com","token_type":"Bearer",
            "expires_in":3600}"#,
        refresh: r#"{"access_token":"{at}","api_domain":"https://www.zohoapis.com","token_type":"Bearer","expires_in":3600000,
            "expires_in_sec":3600}"#,
        dead: (200, r#"{"error":"invalid_code"}"#),
        rotation: Rotation::None,
        lost: Lost::Recovers,
        revocation: Some(Revocation {
            url: "https://accounts.zoho.com/oauth/v2/token/revoke",
            answer: r#"{"status":"success"}"#,
            ..REVOCATION
        }),
        api: "https://www.zohoapis.com/crm/v2/users",
        odd: &[(
            400,
            r#"{"error":"Access Denied","error_description":"too many requests continuously","status":"failure"}"#,
            Odd::Passes,
        )],
        ..STRICT
    },
];

const REVOCATION: Revocation = Revocation { url: "", form: Form::Refresh, body: Body::Form, answer: "" };
