//! Pending logins. Each is sealed, and can be taken once.

use base16ct::lower as hex;
use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper_actors::ports::store::{LoginKey, PendingLogin};
use tokenkeeper_actors::values::{AttemptId, Epoch, Moment, ServerIdentity, WallTime};
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
    // No key of an identity contains a line break.
    let PendingLogin { identity, attempt, epoch, same_subject, .. } = login;
    let head = format!("{}\n{attempt} {} {same_subject}\n", identity.key(), epoch.number());
    let secret = login.sealed.expose_secret();
    let mut plaintext = Zeroizing::new(Vec::with_capacity(head.len() + secret.len()));
    plaintext.extend_from_slice(head.as_bytes());
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
    let Some(login) = open(place, key, &file)? else { return Ok(None) };
    // The file is removed durably before the caller gets the login.
    logins.remove(&file)?;
    logins.sync()?;
    Ok(Some(login))
}

pub(crate) fn peek(place: &Place, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, FileError> {
    let login = open(place, key, &hex::encode_string(&key.0))?;
    Ok(login.filter(|login| login.expires > now.wall))
}

pub(crate) fn pending(place: &Place, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, FileError> {
    {
        let _lock = lock::wait(&place.home.locks, LOCK)?;
        drop_expired(place, now.wall)?;
    }
    let mut pending = Vec::new();
    for file in place.home.logins.names()? {
        let Some(key) = key_of(&file) else { continue };
        // A login may have been taken since the folder was read. One that cannot be read is skipped.
        pending.extend(peek(place, &key, now).ok().flatten().map(|login| (key, login)));
    }
    Ok(pending)
}

pub(crate) fn drop_all(place: &Place, identity: &ServerIdentity) -> Result<(), FileError> {
    let logins = &place.home.logins;
    let _lock = lock::wait(&place.home.locks, LOCK)?;
    for file in logins.names()? {
        let Some(key) = key_of(&file) else { continue };
        // A login that cannot be read stays. It cannot be taken either.
        if open(place, &key, &file).is_ok_and(|login| login.is_some_and(|login| login.identity == *identity)) {
            logins.remove(&file)?;
        }
    }
    logins.sync()
}

/// The key of the login in `file`, or `None` for an unfinished file.
fn key_of(file: &str) -> Option<LoginKey> {
    let mut key = [0; 32];
    hex::decode(file, &mut key).ok().filter(|key| key.len() == 32)?;
    Some(LoginKey(key))
}

fn open(place: &Place, key: &LoginKey, file: &str) -> Result<Option<PendingLogin>, FileError> {
    let logins = &place.home.logins;
    let Some(bytes) = logins.read(file, MOST)? else { return Ok(None) };
    let opened = seal::open(&place.keys, Kind::Login, &key.0, bytes).map_err(|trouble| logins.error(trouble, file))?;
    read(&opened).map(Some).ok_or_else(|| logins.error(Trouble::Damaged, file))
}

fn read(opened: &seal::Opened) -> Option<PendingLogin> {
    let mut parts = opened.plaintext().splitn(3, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(parts.next()?).ok();
    let identity = ServerIdentity::from_key(line()?).ok()?;
    let mut words = line()?.split(' ');
    let attempt = AttemptId(u128::from_str_radix(words.next()?, 16).ok()?);
    let epoch = Epoch::new(words.next()?.parse().ok()?);
    let same_subject = words.next()?.parse().ok()?;
    let sealed = SecretSlice::from(parts.next()?.to_vec());
    Some(PendingLogin { identity, attempt, epoch, same_subject, expires: expires(opened.header())?, sealed })
}

fn drop_expired(place: &Place, now: WallTime) -> Result<(), FileError> {
    let logins = &place.home.logins;
    for file in logins.names()? {
        let Some(bytes) = logins.read_part(&file, 0, 64)? else { continue };
        let ends = seal::header(Kind::Login, Kind::Login.layout(), &bytes).ok().and_then(|at| expires(&bytes[at]));
        if ends.is_some_and(|ends| ends <= now) {
            logins.remove(&file)?;
        }
    }
    Ok(())
}

fn expires(header: &[u8]) -> Option<WallTime> {
    Some(WallTime::from_millis(u64::from_le_bytes(header.try_into().ok()?)))
}
