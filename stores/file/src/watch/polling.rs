//! Polling the folders, where the system reports no events.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Hearing, Written, tell};
use crate::error::{FileError, Trouble};
use crate::folder::Folder;
use crate::names::Name;
use crate::records::Place;
use crate::store::Inner;

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(500);

/// The observed state of a file. Each write changes the inode, and the time of change grows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    changed: (i64, i64),
    size: i64,
}

type Snapshot = BTreeMap<Written, Seen>;

/// Begins to poll. The first poll is made now, the others on a thread, until the watch or the store is gone.
pub(super) fn begin(inner: &Arc<Inner>, place: &Place, hearing: &Arc<Hearing>) -> Result<(), FileError> {
    let seen = look(place)?;
    let (inner, hearing) = (Arc::downgrade(inner), Arc::downgrade(hearing));
    start(move || go_on_looking(seen, &inner, &hearing)).map_err(|error| FileError::io(&error, place.home.path()))
}

fn go_on_looking(mut seen: Snapshot, inner: &Weak<Inner>, hearing: &Weak<Hearing>) {
    loop {
        sleep(PAUSE);
        let (Some(inner), Some(hearing)) = (inner.upgrade(), hearing.upgrade()) else { return };
        if hearing.has_ended() {
            return;
        }
        match inner.place().and_then(|place| look(&place)) {
            Ok(now) => {
                let gone = seen.keys().filter(|written| !now.contains_key(written));
                gone.for_each(|written| tell(&inner, &hearing, written));
                let news = now.iter().filter(|(written, how)| seen.get(written) != Some(*how));
                news.for_each(|(written, _)| tell(&inner, &hearing, written));
                seen = now;
            }
            Err(error) if *error.trouble() == Trouble::Missing => return hearing.end(),
            Err(_) => hearing.lagged(),
        }
    }
}

fn look(place: &Place) -> Result<Snapshot, FileError> {
    let mut seen = look_at(&place.home.records, Written::Record)?;
    if let Some(issuers) = place.home.issuers()? {
        seen.extend(look_at(&issuers, Written::Entry)?);
    }
    Ok(seen)
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types differ from system to system")]
fn look_at(folder: &Folder, written: fn(Name) -> Written) -> Result<Snapshot, FileError> {
    let names = folder.names()?.into_iter().filter_map(|file| Name::read(&file));
    let seen = names.filter_map(|name| {
        let stat = folder.stat(name.as_str()).ok()??;
        let changed = (stat.st_ctime as i64, stat.st_ctime_nsec as i64);
        Some((written(name), Seen { inode: stat.st_ino as u64, changed, size: stat.st_size as i64 }))
    });
    Ok(seen.collect())
}

#[expect(clippy::disallowed_methods, reason = "a thread of the store's own, that ends with the watch")]
fn start(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name("tokenkeeper-poll".to_owned()).spawn(work).map(drop)
}

#[expect(clippy::disallowed_methods, reason = "on a thread that does nothing else")]
fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}
