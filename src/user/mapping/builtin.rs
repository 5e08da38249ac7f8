//! The mappings of known providers.

use super::{UserElement, UserEnvelope, UserFields, UserMapping, UserPick, UserPlace, UserRequest};

const GITHUB_ACCEPT: &str = "application/vnd.github+json";

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
}

/// The mapping of the provider with this name, if it has one.
///
/// | provider | source |
/// |---|---|
/// | `atlassian` | developer.atlassian.com, "OAuth 2.0 (3LO) apps", sections 2.1 and 3.1 |
/// | `auth0` | auth0.com/docs, "Get User Info"; roles and permissions are claims that a tenant adds |
/// | `entra` | learn.microsoft.com, "Access token claims reference". Its userinfo endpoint takes tokens of Graph alone |
/// | `github` | docs.github.com/rest/users, "Get the authenticated user", "List email addresses" |
/// | `google` | developers.google.com/identity/openid-connect, "Obtaining user profile information" |
/// | `keycloak` | keycloak.org, "Securing applications", roles are in the access token |
/// | `okta` | developer.okta.com, "OpenID Connect & OAuth 2.0 API", `/userinfo` and the `groups` claim |
/// | `salesforce` | help.salesforce.com, "UserInfo Response", at the organisation's own host |
/// | `slack` | api.slack.com/methods/auth.test and openid.connect.userInfo |
fn named(name: &str) -> Option<UserMapping> {
    Some(match name {
        "atlassian" => atlassian(),
        "auth0" => with_claims(&["/access_token/permissions", "/access_token/roles"]),
        "entra" => entra(),
        "github" => github(),
        "google" => standard(),
        "keycloak" => with_claims(&["/access_token/realm_access/roles", "/access_token/resource_access/*/roles"]),
        "okta" => with_claims(&["/access_token/groups"]),
        "salesforce" => salesforce(),
        "slack" => slack(),
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

fn atlassian() -> UserMapping {
    let url = |path: &str| UserPlace::Url(["https://api.atlassian.com/", path].concat());
    UserMapping {
        requests: vec![
            request("me", url("me")),
            UserRequest { optional: true, ..request("sites", url("oauth/token/accessible-resources")) },
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
        },
    }
}

fn github() -> UserMapping {
    let url = |path: &str| UserPlace::Url(["https://api.github.com/user", path].concat());
    let request = |name: &str, path: &str| {
        let mut request = request(name, url(path));
        request.headers.insert("Accept".to_owned(), GITHUB_ACCEPT.to_owned());
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
            groups: Vec::new(),
        },
    }
}

/// The userinfo endpoint at the host of the organisation, which the session's token endpoint is at, too.
fn salesforce() -> UserMapping {
    let mut mapping = standard();
    let place = UserPlace::TokenHost("/services/oauth2/userinfo".to_owned());
    mapping.requests = vec![UserRequest { openid: true, ..request("userinfo", place) }];
    mapping
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
            groups: Vec::new(),
        },
    }
}

fn request(name: &str, at: UserPlace) -> UserRequest {
    UserRequest {
        name: name.to_owned(),
        at,
        openid: false,
        optional: false,
        headers: std::collections::BTreeMap::new(),
        body: None,
        envelope: None,
    }
}

fn picks(pointers: &[&str]) -> Vec<UserPick> {
    pointers.iter().map(|pointer| UserPick::pointer(*pointer)).collect()
}
