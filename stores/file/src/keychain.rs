//! The key in the operating system's keychain: one item for each home, read once when it is opened.

use std::sync::Arc;

use keyring_core::{CredentialStore, Entry, Error};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::key::StoreKey;

/// What the item is filed under. Its account is the home's own id.
const SERVICE: &str = "tokenkeeper";

/// The key of the home with this id; `None` where the keychain has none.
pub(crate) fn read(home: &str) -> Result<Option<StoreKey>, Trouble> {
    match entry(home)?.get_secret().map(Zeroizing::new) {
        Ok(bytes) => StoreKey::from_slice(&bytes).map(Some).ok_or(Trouble::Damaged),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(trouble(&error)),
    }
}

/// Keeps the key of the home with this id. A home that cannot read it back is not begun.
pub(crate) fn write(home: &str, key: &StoreKey) -> Result<(), Trouble> {
    entry(home)?.set_secret(key.as_bytes()).map_err(|error| trouble(&error))?;
    match read(home)? {
        Some(kept) if kept == *key => Ok(()),
        _ => Err(Trouble::NoKeychain),
    }
}

/// The process-wide default of `keyring-core` is the host's affair: it is used where the host has set one, and not set
/// where it has not.
fn entry(home: &str) -> Result<Entry, Trouble> {
    let store = match keyring_core::get_default_store() {
        Some(store) => store,
        None => system()?,
    };
    store.build(SERVICE, home, None).map_err(|error| trouble(&error))
}

#[cfg(target_vendor = "apple")]
fn system() -> Result<Arc<CredentialStore>, Trouble> {
    let store = apple_native_keyring_store::keychain::Store::new().map_err(|error| trouble(&error))?;
    Ok(store)
}

#[cfg(not(target_vendor = "apple"))]
fn system() -> Result<Arc<CredentialStore>, Trouble> {
    let store = zbus_secret_service_keyring_store::Store::new().map_err(|error| trouble(&error))?;
    Ok(store)
}

/// What an error of the keychain means. Its own words stay here.
fn trouble(error: &Error) -> Trouble {
    match error {
        Error::NoStorageAccess(_) => Trouble::KeyLocked,
        Error::NoEntry => Trouble::KeyMissing,
        Error::BadEncoding(_) | Error::BadDataFormat(..) => Trouble::Damaged,
        _ => Trouble::NoKeychain,
    }
}
