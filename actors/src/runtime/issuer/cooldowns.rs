//! The cool-downs of issuers in the store, which all processes that share the store respect (law 8).
//!
//! A throttle is written in the background after the permit was returned with it. It is read after the limiter has granted
//! a permit, and once more when the flight has its claim, because the claim's earlier holder may have been throttled while
//! the flight waited. A holder ends its claim only after the write. Neither a failed write nor a failed read has an effect
//! on the flight.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::super::timer;
use super::limiter::{LimiterHandle, LimiterState};
use super::messages::LimiterMessage;
use crate::law::issuer::IssuerEvent;
use crate::law::ledger::{EntryChange, EntryChanged};
use crate::ports::spawner::FlightFuture;
use crate::ports::store::TokenStore;
use crate::values::issuer::{Cooldown, EntryContent, EntryKind, IssuerEntry, IssuerKey};
use crate::values::{ElapsedTime, StoreFault};

/// The maximum time that a permit waits for the read of the cool-down.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The time-out for the write of a throttle.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum time that a flight waits for the write before it ends its claim.
const SHARE_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of attempts to write a throttle while other processes change the entry.
const WRITE_ATTEMPTS: u32 = 10;

/// The cool-downs of issuers in a store.
pub struct Cooldowns {
    store: Arc<dyn TokenStore>,
    spawn: Box<dyn Fn(FlightFuture) + Send + Sync>,
}

impl Cooldowns {
    /// Makes the cool-downs of `store`. Writes run through `spawn`, and should end before the process does. Each takes
    /// five seconds at most.
    pub fn new(store: Arc<dyn TokenStore>, spawn: impl Fn(FlightFuture) + Send + Sync + 'static) -> Self {
        Self { store, spawn: Box::new(spawn) }
    }
}

impl fmt::Debug for Cooldowns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooldowns").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The part of a limiter's state that concerns the store.
#[derive(Default)]
pub(super) struct StoredCooldown {
    /// The end of the throttle that is known to be stored, or that could not be stored.
    until: Option<ElapsedTime>,
    /// Whether a write is running.
    writing: watch::Sender<bool>,
}

impl LimiterHandle {
    /// The store, and the issuer's key in it. `None` if cool-downs are not shared, or the issuer is not known.
    fn shared_entry(&self) -> Option<(&Cooldowns, IssuerKey)> {
        let (cooldowns, issuer) = (self.shared.cooldowns.as_ref()?, self.issuer.clone()?);
        Some((cooldowns, IssuerKey { issuer, kind: EntryKind::Cooldown }))
    }

    // Reading.

    /// Reads the issuer's cool-down, and throttles the limiter by it. Does nothing if a throttle is known already, or
    /// if the store does not answer in time.
    pub(super) async fn read_cooldown(&self) {
        let Some((cooldowns, key)) = self.shared_entry() else { return };
        if self.throttled().is_some() {
            return;
        }
        let read = AssertUnwindSafe(cooldowns.store.load_issuer(&key)).catch_unwind();
        let answer = tokio::select! {
            biased;
            answer = read => answer.unwrap_or(Err(StoreFault::Failed)),
            () = timer::pause(READ_TIMEOUT) => Err(StoreFault::TimedOut),
        };
        match answer {
            Ok(entry) => self.note_cooldown(cooldown_in(entry.as_deref())),
            Err(fault) => tracing::debug!(%fault, "the issuer's cool-down could not be read"),
        }
    }

    /// Throttles the limiter until the end of the stored cool-down.
    fn note_cooldown(&self, stored: Option<&Cooldown>) {
        let end = stored.and_then(|stored| self.shared.policy.end_of(stored, &self.shared.clock.now()));
        let Some(until) = end else { return };
        let mut state = self.state();
        state.throttled = state.throttled.max(Some(until));
        state.stored.until = state.stored.until.max(Some(until));
        if let Some(address) = &state.address {
            // The limiter's actor then answers the waiting asks. An actor that has ended needs no message.
            let _ = address.actor.send_message(LimiterMessage::Event(IssuerEvent::Throttled(until)));
        }
    }

    // Writing.

    /// Begins to store the throttle. `None` if it is too short, is stored already, or will be stored by a running write.
    pub(super) fn store_throttle(self: &Arc<Self>, state: &mut LimiterState) -> Option<CooldownWrite> {
        self.shared_entry()?;
        let until = state.throttled.filter(|_| state.has_more_to_store() && !*state.stored.writing.borrow())?;
        self.shared.policy.cooldown_to_store(until, None, &self.shared.clock.now())?;
        state.stored.writing.send_replace(true);
        Some(CooldownWrite { limiter: Arc::clone(self), is_over: false })
    }

    /// Waits for the end of the running write.
    pub(super) async fn until_stored(&self) {
        let mut writing = self.state().stored.writing.subscribe();
        tokio::select! {
            biased;
            _ = writing.wait_for(|writing| !writing) => {}
            () = timer::pause(SHARE_TIMEOUT) => {}
        }
    }
}

impl LimiterState {
    fn has_more_to_store(&self) -> bool {
        self.throttled > self.stored.until
    }
}

/// The write of a limiter's throttle. There is one at a time.
pub(super) struct CooldownWrite {
    limiter: Arc<LimiterHandle>,
    /// Whether the write has ended, so that another may begin.
    is_over: bool,
}

impl CooldownWrite {
    /// Runs the write in the background.
    pub(super) fn spawn(self) {
        let limiter = Arc::clone(&self.limiter);
        let Some(cooldowns) = &limiter.shared.cooldowns else { return };
        let work = Box::pin(async move {
            let write = AssertUnwindSafe(self.run()).catch_unwind();
            let written = tokio::select! {
                biased;
                written = write => written.unwrap_or(Err(StoreFault::Failed)),
                () = timer::pause(WRITE_TIMEOUT) => Err(StoreFault::TimedOut),
            };
            if let Err(fault) = written {
                tracing::warn!(%fault, "the issuer's Retry-After could not be stored for other processes");
            }
        });
        // A permit may be returned in a drop, where a panic of the spawner would be fatal.
        if catch_unwind(AssertUnwindSafe(|| (cooldowns.spawn)(work))).is_err() {
            tracing::warn!("the issuer's Retry-After is not stored for other processes, because the spawner panicked");
        }
    }

    /// Writes until the store holds the latest throttle.
    async fn run(mut self) -> Result<(), StoreFault> {
        while let Some(until) = self.next() {
            self.write(until).await?;
        }
        Ok(())
    }

    /// The end of the throttle to store. `None` ends this write, and another may begin.
    fn next(&mut self) -> Option<ElapsedTime> {
        let mut state = self.limiter.state();
        let until = state.throttled.filter(|_| state.has_more_to_store());
        // The throttle is noted before the write, so that a failed write is not repeated for the same throttle.
        match until {
            Some(_) => state.stored.until = until,
            None => {
                state.stored.writing.send_replace(false);
                self.is_over = true;
            }
        }
        until
    }

    async fn write(&self, until: ElapsedTime) -> Result<(), StoreFault> {
        let limiter = &self.limiter;
        let Some((cooldowns, key)) = limiter.shared_entry() else { return Ok(()) };
        let (store, shared) = (&cooldowns.store, &limiter.shared);
        let mut current = store.load_issuer(&key).await?;
        for _ in 0..WRITE_ATTEMPTS {
            let (stored, now) = (cooldown_in(current.as_deref()), shared.clock.now());
            let Some(cooldown) = shared.policy.cooldown_to_store(until, stored, &now) else {
                limiter.note_cooldown(stored);
                return Ok(());
            };
            let expected = current.as_ref().map(|entry| entry.revision);
            let change = EntryChange::Put { expected, content: EntryContent::Cooldown(cooldown) };
            current = match store.change_issuer(&key.issuer, change).await {
                Ok(EntryChanged::Applied(_)) => return Ok(()),
                Ok(EntryChanged::Conflict(current)) => current,
                // The change may have been written.
                Err(StoreFault::TimedOut) => store.load_issuer(&key).await?,
                Err(fault) => return Err(fault),
            };
        }
        Err(StoreFault::Busy)
    }
}

impl Drop for CooldownWrite {
    fn drop(&mut self) {
        if !self.is_over {
            self.limiter.state().stored.writing.send_replace(false);
        }
    }
}

fn cooldown_in(entry: Option<&IssuerEntry>) -> Option<&Cooldown> {
    match entry?.content.as_ref()? {
        EntryContent::Cooldown(cooldown) => Some(cooldown),
        _ => None,
    }
}
