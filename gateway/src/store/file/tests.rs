use std::future::poll_fn;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::Poll;
use std::{fs, thread};

use redb::StorageBackend;

use super::format::MAX_REMOVED;
use super::*;
use crate::store::{Entry, Person};

/// A disk in memory, which can fail and hang.
#[derive(Debug, Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    fails: AtomicBool,
    syncs: AtomicUsize,
    hangs: Mutex<bool>,
    goes_on: Condvar,
    waiting: AtomicUsize,
}

#[derive(Clone, Debug, Default)]
struct Medium(Arc<Disk>);

impl Medium {
    fn store(&self) -> FileGatewayStore {
        let medium = self.clone();
        let open = move || Entries::over(medium.clone(), Bounds::default());
        FileGatewayStore(Arc::new(Owner::start(open).unwrap()))
    }

    fn hang(&self) {
        *self.0.hangs.lock().unwrap() = true;
    }

    fn go_on(&self) {
        *self.0.hangs.lock().unwrap() = false;
        self.0.goes_on.notify_all();
    }

    fn touch<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let hangs = self.0.hangs.lock().unwrap();
        drop(self.0.goes_on.wait_while(hangs, |hangs| *hangs).unwrap());
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        match self.0.fails.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(work(&mut self.0.bytes.lock().unwrap())),
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.touch(|bytes| bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.touch(|bytes| out.copy_from_slice(&bytes[from..from + out.len()]))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.touch(|bytes| bytes.resize(usize::try_from(len).unwrap(), 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.touch(|_| self.0.syncs.fetch_add(1, Ordering::SeqCst)).map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        self.touch(|bytes| bytes[from..from + data.len()].copy_from_slice(data))
    }
}

fn at(millis: u64) -> WallTime {
    WallTime::from_millis(millis)
}

fn key(subject: usize) -> Key {
    Key::Person(subject.to_string())
}

fn person(expires: u64) -> Option<Expiring> {
    let entry = Entry::Person(Person { account: "a".to_owned(), former: None, signed_out: None, families: Vec::new() });
    Some(Expiring { entry, expires: at(expires) })
}

#[tokio::test]
async fn expired_entries_are_removed_in_bounded_steps() {
    let store = Medium::default().store();
    for subject in 0..100 {
        assert_eq!(store.swap(&key(subject), None, person(10), at(0)).await, Ok(Swapped::Done));
    }
    let consent = Some(Expiring { entry: Entry::Consent, expires: at(20) });
    for round in 1..=7 {
        // Changes of the other kinds remove them too.
        let made = store.swap(&Key::Consent(round.to_string()), None, consent.clone(), at(10)).await;
        assert_eq!(made, Ok(Swapped::Done));
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.persons, counts.consents), (100_usize.saturating_sub(round * MAX_REMOVED), round));
    }
}

#[tokio::test]
async fn a_full_kind_has_room_before_all_expired_entries_are_removed() {
    let (medium, bounds) = (Medium::default(), Bounds { max_persons: 50, ..Bounds::default() });
    let store = FileGatewayStore(Arc::new(Owner::start(move || Entries::over(medium.clone(), bounds)).unwrap()));
    for subject in 0..50 {
        store.swap(&key(subject), None, person(10), at(0)).await.unwrap();
    }
    assert_eq!(store.swap(&key(50), None, person(10), at(9)).await, Ok(Swapped::Full));
    assert_eq!(store.swap(&key(50), None, person(20), at(10)).await, Ok(Swapped::Done));
    assert_eq!(store.counts().await.unwrap().persons, 51 - MAX_REMOVED);
}

#[tokio::test]
async fn refused_changes_write_nothing() {
    let medium = Medium::default();
    let store = medium.store();
    store.swap(&key(1), None, person(10), at(0)).await.unwrap();
    let before = medium.0.syncs.load(Ordering::SeqCst);
    assert_eq!(store.swap(&key(1), None, person(10), at(0)).await, Ok(Swapped::Moved));
    assert_eq!(store.swap(&key(2), Some(Revision(9)), None, at(0)).await, Ok(Swapped::Moved));
    assert_eq!(medium.0.syncs.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn changes_that_wait_at_the_same_time_are_written_together() {
    let medium = Medium::default();
    let store = medium.store();
    let syncs = || medium.0.syncs.load(Ordering::SeqCst);
    let before = syncs();
    store.swap(&key(0), None, person(10), at(0)).await.unwrap();
    let of_one = syncs() - before;
    assert!(of_one > 0);

    medium.hang();
    let wanted = key(1);
    let mut first = store.swap(&wanted, None, person(10), at(0));
    assert!(poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await.is_pending());
    while medium.0.waiting.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let keys: Vec<_> = (2..52).map(key).collect();
    let mut others: Vec<_> = keys.iter().map(|key| store.swap(key, None, person(10), at(0))).collect();
    for other in &mut others {
        assert!(poll_fn(|cx| Poll::Ready(other.as_mut().poll(cx))).await.is_pending());
    }
    let before = syncs();
    medium.go_on();
    assert_eq!(first.await, Ok(Swapped::Done));
    for other in others {
        assert_eq!(other.await, Ok(Swapped::Done));
    }
    assert_eq!(syncs() - before, 2 * of_one, "51 changes in two steps");
}

#[tokio::test]
async fn a_change_whose_caller_goes_away_is_made_all_the_same_once_it_waits() {
    let medium = Medium::default();
    let store = medium.store();
    medium.hang();
    let wanted = key(1);
    let mut change = store.swap(&wanted, None, person(10), at(0));
    assert!(poll_fn(|cx| Poll::Ready(change.as_mut().poll(cx))).await.is_pending());
    drop(change);
    medium.go_on();
    assert_eq!(store.swap(&wanted, None, person(10), at(0)).await, Ok(Swapped::Moved));
    assert_eq!(store.counts().await.unwrap().persons, 1);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn a_disk_that_hangs_is_trouble_and_holds_up_nobody() {
    let medium = Medium::default();
    let store = medium.store();
    medium.hang();
    let begun = tokio::time::Instant::now();
    assert_eq!(store.swap(&key(1), None, person(10), at(0)).await, Err(StoreTrouble));
    assert_eq!(begun.elapsed(), owner::TIMEOUT);
    medium.go_on();
    // A paused clock goes on while the thread works.
    tokio::time::resume();
    // `StoreTrouble` leaves open whether the change was made. It was.
    assert_eq!(store.swap(&key(1), None, person(10), at(0)).await, Ok(Swapped::Moved));
}

#[tokio::test]
async fn a_disk_that_fails_loses_nothing_and_is_used_again_afterwards() {
    let medium = Medium::default();
    let store = medium.store();
    store.swap(&key(1), None, person(10), at(0)).await.unwrap();
    medium.0.fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(store.swap(&key(2), None, person(10), at(0)).await, Err(StoreTrouble));
        assert_eq!(store.load(&key(1), at(0)).await, Err(StoreTrouble));
    }
    medium.0.fails.store(false, Ordering::SeqCst);
    assert_eq!(store.swap(&key(2), None, person(10), at(0)).await, Ok(Swapped::Done));
    assert!(store.load(&key(1), at(0)).await.unwrap().is_some());

    // Reads alone bring it back too.
    medium.0.fails.store(true, Ordering::SeqCst);
    assert_eq!(store.swap(&key(3), None, person(10), at(0)).await, Err(StoreTrouble));
    medium.0.fails.store(false, Ordering::SeqCst);
    while store.load(&key(2), at(0)).await.is_err() {}
    assert!(store.load(&key(1), at(0)).await.unwrap().is_some());
    assert_eq!(store.load(&key(3), at(0)).await, Ok(None));
}

#[tokio::test]
async fn a_closed_store_is_free_for_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, path) = (folder.path().join("gateway"), folder.path().join("gateway").join(folder::FILE));
    let store = FileGatewayStore::open(&folder).unwrap();
    store.swap(&key(1), None, person(10), at(0)).await.unwrap();
    let error = FileGatewayStore::open(&folder).unwrap_err();
    assert_eq!(error, OpenError::InUse { path });
    assert!(error.to_string().contains("another process has the gateway's store open: end it first"));
    store.clone().close().await;
    assert_eq!(store.load(&key(1), at(0)).await, Err(StoreTrouble));
    assert_eq!(store.swap(&key(1), None, person(10), at(0)).await, Err(StoreTrouble));
    let again = FileGatewayStore::open(&folder).unwrap();
    assert!(again.load(&key(1), at(0)).await.unwrap().is_some());
}

#[tokio::test]
async fn the_file_and_its_folder_are_this_users_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new").join("gateway");
    let path = folder.join(folder::FILE);
    FileGatewayStore::open(&folder).unwrap().close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));

    let refused = |folder: &Path| FileGatewayStore::open(folder).unwrap_err();
    let expose = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let not_private = OpenError::NotPrivate { path: path.clone() };
    for (exposed, bad, good) in [(&folder, 0o750, 0o700), (&folder, 0o701, 0o700), (&path, 0o640, 0o600)] {
        expose(exposed, bad);
        assert_eq!(refused(&folder), not_private);
        expose(exposed, good);
    }
    FileGatewayStore::open(&folder).unwrap().close().await;

    let link = place.path().join("link");
    symlink(&folder, &link).unwrap();
    assert!(matches!(refused(&link), OpenError::NotPrivate { .. }));
    fs::rename(&path, place.path().join("elsewhere")).unwrap();
    symlink(place.path().join("elsewhere"), &path).unwrap();
    assert_eq!(refused(&folder), not_private);
}

#[test]
fn a_file_of_a_newer_format_and_one_of_something_else_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.path().join(folder::FILE);
    let database = redb::Database::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let change = database.begin_write().unwrap();
    change.open_table(redb::TableDefinition::<&str, u64>::new("about")).unwrap().insert("format", 2).unwrap();
    change.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let error = FileGatewayStore::open(folder.path()).unwrap_err();
        assert_eq!(error, OpenError::Newer { path: path.clone(), format: 2 });
        assert!(error.to_string().contains("(format 2): update this one"), "{error}");
    }
    let text = "not a database ".repeat(1000);
    fs::write(&path, &text).unwrap();
    assert_eq!(FileGatewayStore::open(folder.path()).unwrap_err(), OpenError::Damaged { path: path.clone() });
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
