//! The built-in mappings of known providers, and that of OpenID Connect.

use super::{
    UserElement, UserEnvelope, UserFields, UserMapping, UserPick, UserPlace, UserRefusal, UserRefusalMeaning,
    UserRequest,
};

const GITHUB_ACCEPT: &str = "application/vnd.github+json";

/// The version of Notion's API in which the places of the mapping are.
const NOTION_VERSION: &str = "2022-06-28";

impl UserMapping {
    /// The mapping of OpenID Connect, which asks the userinfo endpoint of the issuer's metadata.
    pub fn openid() -> Self {
        standard()
    }

    /// The built-in mapping of the provider with this name, for a host that changes it. `None` if there is none.
    /// [`openid`](Self::openid) applies then.
    pub fn of_provider(name: &str) -> Option<Self> {
        named(name)
    }

    /// Whether the provider with this name has no address that describes its users to an access token. HubSpot wants the token in
    /// the URL, or the client's secret. Withings has none.
    pub(crate) fn is_impossible_at(name: &str) -> bool {
        matches!(name, "hubspot" | "withings")
    }
}

/// The mapping of the provider with this name, if it has one.
///
/// | provider | source |
/// |---|---|
/// | `asana` | developers.asana.com, "Get a user" |
/// | `atlassian` | developer.atlassian.com, "OAuth 2.0 (3LO) apps", sections 2.1 and 3.1 |
/// | `auth0` | auth0.com/docs, "Get User Info"; roles and permissions are claims that a tenant adds |
/// | `entra` | learn.microsoft.com, "Access token claims reference". Its userinfo endpoint takes tokens of Graph alone |
/// | `github` | docs.github.com/rest/users, "Get the authenticated user", "List email addresses" |
/// | `google` | developers.google.com/identity/openid-connect, "Obtaining user profile information" |
/// | `keycloak` | keycloak.org, "Securing applications", roles are in the access token |
/// | `linear` | linear.app/developers, "GraphQL API" (`viewer`) and "Rate limiting" |
/// | `notion-api` | developers.notion.com, "Retrieve your token's bot user", whose owner is the person |
/// | `okta` | developer.okta.com, "OpenID Connect & OAuth 2.0 API", `/userinfo` and the `groups` claim |
/// | `salesforce` | help.salesforce.com, "UserInfo Response", at the organisation's own host |
/// | `sentry` | getsentry/sentry, `oauth_userinfo.py`, which wants the scope `openid` |
/// | `slack` | api.slack.com/methods/auth.test and openid.connect.userInfo |
/// | `supabase` | supabase.com/docs, management API, "Gets the user's profile" |
/// | `zoho` | oozou/omniauth-zoho, at the host of the data centre. It wants the scope `AaaServer.profile.READ` |
fn named(name: &str) -> Option<UserMapping> {
    Some(match name {
        "asana" => single("https://app.asana.com/api/1.0/users/me", "/data/gid", &["/data/name"], "/data/email"),
        "atlassian" => atlassian(),
        "auth0" => with_claims(&["/access_token/permissions", "/access_token/roles"]),
        "entra" => entra(),
        "github" => github(),
        "google" => standard(),
        "keycloak" => with_claims(&["/access_token/realm_access/roles", "/access_token/resource_access/*/roles"]),
        "linear" => linear(),
        "notion-api" => notion_api(),
        "okta" => with_claims(&["/access_token/groups"]),
        "salesforce" => salesforce(),
        "sentry" => sentry(),
        "slack" => slack(),
        "supabase" => single("https://api.supabase.com/v1/profile", "/gotrue_id", &["/username"], "/primary_email"),
        "zoho" => zoho(),
        _ => return None,
    })
}

/// The mapping of OpenID Connect (OpenID Connect Core section 5). The claims of an ID token have the same names.
fn standard() -> UserMapping {
    let both = |claim: &str| picks(&[&["/userinfo/", claim].concat(), &["/id_token/", claim].concat()]);
    UserMapping {
        requests: vec![request("userinfo", UserPlace::Userinfo)],
        access_token: false,
        fields: UserFields {
            subject: both("sub"),
            name: [both("name"), both("preferred_username"), both("nickname")].concat(),
            email: both("email"),
            email_verified: both("email_verified"),
            groups: [both("groups"), both("roles")].concat(),
            // Distributed claims (OpenID Connect Core section 5.6.2).
            more_groups: [both("_claim_names/groups"), both("_claim_names/roles")].concat(),
        },
    }
}

/// The standard mapping, with further groups from the claims of the access token.
fn with_claims(groups: &[&str]) -> UserMapping {
    let mut mapping = standard();
    mapping.access_token = true;
    mapping.fields.groups.extend(picks(groups));
    mapping
}

/// A token without the scope `read:me` is answered with 401, and no refresh helps.
fn atlassian() -> UserMapping {
    let request = |name: &str, path: &str| UserRequest {
        refusals: vec![UserRefusal::new(401, "scope does not match", UserRefusalMeaning::Forbidden)],
        ..request(name, UserPlace::Url(["https://api.atlassian.com/", path].concat()))
    };
    UserMapping {
        requests: vec![
            request("me", "me"),
            UserRequest { optional: true, ..request("sites", "oauth/token/accessible-resources") },
        ],
        access_token: false,
        fields: UserFields {
            subject: picks(&["/me/account_id"]),
            name: picks(&["/me/name", "/me/nickname"]),
            email: picks(&["/me/email"]),
            ..UserFields::default()
        },
    }
}

/// The claims of the access token and of an ID token. No userinfo endpoint is asked, because it belongs to Graph and refuses
/// tokens for other resources.
fn entra() -> UserMapping {
    let both = |claim: &str| picks(&[&["/access_token/", claim].concat(), &["/id_token/", claim].concat()]);
    UserMapping {
        requests: Vec::new(),
        access_token: true,
        fields: UserFields {
            // The identifier of the person in the tenant. `sub` differs from application to application.
            subject: [both("oid"), both("sub")].concat(),
            name: [both("name"), both("preferred_username"), both("unique_name")].concat(),
            email: both("email"),
            // `xms_edov` states whether the owner of the domain has verified the address.
            email_verified: both("xms_edov"),
            groups: [both("roles"), both("groups")].concat(),
            // Beyond 200 groups there is a reference to Graph instead ("Groups overage claim").
            more_groups: [both("_claim_names/groups"), both("hasgroups")].concat(),
        },
    }
}

fn github() -> UserMapping {
    let url = |path: &str| UserPlace::Url(["https://api.github.com/user", path].concat());
    let request = |name: &str, path: &str| {
        let mut request = request(name, url(path));
        request.headers.insert("Accept".to_owned(), GITHUB_ACCEPT.to_owned());
        // A secondary limit may come without a header ("Rate limits for the REST API").
        request.refusals = vec![UserRefusal::new(403, "rate limit", UserRefusalMeaning::Throttled)];
        request
    };
    let primary = |pointer: &str| {
        let only = [("primary".to_owned(), true.into())].into();
        UserPick::Element(UserElement { list: "/emails".to_owned(), only, pointer: pointer.to_owned() })
    };
    UserMapping {
        requests: vec![request("user", ""), UserRequest { optional: true, ..request("emails", "/emails") }],
        access_token: false,
        fields: UserFields {
            subject: picks(&["/user/id"]),
            name: picks(&["/user/name", "/user/login"]),
            email: [vec![primary("/email")], picks(&["/user/email"])].concat(),
            email_verified: vec![primary("/verified")],
            ..UserFields::default()
        },
    }
}

/// The userinfo endpoint at the host of the organisation, which the session's token endpoint is at, too.
fn salesforce() -> UserMapping {
    let mut mapping = standard();
    let place = UserPlace::TokenHost("/services/oauth2/userinfo".to_owned());
    // A token that has expired is answered with 403 and this one word.
    let refusals = vec![UserRefusal::new(403, "Bad_OAuth_Token", UserRefusalMeaning::Unauthorized)];
    mapping.requests = vec![UserRequest { openid: true, refusals, ..request("userinfo", place) }];
    mapping
}

/// One request, whose answer has the fields at these places.
fn single(url: &str, subject: &str, names: &[&str], email: &str) -> UserMapping {
    let place = |pointer: &str| UserPick::pointer(["/me", pointer].concat());
    UserMapping {
        requests: vec![request("me", UserPlace::Url(url.to_owned()))],
        access_token: false,
        fields: UserFields {
            subject: vec![place(subject)],
            name: names.iter().map(|name| place(name)).collect(),
            email: vec![place(email)],
            ..UserFields::default()
        },
    }
}

/// A GraphQL query, as the API has nothing else. Its errors come with 400.
fn linear() -> UserMapping {
    let at = "https://api.linear.app/graphql";
    let names = ["/data/viewer/name", "/data/viewer/displayName"];
    let mut mapping = single(at, "/data/viewer/id", &names, "/data/viewer/email");
    mapping.requests[0].body = Some(serde_json::json!({ "query": "{ viewer { id name displayName email } }" }));
    mapping.requests[0].refusals = vec![
        UserRefusal::new(400, "AUTHENTICATION_ERROR", UserRefusalMeaning::Unauthorized),
        UserRefusal::new(400, "RATELIMITED", UserRefusalMeaning::Throttled),
    ];
    mapping
}

/// The answer is about the bot. A token that belongs to a workspace has no person.
fn notion_api() -> UserMapping {
    let owner = |member: &str| ["/bot/owner/user", member].concat();
    let name = owner("/name");
    let mut mapping = single("https://api.notion.com/v1/users/me", &owner("/id"), &[&name], &owner("/person/email"));
    mapping.requests[0].headers.insert("Notion-Version".to_owned(), NOTION_VERSION.to_owned());
    mapping
}

/// The userinfo endpoint, whose URL is known without the issuer's metadata. The provider's row in the table of providers names its
/// other endpoints.
fn sentry() -> UserMapping {
    let mut mapping = standard();
    let place = UserPlace::Url("https://sentry.io/oauth/userinfo/".to_owned());
    mapping.requests = vec![UserRequest { openid: true, ..request("userinfo", place) }];
    mapping
}

/// Each data centre describes its users at the host of its token endpoint.
fn zoho() -> UserMapping {
    UserMapping {
        requests: vec![request("me", UserPlace::TokenHost("/oauth/user/info".to_owned()))],
        access_token: false,
        fields: UserFields {
            subject: picks(&["/me/ZUID"]),
            name: picks(&["/me/Display_Name", "/me/First_Name"]),
            email: picks(&["/me/Email"]),
            ..UserFields::default()
        },
    }
}

fn slack() -> UserMapping {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let envelope = || UserEnvelope {
        ok: "ok".to_owned(),
        error: "error".to_owned(),
        unauthorized: words(&["invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"]),
        forbidden: words(&["missing_scope", "no_permission", "not_allowed_token_type"]),
        throttled: words(&["ratelimited", "internal_error", "fatal_error", "service_unavailable"]),
    };
    let request = |name: &str, method: &str| UserRequest {
        envelope: Some(envelope()),
        ..request(name, UserPlace::Url(["https://slack.com/api/", method].concat()))
    };
    UserMapping {
        requests: vec![
            request("test", "auth.test"),
            UserRequest { optional: true, openid: true, ..request("userinfo", "openid.connect.userInfo") },
        ],
        access_token: false,
        fields: UserFields {
            subject: picks(&["/test/user_id"]),
            name: picks(&["/userinfo/name", "/test/user"]),
            email: picks(&["/userinfo/email"]),
            email_verified: picks(&["/userinfo/email_verified"]),
            ..UserFields::default()
        },
    }
}

/// A request without further settings.
fn request(name: &str, at: UserPlace) -> UserRequest {
    UserRequest {
        name: name.to_owned(),
        at,
        openid: false,
        optional: false,
        headers: std::collections::BTreeMap::new(),
        body: None,
        envelope: None,
        refusals: Vec::new(),
    }
}

/// Places by their JSON pointers.
fn picks(pointers: &[&str]) -> Vec<UserPick> {
    pointers.iter().map(|pointer| UserPick::pointer(*pointer)).collect()
}
