//! The rows of the table.

use std::time::Duration;

use tokenkeeper_actors::law::profile::Reuse;

use super::facts::ProviderFacts;
use crate::grant::BodyFormat;
use crate::issuers::dialect::{Dialect, ResourceOnRefresh, ScopeOnRefresh};

/// A provider that does not differ from the default. Each row replaces the fields in which its provider differs.
const STANDARD: ProviderFacts = ProviderFacts {
    name: "",
    hosts: &[],
    dialect: Dialect { body: BodyFormat::Form, scope: ScopeOnRefresh::Omit, resource: ResourceOnRefresh::Send },
    dead_words: &[],
    client_words: &[],
    unspent_words: &[],
    unspent_statuses: &[],
    reuse: Reuse::EndsLineage,
    grace: None,
    rotates: true,
    citation: "",
};

/// The table, with one row for each provider, sorted by name.
pub static ALL: &[ProviderFacts] = &[
    ProviderFacts {
        name: "atlassian",
        hosts: &["auth.atlassian.com"],
        dialect: Dialect { body: BodyFormat::Json, ..STANDARD.dialect },
        citation: "developer.atlassian.com, OAuth 2.0 (3LO): the token endpoint takes a JSON body; a dead token is 403 with \
              `invalid_grant`. Its MCP server was seen to say `unauthorized_client` with the description \
              `refresh_token is invalid` (openai/codex#27165). The description ends the grant. The code alone, which \
              is elsewhere about the client, leaves it in doubt.",
        ..STANDARD
    },
    ProviderFacts {
        name: "auth0",
        hosts: &[".auth0.com"],
        citation: "auth0.com/docs, configure refresh token rotation: rotation and its overlap period are the tenant's \
              choice, and reuse outside of it ends the family, which is the lineage. So the strict default holds. A \
              dead token is 403 with `invalid_grant`.",
        ..STANDARD
    },
    ProviderFacts {
        name: "cloudflare",
        citation: "@cloudflare/workers-oauth-provider 1.2.3, docs/authorization-server.md: the previous refresh token stays \
              good until its successor is first used. If an answer was lost, no one uses the successor, so presenting \
              the token again is answered with tokens. The default does that.",
        ..STANDARD
    },
    ProviderFacts {
        name: "entra",
        hosts: &["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"],
        dialect: Dialect { scope: ScopeOnRefresh::Granted, resource: ResourceOnRefresh::Omit, ..STANDARD.dialect },
        dead_words: &["interaction_required"],
        rotates: false,
        citation: "learn.microsoft.com, refresh tokens in the Microsoft identity platform: a refresh brings a new refresh \
              token and does not revoke the old one, so a lost answer spends nothing. A refresh names the scopes it is \
              for (geelen/mcp-remote#357), `offline_access` among them. It refuses a `resource` that is not that of the \
              scopes (AADSTS9010010, punkpeye/mcp-remote#217). `interaction_required` asks for a login (OAuth 2.0 authorization code flow, \
              error codes for token endpoint errors).",
        ..STANDARD
    },
    ProviderFacts {
        name: "firebase",
        hosts: &["securetoken.google.com"],
        dead_words: &["TOKEN_EXPIRED", "USER_DISABLED", "USER_NOT_FOUND"],
        citation: "firebase.google.com, Auth REST API, exchange a refresh token for an ID token: the code is in \
              `error.message`, for example `INVALID_REFRESH_TOKEN`. `TOKEN_EXPIRED`, `USER_DISABLED` and \
              `USER_NOT_FOUND` are listed as errors of this request.",
        ..STANDARD
    },
    ProviderFacts {
        name: "fitbit",
        hosts: &["www.fitbit.com"],
        citation: "home-assistant/core#141223, aarondcoleman/Fitbit.NET#320: the standard's code is in \
              `errors[].errorType`, beside a message that repeats the refresh token. Nothing is known of a grace \
              period.",
        ..STANDARD
    },
    ProviderFacts {
        name: "flowfuse",
        hosts: &["app.flowfuse.com"],
        citation: "FlowFuse PR#8273: within its grace period, a repeat is answered with an access token and without a \
              refresh token. The engine uses that token and stays in doubt about the refresh token. The length of the \
              period is not stated.",
        ..STANDARD
    },
    ProviderFacts {
        name: "github",
        hosts: &["github.com"],
        citation: "docs.github.com, refreshing user access tokens: errors come inside HTTP 200; `bad_refresh_token` is a \
              refresh token that is wrong or expired, and `incorrect_client_credentials` a wrong client \
              (PyGithub#1718).",
        ..STANDARD
    },
    ProviderFacts {
        name: "google",
        hosts: &["accounts.google.com"],
        rotates: false,
        citation: "developers.google.com, OAuth 2.0: a refresh does not rotate the refresh token, so presenting it again \
              harms nothing.",
        ..STANDARD
    },
    ProviderFacts {
        name: "hubspot",
        hosts: &["app.hubspot.com", "api.hubapi.com"],
        client_words: &["BAD_CLIENT_ID", "BAD_CLIENT_SECRET"],
        citation: "airbytehq/airbyte#79592, HGData/mk-node-hubspot#64: the code is in `status`, and `BAD_REFRESH_TOKEN` is \
              a refresh token that is wrong or revoked. The codes about the client are spelled alike.",
        ..STANDARD
    },
    ProviderFacts {
        name: "keycloak",
        citation: "keycloak.org, server administration: `invalid_grant` for a session that has ended; rotation is the \
              realm's choice, so the strict default holds.",
        ..STANDARD
    },
    ProviderFacts {
        name: "linear",
        hosts: &["linear.app", "api.linear.app", "mcp.linear.app"],
        grace: Some(Duration::from_secs(30 * 60)),
        citation: "linear.app developer documentation, as cited in anthropics/claude-code#85236: a replaced refresh token \
              may be presented again for 30 minutes.",
        ..STANDARD
    },
    ProviderFacts {
        name: "notion",
        hosts: &["mcp.notion.com", "api.notion.com"],
        reuse: Reuse::EndsMore,
        citation: "makenotion/notion-cookbook#1: each refresh rotates, and a replay ends the whole grant, on every device.",
        ..STANDARD
    },
    ProviderFacts {
        name: "okta",
        hosts: &[".okta.com", ".oktapreview.com", ".okta-emea.com"],
        grace: Some(Duration::from_secs(30)),
        citation: "developer.okta.com, refresh tokens: a rotated refresh token stays valid for a grace period, 30 s by \
              default. The codes of its API (`E0000…`, in `errorCode`) are reported and have no meaning for a grant.",
        ..STANDARD
    },
    ProviderFacts {
        name: "openai",
        hosts: &["auth.openai.com"],
        dead_words: &["token_expired"],
        citation: "openai/codex PR#24830, NousResearch/hermes-agent PR#11512: errors are objects with the code in `code`, \
              and `refresh_token_expired`, `refresh_token_reused` and `refresh_token_invalidated` end a session. \
              Clients treat `token_expired` as the same.",
        ..STANDARD
    },
    ProviderFacts {
        name: "posthog",
        hosts: &["us.posthog.com", "eu.posthog.com", "oauth.posthog.com"],
        grace: Some(Duration::from_secs(2 * 60)),
        citation: "PostHog/posthog PR#46982: clients that registered themselves get the same refresh token back every time. \
              For others it rotates, with a grace period of 120 s. The engine sees which of the two holds.",
        ..STANDARD
    },
    ProviderFacts {
        name: "salesforce",
        hosts: &["login.salesforce.com", "test.salesforce.com", ".my.salesforce.com"],
        citation: "help.salesforce.com, OAuth 2.0 refresh token flow: no `expires_in` (nango#327), so lifetimes are unknown \
              or a JWT's; rotation is the organisation's choice (jsforce#1656), so the strict default holds.",
        ..STANDARD
    },
    ProviderFacts {
        name: "slack",
        hosts: &["slack.com", "mcp.slack.com"],
        citation: "docs.slack.dev, token rotation and oauth.v2.access: errors come inside HTTP 200 with `ok: false`. \
              `invalid_refresh_token` is a refresh token that is wrong; `bad_client_secret` and `invalid_client_id` \
              are about the client.",
        ..STANDARD
    },
    ProviderFacts {
        name: "supabase",
        hosts: &[".supabase.co"],
        dead_words: &["session_not_found", "session_expired"],
        client_words: &["oauth_client_not_found"],
        grace: Some(Duration::from_secs(10)),
        citation: "supabase/auth, internal/api/apierrors/errorcode.go: the code is in `error_code` and in the header \
              `x-sb-error-code`. `refresh_token_not_found` and `refresh_token_already_used` (supabase/auth#2829, \
              #2136) and the end of the session end the grant. A consumed token may be presented again for 10 s by \
              default (reuse interval).",
        ..STANDARD
    },
    ProviderFacts {
        name: "twitch",
        hosts: &["id.twitch.tv"],
        citation: "dev.twitch.tv, refreshing access tokens: a dead refresh token is 400 or 401 with the message `Invalid \
              refresh token` and no code. Such a message ends a grant everywhere.",
        ..STANDARD
    },
    ProviderFacts {
        name: "workos",
        hosts: &[".authkit.app", "api.workos.com"],
        grace: Some(Duration::from_secs(30)),
        citation: "kurrent-io/kcap-cli#946 and PR#947: a repeat within 30 s is answered with the same new pair, and a later \
              one with `invalid_grant`.",
        ..STANDARD
    },
    ProviderFacts {
        name: "zoho",
        hosts: &[
            "accounts.zoho.com",
            "accounts.zoho.eu",
            "accounts.zoho.in",
            "accounts.zoho.com.au",
            "accounts.zoho.jp",
        ],
        dead_words: &["invalid_code"],
        unspent_words: &["access_denied"],
        rotates: false,
        citation: "zoho.com/developer, token validity: refresh tokens do not expire and are not replaced, and a revoked one \
              is answered with `invalid_code`, inside HTTP 200. `Access Denied` is a limit on the rate of requests \
              (tristanjahier/zoho-crm-php#9).",
        ..STANDARD
    },
];
