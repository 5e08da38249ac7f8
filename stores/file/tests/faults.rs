//! Faults from outside a home, such as links, permissions, a full disk, or a folder that goes away. Each is an error
//! that names the file and the remedy. It loses nothing, and it ends when its cause does.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

use support::{
    AT_LEAST, Ground, Process, SPEND, credential, digest, flight, granted, identity, install, login, may_skip, moment,
    open, role, say, token, wait_for_word, who,
};
use tokenkeeper_actors::ports::store::{
    ClaimEnding, EventKind, JournalLine, LoginKey, PendingLogin, Renewed, Reservation, StoreEvent, TokenStore,
};
use tokenkeeper_actors::values::{AttemptId, Epoch, KeyedDigest, StoreFault};
use tokenkeeper_store_file::{FileError, FileStore, KeySource, StoreKey, Trouble, Watching};

/// A user that is not root and owns nothing.
const NOBODY: u32 = 65_534;

/// The child's part. On its own it is no test.
#[tokio::test]
async fn child() {
    let Some((role, home)) = role() else { return };
    assert_eq!(role, "unprivileged");
    let store = open(&home);
    install(&store, &who(), "rt-1").await;
    say("open");
    loop {
        let token = wait_for_word();
        match store.change(&who(), login(&store, &token).await).await {
            Ok(_) => say("written"),
            Err(fault) => say(format!("{fault:?}: {}", store.last_trouble().unwrap())),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refused(dir: &Path) -> FileError {
    FileStore::open(dir).unwrap_err()
}

/// The paths of everything in a home.
fn everything(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

async fn use_all_of(store: &FileStore) {
    install(store, &who(), "rt-secret-1").await;
    store.reserve(&identity("home"), digest(store, "rt-secret-2").await, moment(0)).await.unwrap();
    let login = PendingLogin {
        identity: who(),
        attempt: AttemptId(7),
        epoch: Epoch::new(1),
        same_subject: true,
        expires: moment(600).wall,
        sealed: b"pkce-secret".to_vec().into(),
    };
    store.put_login(LoginKey([1; 32]), login).await.unwrap();
    let line = JournalLine { at: moment(0), flight: None, kind: EventKind::LoggedIn, reason: None };
    store.note(&who(), line).await.unwrap();
    granted(store.claim(&who(), SPEND, flight(1), AT_LEAST).await.unwrap());
}

#[tokio::test]
async fn folders_are_0700_files_0600_and_no_secret_is_in_them() {
    let ground = Ground::new();
    let store = FileStore::open(ground.home()).unwrap();
    use_all_of(&store).await;
    let found = everything(&ground.home());
    assert_eq!(found.len(), 6 + 16, "{found:#?}");
    for path in &found {
        assert_eq!(mode(path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    let key = fs::read(ground.home().join("key")).unwrap();
    assert_eq!(key.len(), 32);
    for path in found.iter().filter(|path| path.is_file()) {
        let bytes = fs::read(path).unwrap();
        for secret in [&b"secret"[..], b"c2VjcmV0", b"736563726574", b"pkce"] {
            let seen = bytes.windows(secret.len()).any(|piece| piece.eq_ignore_ascii_case(secret));
            assert!(!seen, "{}", path.display());
        }
        assert!(path.ends_with("key") || !bytes.windows(16).any(|piece| key.starts_with(piece)), "{}", path.display());
    }
}

#[test]
fn a_home_that_others_may_write_or_that_is_somebody_elses_is_refused() {
    let ground = Ground::new();
    drop(FileStore::open(ground.home()).unwrap());
    for open_to in [0o720, 0o702, 0o777] {
        chmod(&ground.home(), open_to);
        let error = refused(&ground.home());
        assert_eq!((error.trouble(), error.path()), (&Trouble::Exposed, &*ground.home()));
        // On a mount without permissions `chmod` has no effect.
        assert!(error.to_string().contains("chmod go-rwx") && error.to_string().contains("umask=077"), "{error}");
    }
    chmod(&ground.home(), 0o700);
    let key = ground.home().join("key");
    chmod(&key, 0o640);
    assert_eq!(refused(&ground.home()), FileStore::open(ground.home()).unwrap_err());
    assert_eq!(refused(&ground.home()).path(), key);
    chmod(&key, 0o600);
    drop(FileStore::open(ground.home()).unwrap());
    if chown(ground.home(), Some(NOBODY), None).is_err() {
        return may_skip("giving a folder away");
    }
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::Exposed);
}

#[test]
fn a_fresh_volume_becomes_a_home() {
    // With a group's permissions, and with the folder that its file system made.
    for (mode_before, made) in [(0o2770, None), (0o2770, Some("lost+found")), (0o700, Some("lost+found"))] {
        let ground = tempfile::tempdir().unwrap();
        made.into_iter().for_each(|made| fs::create_dir(ground.path().join(made)).unwrap());
        chmod(ground.path(), mode_before);
        FileStore::open(ground.path()).unwrap();
        assert_eq!(mode(ground.path()) & 0o777, 0o700);
        FileStore::open(ground.path()).unwrap();
    }
    // Others may have put something in the folder that stands there.
    let ground = tempfile::tempdir().unwrap();
    fs::create_dir(ground.path().join("records")).unwrap();
    chmod(ground.path(), 0o2770);
    assert_eq!(refused(ground.path()).trouble(), &Trouble::Exposed);
    assert_eq!(mode(ground.path()), 0o2770);
}

#[test]
fn a_folder_with_other_things_in_it_becomes_no_home() {
    let ground = tempfile::tempdir().unwrap();
    fs::write(ground.path().join("letters.txt"), "dear").unwrap();
    let error = refused(ground.path());
    assert_eq!(error.trouble(), &Trouble::Occupied);
    assert_eq!(everything(ground.path()), [ground.path().to_owned(), ground.path().join("letters.txt")]);

    // Leftovers of an unfinished home, and the usual permissions, do not prevent a new one.
    fs::remove_file(ground.path().join("letters.txt")).unwrap();
    fs::write(ground.path().join("home.new"), "{").unwrap();
    chmod(ground.path(), 0o755);
    FileStore::open(ground.path()).unwrap();
    assert_eq!(mode(ground.path()), 0o700);
}

#[test]
fn where_a_home_must_exist_none_is_made() {
    let ground = tempfile::tempdir().unwrap();
    for dir in [ground.path().to_owned(), ground.path().join("home")] {
        let error = FileStore::builder(&dir).existing().open().unwrap_err();
        assert_eq!((error.trouble(), error.path()), (&Trouble::NoHome, dir.as_path()));
    }
    assert_eq!(fs::read_dir(ground.path()).unwrap().count(), 0);
    let dir = ground.path().join("home");
    FileStore::open(&dir).unwrap();
    FileStore::builder(&dir).existing().open().unwrap();
}

#[tokio::test]
async fn no_symbolic_link_is_followed() {
    let ground = Ground::new();
    let store = ground.open();
    let outside = ground.0.path().join("outside");
    fs::write(&outside, "untouched").unwrap();

    // The home, and a folder in it.
    let link = ground.0.path().join("link");
    symlink(ground.home(), &link).unwrap();
    assert_eq!(refused(&link).trouble(), &Trouble::Link);
    let journal = ground.home().join("journal");
    fs::rename(&journal, ground.0.path().join("moved")).unwrap();
    symlink(ground.0.path().join("moved"), &journal).unwrap();
    let error = FileStore::builder(ground.home()).key(KeySource::Given(StoreKey::new([9; 32]))).open().unwrap_err();
    assert_eq!((error.trouble(), error.path()), (&Trouble::Link, &*journal));
    fs::remove_file(&journal).unwrap();
    fs::rename(ground.0.path().join("moved"), &journal).unwrap();

    // A record, read and written.
    symlink(&outside, ground.record(&who())).unwrap();
    assert_eq!(store.load(&who()).await, Err(StoreFault::Denied));
    assert_eq!(store.change(&who(), login(&store, "rt-1").await).await, Err(StoreFault::Denied));
    let error = store.last_trouble().unwrap();
    assert_eq!((error.trouble(), error.path()), (&Trouble::Link, &*ground.record(&who())));
    fs::remove_file(ground.record(&who())).unwrap();

    // A file that a process in another domain of locks may be writing. It is left alone.
    let unfinished = ground.home().join("records").join(ground.name(&who()) + ".new");
    symlink(&outside, &unfinished).unwrap();
    install(&store, &who(), "rt-1").await;
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    assert!(unfinished.is_symlink());

    // Locks.
    let lock = ground.lock(&(ground.name(&identity("home")) + ".commit"));
    symlink(&outside, &lock).unwrap();
    assert_eq!(store.change(&identity("home"), login(&store, "rt-2").await).await, Err(StoreFault::Denied));
    let lock = ground.lock(&(ground.name(&identity("home")) + ".spend.1"));
    symlink(ground.0.path().join("nothing"), &lock).unwrap();
    assert_eq!(store.claim(&identity("home"), SPEND, flight(1), AT_LEAST).await, Err(StoreFault::Denied));
    assert!(!ground.0.path().join("nothing").exists());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_and_nobody_waits_for_it() {
    let ground = Ground::new();
    let store = ground.open();
    fs::create_dir(ground.record(&who())).unwrap();
    assert_eq!(store.load(&who()).await, Err(StoreFault::Failed));
    assert_eq!(store.last_trouble().unwrap().trouble(), &Trouble::Strange);
    let other = identity("home");
    let made = std::process::Command::new("mkfifo").arg(ground.record(&other)).status();
    if !made.is_ok_and(|status| status.success()) {
        return may_skip("making a pipe");
    }
    assert_eq!(store.load(&other).await, Err(StoreFault::Failed));
    assert_eq!(store.change(&other, login(&store, "rt-1").await).await, Err(StoreFault::Failed));
}

#[tokio::test]
async fn a_writer_that_does_not_finish_makes_others_busy_and_not_wait_for_ever() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    let lock = File::open(ground.lock(&(ground.name(&who()) + ".commit"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(store.change(&who(), login(&store, "rt-2").await).await, Err(StoreFault::Busy));
    assert!(store.last_trouble().unwrap().to_string().contains("another process uses it"));
    // Reading needs no lock, and another identity's lock does not matter.
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    install(&store, &identity("home"), "rt-9").await;
    lock.unlock().unwrap();
    install(&store, &who(), "rt-2").await;
}

#[tokio::test]
async fn a_token_that_is_just_being_stored_is_nobody_elses_and_one_that_never_was_is() {
    let ground = Ground::new();
    let (store, other) = (ground.open(), identity("home"));
    install(&store, &who(), "rt-1").await;
    let coming = digest(&store, "rt-2").await;
    store.reserve(&other, digest(&store, "rt-9").await, moment(0)).await.unwrap();
    // The state after half of a write of `who`, namely its hint under the name of a new token too, and its lock.
    let hint = |digest: KeyedDigest| {
        let file: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        ground.home().join("held").join(file)
    };
    fs::hard_link(hint(digest(&store, "rt-1").await), hint(coming)).unwrap();
    let lock = File::open(ground.lock(&(ground.name(&who()) + ".commit"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(store.reserve(&other, coming, moment(0)).await, Err(StoreFault::Busy));
    lock.unlock().unwrap();
    // The writer died, so its hint never became true.
    assert_eq!(store.reserve(&other, coming, moment(0)).await, Ok(Reservation::Reserved));
    assert_eq!(store.reserve(&who(), coming, moment(0)).await, Ok(Reservation::HeldBy(other)));
}

#[tokio::test]
async fn a_home_is_opened_with_the_key_it_was_made_with_and_with_no_other() {
    let ground = Ground::new();
    install(&ground.open(), &who(), "rt-1").await;
    let with = |key| FileStore::builder(ground.home()).key(key).open();
    let error = with(KeySource::Given(StoreKey::new([8; 32]))).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::WrongKey);
    let error = with(KeySource::File).unwrap_err();
    assert_eq!(error.trouble(), &Trouble::KeyElsewhere("given by the host"));
    assert!(!ground.home().join("key").exists());
    assert_eq!(token(ground.open().load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    // The home's description is gone. No new key may be made for old records.
    fs::remove_file(ground.home().join("home")).unwrap();
    assert_eq!(with(KeySource::File).unwrap_err().path(), ground.home().join("home"));

    let ground = Ground::new();
    drop(FileStore::open(ground.home()).unwrap());
    let key = ground.home().join("key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::KeyMissing);
    fs::write(&key, [0; 32]).unwrap();
    chmod(&key, 0o600);
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::WrongKey);
    fs::write(&key, &kept[..31]).unwrap();
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::Damaged);
    fs::write(&key, &kept).unwrap();
    drop(FileStore::open(ground.home()).unwrap());
    let about = ground.home().join("home");
    let text = fs::read_to_string(&about).unwrap();
    fs::write(&about, text.replacen("\"format\":2", "\"format\":3", 1)).unwrap();
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::Newer);
    fs::write(&about, &text[..20]).unwrap();
    assert_eq!(refused(&ground.home()).trouble(), &Trouble::Damaged);
    assert_eq!(fs::read(&key).unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_goes_away_is_an_error_until_it_is_back() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    let claim = granted(store.claim(&who(), SPEND, flight(1), AT_LEAST).await.unwrap());
    let mut watch = store.watch().await.unwrap();
    let away = ground.0.path().join("away");
    fs::rename(ground.home(), &away).unwrap();
    assert_eq!(watch.next().await, StoreEvent::Ended);
    assert_eq!(store.load(&who()).await, Err(StoreFault::Gone));
    assert_eq!(store.list().await, Err(StoreFault::Gone));
    assert_eq!(store.change(&who(), login(&store, "rt-2").await).await, Err(StoreFault::Gone));
    assert_eq!(store.claim(&who(), SPEND, flight(2), AT_LEAST).await, Err(StoreFault::Gone));
    assert!(store.watch().await.is_err());
    assert!(store.last_trouble().unwrap().to_string().contains("bring the folder back"));
    assert!(!ground.home().exists(), "a home that is gone is not made anew");
    fs::rename(&away, ground.home()).unwrap();
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-1"));
    assert_eq!(store.renew(&who(), &claim, AT_LEAST).await, Ok(Renewed::Until(None)));
    let mut watch = store.watch().await.unwrap();
    install(&store, &who(), "rt-2").await;
    assert_eq!(watch.next().await, StoreEvent::Changed(who()));

    // Losing a part is as bad as losing all. A missing folder of records does not mean that no login exists.
    let records = ground.home().join("records");
    fs::rename(&records, &away).unwrap();
    assert_eq!(watch.next().await, StoreEvent::Ended);
    assert_eq!(store.load(&who()).await, Err(StoreFault::Gone));
    assert_eq!(store.last_trouble().unwrap().path(), records);
    assert!(!records.exists());
    fs::rename(&away, &records).unwrap();
    assert_eq!(token(store.load(&who()).await.unwrap()).as_deref(), Some("rt-2"));
    let mut watch = store.watch().await.unwrap();

    // The home is removed for good and another one made in its place. It does not belong to this store.
    fs::remove_dir_all(ground.home()).unwrap();
    while watch.next().await != StoreEvent::Ended {}
    assert_eq!(store.change(&who(), login(&store, "rt-3").await).await, Err(StoreFault::Gone));
    drop(FileStore::open(ground.home()).unwrap());
    assert_eq!(store.change(&who(), login(&store, "rt-3").await).await, Err(StoreFault::Failed));
    assert_eq!(store.last_trouble().unwrap().trouble(), &Trouble::WrongKey);
    store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
}

#[tokio::test]
async fn without_permission_to_write_nothing_changes_until_there_is() {
    let ground = Ground::new();
    chmod(ground.0.path(), 0o755);
    fs::create_dir(ground.home()).unwrap();
    chmod(&ground.home(), 0o700);
    if chown(ground.home(), Some(NOBODY), Some(NOBODY)).is_err() {
        return may_skip("another user's home");
    }
    let mut process = Process::start_as("unprivileged", &ground.home(), Some(NOBODY));
    process.expect("open");
    let records = ground.home().join("records");
    let before = fs::read(ground.record(&who())).unwrap();
    chmod(&records, 0o500);
    process.tell("rt-2");
    let said = process.hear().unwrap();
    assert!(said.starts_with("Denied: ") && said.contains("check its owner, its permissions"), "{said}");
    assert_eq!(fs::read(ground.record(&who())).unwrap(), before);
    chmod(&records, 0o700);
    process.tell("rt-2");
    process.expect("written");
}

#[tokio::test]
async fn a_watch_ends_with_its_store_whichever_way_it_watches() {
    for watching in [Watching::System, Watching::Polling] {
        let ground = Ground::new();
        let store = FileStore::builder(ground.home()).watching(watching).open().unwrap();
        let mut watch = store.watch().await.unwrap();
        let clone = store.clone();
        drop(store);
        install(&clone, &who(), "rt-1").await;
        assert_eq!(watch.next().await, StoreEvent::Changed(who()));
        drop(clone);
        assert_eq!(watch.next().await, StoreEvent::Ended);
    }
}

#[test]
fn homes_lie_in_the_users_folder_for_state() {
    let Ok(home) = std::env::var("HOME") else { return };
    let state = std::env::var("XDG_STATE_HOME").unwrap_or(home + "/.local/state");
    assert_eq!(FileStore::default_dir().unwrap(), Path::new(&state).join("tokenkeeper"));
}

#[tokio::test]
async fn what_is_shown_of_a_store_and_of_its_errors_names_no_account() {
    let ground = Ground::new();
    let store = ground.open();
    let secretive = identity("anna.sommer@example.com");
    install(&store, &secretive, "rt-1").await;
    fs::write(ground.record(&secretive), "x").unwrap();
    store.load(&secretive).await.unwrap_err();
    let error = store.last_trouble().unwrap();
    for shown in [format!("{store:?}"), error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("anna") && !shown.contains("rt-1"), "{shown}");
    }
    assert!(error.to_string().contains(&ground.name(&secretive)), "{error}");
}

#[tokio::test]
async fn a_future_that_is_dropped_leaves_its_change_made_or_not_made() {
    let ground = Ground::new();
    let store = ground.open();
    let mut last = install(&store, &who(), "rt-0").await.epoch;
    for round in 1..30_u64 {
        let (who, change) = (who(), login(&store, &format!("rt-{round}")).await);
        let changing = store.change(&who, change);
        let _ = tokio::time::timeout(Duration::from_micros(round * 50), changing).await;
        // The install waits for the commit lock, so every earlier change has ended by then.
        let record = install(&store, &who, &format!("rt-after-{round}")).await;
        let moved = record.epoch.number() - last.number();
        assert!(moved == 1 || moved == 2, "{moved}");
        last = record.epoch;
    }
    let held = credential(&store, "rt-after-29").await;
    let record = store.load(&who()).await.unwrap().unwrap();
    assert_eq!(record.held().unwrap().credential, held);
}
