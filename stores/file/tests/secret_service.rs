//! The key in a real Secret Service, GNOME Keyring, on a private message bus.
#![cfg(all(unix, not(target_vendor = "apple")))]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

#[path = "support/session.rs"]
mod session;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use keyring_core::Entry;
use keyring_core::api::CredentialStoreApi;
use rustix::process::Signal;
use session::Session;
use support::{Ground, Process, applied, commit, install, mark, may_skip, role, say, token, wait_for_word, who};
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_store_file::{FileStore, KeySource};
use tokio::runtime::Builder;
use zbus_secret_service_keyring_store::Store;

/// The child's part, in a session of the test's. On its own it is no test.
#[test]
fn child() {
    let Some((role, home)) = role() else { return };
    match role.as_str() {
        "a host with one thread" => Builder::new_current_thread().enable_all().build().unwrap().block_on(host(home)),
        "a host with workers" => {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(runtime.spawn(host(home))).unwrap();
        }
        "the user" => user(),
        "a display nobody looks at" => session::display_unseen(),
        other => panic!("{other}"),
    }
}

/// Opens the home and uses it once for each word, within a runtime as hosts do.
async fn host(home: PathBuf) {
    let mut opened = None;
    loop {
        match wait_for_word().as_str() {
            "open" => match FileStore::builder(&home).key(KeySource::Keychain).open() {
                Ok(store) => {
                    opened = Some(store);
                    say("open");
                }
                Err(error) => say(format!("{:?}: {error}", error.trouble())),
            },
            "sign in" => {
                install(opened.as_ref().unwrap(), &who(), "rt-1").await;
                say("signed in");
            }
            "refresh" => {
                refresh(opened.as_ref().unwrap()).await;
                say("refreshed");
            }
            "read" => say(token(opened.as_ref().unwrap().load(&who()).await.unwrap()).unwrap()),
            other => panic!("{other}"),
        }
    }
}

async fn refresh(store: &FileStore) {
    let record = store.load(&who()).await.unwrap().unwrap();
    let (old, number) = (token(Some(record.clone())).unwrap(), record.number + 1);
    applied(store.change(&who(), mark(store, record.version(), &old, 1, number).await).await.unwrap());
    applied(
        store.change(&who(), commit(store, record.epoch, &old, &format!("rt-{number}"), number).await).await.unwrap(),
    );
}

/// Reads the keychain with a client of its own.
fn user() {
    let keychain = Store::new().unwrap();
    let items = || keychain.search(&[("service", "tokenkeeper")].into()).unwrap();
    loop {
        match wait_for_word().as_str() {
            "count" => say(items().len()),
            "show" => say(items().iter().map(shown).collect::<Vec<_>>().join(" ")),
            "delete" => {
                items().iter().for_each(|item| item.delete_credential().unwrap());
                say("deleted");
            }
            other => panic!("{other}"),
        }
    }
}

/// The account and the secret of an item, in text.
fn shown(item: &Entry) -> String {
    format!("{}:{}", item.get_attributes().unwrap()["username"], hex(&item.get_secret().unwrap()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A session with an unlocked keyring, a home whose key is in it, and a host process that has installed a login.
fn signed_in() -> Option<(Session, Ground, Process)> {
    if !session::is_possible() {
        may_skip("a real Secret Service (gnome-keyring and dbus)");
        return None;
    }
    let (mut session, ground) = (Session::start(), Ground::new());
    session.start_keyring(true);
    let mut first = start("a host with one thread", &ground.home(), &session);
    assert_eq!(session.calls(), [""; 0]);
    assert_eq!(ask(&mut first, "open"), "open");
    // Making a home looks for an item, writes one, and reads it back.
    let made = session.calls();
    for call in ["Collection.CreateItem", "Item.GetSecret"] {
        assert_eq!(made.iter().filter(|made| *made == call).count(), 1, "{made:?}");
    }
    assert_eq!(ask(&mut first, "sign in"), "signed in");
    Some((session, ground, first))
}

fn start(role: &str, home: &Path, session: &Session) -> Process {
    Process::start_with(role, home, |command| session.surround(command))
}

/// The answer of a process to a word.
fn ask(process: &mut Process, word: &str) -> String {
    process.tell(word);
    process.hear().unwrap()
}

fn locked(ground: &Ground) -> String {
    let what_to_do = "the keychain that has its key is locked: unlock it, and allow this program to use it";
    format!("KeyLocked: {}: {what_to_do}", ground.home().display())
}

fn none(ground: &Ground) -> String {
    let what_to_do = "no keychain can be reached: start one, or open the home with a key from elsewhere";
    format!("NoKeychain: {}: {what_to_do}", ground.home().display())
}

/// The contents of all files in a home.
fn content(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                content.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    content
}

fn home_id(home: &Path) -> String {
    let about = fs::read_to_string(home.join("home")).unwrap();
    about.split_once("\"id\":\"").unwrap().1[..32].to_owned()
}

#[test]
fn a_home_has_one_item_and_asks_for_it_once() {
    let Some((mut session, ground, mut first)) = signed_in() else { return };
    let mut user = start("the user", &ground.home(), &session);
    let item = ask(&mut user, "show");
    let (id, key) = item.split_once(':').unwrap();
    assert_eq!((id, key.len()), (&*home_id(&ground.home()), 64));

    let mut second = start("a host with workers", &ground.home(), &session);
    session.calls();
    assert_eq!(ask(&mut second, "open"), "open");
    assert_eq!(session.calls(), ["Service.OpenSession", "Service.SearchItems", "Item.GetSecret"]);

    // An open home needs no keychain.
    session.stop_keyring();
    for refreshed in 0..50 {
        let (refreshes, reads) = if refreshed % 2 == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
        assert_eq!(ask(refreshes, "refresh"), "refreshed");
        assert_eq!(ask(reads, "read"), format!("rt-{}", refreshed + 2));
    }
    assert_eq!(session.calls(), [""; 0]);

    // No file contains the key.
    let content = content(&ground.home());
    assert!(!content.contains_key(&ground.home().join("key")));
    let bytes: Vec<_> = (0..32).map(|at| u8::from_str_radix(&key[2 * at..][..2], 16).unwrap()).collect();
    let texts = [key.to_owned(), key.to_uppercase(), STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)];
    for traces in texts.iter().map(String::as_bytes).chain([&*bytes]) {
        assert!(content.values().all(|file| !file.windows(traces.len()).any(|window| window == traces)));
    }
}

#[test]
fn a_locked_keyring_keeps_its_key() {
    let Some((mut session, ground, mut first)) = signed_in() else { return };
    let other = Ground::new();
    let mut second = start("a host with workers", &ground.home(), &session);
    let mut new = start("a host with one thread", &other.home(), &session);
    // The keyring is locked by its user, or from its start.
    for restarted in [false, true] {
        if restarted {
            session.stop_keyring();
            session.start_keyring(false);
        } else {
            session.lock();
        }
        let before = content(&ground.home());
        assert_eq!(ask(&mut second, "open"), locked(&ground));
        assert_eq!(content(&ground.home()), before);
        assert_eq!(ask(&mut new, "open"), locked(&other));
        assert!(!other.home().exists());
        assert_eq!(ask(&mut first, "refresh"), "refreshed");
    }

    session.stop_keyring();
    session.start_keyring(true);
    assert_eq!(ask(&mut start("the user", &ground.home(), &session), "count"), "1");
    assert_eq!(ask(&mut second, "open"), "open");
    assert_eq!(ask(&mut second, "read"), "rt-3");
    assert_eq!(ask(&mut new, "open"), "open");
    assert_eq!(ask(&mut start("the user", &ground.home(), &session), "count"), "2");
}

#[test]
fn a_person_who_does_not_answer_is_not_waited_for_without_end() {
    let Some((mut session, ground, mut first)) = signed_in() else { return };
    let other = Ground::new();
    session.lock();
    let mut display = start("a display nobody looks at", &ground.home(), &session);
    display.expect("shown");
    let mut second = start("a host with one thread", &ground.home(), &session);
    let mut new = start("a host with workers", &other.home(), &session);
    second.tell("open");
    new.tell("open");
    display.expect("asked");
    assert_eq!(ask(&mut first, "refresh"), "refreshed");
    second.expect(&locked(&ground));
    new.expect(&locked(&other));
    assert!(!other.home().exists());

    session.stop_keyring();
    session.start_keyring(true);
    assert_eq!(ask(&mut start("the user", &ground.home(), &session), "count"), "1");
    assert_eq!(ask(&mut second, "open"), "open");
    assert_eq!(ask(&mut second, "read"), "rt-2");
}

#[test]
fn a_keyring_that_is_not_there_is_no_keychain() {
    let Some((mut session, ground, _first)) = signed_in() else { return };
    let other = Ground::new();
    let mut second = start("a host with workers", &ground.home(), &session);
    let mut new = start("a host with one thread", &other.home(), &session);
    let mut without_a_bus = Process::start_with("a host with workers", &ground.home(), |command| {
        session.surround(command);
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", other.home().join("bus").display()));
    });
    let before = content(&ground.home());
    assert_eq!(ask(&mut without_a_bus, "open"), none(&ground));
    // The service is gone, or present and silent.
    for silent in [false, true] {
        if silent {
            session.signal_keyring(Signal::STOP);
        } else {
            session.stop_keyring();
        }
        second.tell("open");
        new.tell("open");
        second.expect(&none(&ground));
        new.expect(&none(&other));
        assert_eq!(content(&ground.home()), before);
        assert!(!other.home().exists());
        if silent {
            session.signal_keyring(Signal::CONT);
        } else {
            session.start_keyring(true);
        }
        assert_eq!(ask(&mut start("the user", &ground.home(), &session), "count"), "1");
        assert_eq!(ask(&mut second, "open"), "open");
        assert_eq!(ask(&mut second, "read"), "rt-1");
    }
    assert_eq!(ask(&mut new, "open"), "open");
}

#[test]
fn a_key_that_is_gone_from_a_keyring_is_not_replaced() {
    let Some((session, ground, _first)) = signed_in() else { return };
    let mut user = start("the user", &ground.home(), &session);
    assert_eq!(ask(&mut user, "delete"), "deleted");
    let before = content(&ground.home());
    for host in ["a host with one thread", "a host with workers"] {
        let said = ask(&mut start(host, &ground.home(), &session), "open");
        let what_to_do = "its key is gone: restore the key, or move the folder away and sign in again; nothing in it \
                          can be read without";
        assert_eq!(said, format!("KeyMissing: {}: {what_to_do}", ground.home().display()));
    }
    assert_eq!(content(&ground.home()), before);
    assert_eq!(ask(&mut user, "count"), "0");
}
