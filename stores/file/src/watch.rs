//! Store events for written records and issuers' entries.
//!
//! A record is written by renaming a file into the folder of records, so each watch observes that folder. It uses the
//! operating system's events where possible, and polling elsewhere. The folder of issuers' entries is watched in the same way.

mod polling;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use notify::event::{Event, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokenkeeper_actors::ports::store::{StoreEvent, StoreWatch};
use tokenkeeper_actors::values::ServerIdentity;
use tokenkeeper_actors::values::issuer::IssuerKey;
use tokio::sync::Notify;

use crate::builder::Watching;
use crate::error::FileError;
use crate::folder::file_name;
use crate::home::ISSUERS;
use crate::names::Name;
use crate::store::Inner;

/// Store events that the watch has not returned yet. Each identity and entry occurs at most once, which bounds the
/// queue.
#[derive(Default)]
pub(crate) struct Hearing {
    heard: Mutex<Heard>,
    bell: Notify,
}

#[derive(Default)]
struct Heard {
    changed: BTreeSet<ServerIdentity>,
    entries: BTreeSet<IssuerKey>,
    lagged: bool,
    ended: bool,
}

impl Hearing {
    fn changed(&self, identity: ServerIdentity) {
        self.heard().changed.insert(identity);
        self.bell.notify_one();
    }

    fn entry_changed(&self, entry: IssuerKey) {
        self.heard().entries.insert(entry);
        self.bell.notify_one();
    }

    fn lagged(&self) {
        self.heard().lagged = true;
        self.bell.notify_one();
    }

    pub(crate) fn end(&self) {
        self.heard().ended = true;
        self.bell.notify_one();
    }

    fn has_ended(&self) -> bool {
        self.heard().ended
    }

    fn take(&self) -> Option<StoreEvent> {
        let mut heard = self.heard();
        if std::mem::take(&mut heard.lagged) {
            // A lag covers each of them.
            heard.changed.clear();
            heard.entries.clear();
            return Some(StoreEvent::Lagged);
        }
        let changed = heard.changed.pop_first().map(StoreEvent::Changed);
        let changed = changed.or_else(|| heard.entries.pop_first().map(StoreEvent::IssuerChanged));
        changed.or_else(|| heard.ended.then_some(StoreEvent::Ended))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A written file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Written {
    /// A record.
    Record(Name),
    /// An issuer's entry.
    Entry(Name),
}

impl Written {
    /// The file in an event's path, if it is a record or an entry.
    fn at(path: &Path) -> Option<Self> {
        let name = Name::read(file_name(path)?)?;
        let is_entry = path.parent().and_then(file_name) == Some(ISSUERS);
        Some(if is_entry { Self::Entry(name) } else { Self::Record(name) })
    }
}

/// A watch on the folders of records and of entries. It does not keep the store alive.
pub(crate) struct FileWatch {
    hearing: Arc<Hearing>,
    /// Stops watching when it is dropped. `None` for a polling thread, which stops by itself.
    _watcher: Option<RecommendedWatcher>,
}

#[async_trait]
impl StoreWatch for FileWatch {
    async fn next(&mut self) -> StoreEvent {
        loop {
            if let Some(news) = self.hearing.take() {
                return news;
            }
            self.hearing.bell.notified().await;
        }
    }
}

impl fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch").field("polling", &self._watcher.is_none()).finish_non_exhaustive()
    }
}

/// Begins to watch. Every write after this has returned is reported.
pub(crate) fn begin(inner: &Arc<Inner>, watching: Watching) -> Result<FileWatch, FileError> {
    let place = inner.place()?;
    let hearing = Arc::new(Hearing::default());
    inner.add_watch(&hearing);
    let records = &place.home.records;
    if watching == Watching::System && !records.is_remote() {
        let mut folders = vec![place.home.root.path().to_owned(), records.path().to_owned()];
        // If the folder of entries cannot be made, it is not watched. No entry can be written then either.
        match place.home.make_issuers() {
            Ok(issuers) => folders.push(issuers.path().to_owned()),
            Err(error) => tracing::debug!(%error, "entries of issuers are not watched"),
        }
        let ear = Ear { inner: Arc::downgrade(inner), hearing: Arc::clone(&hearing), folders };
        match listen(ear) {
            Ok(watcher) => return Ok(FileWatch { hearing, _watcher: Some(watcher) }),
            // The system has too many watches or supports none, so poll instead.
            Err(error) => tracing::info!(%error, "the system tells of no changes; looking twice a second instead"),
        }
    }
    polling::begin(inner, &place, &hearing)?;
    Ok(FileWatch { hearing, _watcher: None })
}

/// Listens to the folders of records and of entries, and to the home, which alone reports their removal.
fn listen(ear: Ear) -> notify::Result<RecommendedWatcher> {
    let folders = ear.folders.clone();
    let mut watcher = notify::recommended_watcher(move |event| ear.hear(event))?;
    for folder in &folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Turns the system's events into store events, on the watcher's own thread.
struct Ear {
    inner: Weak<Inner>,
    hearing: Arc<Hearing>,
    /// The home, and its folders of records and of entries.
    folders: Vec<PathBuf>,
}

impl Ear {
    fn hear(&self, event: notify::Result<Event>) {
        match event {
            // After any error, an event may have been missed.
            Err(_) => self.hearing.lagged(),
            Ok(event) if event.need_rescan() => self.hearing.lagged(),
            Ok(event) => match event.kind {
                EventKind::Access(_) => {}
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
                    if event.paths.iter().any(|path| self.folders.contains(path)) =>
                {
                    self.hearing.end();
                }
                // The new name of a renamed file has an event of its own.
                EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::Both)) => {}
                _ => {
                    let written = event.paths.iter().filter_map(|path| Written::at(path));
                    written.for_each(|written| self.tell(&written));
                }
            },
        }
    }

    fn tell(&self, written: &Written) {
        // If the store was dropped, nothing needs the event.
        if let Some(inner) = self.inner.upgrade() {
            tell(&inner, &self.hearing, written);
        }
    }
}

fn tell(inner: &Inner, hearing: &Hearing, written: &Written) {
    let told = match written {
        Written::Record(name) => inner.whose(name).map(|identity| hearing.changed(identity)),
        Written::Entry(name) => inner.which_entry(name).map(|entry| hearing.entry_changed(entry)),
    };
    // The identity or the key of the file cannot be determined, so the watch reports a lag.
    if told.is_none() {
        hearing.lagged();
    }
}

#[cfg(test)]
mod tests {
    use notify::event::Flag;

    use super::*;

    #[test]
    fn what_was_lost_is_said_once_and_covers_everything_before() {
        let ear = Ear { inner: Weak::new(), hearing: Arc::default(), folders: Vec::new() };
        let who = ServerIdentity::from_key("api:github#work").unwrap();
        let entry = IssuerKey::from_key("metadata:https://as.example.com#").unwrap();
        ear.hearing.changed(who.clone());
        ear.hearing.entry_changed(entry.clone());
        ear.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        ear.hear(Err(notify::Error::generic("x")));
        ear.hearing.changed(who.clone());
        assert_eq!(ear.hearing.take(), Some(StoreEvent::Lagged));
        assert_eq!(ear.hearing.take(), None);
        ear.hearing.entry_changed(entry.clone());
        ear.hearing.changed(who.clone());
        ear.hearing.end();
        assert_eq!(ear.hearing.take(), Some(StoreEvent::Changed(who)));
        assert_eq!(ear.hearing.take(), Some(StoreEvent::IssuerChanged(entry)));
        assert_eq!(ear.hearing.take(), Some(StoreEvent::Ended));
        assert_eq!(ear.hearing.take(), Some(StoreEvent::Ended));
    }
}
