//! The embedded store of tokenkeeper. It keeps one sealed file for each identity in a private folder, safe across
//! processes.
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
//! A home is a folder (0700) of one user on one machine. Every file in it is 0600. The store follows no symbolic link,
//! and refuses a home that others may write.
//!
//! | file | contents |
//! |---|---|
//! | `home` | the home's format, its random id and path, the place of its key, and a check value of the key |
//! | `key` | the key, 32 random bytes, if it is kept in a file |
//! | `removals` | empty, there once a record was removed |
//! | `index` | an index of the identities, one sealed key a line; it can be rebuilt from the records |
//! | `names` | the short names of sessions, sealed ([`FileStore::set_name`]) |
//! | `records/<name>` | a record, sealed |
//! | `locks/<name>.spend.<epoch>`, `.login` | locked as long as a claim is held; removed when its epoch is over |
//! | `locks/<name>.commit`, `.journal` | locked while the record or the journal is replaced |
//! | `locks/home`, `held`, `index`, `names`, `logins`, `issuers`, `removals` | locked while those are written |
//! | `held/<digest>` | the identities that hold the refresh token with this keyed digest, or wait to install it, sealed |
//! | `held/boot` | the boot in which the files of `held` were last found complete |
//! | `logins/<digest>` | a login that waits for its user, sealed |
//! | `issuers/<digest>` | a registration, metadata or a cool-down of an issuer, sealed; the first makes the folder |
//! | `journal/<name>` | the identity's events, a line of JSON each, in clear; removed by [`FileStore::forget`] |
//! | `records/<name>.room` | room for the next version of a record whose refresh token is marked |
//! | `….<tag>.new` | an unfinished file, in the folder of the final one, with a random tag |
//!
//! `<name>` is a digest of the identity's key under the home's key. Identities may contain secrets, because some servers are
//! named by URLs with keys in them. They are sealed in `index`, in `held` and in the header of each record. File names do not
//! show them, so errors and logs do not either. Without the home's key, no guess can be checked against a name. Issuers are
//! handled in the same way. A journal holds times, kinds of events, reasons and process ids.
//!
//! # Formats
//!
//! The file `home` names the format, which is 2. A home of format 1 is changed when it is opened. This waits up to ten
//! seconds for refreshes of earlier versions that are under way. Processes of earlier versions that still run refuse the
//! home from then on, so they spend nothing. If a change breaks off, the next opening undoes or completes it. The disk may
//! keep removed files for some time, and a home of format 1 had unsealed identities.
//!
//! # Copies
//!
//! If two homes spend the same refresh tokens, servers end the sessions. The file `home` has the path at which the home last
//! granted a claim to spend. When the home is at another path, the store looks at the noted one. If that is another folder with
//! a home of the same id, this home is a copy. It serves valid tokens, and spends nothing ([`Trouble::Copy`]). Otherwise the
//! home was moved or restored, and its new path is noted. A copy on another machine, or in a container that does not see the
//! first home, is not noticed.
//!
//! # How files are written
//!
//! A record is sealed with XChaCha20-Poly1305 under a random nonce. The seal covers its identity and the version of
//! its layout. The store writes the record to a temporary file, syncs the file, renames it, and syncs the folder. A failed
//! write leaves the old record in place. A record that cannot be opened is an error that names the file. It is never
//! taken for "no record" and never overwritten. Neither is a record of a later version. A new login puts a damaged record
//! aside, under its name with `.damaged.` and a random tag, and continues with counters above all earlier ones.
//!
//! A mark is written only after room for the next record was reserved on the disk. A full disk is thus noticed before the
//! refresh token is presented, and the new token can be stored even if the disk fills up meanwhile. File systems that
//! compress, or that write every change to a new place, may break this promise.
//!
//! A change takes the identity's commit lock, reads the record, applies the change, and writes. This takes milliseconds. The
//! wait for the lock is at most three seconds. A claim is a separate lock, one for each epoch, so that a logout does not wait
//! for a refresh. Taking a claim never waits here, and the kernel frees the lock when its process dies. Only the
//! holder of a lock removes its file. After locking a file, the store checks that the file still has its name.
//!
//! # Limits
//!
//! - It does not fall back to another folder or another key.
//! - It does not protect from other programs of the same user, unless they cannot get the key.
//! - It is not for a folder that several machines share or synchronise, because file locks hold on one machine. (NFS
//!   with working locks is the exception.) Where the file system cannot lock, claims are refused as unsupported.
//! - It is for Unix. Elsewhere this crate is empty.
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
mod session_names;
mod store;
mod upgrade;
mod watch;
mod workers;

pub use builder::{FileStoreBuilder, KeySource, Watching};
pub use error::{FileError, Trouble};
pub use journal::Entry;
pub use key::StoreKey;
pub use store::{FileStore, Swept};
