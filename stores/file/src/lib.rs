//! The embedded store of tokenkeeper: one sealed file for each identity in a private folder, safe across processes.
//!
//! ```no_run
//! use tokenkeeper_store_file::FileStore;
//!
//! let store = FileStore::open(FileStore::default_dir()?)?;
//! # drop(store);
//! # Ok::<(), tokenkeeper_store_file::FileError>(())
//! ```
//!
//! # A home
//!
//! A home is a folder (0700) of one user, on one machine. Every file in it is 0600. No symbolic link is followed, and a
//! home that others may write is refused.
//!
//! | file | what it is |
//! |---|---|
//! | `home` | the home's format, its random id, where its key is, and a check of the key |
//! | `key` | 32 random bytes: the key, where it is kept in a file |
//! | `identities` | an index of the identities, one key a line; it can be made again from the records |
//! | `records/<name>` | a record, sealed |
//! | `locks/<name>.spend.<epoch>`, `.login` | locked as long as a claim is held; removed when its epoch is over |
//! | `locks/<name>.commit`, `.journal` | locked while that file is replaced |
//! | `locks/home`, `held`, `identities`, `logins`, `issuers` | locked while those are written |
//! | `held/<digest>` | who holds the refresh token with this keyed digest, or waits to install it |
//! | `held/boot` | the boot in which the former were last found complete |
//! | `logins/<digest>` | a login that waits for a person, sealed |
//! | `issuers/<digest>` | a client registration or the metadata of an issuer, sealed; the first one makes the folder |
//! | `journal/<name>` | what happened to an identity, a line of JSON each; removed by [`FileStore::forget`] |
//! | `….new` | a file that is being written, in the folder of what it becomes |
//!
//! `<name>` is the SHA-256 of the identity's key. Identities (accounts and URLs) are no secrets and stand readable in
//! `identities`, in `held` and in the head of each record; file names, and with them all errors and logs, show none. The
//! same holds for issuers: the head of each entry names one, and its file's name is a digest that only the home's key makes.
//!
//! # How it is written
//!
//! A record is sealed with XChaCha20-Poly1305 under a random nonce, with its identity and the versions of its layout bound
//! in; written to a file of its own, synced, renamed, and the folder synced. A write that fails leaves what was there.
//! What cannot be opened is an error that names the file, never "no record", and is never overwritten; neither is what a
//! later version wrote.
//!
//! A change takes the identity's commit lock, reads, applies, and writes: milliseconds, waited for up to three seconds. A
//! claim is a lock of its own, one for each epoch, so that a logout need not wait for a refresh; it is never waited for
//! here, and the kernel frees it when its process dies. Lock files are removed only by whoever holds their lock, and
//! whoever locks one looks afterwards whether it still has its name.
//!
//! # What it does not do
//!
//! - It does not fall back: not to another folder, not to another key.
//! - It does not protect from other programs of the same user, unless the key is kept where those cannot read it.
//! - It is not for a folder that several machines share or synchronise: file locks hold on one machine. (NFS with working
//!   locks is the exception.) Where the file system cannot lock, claims are refused as unsupported.
//! - It is for Unix: elsewhere this crate is empty.
#![cfg(unix)]

mod builder;
mod claims;
mod error;
mod folder;
mod home;
mod issuers;
mod journal;
mod key;
#[cfg(feature = "keychain")]
mod keychain;
mod lock;
mod logins;
mod names;
mod records;
mod reservations;
mod seal;
mod store;
mod watch;

pub use builder::{FileStoreBuilder, KeySource, Watching};
pub use error::{FileError, Trouble};
pub use journal::Entry;
pub use key::StoreKey;
pub use store::{FileStore, Swept};
