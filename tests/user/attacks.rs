//! Attempts to obtain the context of another person.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use tokenkeeper::engine::system::Entropy;

use super::web::*;
use super::*;

const ISSUER: &str = "https://as.example.com";
const USERINFO: &str = "https://as.example.com/userinfo";

/// People sign in one after another to one session, while many callers ask, refreshes run and the provider refuses, fails and
/// answers late. Each answer is about a person who was signed in while its caller waited. The login names no subject, so that
/// nothing but its epoch tells the people apart.
#[tokio::test(start_paused = true)]
async fn no_caller_gets_a_person_who_was_not_signed_in_while_it_waited() {
    for seed in 0..20 {
        let web = Arc::new(Web::slow(7));
        metadata(&web, ISSUER, USERINFO);
        let dice = Entropy::seeded(seed);
        let faults = dice.clone();
        web.on(USERINFO, move |sent| match faults.identifier() % 8 {
            0 => (401, json!({})),
            1 => (503, json!({})),
            _ => (200, json!({ "sub": sent.token.split('.').next().unwrap() })),
        });
        let runtime = runtime_in(&web, |builder| builder).await;
        let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
        // Logins that are done, and logins that have begun.
        let (done, begun) = (AtomicU64::new(0), AtomicU64::new(0));
        let person = |number: u64| login(None, ISSUER, &format!("person-{number}.0"));
        session.install(person(0)).await.unwrap();
        let callers = join_all((0..40).map(|_| async {
            let mut known = 0;
            for _ in 0..40 {
                let options = match dice.identifier() % 4 {
                    0 => each_call_fetches(),
                    1 => stale_for(Duration::from_secs(3_600)),
                    _ => UserOptions::default(),
                };
                let first = done.load(Ordering::SeqCst);
                let answer = session.user_with(options).await;
                let last = begun.load(Ordering::SeqCst);
                // Tokens of a refresh name no person, and neither does a failure.
                if let Some(number) = answer.ok().and_then(|user| user.subject().strip_prefix("person-")?.parse().ok())
                {
                    assert!((first..=last).contains(&number), "seed {seed}: {number} is not in {first}..={last}");
                    known += 1;
                }
                for _ in 0..dice.identifier() % 20 {
                    tokio::task::yield_now().await;
                }
            }
            known
        }));
        let logins = async {
            for number in 1..30 {
                begun.store(number, Ordering::SeqCst);
                if dice.identifier().is_multiple_of(3) {
                    session.logout().await.unwrap();
                }
                session.install(person(number)).await.unwrap();
                done.store(number, Ordering::SeqCst);
                for _ in 0..dice.identifier() % 60 {
                    tokio::task::yield_now().await;
                }
                // The failures of a second ago are forgotten.
                tokio::time::advance(Duration::from_millis(700)).await;
            }
        };
        let (known, ()) = tokio::join!(callers, logins);
        let known: u32 = known.into_iter().sum();
        assert!(known > 100, "seed {seed}: only {known} answers were about anyone");
        let stats = runtime.user_stats();
        assert!(stats.superseded > 0 && stats.coalesced > 0 && stats.hits > 0, "seed {seed}: {stats:?}");
    }
}

/// A refused token whose refresh fails leaves no caller waiting.
#[tokio::test(start_paused = true)]
async fn a_shutdown_within_a_fetch_answers_all_callers() {
    let web = Arc::new(Web::slow(50));
    metadata(&web, ISSUER, USERINFO);
    web.on(USERINFO, |_| (401, json!({})));
    let runtime = runtime_in(&web, |builder| builder).await;
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    session.install(login(None, ISSUER, "at")).await.unwrap();
    let callers = join_all((0..100).map(|_| user(&session)));
    let (answers, report) = tokio::join!(callers, async {
        settle().await;
        runtime.shutdown(Duration::from_secs(5)).await
    });
    assert!(answers.iter().all(Result::is_err) && report.is_clean());
}

/// The same on several threads, without faults. Each caller checks by itself that it gets no person from before its call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_get_no_person_from_before_their_call() {
    const PEOPLE: u64 = 60;
    let web = Arc::new(Web::slow(3));
    metadata(&web, ISSUER, USERINFO);
    web.on(USERINFO, |sent| (200, json!({ "sub": sent.token })));
    let builder = AuthRuntime::builder(MemoryStore::new(digest_key())).http(Arc::clone(&web) as _);
    let runtime = within("a runtime", builder.spawn()).await.unwrap();
    let session = runtime.session(SessionSpec::mcp(RESOURCE).unwrap());
    let (done, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    session.install(login(None, ISSUER, "0")).await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (session, done, begun) = (session.clone(), Arc::clone(&done), Arc::clone(&begun));
            tokio::spawn(async move {
                let mut answers = 0_u32;
                while done.load(Ordering::SeqCst) < PEOPLE {
                    let first = done.load(Ordering::SeqCst);
                    let answer = user(&session).await;
                    let last = begun.load(Ordering::SeqCst);
                    // A hit waits for nothing, so nothing else would run on this thread.
                    tokio::task::yield_now().await;
                    if let Ok(person) = answer {
                        let number = person.subject().parse().unwrap();
                        assert!((first..=last).contains(&number), "{number} is not in {first}..={last}");
                        answers += 1;
                    }
                }
                answers
            })
        })
        .collect();
    for number in 1..=PEOPLE {
        begun.store(number, Ordering::SeqCst);
        within("a login", session.install(login(None, ISSUER, &number.to_string()))).await.unwrap();
        done.store(number, Ordering::SeqCst);
        assert_eq!(user(&session).await.unwrap().subject(), number.to_string());
    }
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    assert!(web.refreshes() == 0 && runtime.user_stats().fetches >= PEOPLE);
}
