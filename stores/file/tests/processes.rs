//! One home used by several processes. They are killed, stopped, and run concurrently.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "a test")]

mod support;

use std::process::Command;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::process::Signal;
use secrecy::ExposeSecret;
use support::{
    AT_LEAST, Ground, Process, SPEND, applied, commit, digest, flight, granted, identity, install, login, mark, moment,
    open, role, say, token, wait_for_word, who,
};
use tokenkeeper_actors::ports::store::{
    ClaimAnswer, ClaimEnding, ClaimScope, EventKind, JournalLine, LoginKey, PendingLogin, Predecessor, Renewed,
    Reservation, StoreEvent, TokenStore,
};
use tokenkeeper_actors::values::{AttemptId, Epoch};
use tokenkeeper_store_file::FileStore;

/// The child's part. On its own it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some((role, home)) = role() else { return };
    let store = open(&home);
    match role.as_str() {
        "holder" => {
            granted(store.claim(&who(), SPEND, flight(1), AT_LEAST).await.unwrap());
            say("claimed");
            wait_for_word();
        }
        "rival" => rival(&store).await,
        "rotator" => rotate(&store).await,
        "taker" => {
            say("ready");
            loop {
                let round: u8 = wait_for_word().parse().unwrap();
                let taken = store.take_login(&LoginKey([round; 32]), moment(0)).await.unwrap();
                say(if taken.is_some_and(|login| login.sealed.expose_secret() == b"pkce") { "taken" } else { "none" });
            }
        }
        "reserver" => {
            let answer = store.reserve(&who(), digest(&store, "rt-1").await, moment(0)).await.unwrap();
            assert_eq!(answer, Reservation::Reserved);
            say("reserved");
            wait_for_word();
        }
        "writer" => {
            say("ready");
            loop {
                install(&store, &who(), &wait_for_word()).await;
                say("written");
            }
        }
        other => panic!("{other}"),
    }
}

/// For each word, claims an epoch, reports the answer, and ends the claim at the next word.
async fn rival(store: &FileStore) {
    say("ready");
    loop {
        let epoch = Epoch::new(wait_for_word().parse().unwrap());
        let scope = ClaimScope::Spend(epoch);
        let answer = store.claim(&who(), scope, flight(std::process::id().into()), AT_LEAST).await.unwrap();
        say(if matches!(answer, ClaimAnswer::Granted(_)) { "granted" } else { "contended" });
        wait_for_word();
        if let ClaimAnswer::Granted(claim) = answer {
            store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
        }
        say("ended");
    }
}

/// Refreshes in a loop as flights do, and reports each stored token.
async fn rotate(store: &FileStore) {
    loop {
        let ClaimAnswer::Granted(claim) =
            store.claim(&who(), SPEND, flight(std::process::id().into()), AT_LEAST).await.unwrap()
        else {
            continue;
        };
        let record = store.load(&who()).await.unwrap().unwrap();
        let (old, number) = (token(Some(record.clone())).unwrap(), record.number + 1);
        applied(store.change(&who(), mark(store, record.version(), &old, 1, number).await).await.unwrap());
        say(format!("marked {number}"));
        let new = format!("rt-{number}");
        applied(store.change(&who(), commit(store, record.epoch, &old, &new, number).await).await.unwrap());
        say(format!("stored {number}"));
        store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_frees_its_claim_and_is_known_to_be_gone() {
    let ground = Ground::new();
    let store = ground.open();
    let mut holder = Process::start("holder", &ground.home());
    holder.expect("claimed");
    assert_eq!(store.claim(&who(), SPEND, flight(2), AT_LEAST).await, Ok(ClaimAnswer::Contended));
    holder.kill();
    let claim = granted(store.claim(&who(), SPEND, flight(2), AT_LEAST).await.unwrap());
    assert_eq!((claim.predecessor, claim.remaining), (Predecessor::Gone, None));
}

#[tokio::test]
async fn a_stopped_process_keeps_its_claim_and_hinders_no_new_login() {
    let ground = Ground::new();
    let store = ground.open();
    let mut holder = Process::start("holder", &ground.home());
    holder.expect("claimed");
    holder.signal(Signal::STOP);
    assert_eq!(store.claim(&who(), SPEND, flight(2), AT_LEAST).await, Ok(ClaimAnswer::Contended));
    install(&store, &who(), "rt-1").await;
    install(&store, &who(), "rt-2").await;
    granted(store.claim(&who(), ClaimScope::Spend(Epoch::new(2)), flight(2), AT_LEAST).await.unwrap());
    assert_eq!(store.sweep().await.unwrap().locks, 0);
    assert_eq!(store.claim(&who(), SPEND, flight(2), AT_LEAST).await, Ok(ClaimAnswer::Contended));
}

#[tokio::test]
async fn of_several_processes_that_claim_at_once_one_is_granted_while_files_are_collected() {
    let ground = Ground::new();
    let store = ground.open();
    let mut rivals: Vec<_> = (0..4).map(|_| Process::start("rival", &ground.home())).collect();
    rivals.iter_mut().for_each(|rival| rival.expect("ready"));
    for round in 0..25_u64 {
        // Every second round reuses the lock file of the round before.
        rivals.iter_mut().for_each(|rival| rival.tell(&(round / 2).to_string()));
        store.sweep().await.unwrap();
        let said: Vec<_> = rivals.iter_mut().map(|rival| rival.hear().unwrap()).collect();
        let granted = said.iter().filter(|said| *said == "granted").count();
        // The sweep itself may have held the lock for a moment.
        assert!(granted <= 1, "round {round}: {said:?}");
        store.sweep().await.unwrap();
        rivals.iter_mut().for_each(|rival| rival.tell("end"));
        rivals.iter_mut().for_each(|rival| rival.expect("ended"));
        if granted == 0 {
            let claim = store.claim(&who(), ClaimScope::Spend(Epoch::new(round / 2)), flight(9), AT_LEAST).await;
            let claim = support::granted(claim.unwrap());
            store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
        }
    }
    store.sweep().await.unwrap();
    let left = std::fs::read_dir(ground.home().join("locks")).unwrap();
    let claims = left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("spend"));
    assert_eq!(claims.count(), 0);
}

#[tokio::test]
async fn whenever_a_process_is_killed_the_record_is_whole_and_what_it_said_was_stored() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-first").await;
    let mut last = 1;
    for round in 0..24 {
        let mut rotator = Process::start("rotator", &ground.home());
        // The point of death varies. It follows a number of reports and then a short delay.
        let mut said = String::new();
        for _ in 0..=round % 5 {
            said = rotator.hear().unwrap();
        }
        tokio::time::sleep(Duration::from_micros(173 * (round % 7))).await;
        rotator.kill();
        while let Some(more) = rotator.hear() {
            said = more;
        }
        let (what, number) = said.split_once(' ').unwrap();
        let record = store.load(&who()).await.unwrap().unwrap();
        let number: u64 = number.parse().unwrap();
        // Every reported step was done. One more step may have been done without a report.
        assert!((number..=number + 1).contains(&record.number), "{said}, {}", record.number);
        let shown = record.grant().unwrap().access.as_ref().unwrap().number;
        assert!(what == "marked" || shown >= number, "{said}, {shown}");
        assert!(record.number >= last);
        last = record.number;
        // The token it holds is reserved for it, and no other token is.
        let held = digest(&store, &token(Some(record)).unwrap()).await;
        let answer = store.reserve(&identity("home"), held, moment(0)).await;
        assert_eq!(answer, Ok(Reservation::HeldBy(who())));
    }
    store.sweep().await.unwrap();
    let held = std::fs::read_dir(ground.home().join("held")).unwrap().count();
    assert!(held <= 2 + 24, "{held} reservations are left");
    for folder in ["records", "held", "journal", "logins"] {
        for entry in std::fs::read_dir(ground.home().join(folder)).unwrap() {
            let file = entry.unwrap().file_name();
            assert!(!file.to_string_lossy().ends_with(".new"), "{file:?}");
        }
    }
}

#[tokio::test]
async fn a_login_is_taken_by_one_process() {
    let ground = Ground::new();
    let store = ground.open();
    let mut takers: Vec<_> = (0..4).map(|_| Process::start("taker", &ground.home())).collect();
    takers.iter_mut().for_each(|taker| taker.expect("ready"));
    for round in 0..10_u8 {
        let login = PendingLogin {
            identity: who(),
            attempt: AttemptId(7),
            epoch: Epoch::new(1),
            same_subject: true,
            expires: moment(600).wall,
            sealed: b"pkce".to_vec().into(),
        };
        store.put_login(LoginKey([round; 32]), login).await.unwrap();
        takers.iter_mut().for_each(|taker| taker.tell(&round.to_string()));
        let said = takers.iter_mut().map(|taker| taker.hear().unwrap());
        assert_eq!(said.filter(|said| said == "taken").count(), 1);
    }
    assert_eq!(std::fs::read_dir(ground.home().join("logins")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_dead_process_reserved_is_reserved_for_its_ten_minutes() {
    let ground = Ground::new();
    let store = ground.open();
    let mut reserver = Process::start("reserver", &ground.home());
    reserver.expect("reserved");
    reserver.kill();
    let digest = digest(&store, "rt-1").await;
    let other = identity("home");
    assert_eq!(store.reserve(&other, digest, moment(599)).await, Ok(Reservation::HeldBy(who())));
    assert_eq!(store.reserve(&other, digest, moment(600)).await, Ok(Reservation::Reserved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_hears_of_another_processs_writes_and_reads_them() {
    let ground = Ground::new();
    let store = ground.open();
    let mut watch = store.watch().await.unwrap();
    let mut writer = Process::start("writer", &ground.home());
    writer.expect("ready");
    for round in 0..5 {
        writer.tell(&format!("rt-{round}"));
        assert_eq!(watch.next().await, StoreEvent::Changed(who()));
        assert_eq!(token(store.load(&who()).await.unwrap()), Some(format!("rt-{round}")));
        writer.expect("written");
        // One write gives one event here. On other systems it may be reported twice.
    }
}

#[tokio::test]
async fn a_program_that_is_started_inherits_no_claim() {
    let ground = Ground::new();
    let store = ground.open();
    granted(store.claim(&who(), SPEND, flight(1), AT_LEAST).await.unwrap());
    let mut program = Command::new("sleep").arg("60").spawn().unwrap();
    drop(store);
    let next = ground.open().claim(&who(), SPEND, flight(2), AT_LEAST).await;
    program.kill().unwrap();
    program.wait().unwrap();
    granted(next.unwrap());
}

#[tokio::test]
async fn a_claim_whose_lock_file_was_removed_is_lost() {
    let ground = Ground::new();
    let (store, sibling) = (ground.open(), ground.open());
    let claim = granted(store.claim(&who(), SPEND, flight(1), AT_LEAST).await.unwrap());
    let file = ground.lock(&format!("{}.spend.1", ground.name(&who())));
    std::fs::remove_file(&file).unwrap();
    granted(sibling.claim(&who(), SPEND, flight(2), AT_LEAST).await.unwrap());
    assert_eq!(store.renew(&who(), &claim, AT_LEAST).await, Ok(Renewed::Lost));
    // The late end of the old claim leaves the new claim's lock file alone.
    store.end_claim(&who(), &claim, ClaimEnding::Released).await.unwrap();
    assert!(file.exists());
}

#[tokio::test]
async fn an_epoch_that_is_over_leaves_no_lock_file() {
    let ground = Ground::new();
    let store = ground.open();
    install(&store, &who(), "rt-1").await;
    let file = ground.lock(&format!("{}.spend.1", ground.name(&who())));
    std::fs::write(&file, "").unwrap();
    install(&store, &who(), "rt-2").await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_claim_that_nobody_is_told_of_is_given_back() {
    let ground = Ground::new();
    let (store, sibling) = (ground.open(), ground.open());
    let mut gone = 0;
    for _ in 0..20 {
        let who = who();
        // The asker goes as soon as the store has begun.
        let mut asking = store.claim(&who, SPEND, flight(1), AT_LEAST);
        match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                store.end_claim(&who, &granted(answer.unwrap()), ClaimEnding::Released).await.unwrap();
            }
            Poll::Pending => gone += 1,
        }
        drop(asking);
        let freed = async {
            // Work that comes later ends later, unless another thread does it.
            store.load(&who).await.unwrap();
            loop {
                if let ClaimAnswer::Granted(claim) = sibling.claim(&who, SPEND, flight(2), AT_LEAST).await.unwrap() {
                    return claim;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let claim = tokio::time::timeout(Duration::from_secs(30), freed).await.expect("the claim is kept");
        sibling.end_claim(&who, &claim, ClaimEnding::Released).await.unwrap();
    }
    assert!(gone > 0);
}

#[tokio::test]
async fn a_journal_names_its_processes_and_survives_a_torn_line() {
    use std::io::Write;
    let ground = Ground::new();
    let store = ground.open();
    let line = |second| JournalLine { at: moment(second), flight: None, kind: EventKind::Refreshed, reason: None };
    store.note(&who(), line(1)).await.unwrap();
    let file = ground.home().join("journal").join(ground.name(&who()));
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"wall\":17,\"ela").unwrap();
    assert_eq!(store.journal(&who(), 9).await.unwrap(), [line(1)]);
    store.note(&who(), line(2)).await.unwrap();
    assert_eq!(store.journal(&who(), 9).await.unwrap(), [line(1), line(2)]);
    let processes: Vec<_> = store.history(&who(), 9).await.unwrap().iter().map(|entry| entry.process).collect();
    assert_eq!(processes, [std::process::id(); 2]);
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_line_is_lost_between_those_who_write_one_journal() {
    const LINES: u64 = 400;
    let ground = Ground::new();
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let store = ground.open();
            tokio::spawn(async move {
                for number in 0..LINES {
                    let at = moment(writer * LINES + number);
                    let line = JournalLine { at, flight: None, kind: EventKind::Refreshed, reason: None };
                    store.note(&who(), line).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let kept = ground.open().journal(&who(), usize::MAX).await.unwrap();
    assert!((300..=FileStore::JOURNAL_KEPT).contains(&kept.len()), "{}", kept.len());
    // The last lines of each writer are kept, with none missing in between.
    for writer in 0..4 {
        let of_it = kept.iter().map(|line| line.at.wall.since(moment(0).wall).as_secs());
        let of_it: Vec<_> = of_it.filter(|number| number / LINES == writer).collect();
        let due: Vec<_> = ((writer + 1) * LINES - of_it.len() as u64..(writer + 1) * LINES).collect();
        assert_eq!(of_it, due, "writer {writer}");
    }
}

#[tokio::test]
async fn a_reservation_lost_with_the_power_is_found_again_in_the_next_boot() {
    let ground = Ground::new();
    let store = ground.open();
    let other = identity("home");
    store.reserve(&other, digest(&store, "rt-0").await, moment(0)).await.unwrap();
    applied(store.change(&who(), login(&store, "rt-1").await).await.unwrap());
    for entry in std::fs::read_dir(ground.home().join("held")).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("boot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut later = moment(5);
    later.boot.0 += 1;
    let answer = store.reserve(&other, digest(&store, "rt-1").await, later).await;
    assert_eq!(answer, Ok(Reservation::HeldBy(who())));
}
