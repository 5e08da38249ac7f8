//! Client registration: the client that a login uses at an authorization server (law 23).
//!
//! [`Clients`] is the host's configuration. A client that the host was given belongs to one issuer. A
//! [`MetadataDocument`] is the same client everywhere. A [`DynamicClient`] is registered with each issuer (RFC 7591), once
//! over all processes that share the store.

mod agreement;
mod answer;
mod choice;
mod client;
mod clients;
mod draft;
mod entry;
mod error;
mod jobs;
mod redirect;
mod requests;
mod terms;

use std::sync::Arc;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::issuer::{EntryKind, IssuerKey};
use tokenkeeper_actors::values::{ServerIdentity, StoreFault};

use self::agreement::Agreement;
use self::choice::Choice;
use self::jobs::Jobs;
use self::redirect::{Purpose, has_port};
use crate::http::HttpClient;

pub(crate) use client::{Registered, Wanted};

pub use answer::{ClientInformation, Refusal, RegistrationAnswer, read_registration};
pub use clients::{Clients, DocumentUrlError, DynamicClient, MetadataDocument, Sharing};
pub use error::{RegistrationError, Unfit};

/// Finds the client of each login. Cheap to clone.
///
/// Registrations are kept in the store, and survive logouts. If the store cannot be used, a login still works. The client
/// is registered, kept in memory, and stored later. The grant carries a copy of it.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    clients: Arc<Clients>,
    agreement: Arc<Agreement>,
    jobs: Arc<Jobs>,
}

impl Registrar {
    /// Registers over `http` and keeps registrations in `store`.
    pub(crate) fn new(
        clients: Clients,
        store: Arc<dyn TokenStore>,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
    ) -> Self {
        let agreement = Arc::new(Agreement::new(store, http, clock, entropy));
        Self { clients: Arc::new(clients), agreement, jobs: Arc::default() }
    }

    /// Whether clients are registered dynamically.
    pub(crate) fn registers_clients(&self) -> bool {
        self.clients.dynamic.is_some()
    }

    /// Returns the client for a login. Concurrent calls for one registration share it, in this process and in all others on
    /// the store.
    ///
    /// # Errors
    ///
    /// A [`RegistrationError`] with the remedy.
    ///
    /// # Cancellation
    ///
    /// Safe to drop. A registration that has begun goes on, and is stored.
    pub(crate) async fn client_for(&self, wanted: Wanted<'_>) -> Result<Registered, RegistrationError> {
        let job = match choice::choose(&self.clients, &wanted, self.agreement.now())? {
            Choice::Configured(registered) => return Ok(*registered),
            Choice::Dynamic(job) => *job,
        };
        let (agreement, identity) = (Arc::clone(&self.agreement), wanted.identity.clone());
        self.jobs.run(job, move |job| async move { agreement.obtain(&job, &identity).await }).await
    }

    /// Removes a registration that the server does not accept any more (`invalid_client`), if it is still this client's. The
    /// next login registers anew. A client of another identifier stays.
    ///
    /// # Errors
    ///
    /// [`StoreFault`] if the store cannot be used. The registration may then be used again.
    pub(crate) async fn retire(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        self.agreement.retire(key, client_id).await
    }

    /// Notes that a prompt with a reused registration is shown. If no answer ever comes, the server may have forgotten the
    /// client, and the next login checks it first.
    ///
    /// # Errors
    ///
    /// [`StoreFault`] if the store cannot be used. Nothing is noted then.
    pub(crate) async fn opened(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        self.agreement.suspect(key, client_id).await
    }

    /// Notes that an answer to a prompt came, so that the server knows the client.
    ///
    /// # Errors
    ///
    /// [`StoreFault`] if the store cannot be used. The next login then checks the client first.
    pub(crate) async fn answered(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        self.agreement.clear(key, client_id).await
    }

    /// Returns the registered loopback redirect addresses with a port, the best one for a login of `identity` first. A listener
    /// on one of their ports needs no new registration. `issuer` is the authorization server, if it is known already.
    pub(crate) async fn registered_redirects(&self, identity: &ServerIdentity, issuer: Option<&str>) -> Vec<String> {
        let is_wanted = |of: &str| issuer.is_none_or(|issuer| issuer == of);
        let pre_registered = self.clients.pre_registered.iter().filter(|known| is_wanted(&known.issuer));
        let configured = pre_registered.flat_map(|known| &known.redirect_uris);
        let described = self.clients.document.iter().flat_map(|document| &document.redirect_uris);
        let mut redirects: Vec<String> = configured.chain(described).cloned().collect();
        if self.clients.dynamic.is_some() {
            let key = choice::key(self.clients.sharing, "", Purpose::Loopback, None, identity);
            let of_identity = |kind: &EntryKind| key.as_ref().is_ok_and(|key| key.kind == *kind);
            let stored = self.agreement.newest(|key| of_identity(&key.kind) && is_wanted(&key.issuer.0), identity);
            redirects.extend(stored.await.into_iter().flat_map(|registration| registration.redirect_uris));
        }
        redirects.retain(|redirect| Purpose::of(Some(redirect)) == Some(Purpose::Loopback) && has_port(redirect));
        redirects
    }
}

#[cfg(test)]
mod tests;
