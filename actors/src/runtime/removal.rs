//! The removal of what the store has of an identity that was logged out.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::core::Core;
use super::slot::Slot;
use super::timer;
use crate::law::session::SessionEvent;
use crate::ports::store::Removal;
use crate::values::{LogoutError, StoreFault};

/// The time-out of the removal, a read and a write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Removes the identity from the store. Its actor, which has written the tombstone, then begins anew.
pub(super) async fn remove(core: &Core, slot: &Slot) -> Result<(), LogoutError> {
    let removed = tokio::select! {
        biased;
        removed = AssertUnwindSafe(from_store(core, slot)).catch_unwind() => removed,
        () = timer::pause(TIMEOUT) => return Err(LogoutError::NotDurable(StoreFault::TimedOut)),
    };
    removed.unwrap_or(Err(LogoutError::NotDurable(StoreFault::Failed)))?;
    slot.notify_or_clear(SessionEvent::Removed);
    Ok(())
}

/// Whether the store has a login of the identity. A record in which a person is only asked has none.
pub(super) async fn is_signed_in(core: &Core, slot: &Slot) -> Result<bool, LogoutError> {
    let loaded = tokio::select! {
        biased;
        loaded = AssertUnwindSafe(core.ports.store.load(&slot.identity)).catch_unwind() => loaded,
        () = timer::pause(TIMEOUT) => return Err(LogoutError::NotDurable(StoreFault::TimedOut)),
    };
    let record = loaded.unwrap_or(Err(StoreFault::Failed)).map_err(LogoutError::NotDurable)?;
    Ok(record.is_some_and(|record| record.grant().is_some()))
}

async fn from_store(core: &Core, slot: &Slot) -> Result<(), LogoutError> {
    let (store, identity) = (&core.ports.store, &slot.identity);
    let Some(record) = store.load(identity).await.map_err(LogoutError::NotDurable)? else { return Ok(()) };
    match store.remove(identity, record.version()).await.map_err(LogoutError::NotDurable)? {
        // Another process may have removed it at the same time.
        Removal::Done | Removal::Conflict { current: None } => Ok(()),
        Removal::Conflict { current: Some(current) } => Err(LogoutError::Superseded(current.version())),
    }
}
