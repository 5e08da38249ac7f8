//! Issuers' entries in a home, with several processes, processes that die, and homes of older versions.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use support::{Ground, Process, install, moment, open, role, say, wait_for_word, who};
use tokenkeeper_actors::law::ledger::{EntryChange, EntryChanged};
use tokenkeeper_actors::ports::store::{StoreEvent, TokenStore};
use tokenkeeper_actors::values::issuer::{
    ClientRegistration, EntryContent, EntryKind, IssuerKey, RegistrationManagement, RegistrationName,
    RegistrationOrigin,
};
use tokenkeeper_actors::values::record::{Client, ClientAuth, Issuer};
use tokenkeeper_actors::values::{ClientSecret, RegistrationToken, Revision, StoreFault};
use tokenkeeper_store_file::{FileStore, Trouble, Watching};

const ISSUER: &str = "https://as.example.com";

fn issuer() -> Issuer {
    Issuer(ISSUER.into())
}

fn key() -> IssuerKey {
    IssuerKey { issuer: issuer(), kind: EntryKind::Registration(RegistrationName::new("loopback").unwrap()) }
}

/// Registers this client at the revision that was read.
fn register(id: &str, expected: Option<u64>) -> EntryChange {
    let registration = ClientRegistration {
        name: RegistrationName::new("loopback").unwrap(),
        origin: RegistrationOrigin::Dynamic,
        client: Client {
            id: id.into(),
            secret: Some(ClientSecret::new(format!("secret-of-{id}"))),
            auth: ClientAuth::Basic,
            secret_expires_at: None,
        },
        redirect_uris: vec!["http://127.0.0.1:49152/callback".into()],
        application_type: None,
        grant_types: vec![],
        scopes: None,
        management: Some(RegistrationManagement {
            uri: format!("{ISSUER}/register/{id}"),
            token: RegistrationToken::new(format!("management-secret-of-{id}")),
        }),
        metadata_digest: None,
        registered_at: moment(0).wall,
        registered_by: Some(who()),
        suspect_since: None,
    };
    let content = EntryContent::Registration(Box::new(registration));
    EntryChange::Put { expected: expected.map(Revision::new), content }
}

/// The revision and the client of the entry.
async fn registered(store: &FileStore) -> Option<(u64, String)> {
    let entry = store.load_issuer(&key()).await.unwrap()?;
    match entry.content {
        Some(EntryContent::Registration(registration)) => {
            let id = registration.client.id;
            let secret = registration.client.secret.unwrap();
            assert_eq!(secret.expose(), format!("secret-of-{id}"));
            assert_eq!(registration.management.unwrap().token.expose(), format!("management-secret-of-{id}"));
            Some((entry.revision.number(), id))
        }
        other => panic!("{other:?}"),
    }
}

/// The child's part. On its own it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some((role, home)) = role() else { return };
    let store = open(&home);
    let me = format!("client-{}", std::process::id());
    match role.as_str() {
        // For each word, registers a client at the revision that the word names.
        "registrar" => {
            say("ready");
            loop {
                let expected = Some(wait_for_word().parse().unwrap()).filter(|revision| *revision > 0);
                match store.change_issuer(&issuer(), register(&me, expected)).await.unwrap() {
                    EntryChanged::Applied(_) => say(format!("won {me}")),
                    EntryChanged::Conflict(_) => say(format!("lost {}", registered(&store).await.unwrap().1)),
                }
            }
        }
        // Registers again and again, and reports each stored revision.
        "writer" => loop {
            let expected = registered(&store).await.map(|(revision, _)| revision);
            match store.change_issuer(&issuer(), register(&me, expected)).await.unwrap() {
                EntryChanged::Applied(entry) => say(entry.revision.number()),
                EntryChanged::Conflict(_) => panic!("there is no other writer"),
            }
        },
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn of_several_processes_that_register_at_once_one_does_and_all_use_its_client() {
    let ground = Ground::new();
    let store = ground.open();
    let mut processes: Vec<_> = (0..4).map(|_| Process::start("registrar", &ground.home())).collect();
    processes.iter_mut().for_each(|process| process.expect("ready"));
    for round in 0..12_u64 {
        processes.iter_mut().for_each(|process| process.tell(&round.to_string()));
        let said: Vec<_> = processes.iter_mut().map(|process| process.hear().unwrap()).collect();
        let clients: Vec<_> = said.iter().map(|said| said.split_once(' ').unwrap()).collect();
        assert_eq!(clients.iter().filter(|(what, _)| *what == "won").count(), 1, "round {round}: {said:?}");
        let (revision, id) = registered(&store).await.unwrap();
        assert_eq!(revision, round + 1);
        assert!(clients.iter().all(|(_, client)| *client == id), "round {round}: {said:?}, {id}");
    }
    assert_eq!(store.list_issuers().await.unwrap(), [key()]);
}

#[tokio::test]
async fn an_entry_is_whole_whenever_its_writer_is_killed() {
    let ground = Ground::new();
    let store = ground.open();
    for round in 0..16 {
        let mut writer = Process::start("writer", &ground.home());
        let mut said = 0;
        for _ in 0..=round % 4 {
            said = writer.hear().unwrap().parse().unwrap();
        }
        tokio::time::sleep(Duration::from_micros(211 * (round % 5))).await;
        writer.kill();
        while let Some(more) = writer.hear() {
            said = more.parse().unwrap();
        }
        let (revision, _) = registered(&store).await.unwrap();
        // One more write may have been stored without a report.
        assert!((said..=said + 1).contains(&revision), "{said}, {revision}");
    }
    // Leaves the file that a writer killed halfway leaves.
    let file = fs::read_dir(ground.home().join("issuers")).unwrap().next().unwrap().unwrap().path();
    fs::write(file.with_extension("new"), "unfinished").unwrap();
    assert!(store.sweep().await.unwrap().unfinished >= 1);
    let left: Vec<_> =
        fs::read_dir(ground.home().join("issuers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_hears_of_another_processs_registration_also_in_an_older_home() {
    for watching in [Watching::System, Watching::Polling] {
        let ground = Ground::new();
        drop(ground.open());
        assert!(!ground.home().join("issuers").exists(), "only the first write or watch makes it");
        let builder = FileStore::builder(ground.home()).watching(watching);
        let store = builder.key(support::given_key()).open().unwrap();
        let mut watch = store.watch().await.unwrap();
        let mut process = Process::start("registrar", &ground.home());
        process.expect("ready");
        for round in 0..3_u64 {
            process.tell(&round.to_string());
            while watch.next().await != StoreEvent::IssuerChanged(key()) {}
            assert_eq!(registered(&store).await.unwrap().0, round + 1);
            assert!(process.hear().unwrap().starts_with("won"));
        }
    }
}

#[tokio::test]
async fn files_of_entries_are_private_sealed_and_named_by_a_digest() {
    let ground = Ground::new();
    let store = ground.open();
    store.change_issuer(&issuer(), register("client-1", None)).await.unwrap();
    let folder = ground.home().join("issuers");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let bytes = fs::read(file).unwrap();
    for secret in [&b"secret"[..], b"c2VjcmV0", b"736563726574", b"client-1"] {
        assert!(!bytes.windows(secret.len()).any(|piece| piece.eq_ignore_ascii_case(secret)), "{secret:?}");
    }
    // Errors name the file and show no issuer.
    fs::write(file, "damaged").unwrap();
    assert_eq!(store.load_issuer(&key()).await, Err(StoreFault::Unreadable));
    let error = store.last_trouble().unwrap();
    assert_eq!((error.trouble(), error.path()), (&Trouble::Damaged, &**file));
    assert!(!error.to_string().contains("as.example.com"), "{error}");
    let change = store.change_issuer(&issuer(), register("client-2", None)).await;
    assert_eq!(change, Err(StoreFault::Unreadable), "a damaged entry is not overwritten");
    assert_eq!(fs::read(file).unwrap(), b"damaged");
}

#[tokio::test]
async fn a_writer_that_does_not_finish_makes_others_busy_and_hinders_no_reader() {
    let ground = Ground::new();
    let store = ground.open();
    store.change_issuer(&issuer(), register("client-1", None)).await.unwrap();
    let lock = File::open(ground.lock("issuers")).unwrap();
    lock.lock().unwrap();
    assert_eq!(store.change_issuer(&issuer(), register("client-2", Some(1))).await, Err(StoreFault::Busy));
    assert_eq!(registered(&store).await, Some((1, "client-1".into())));
    install(&store, &who(), "rt-1").await;
    lock.unlock().unwrap();
    store.change_issuer(&issuer(), register("client-2", Some(1))).await.unwrap();
    assert_eq!(registered(&store).await, Some((2, "client-2".into())));
}

#[tokio::test]
async fn no_link_is_followed_to_another_folder() {
    let ground = Ground::new();
    let store = ground.open();
    let outside = ground.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, ground.home().join("issuers")).unwrap();
    assert_eq!(store.load_issuer(&key()).await, Err(StoreFault::Denied));
    assert_eq!(store.list_issuers().await, Err(StoreFault::Denied));
    assert_eq!(store.change_issuer(&issuer(), register("client-1", None)).await, Err(StoreFault::Denied));
    assert_eq!(store.last_trouble().unwrap().trouble(), &Trouble::Link);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // Records do not depend on the entries.
    install(&store, &who(), "rt-1").await;
}

#[tokio::test]
async fn a_home_that_lost_its_own_file_gets_no_new_key_while_entries_lie_in_it() {
    let ground = Ground::new();
    ground.open().change_issuer(&issuer(), register("client-1", None)).await.unwrap();
    let about = ground.home().join("home");
    let kept = fs::read(&about).unwrap();
    fs::remove_file(&about).unwrap();
    for builder in [FileStore::builder(ground.home()), FileStore::builder(ground.home()).existing()] {
        let error = builder.key(support::given_key()).open().unwrap_err();
        assert_eq!((error.trouble(), error.path()), (&Trouble::Missing, &*about));
    }
    fs::write(&about, kept).unwrap();
    assert_eq!(registered(&ground.open()).await, Some((1, "client-1".into())));
}
