//! Makes all processes that share the store use the same registration of a client.
//!
//! The registration is an entry of the store. The entry is read. If it cannot be used, the entry's claim is taken, the
//! entry is read again, the client is registered, and the entry is written at the revision that was read. A registration
//! is repeatable, so nothing is marked, and a process that can neither claim nor read registers a client without the
//! store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::sync::lock;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::issuer::{ClientRegistration, IssuerKey};
use tokenkeeper_actors::values::{Revision, ServerIdentity, StoreFault, WallTime};

use super::choice::{Job, Usability, usability};
use super::client::Registered;
use super::entry::{Amendment, Claimed, Entries, Stored};
use super::error::RegistrationError;
use super::redirect::{self, Ports};
use super::{requests, terms};
use crate::http::HttpClient;

/// The maximum wait for another process that holds the claim.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// The minimum pause between two reads of an entry that another process is about to write. A random part of the same length
/// is added.
const PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of writes of a registration. Each conflict with an unusable registration takes another write.
const MAX_WRITES: usize = 3;

/// The maximum number of registrations that are read for one session. A resource that lists another issuer at each login causes
/// a registration at each of these issuers.
const MAX_READ: usize = 16;

/// The maximum number of registrations that are kept in memory because they could not be stored.
const MAX_UNSAVED: usize = 256;

/// Gets registrations from the store, and makes those that are missing.
#[derive(Debug)]
pub(super) struct Agreement {
    entries: Entries,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    /// Registrations that could not be stored.
    unsaved: Mutex<BTreeMap<IssuerKey, ClientRegistration>>,
}

impl Agreement {
    pub(super) fn new(
        store: Arc<dyn TokenStore>,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
    ) -> Self {
        Self { entries: Entries(store), http, clock, entropy, unsaved: Mutex::default() }
    }

    pub(super) fn now(&self) -> WallTime {
        self.clock.now().wall
    }

    /// Returns the client of `job`, from the store or newly registered.
    pub(super) async fn obtain(&self, job: &Job, by: &ServerIdentity) -> Result<Registered, RegistrationError> {
        let Ok(stored) = self.entries.load(&job.key).await else { return self.make(job, by, None, true).await };
        if let Some(found) = self.usable(&stored, job, true) {
            return Ok(found);
        }
        let (holder, mut waited) = (self.entropy.flight_base(), Duration::ZERO);
        loop {
            let claimed = self.entries.claim(&job.key, holder).await;
            if matches!(claimed, Claimed::Contended) && waited < MAX_WAIT {
                waited += self.pause().await;
                match self.entries.load(&job.key).await {
                    Ok(stored) => match self.usable(&stored, job, false) {
                        Some(found) => return Ok(found),
                        None => continue,
                    },
                    Err(_) => return self.make(job, by, None, false).await,
                }
            }
            let stored = self.entries.load(&job.key).await.ok();
            let outcome = self.make(job, by, stored, false).await;
            if let Claimed::Held(claim) = claimed {
                self.entries.end(&job.key, &claim).await;
            }
            return outcome;
        }
    }

    /// Pauses before the next read of an entry, and returns the length of the pause.
    async fn pause(&self) -> Duration {
        let pause = PAUSE + self.entropy.jitter().of(PAUSE);
        #[expect(clippy::disallowed_methods, reason = "the pauses are counted, so that a suspend makes no difference")]
        tokio::time::sleep(pause).await;
        pause
    }

    /// Returns the registration in `stored` if it can be used now, and else makes one. `stored` is `None` if the store cannot
    /// be read. The registrations in memory are then used instead.
    async fn make(
        &self,
        job: &Job,
        by: &ServerIdentity,
        stored: Option<Stored>,
        is_reused: bool,
    ) -> Result<Registered, RegistrationError> {
        let known = stored.clone().unwrap_or_else(|| self.unsaved(&job.key));
        if let Some(found) = self.usable(&known, job, is_reused) {
            return Ok(found);
        }
        let (registration, is_reused) = match self.suspect_that_is_known(&known, job).await {
            Some(registration) => (registration, true),
            None => match self.unsaved(&job.key).registration.filter(|kept| is_usable(kept, job, self.now())) {
                Some(kept) => (kept, true),
                None => (self.register(job, by).await?, false),
            },
        };
        let registration = match stored {
            Some(stored) => self.save(job, stored.revision, registration).await,
            None => {
                self.keep(&job.key, &registration);
                registration
            }
        };
        Ok(registered(registration, job, is_reused))
    }

    /// Registers the client of `job` for the identity `by`.
    async fn register(&self, job: &Job, by: &ServerIdentity) -> Result<ClientRegistration, RegistrationError> {
        let registering = job.registering.as_ref().map_err(Clone::clone)?;
        let (information, draft) = requests::register(&self.http, registering, job.reach, || self.now()).await?;
        terms::registered(information, &draft, job, by, self.now()).map_err(RegistrationError::Unfit)
    }

    /// Asks the server about a suspect registration, which the server may have forgotten. Returns the registration if the
    /// server still knows it and it can be used.
    async fn suspect_that_is_known(&self, known: &Stored, job: &Job) -> Option<ClientRegistration> {
        let registration = known.registration.as_ref()?;
        if usability(registration, job, self.now()) != Usability::Suspect {
            return None;
        }
        let management = registration.management.as_ref()?;
        let information = requests::read(&self.http, management, job.reach).await?;
        let now_known = terms::read_again(information, registration, job.reach)?;
        is_usable(&now_known, job, self.now()).then_some(now_known)
    }

    /// Stores `registration`, and returns the one to use. If another process has stored a usable one meanwhile, that one is
    /// used.
    async fn save(
        &self,
        job: &Job,
        mut expected: Option<Revision>,
        registration: ClientRegistration,
    ) -> ClientRegistration {
        for _ in 0..MAX_WRITES {
            match self.entries.put(&job.key, expected, &registration).await {
                Ok(Ok(())) => {
                    lock(&self.unsaved).remove(&job.key);
                    return registration;
                }
                Ok(Err(current)) => match current.registration {
                    Some(winner) if is_usable(&winner, job, self.now()) => return winner,
                    Some(_) | None => expected = current.revision,
                },
                Err(_) => break,
            }
        }
        self.keep(&job.key, &registration);
        registration
    }

    /// The client of the registration in `stored`, if it can be used without asking the server.
    fn usable(&self, stored: &Stored, job: &Job, is_reused: bool) -> Option<Registered> {
        let registration = stored.registration.as_ref()?;
        is_usable(registration, job, self.now()).then(|| registered(registration.clone(), job, is_reused))
    }

    /// The registration in memory under `key`, in the form of a stored one.
    fn unsaved(&self, key: &IssuerKey) -> Stored {
        Stored { revision: None, registration: lock(&self.unsaved).get(key).cloned() }
    }

    /// Keeps in memory a registration that could not be stored.
    fn keep(&self, key: &IssuerKey, registration: &ClientRegistration) {
        let mut unsaved = lock(&self.unsaved);
        if unsaved.len() >= MAX_UNSAVED {
            unsaved.pop_first();
        }
        unsaved.insert(key.clone(), registration.clone());
    }

    /// Removes the registration of `client_id`.
    pub(super) async fn retire(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        self.amend(key, client_id, |_| Amendment::Remove).await
    }

    /// Marks the registration of `client_id` as suspect from now on, unless it is suspect already. A client of device logins
    /// is never marked, because the device endpoint refuses a forgotten client before a person is asked.
    pub(super) async fn suspect(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        let now = self.now();
        let suspect = |known: &ClientRegistration| match known.suspect_since {
            Some(_) => Amendment::Keep,
            None if known.redirect_uris.is_empty() => Amendment::Keep,
            None => Amendment::Put(Box::new(ClientRegistration { suspect_since: Some(now), ..known.clone() })),
        };
        self.amend(key, client_id, suspect).await
    }

    /// Ends the suspicion of the registration of `client_id`.
    pub(super) async fn clear(&self, key: &IssuerKey, client_id: &str) -> Result<(), StoreFault> {
        let clear = |known: &ClientRegistration| match known.suspect_since {
            None => Amendment::Keep,
            Some(_) => Amendment::Put(Box::new(ClientRegistration { suspect_since: None, ..known.clone() })),
        };
        self.amend(key, client_id, clear).await
    }

    /// Applies the decision of `amend` to the registration of `client_id`, in memory and in the store.
    async fn amend(
        &self,
        key: &IssuerKey,
        client_id: &str,
        amend: impl Fn(&ClientRegistration) -> Amendment + Send,
    ) -> Result<(), StoreFault> {
        {
            let mut unsaved = lock(&self.unsaved);
            if let Some(known) = unsaved.get(key).filter(|known| known.client.id == client_id) {
                match amend(known) {
                    Amendment::Keep => {}
                    Amendment::Put(registration) => drop(unsaved.insert(key.clone(), *registration)),
                    Amendment::Remove => drop(unsaved.remove(key)),
                }
            }
        }
        self.entries.amend(key, client_id, amend).await
    }

    /// Returns the newest registration under the keys for which `is_wanted` is true. Registrations that a login of `identity`
    /// made are preferred.
    pub(super) async fn newest(
        &self,
        is_wanted: impl Fn(&IssuerKey) -> bool + Send,
        identity: &ServerIdentity,
    ) -> Option<ClientRegistration> {
        let mut found: Vec<ClientRegistration> = Vec::new();
        for key in self.entries.keys().await.iter().filter(|key| is_wanted(key)).take(MAX_READ) {
            found.extend(self.entries.load(key).await.ok().and_then(|stored| stored.registration));
        }
        let unsaved = lock(&self.unsaved);
        found.extend(unsaved.iter().filter(|(key, _)| is_wanted(key)).map(|(_, kept)| kept.clone()));
        found.into_iter().max_by_key(|known| (known.registered_by.as_ref() == Some(identity), known.registered_at))
    }
}

fn is_usable(registration: &ClientRegistration, job: &Job, now: WallTime) -> bool {
    usability(registration, job, now) == Usability::Usable
}

/// The client of a registration that was found usable, or was just made.
fn registered(registration: ClientRegistration, job: &Job, is_reused: bool) -> Registered {
    let redirect_uri = job.redirect.as_ref().map(|wanted| {
        let registered = redirect::among(&registration.redirect_uris, wanted, Ports::Exact);
        registered.unwrap_or_else(|| wanted.clone())
    });
    let ClientRegistration { client, origin, .. } = registration;
    Registered { client, redirect_uri, origin, key: Some(job.key.clone()), is_reused }
}
