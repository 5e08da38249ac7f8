//! The settings of a login server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokenkeeper_actors::values::record::ClientAuth;

use super::flaw::Flaw;

/// How the person answers authorization requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// At once with yes, by a redirect without a page.
    #[default]
    Allow,
    /// At once with no (`access_denied`), by a redirect without a page.
    Deny,
    /// By a page with two buttons, Allow and Deny.
    Page,
    /// Not at all. The server itself calls back with this error, for example `temporarily_unavailable` (RFC 6749 section
    /// 4.1.2.1). The page of a device login declines.
    Fails(&'static str),
}

/// An address of the authorization server's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerMetadata {
    /// `/.well-known/oauth-authorization-server`, before the issuer's path (RFC 8414).
    OAuth,
    /// `/.well-known/openid-configuration`, before the issuer's path.
    OpenIdInserted,
    /// `/.well-known/openid-configuration`, after the issuer's path (OpenID Connect Discovery).
    OpenIdAppended,
}

/// An address of the resource's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceMetadata {
    /// `/.well-known/oauth-protected-resource/mcp`.
    Path,
    /// `/.well-known/oauth-protected-resource`, with a document for `…/mcp`.
    Root,
    /// `/.well-known/oauth-protected-resource`, with a document for the origin.
    RootForOrigin,
    /// `/metadata/of-the-resource`, an address that only the challenge names.
    Custom,
}

/// Everything that a test may set. [`LoginServerBuilder`](super::LoginServerBuilder) documents the members.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) cache_control: Option<String>,
    pub(super) issuer_path: String,
    pub(super) scopes: Vec<String>,
    pub(super) required: Vec<String>,
    pub(super) withheld: BTreeSet<String>,
    pub(super) tools: BTreeMap<String, Vec<String>>,
    pub(super) paths: BTreeMap<String, Vec<String>>,
    pub(super) consent: Consent,
    pub(super) subject: String,
    pub(super) flaws: BTreeSet<Flaw>,
    pub(super) auth_methods: Vec<ClientAuth>,
    pub(super) offers_par: bool,
    pub(super) requires_par: bool,
    pub(super) offers_devices: bool,
    pub(super) secret_lifetime: Option<Duration>,
    pub(super) sends_iss: bool,
    pub(super) server_metadata: BTreeSet<ServerMetadata>,
    pub(super) resource_metadata: BTreeSet<ResourceMetadata>,
    pub(super) challenge_names_metadata: bool,
    pub(super) challenge_names_scope: bool,
    pub(super) admits_anonymous: bool,
    pub(super) refresh_needs_offline: bool,
    pub(super) device_interval: u64,
    pub(super) enforces_interval: bool,
    pub(super) metadata_documents: bool,
    /// The further claims of the userinfo endpoint. `None` if there is no such endpoint.
    pub(super) userinfo: Option<Value>,
    /// Whether both servers announce proofs of possession.
    pub(super) announces_dpop: bool,
    /// The issuers that the resource lists. `None` for this server's own.
    pub(super) listed_issuers: Option<Vec<String>>,
    /// The resources of other servers, for which this one issues tokens.
    pub(super) other_resources: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            cache_control: None,
            issuer_path: String::new(),
            scopes: words(["tools:read", "tools:call"]),
            required: Vec::new(),
            withheld: BTreeSet::new(),
            tools: BTreeMap::new(),
            paths: BTreeMap::new(),
            consent: Consent::Allow,
            subject: "alice".to_owned(),
            flaws: BTreeSet::new(),
            auth_methods: vec![ClientAuth::None, ClientAuth::Basic, ClientAuth::Post],
            offers_par: true,
            requires_par: false,
            offers_devices: true,
            secret_lifetime: None,
            sends_iss: true,
            server_metadata: [ServerMetadata::OAuth, ServerMetadata::OpenIdInserted, ServerMetadata::OpenIdAppended]
                .into(),
            resource_metadata: [ResourceMetadata::Path].into(),
            challenge_names_metadata: true,
            challenge_names_scope: true,
            admits_anonymous: false,
            refresh_needs_offline: false,
            device_interval: 5,
            enforces_interval: false,
            metadata_documents: false,
            userinfo: None,
            announces_dpop: false,
            listed_issuers: None,
            other_resources: BTreeSet::new(),
        }
    }
}

pub(super) fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}
