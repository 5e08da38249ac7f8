//! Client registrations, server metadata and cool-downs. These values belong to an authorization server, and to no
//! identity.
//!
//! An [`IssuerEntry`] is a plain value. [`ledger::apply_entry`](crate::law::ledger::apply_entry) decides which writes
//! apply to it, and [`format`](mod@format) is its stored form. An [`IssuerKey`] names it in a store.
//!
//! A grant has its own copy of the [`Client`] with which it was obtained, so the grant outlives the registration. A
//! registration outlives a logout.

mod cooldown;
mod key;

pub use super::record::format::entry as format;
pub use cooldown::Cooldown;
pub use key::{EntryKind, IssuerKey, KeyError, RegistrationName};

use std::time::Duration;

use super::identity::ServerIdentity;
use super::lease::Scopes;
use super::lineage::Revision;
use super::record::Client;
use super::secret::RegistrationToken;
use super::time::{Moment, WallTime};

/// Everything that a store keeps of one issuer under one [`EntryKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerEntry {
    /// Grows by one with each write, a removal included, and never restarts. The first write makes it 1.
    pub revision: Revision,
    /// The content, or `None` after a removal. The entry stays, so that its revision does not restart.
    pub content: Option<EntryContent>,
}

/// The content of an entry, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent {
    /// A client registration.
    Registration(Box<ClientRegistration>),
    /// The server's metadata document.
    Metadata(Box<ServerMetadata>),
    /// The time in which the issuer asked for no requests.
    Cooldown(Cooldown),
}

impl EntryContent {
    /// The kind of entry that holds this content.
    pub fn kind(&self) -> EntryKind {
        match self {
            EntryContent::Registration(registration) => EntryKind::Registration(registration.name.clone()),
            EntryContent::Metadata(_) => EntryKind::Metadata,
            EntryContent::Cooldown(_) => EntryKind::Cooldown,
        }
    }
}

/// A client registration at one issuer. It is never used at another issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRegistration {
    /// Distinguishes this registration from the issuer's other ones.
    pub name: RegistrationName,
    /// How the client was registered with the issuer.
    pub origin: RegistrationOrigin,
    /// The client identifier, its secret with its expiry, and its authentication method. A grant carries a copy of
    /// these.
    pub client: Client,
    /// The redirect addresses the issuer accepts for it (RFC 7591 section 2), with their ports. Empty for a client that
    /// needs none.
    pub redirect_uris: Vec<String>,
    /// `application_type` (OpenID Connect Registration section 2), or `None` if neither side named one.
    pub application_type: Option<ApplicationType>,
    /// `grant_types` as the issuer confirmed them (RFC 7591 section 2). Empty if it named none.
    pub grant_types: Vec<String>,
    /// The scopes the client is registered for, or `None` if the issuer named none.
    pub scopes: Option<Scopes>,
    /// The means to read or delete the registration (RFC 7592), or `None` if the issuer offers no management.
    pub management: Option<RegistrationManagement>,
    /// A digest of the client metadata that was sent, so that changed settings lead to a new registration. `None` if
    /// nothing was sent.
    pub metadata_digest: Option<[u8; 32]>,
    /// The time of registration or configuration, by the wall clock.
    pub registered_at: WallTime,
    /// The identity whose login registered the client, or `None` if the host configured it.
    pub registered_by: Option<ServerIdentity>,
    /// Set when a prompt with this client was shown, and cleared by any answer to it. If no answer comes, the issuer
    /// may have forgotten the client, so the next login checks that first.
    pub suspect_since: Option<WallTime>,
}

/// How a client was registered with an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationOrigin {
    /// The issuer's operator registered the client and gave it to the host.
    PreRegistered,
    /// The client identifier is the address of a client ID metadata document, which the issuer reads.
    MetadataDocument,
    /// Dynamic client registration (RFC 7591).
    Dynamic,
}

/// `application_type` (OpenID Connect Registration section 2). It decides which redirect addresses an issuer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplicationType {
    /// Redirects to loopback addresses or a custom scheme.
    Native,
    /// Redirects to an `https` address of the host.
    Web,
}

/// The right to manage a registration (RFC 7592 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationManagement {
    /// The client configuration endpoint, `registration_client_uri`.
    pub uri: String,
    /// The registration access token. An answer that brings a new one replaces it at once.
    pub token: RegistrationToken,
}

/// An authorization server's metadata document (RFC 8414, OpenID Connect Discovery), as it was last fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMetadata {
    /// The URL it was fetched from.
    pub url: String,
    /// The document, exactly as the server sent it. It is checked before it is stored, and each reader checks it
    /// again.
    pub document: String,
    /// The time of the request, on both clocks. `fresh_for` counts from here.
    pub fetched: Moment,
    /// How long the document may be used without revalidation (RFC 9111 section 4.2), to the millisecond. Zero if the
    /// server wants revalidation each time, `None` if it stated no lifetime.
    pub fresh_for: Option<Duration>,
    /// The entity tag for revalidation (RFC 9110 section 8.8.3), exactly as it was sent.
    pub etag: Option<String>,
}
