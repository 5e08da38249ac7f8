//! The state of a login server beside its token authority, and the dispatch of its endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::device::Device;
use super::documents;
use super::flaw::Flaw;
use super::grants::{Code, Grants};
use super::incoming::Incoming;
use super::registration::Known;
use super::settings::{Consent, Settings};
use super::tally::{Endpoint, Tally};
use super::{authorize, device, registration, userinfo};
use crate::hostile::authority::Authority;
use crate::hostile::dispatcher::Dispatcher;
use crate::hostile::fault::Manner;
use crate::hostile::reply::Reply;
use crate::hostile::script::{Script, Step};

/// The state. No `Debug`, because it holds secrets.
pub(in crate::hostile) struct Site {
    /// `http://127.0.0.1:…`, without a trailing slash.
    pub(super) origin: String,
    pub(super) settings: Settings,
    pub(in crate::hostile) tally: Tally,
    /// The clients that may ask for an authorization, by their identifiers.
    pub(super) clients: BTreeMap<String, Known>,
    /// Pushed authorization requests, by their `request_uri`.
    pub(super) pushed: BTreeMap<String, authorize::Pushed>,
    /// Authorization requests whose consent page is open, by their tickets.
    pub(super) open: BTreeMap<String, authorize::Asked>,
    pub(super) codes: BTreeMap<String, Code>,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) grants: Grants,
    pub(super) scripts: BTreeMap<Endpoint, Script>,
    /// The server that issues the resource's tokens after a migration.
    pub(super) migrated: Option<Arc<Dispatcher>>,
}

/// An answer and the way of its delivery.
pub(in crate::hostile) struct Served {
    pub(in crate::hostile) reply: Reply,
    pub(in crate::hostile) manner: Manner,
}

impl From<Reply> for Served {
    fn from(reply: Reply) -> Self {
        Self { reply, manner: Manner::Whole }
    }
}

impl Site {
    pub(super) fn new(origin: String, settings: Settings) -> Self {
        Self {
            origin,
            settings,
            tally: Tally::default(),
            clients: BTreeMap::new(),
            pushed: BTreeMap::new(),
            open: BTreeMap::new(),
            codes: BTreeMap::new(),
            devices: BTreeMap::new(),
            grants: Grants::default(),
            scripts: BTreeMap::new(),
            migrated: None,
        }
    }

    /// The endpoint at a path.
    pub(in crate::hostile) fn route(&self, path: &str) -> Endpoint {
        let moved = self.has(Flaw::TokenEndpointMoved);
        match path {
            "/token" if moved || self.has(Flaw::TokenEndpointGone) => Endpoint::FormerToken,
            "/moved/token" if moved => Endpoint::Token,
            "/token" => Endpoint::Token,
            "/revoke" if self.has(Flaw::NoRevocationEndpoint) => Endpoint::Unknown,
            "/revoke" => Endpoint::Revocation,
            "/authorize" => Endpoint::Authorization,
            "/decide" => Endpoint::Decision,
            "/register" => Endpoint::Registration,
            "/par" if self.settings.offers_par => Endpoint::PushedAuthorization,
            "/device_authorization" if self.settings.offers_devices => Endpoint::DeviceAuthorization,
            "/device" if self.settings.offers_devices => Endpoint::DevicePage,
            userinfo::PATH if self.settings.userinfo.is_some() => Endpoint::UserInfo,
            "/jwks" => Endpoint::Keys,
            "/elsewhere" => Endpoint::Elsewhere,
            documents::CUSTOM => Endpoint::ResourceMetadata,
            _ if path == "/mcp" || path.starts_with("/mcp/") => Endpoint::Resource,
            _ if path.starts_with("/register/") => Endpoint::ClientConfiguration,
            _ if path.starts_with("/.well-known/oauth-protected-resource") => Endpoint::ResourceMetadata,
            _ if path.starts_with("/.well-known/oauth-authorization-server") => Endpoint::ServerMetadata,
            _ if path.contains("/.well-known/openid-configuration") => Endpoint::OpenIdMetadata,
            _ => Endpoint::Unknown,
        }
    }

    /// The behaviour of all endpoints but the token, revocation and resource endpoints.
    pub(in crate::hostile) fn serve(
        &mut self,
        authority: &mut Authority,
        endpoint: Endpoint,
        incoming: &Incoming<'_>,
        now: Duration,
    ) -> Served {
        let only = |allowed: &'static str| Reply::empty(405).with("allow", allowed).into();
        match (endpoint, incoming.method()) {
            (Endpoint::ResourceMetadata, "GET") => documents::resource(self, incoming).into(),
            (Endpoint::ServerMetadata | Endpoint::OpenIdMetadata, "GET") => documents::server(self, incoming),
            (Endpoint::Keys, "GET") => Reply::json(200, &serde_json::json!({ "keys": [] })).into(),
            (Endpoint::Elsewhere, "GET") => Reply::json(200, &documents::server_metadata(self)).into(),
            (Endpoint::Authorization, "GET") => authorize::authorize(self, authority, incoming, now).into(),
            (Endpoint::Decision, "POST") => authorize::decide(self, authority, incoming, now).into(),
            (Endpoint::PushedAuthorization, "POST") => authorize::push(self, authority, incoming, now).into(),
            (Endpoint::Registration, "POST") => registration::register(self, authority, incoming).into(),
            (Endpoint::ClientConfiguration, "GET" | "DELETE") => {
                registration::configure(self, authority, incoming).into()
            }
            (Endpoint::DeviceAuthorization, "POST") => device::authorize(self, authority, incoming, now).into(),
            (Endpoint::DevicePage, "GET" | "POST") => device::page(self, incoming).into(),
            (Endpoint::Unknown | Endpoint::FormerToken, _) => Reply::empty(404).into(),
            (Endpoint::Authorization, _) => only("GET"),
            (Endpoint::ClientConfiguration, _) => only("GET, DELETE"),
            (Endpoint::DevicePage, _) => only("GET, POST"),
            (Endpoint::ResourceMetadata | Endpoint::ServerMetadata | Endpoint::OpenIdMetadata | Endpoint::Keys, _) => {
                only("GET")
            }
            _ => only("POST"),
        }
    }

    /// The fault of the next request at an endpoint.
    pub(in crate::hostile) fn next_fault(&mut self, endpoint: Endpoint) -> Option<Step> {
        self.scripts.get_mut(&endpoint)?.take()
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.settings.flaws.contains(&flaw)
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}{}", self.origin, self.settings.issuer_path)
    }

    /// The port, from the origin.
    pub(super) fn port(&self) -> &str {
        self.origin.rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn resource(&self) -> String {
        format!("{}/mcp", self.origin)
    }

    /// The names of this server's resource, by which clients may ask for tokens. A client that uses a wrong document
    /// gets a token, so that its mistake is its own.
    pub(super) fn own_resources(&self) -> Vec<String> {
        let mut names = vec![self.resource(), self.origin.clone(), format!("{}/", self.origin)];
        names.push(documents::OTHER_RESOURCE.to_owned());
        names
    }

    /// Whether tokens may be requested for a resource.
    pub(super) fn knows_resource(&self, resource: &str) -> bool {
        self.settings.other_resources.contains(resource) || self.own_resources().iter().any(|own| own == resource)
    }

    /// The scopes that a request for these obtains. `None` if it names an unknown one.
    pub(super) fn granted(&self, asked: &str) -> Option<String> {
        let settings = &self.settings;
        let asked: Vec<&str> = asked.split(' ').filter(|scope| !scope.is_empty()).collect();
        if !asked.iter().all(|asked| settings.scopes.iter().any(|scope| scope == asked)) {
            return None;
        }
        let defaults = if settings.required.is_empty() { &settings.scopes } else { &settings.required };
        let asked = if asked.is_empty() { defaults.iter().map(String::as_str).collect() } else { asked };
        let mut granted: Vec<&str> = asked.into_iter().filter(|scope| !settings.withheld.contains(*scope)).collect();
        if self.has(Flaw::ScopeNarrowed) {
            granted.truncate(1);
        }
        Some(granted.join(" "))
    }

    /// The person who answers the next request.
    pub(super) fn person(&self) -> String {
        if self.has(Flaw::OtherSubject) && self.tally.counts.allowed + self.tally.counts.logins > 0 {
            return format!("not-{}", self.settings.subject);
        }
        self.settings.subject.clone()
    }

    /// An error description. It is untrusted text for clients.
    pub(super) fn description(&self, text: &str) -> String {
        if self.has(Flaw::TerminalEscapes) { format!("{text}{}", documents::ESCAPES) } else { text.to_owned() }
    }

    /// Forgets all clients that registered themselves.
    pub(super) fn forget_clients(&mut self, authority: &mut Authority) {
        let forgotten: BTreeSet<String> =
            self.clients.iter().filter(|(_, known)| known.is_dynamic()).map(|(id, _)| id.clone()).collect();
        for id in &forgotten {
            authority.unregister(id);
            self.clients.remove(id);
        }
    }

    /// The server that knows the resource's tokens, and the resource's names. `None` for this server.
    pub(in crate::hostile) fn verifier(&self) -> (Option<Arc<Dispatcher>>, Vec<String>) {
        (self.migrated.clone(), self.own_resources())
    }

    /// Lets clients ask for tokens of a resource of another server.
    pub(in crate::hostile) fn add_resource(&mut self, resource: &str) {
        self.settings.other_resources.insert(resource.to_owned());
    }

    /// The scopes that each call needs.
    pub(in crate::hostile) fn required_scopes(&self) -> &[String] {
        &self.settings.required
    }

    /// The issuers that the resource's metadata lists.
    pub(in crate::hostile) fn listed_issuers(&self) -> Vec<String> {
        self.settings.listed_issuers.clone().unwrap_or_else(|| vec![self.issuer()])
    }

    pub(super) fn consent(&self) -> Consent {
        self.settings.consent
    }
}
