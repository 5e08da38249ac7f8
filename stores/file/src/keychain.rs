//! The key in the operating system's keychain. Each home has one item, read once when the home is opened.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use keyring_core::{CredentialStore, Entry, Error};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::key::StoreKey;

/// The service name of the item. Its account is the home's id.
const SERVICE: &str = "tokenkeeper";

/// The timeouts for a keychain.
#[derive(Clone, Copy)]
struct Patience {
    /// The time-out for the keychain to accept the connection. This needs no action of the user.
    keychain: Duration,
    /// The time-out for the answer. The keychain may first ask the user to unlock it or to allow the access.
    person: Duration,
}

const PATIENCE: Patience = Patience { keychain: Duration::from_secs(5), person: Duration::from_secs(30) };

/// Reads the key of the home with this id. Returns `None` where the keychain has none.
pub(crate) fn read(home: &str) -> Result<Option<StoreKey>, Trouble> {
    ask(PATIENCE, entry(home), kept, |_| ())
}

/// Stores the key of the home with this id. Making a home fails if its key cannot be read back.
pub(crate) fn write(home: &str, key: &StoreKey) -> Result<(), Trouble> {
    let key = key.clone();
    let keep = move |entry: &Entry| {
        entry.set_secret(key.as_bytes()).map_err(|error| trouble(&error))?;
        match kept(entry)? {
            Some(kept) if kept == key => Ok(()),
            _ => Err(Trouble::NoKeychain),
        }
    };
    // An answer after the time-out is undone, because the home was not made and needs no key.
    ask(PATIENCE, entry(home), keep, |entry| drop(entry.delete_credential()))
}

fn kept(entry: &Entry) -> Result<Option<StoreKey>, Trouble> {
    match entry.get_secret().map(Zeroizing::new) {
        Ok(bytes) => StoreKey::from_slice(&bytes).map(Some).ok_or(Trouble::Damaged),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(trouble(&error)),
    }
}

/// Runs `question` on the item that `find` finds, and waits no longer than `patience`. `undo` handles an answer that
/// arrives later.
///
/// The work runs on a separate thread for two reasons. First, a keychain call takes no deadline and cannot be
/// cancelled, so an absent user or a silent service would block the caller for ever. Second, a D-Bus call may block
/// on its own tokio runtime (if any crate of the host has turned on `zbus/tokio`), and that panics on a thread that runs
/// another runtime. After a time-out, the thread ends when the keychain answers.
fn ask<T: Send + 'static>(
    patience: Patience,
    find: impl FnOnce() -> Result<Entry, Trouble> + Send + 'static,
    question: impl FnOnce(&Entry) -> Result<T, Trouble> + Send + 'static,
    undo: impl FnOnce(&Entry) + Send + 'static,
) -> Result<T, Trouble> {
    // The channels have no buffer. An answer is either received, or its sender learns that the receiver has given up.
    let (found, is_found) = sync_channel(0);
    let (answer, is_answered) = sync_channel(0);
    start(move || match find() {
        Ok(entry) => {
            if found.send(Ok(())).is_ok() && answer.send(question(&entry)).is_err() {
                undo(&entry);
            }
        }
        Err(trouble) => drop(found.send(Err(trouble))),
    })?;
    hear(&is_found, patience.keychain, Trouble::NoKeychain)??;
    hear(&is_answered, patience.person, Trouble::KeyLocked)?
}

#[expect(clippy::disallowed_methods, reason = "a thread of the store's own, that ends with the keychain's answer")]
fn start(work: impl FnOnce() + Send + 'static) -> Result<(), Trouble> {
    let thread = std::thread::Builder::new().name("tokenkeeper-keychain".to_owned());
    thread.spawn(work).map(drop).map_err(|_| Trouble::NoKeychain)
}

fn hear<T>(from: &Receiver<T>, patience: Duration, late: Trouble) -> Result<T, Trouble> {
    from.recv_timeout(patience).map_err(|why| match why {
        RecvTimeoutError::Timeout => late,
        RecvTimeoutError::Disconnected => Trouble::NoKeychain,
    })
}

/// The process-wide default store of `keyring-core` belongs to the host. It is used if the host has set one, and never set
/// here.
fn entry(home: &str) -> impl FnOnce() -> Result<Entry, Trouble> + Send + 'static {
    let home = home.to_owned();
    move || {
        let store = match keyring_core::get_default_store() {
            Some(store) => store,
            None => system()?,
        };
        store.build(SERVICE, &home, None).map_err(|error| trouble(&error))
    }
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

/// Maps an error of the keychain. Its own text is dropped.
fn trouble(error: &Error) -> Trouble {
    match error {
        Error::NoStorageAccess(_) => Trouble::KeyLocked,
        Error::NoEntry => Trouble::KeyMissing,
        Error::BadEncoding(_) | Error::BadDataFormat(..) => Trouble::Damaged,
        _ => Trouble::NoKeychain,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use keyring_core::api::CredentialStoreApi;
    use keyring_core::mock::Store;

    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);

    fn item() -> Result<Entry, Trouble> {
        Ok(Store::new().unwrap().build(SERVICE, "home", None).unwrap())
    }

    #[test]
    fn a_keychain_that_says_nothing_is_none_and_is_asked_nothing() {
        let patience = Patience { keychain: Duration::from_millis(1), person: NEVER };
        let (go_on, goes_on) = channel::<()>();
        let (asked, was_asked) = channel::<()>();
        let find = move || {
            let _ = goes_on.recv();
            item()
        };
        let answer = ask(patience, find, move |_| Ok(asked.send(())), |_| ());
        assert_eq!(answer.unwrap_err(), Trouble::NoKeychain);
        drop(go_on);
        // The thread has ended and has dropped the question.
        assert!(was_asked.recv().is_err());
    }

    #[test]
    fn a_person_who_does_not_answer_has_locked_it_and_what_comes_later_is_undone() {
        let patience = Patience { keychain: NEVER, person: Duration::from_millis(1) };
        let (unlock, unlocked) = channel::<()>();
        let (undone, is_undone) = channel();
        let keep = move |entry: &Entry| {
            let _ = unlocked.recv();
            entry.set_secret(&[7; 32]).map_err(|error| trouble(&error))
        };
        let answer = ask(patience, item, keep, move |entry| {
            undone.send(entry.get_secret().unwrap()).unwrap();
        });
        assert_eq!(answer, Err(Trouble::KeyLocked));
        drop(unlock);
        assert_eq!(is_undone.recv().unwrap(), [7; 32]);
    }

    #[test]
    fn what_is_heard_is_not_undone_and_a_keychain_that_breaks_is_none() {
        let patience = Patience { keychain: NEVER, person: NEVER };
        let (undone, is_undone) = channel();
        assert_eq!(ask(patience, item, |_| Ok(7), move |_| undone.send(()).unwrap()), Ok(7));
        assert!(is_undone.recv().is_err());
        let broken = |_: &Entry| -> Result<(), Trouble> { panic!("as its lock does") };
        assert_eq!(ask(patience, item, broken, |_| ()), Err(Trouble::NoKeychain));
        assert_eq!(ask(patience, || Err(Trouble::KeyLocked), kept, |_| ()), Err(Trouble::KeyLocked));
    }
}
