//! Logins that wait for their users. Each is sealed, and taken once.

use base16ct::lower as hex;
use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper_actors::ports::store::{LoginKey, PendingLogin};
use tokenkeeper_actors::values::{Moment, ServerIdentity, WallTime};
use zeroize::Zeroizing;

use crate::error::{FileError, Trouble};
use crate::folder::Durability;
use crate::lock;
use crate::records::Place;
use crate::seal::{self, Kind};

/// The lock for all logins.
const LOCK: &str = "logins";

/// The maximal size of a login's file.
const MOST: usize = 1024 * 1024;

pub(crate) fn put(place: &Place, key: LoginKey, login: &PendingLogin) -> Result<(), FileError> {
    let (file, logins) = (hex::encode_string(&key.0), &place.home.logins);
    let (identity, secret) = (login.identity.key(), login.sealed.expose_secret());
    let mut plaintext = Zeroizing::new(Vec::with_capacity(identity.len() + 1 + secret.len()));
    plaintext.extend_from_slice(identity.as_bytes());
    // No key of an identity contains a line break.
    plaintext.push(b'\n');
    plaintext.extend_from_slice(secret);
    let expires = login.expires.as_millis().to_le_bytes();
    let sealed = seal::seal(&place.keys, Kind::Login, &expires, &key.0, &plaintext)
        .map_err(|trouble| logins.error(trouble, &file))?;
    let _lock = lock::wait(&place.home.locks, LOCK)?;
    logins.replace(&file, &sealed, Durability::Durable)
}

pub(crate) fn take(place: &Place, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, FileError> {
    let (file, logins) = (hex::encode_string(&key.0), &place.home.logins);
    let _lock = lock::wait(&place.home.locks, LOCK)?;
    drop_expired(place, now.wall)?;
    let Some(bytes) = logins.read(&file, MOST)? else { return Ok(None) };
    let opened = seal::open(&place.keys, Kind::Login, &key.0, bytes).map_err(|trouble| logins.error(trouble, &file))?;
    let login = read(&opened).ok_or_else(|| logins.error(Trouble::Damaged, &file))?;
    // The file is removed durably before the caller gets the login.
    logins.remove(&file)?;
    logins.sync()?;
    Ok(Some(login))
}

fn read(opened: &seal::Opened) -> Option<PendingLogin> {
    let mut parts = opened.plaintext().splitn(2, |byte| *byte == b'\n');
    let identity = ServerIdentity::from_key(std::str::from_utf8(parts.next()?).ok()?).ok()?;
    let sealed = SecretSlice::from(parts.next()?.to_vec());
    Some(PendingLogin { identity, expires: expires(opened.header())?, sealed })
}

fn drop_expired(place: &Place, now: WallTime) -> Result<(), FileError> {
    let logins = &place.home.logins;
    for file in logins.names()? {
        let Some(bytes) = logins.read_part(&file, 0, 64)? else { continue };
        let ends = seal::header(Kind::Login, &bytes).ok().and_then(|at| expires(&bytes[at]));
        if ends.is_some_and(|ends| ends <= now) {
            logins.remove(&file)?;
        }
    }
    Ok(())
}

fn expires(header: &[u8]) -> Option<WallTime> {
    Some(WallTime::from_millis(u64::from_le_bytes(header.try_into().ok()?)))
}
