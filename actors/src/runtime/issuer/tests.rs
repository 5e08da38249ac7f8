//! Tests of limiters, on tokio's paused time.
#![expect(clippy::disallowed_methods, reason = "the tests' own tasks, sleeps and clock, all on tokio's paused time")]

#[path = "../../../tests/common/calm.rs"]
mod calm;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorCell};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use self::calm::Calm;
use super::limiter::LimiterHandle;
use super::{FindSupervisor, Permits};
use crate::law::flight::Urgency;
use crate::law::issuer::IssuerPolicy;
use crate::ports::clock::Clock;
use crate::ports::permit::{IssuerPermits, Permission, Permit};
use crate::values::record::Issuer;
use crate::values::{BootId, ElapsedTime, Jitter, Moment, WallTime};

/// A clock that follows tokio's time.
#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        let millis = self.0.elapsed().as_millis() as u64;
        Moment { elapsed: ElapsedTime::from_millis(millis), wall: WallTime::from_millis(millis), boot: BootId(0) }
    }
}

struct Setting {
    permits: Arc<Permits>,
    /// The actor under which limiters are started; `None` while the tree is down.
    supervisor: watch::Sender<Option<ActorCell>>,
    began: Instant,
}

impl Setting {
    async fn new(max_concurrent: usize) -> Self {
        let (supervisor, _) = Calm::spawn(None, Calm, ()).await.unwrap();
        let began = Instant::now();
        let policy = IssuerPolicy { max_concurrent, ..IssuerPolicy::default() };
        let clock = Arc::new(TokioClock(began));
        let (supervisor, standing) = watch::channel(Some(supervisor.get_cell()));
        let find = move || -> FindSupervisor {
            let mut standing = standing.clone();
            Box::pin(async move { standing.wait_for(Option::is_some).await.ok()?.clone() })
        };
        let permits = Permits::new(policy, clock, || Jitter::new(1 << 15), find, None);
        Self { permits: Arc::new(permits), supervisor, began }
    }

    /// Ends the supervisor with its limiters, and starts no other one.
    async fn tree_ends(&self) {
        let supervisor = self.supervisor.send_replace(None).unwrap();
        supervisor.stop_and_wait(None, None).await.unwrap();
    }

    /// Starts another supervisor.
    async fn tree_starts(&self) {
        let (supervisor, _) = Calm::spawn(None, Calm, ()).await.unwrap();
        self.supervisor.send_replace(Some(supervisor.get_cell()));
    }

    fn issuer() -> Issuer {
        Issuer("https://as.example.com".to_owned())
    }

    fn limiter(&self) -> Arc<LimiterHandle> {
        self.permits.limiter(Some(&Self::issuer()))
    }

    async fn ask(&self) -> Permission {
        self.permits.ask(Some(&Self::issuer()), Urgency::Callers).await
    }

    async fn granted(&self) -> Permit {
        match self.ask().await {
            Permission::Granted(permit) => permit,
            answer => panic!("{answer:?}"),
        }
    }

    async fn held(&self) -> Duration {
        held(self.ask().await)
    }

    /// Asks in a new task.
    fn ask_later(&self) -> JoinHandle<Permission> {
        let permits = Arc::clone(&self.permits);
        tokio::spawn(async move { permits.ask(Some(&Self::issuer()), Urgency::Callers).await })
    }

    /// Asks in new tasks, and waits until all of them have a ticket.
    async fn askers(&self, count: usize) -> Vec<JoinHandle<Permission>> {
        let before = self.limiter().counts().0;
        let askers = (0..count).map(|_| self.ask_later()).collect();
        while self.limiter().counts().0 < before + count {
            yield_now().await;
        }
        settle().await;
        askers
    }

    fn millis(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

fn held(permission: Permission) -> Duration {
    match permission {
        Permission::Held(span) => span,
        answer => panic!("{answer:?}"),
    }
}

/// Lets all tasks run until each waits for time or for another task.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn three_hundred_asks_are_held_while_the_issuer_is_throttled() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    let askers = setting.askers(299).await;
    tokio::time::advance(secs(5)).await;
    first.give_back(Some(secs(60)));
    for asker in askers {
        assert_eq!(held(asker.await.unwrap()), secs(60));
    }
    assert_eq!(setting.millis(), 5_000);
    assert_eq!(setting.permits.throttled(Some(&Setting::issuer())), Some(secs(60)));
    assert_eq!(setting.permits.throttled(None), None);
    tokio::time::advance(secs(20)).await;
    assert_eq!(setting.held().await, secs(40));
    tokio::time::advance(Duration::from_millis(39_999)).await;
    assert_eq!(setting.held().await, Duration::from_millis(1));
    assert_eq!(setting.limiter().counts(), (0, 0));
    tokio::time::advance(Duration::from_millis(1)).await;
    setting.granted().await.give_back(None);
}

#[tokio::test(start_paused = true)]
async fn never_more_than_a_few_are_out_at_once() {
    let setting = Setting::new(8).await;
    let (out, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flight = || {
        let (permits, out, most) = (Arc::clone(&setting.permits), Arc::clone(&out), Arc::clone(&most));
        tokio::spawn(async move {
            let Permission::Granted(permit) = permits.ask(None, Urgency::Background).await else { panic!("held") };
            most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            out.fetch_sub(1, Ordering::SeqCst);
            permit.give_back(None);
        })
    };
    let flights: Vec<_> = (0..300).map(|_| flight()).collect();
    for flight in flights {
        flight.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 8);
    assert!(setting.millis() >= 300 / 8 * 10);
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_is_dropped_gives_up_its_place_and_a_grant_that_was_on_its_way() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    let mut askers = setting.askers(10).await;
    let kept = askers.remove(0);
    for asker in askers {
        asker.abort();
    }
    settle().await;
    assert_eq!(setting.limiter().counts(), (2, 1));
    let mut last = Box::pin(setting.ask());
    tokio::select! {
        biased;
        _ = &mut last => panic!("answered"),
        () = settle() => {}
    }
    first.give_back(None);
    let Permission::Granted(second) = kept.await.unwrap() else { panic!("held") };
    second.give_back(None);
    settle().await;
    assert_eq!(setting.limiter().counts(), (1, 1), "granted, and the answer was not read");
    drop(last);
    settle().await;
    assert_eq!(setting.limiter().counts(), (0, 0));
    setting.granted().await.give_back(None);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_is_aborted_returns_its_permit() {
    let setting = Setting::new(1).await;
    let permit = setting.granted().await;
    let flight = tokio::spawn(async move {
        let _permit = permit;
        std::future::pending::<()>().await;
    });
    let askers = setting.askers(1).await;
    assert_eq!(setting.limiter().counts(), (2, 1));
    flight.abort();
    for asker in askers {
        assert!(matches!(asker.await.unwrap(), Permission::Granted(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_killed_amid_its_queue_leaves_no_asker_hanging_and_forgets_nothing() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    let askers = setting.askers(20).await;
    for _ in 0..2 {
        let actor = setting.limiter().actor().unwrap();
        actor.kill();
        settle().await;
        assert_ne!(setting.limiter().actor().unwrap().get_id(), actor.get_id());
        assert_eq!(setting.limiter().counts(), (21, 1), "the permit that is out counts at the new limiter");
    }
    first.give_back(Some(secs(60)));
    setting.limiter().actor().unwrap().kill();
    for asker in askers {
        assert_eq!(held(asker.await.unwrap()), secs(60));
    }
    setting.limiter().actor().unwrap().kill();
    tokio::time::advance(Duration::from_millis(59_999)).await;
    assert_eq!(setting.held().await, Duration::from_millis(1));
    tokio::time::advance(Duration::from_millis(1)).await;
    setting.granted().await.give_back(None);
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_is_drained_or_stopped_is_replaced() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    let askers = setting.askers(3).await;
    setting.limiter().actor().unwrap().drain().unwrap();
    settle().await;
    setting.limiter().actor().unwrap().stop(None);
    settle().await;
    assert_eq!(setting.limiter().counts(), (4, 1));
    first.give_back(None);
    // The repeated asks may come in another order, so each returns its permit at once.
    let again = askers.into_iter().map(|asker| tokio::spawn(async move { asker.await.map(|one| format!("{one:?}")) }));
    for asker in again.collect::<Vec<_>>() {
        assert_eq!(asker.await.unwrap().unwrap(), "Granted(Permit)");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_tree_is_down_asks_wait_for_the_next_tree() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    let askers = setting.askers(5).await;
    setting.tree_ends().await;
    tokio::time::advance(secs(600)).await;
    settle().await;
    assert!(askers.iter().all(|asker| !asker.is_finished()), "without a Retry-After no ask is held");
    setting.tree_starts().await;
    first.give_back(None);
    // The asks may be granted in another order, so each returns its permit at once.
    let granted =
        askers.into_iter().map(|asker| tokio::spawn(async move { asker.await.map(|one| format!("{one:?}")) }));
    for permission in granted.collect::<Vec<_>>() {
        assert_eq!(permission.await.unwrap().unwrap(), "Granted(Permit)");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_answered_while_the_tree_is_down() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    setting.tree_ends().await;
    first.give_back(Some(secs(9)));
    assert_eq!(setting.held().await, secs(9));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_starts_no_actor_holds_no_ask() {
    let setting = Setting::new(1).await;
    let stopped = setting.supervisor.borrow().clone().unwrap();
    stopped.stop_and_wait(None, None).await.unwrap();
    // The supervisor has ended and is still found, first for a moment, and then for ever.
    let asker = setting.ask_later();
    tokio::time::advance(Duration::from_millis(15)).await;
    setting.tree_starts().await;
    let Permission::Granted(permit) = asker.await.unwrap() else { panic!("held") };
    permit.give_back(None);
    setting.supervisor.send_replace(Some(stopped));
    setting.limiter().actor().unwrap().kill();
    settle().await;
    assert!(matches!(setting.ask().await, Permission::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn after_a_resume_an_ask_waits_for_its_instant() {
    let setting = Setting::new(8).await;
    let permission = setting.permits.ask(None, Urgency::AfterResume).await;
    assert!(matches!(permission, Permission::Granted(_)));
    assert!((15_000..15_010).contains(&setting.millis()), "{}", setting.millis());
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_waits_too_long_gets_the_time_to_ask_again() {
    let setting = Setting::new(1).await;
    let _first = setting.granted().await;
    assert_eq!(setting.held().await, secs(5));
    assert!((120_000..120_010).contains(&setting.millis()), "{}", setting.millis());
}

#[tokio::test(start_paused = true)]
async fn one_issuer_is_not_held_back_by_another() {
    let setting = Setting::new(1).await;
    setting.granted().await.give_back(Some(secs(60)));
    for issuer in [None, Some(Issuer("https://other.example.com".to_owned()))] {
        let permission = setting.permits.ask(issuer.as_ref(), Urgency::Callers).await;
        assert!(matches!(permission, Permission::Granted(_)));
    }
    assert_eq!(setting.held().await, secs(60));
    assert!(!format!("{:?}", setting.permits).contains("example"));
}

/// A different issuer for each number.
fn numbered(number: usize) -> Issuer {
    Issuer(format!("https://as-{number}.example.com"))
}

impl Setting {
    /// The actors under the supervisor, and the limiters.
    fn sizes(&self) -> (usize, usize) {
        let supervisor = self.supervisor.borrow().clone().unwrap();
        (supervisor.get_children().len(), self.permits.limiters.lock().unwrap().by_issuer.len())
    }
}

#[tokio::test(start_paused = true)]
async fn unused_issuers_leave_no_actor_and_no_limiter_behind() {
    const ISSUERS: usize = 2_000;
    let setting = Setting::new(1).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for number in 0..ISSUERS {
        let issuer = numbered(number);
        let Permission::Granted(permit) = setting.permits.ask(Some(&issuer), Urgency::Callers).await else {
            panic!("held")
        };
        // A tenth of them throttle.
        permit.give_back((number % 10 == 0).then(|| secs(600)));
    }
    settle().await;
    // Each actor has a timer.
    assert_eq!((setting.sizes(), tasks()), ((ISSUERS, ISSUERS), before + 2 * ISSUERS));
    tokio::time::advance(secs(60) - Duration::from_millis(1)).await;
    settle().await;
    assert_eq!(setting.sizes(), (ISSUERS, ISSUERS));
    tokio::time::advance(Duration::from_millis(1)).await;
    settle().await;
    assert_eq!((setting.sizes(), tasks()), ((0, ISSUERS), before));
    // Throttles hold without an actor. The next request removes the other limiters.
    assert_eq!(setting.permits.throttled(Some(&numbered(10))), Some(secs(540)));
    assert_eq!(held(setting.permits.ask(Some(&numbered(10)), Urgency::Callers).await), secs(540));
    assert_eq!(setting.sizes(), (0, ISSUERS / 10));
    tokio::time::advance(secs(540)).await;
    setting.granted().await.give_back(None);
    settle().await;
    assert_eq!(setting.sizes(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_with_a_permit_out_or_with_a_request_does_not_end() {
    let setting = Setting::new(1).await;
    let first = setting.granted().await;
    tokio::time::advance(secs(3_600)).await;
    settle().await;
    let second = setting.askers(1).await.remove(0);
    let actor = setting.limiter().actor().unwrap().get_id();
    tokio::time::advance(secs(61)).await;
    settle().await;
    assert_eq!(setting.sizes(), (1, 1));
    first.give_back(None);
    let Permission::Granted(second) = second.await.unwrap() else { panic!("held") };
    tokio::time::advance(secs(61)).await;
    settle().await;
    assert_eq!(setting.limiter().actor().unwrap().get_id(), actor);
    // The idle time counts from the return of the last permit.
    second.give_back(None);
    settle().await;
    tokio::time::advance(secs(59)).await;
    settle().await;
    setting.granted().await.give_back(None);
    settle().await;
    tokio::time::advance(secs(59)).await;
    settle().await;
    assert_eq!(setting.limiter().actor().unwrap().get_id(), actor);
    tokio::time::advance(secs(1)).await;
    settle().await;
    assert_eq!(setting.sizes().0, 0);
    assert!(setting.limiter().actor().is_none());
    setting.granted().await.give_back(None);
}

#[tokio::test(start_paused = true)]
async fn askers_race_an_actor_that_ends() {
    for yields in 0..20 {
        let setting = Setting::new(1).await;
        setting.granted().await.give_back(Some(Duration::ZERO));
        settle().await;
        tokio::time::advance(secs(60)).await;
        for _ in 0..yields {
            yield_now().await;
        }
        let (one, other) = (setting.ask_later(), setting.ask_later());
        let Permission::Granted(permit) = one.await.unwrap() else { panic!("held") };
        settle().await;
        assert_eq!(setting.limiter().counts(), (2, 1), "{yields} turns: one permit at a time");
        permit.give_back(None);
        let Permission::Granted(_second) = other.await.unwrap() else { panic!("held") };
        settle().await;
        assert_eq!(setting.sizes().0, 1, "{yields} turns: one actor");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_current_actor_ends_and_only_while_nothing_is_asked_of_it() {
    let setting = Setting::new(1).await;
    let permit = setting.granted().await;
    let limiter = setting.limiter();
    // A request may come between an actor's decision to end and this call.
    assert!(!limiter.retire(1), "a permit is out");
    permit.give_back(None);
    assert!(!limiter.retire(0), "incarnation 0 is an earlier one");
    assert!(limiter.actor().is_some());
    assert!(limiter.retire(1));
    assert!(limiter.actor().is_none());
}
