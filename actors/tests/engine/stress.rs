//! Thousands of incarnations, which end in each possible way while callers ask and refuse. The test checks order (law
//! 6), one flight at a time (law 1), and an answer for each caller (law 7).
//!
//! It runs for some seconds. `TOKENKEEPER_STRESS=100000` sets the number of incarnations instead, and
//! `TOKENKEEPER_SEED` the entropy of an earlier run. The interleaving of threads still differs.

mod endings;
mod watchman;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use tokenkeeper_actors::law::ledger::Login;
use tokenkeeper_actors::law::session::{ChallengeKey, OperationKey};
use tokenkeeper_actors::runtime::{AuthSession, TokenOptions};
use tokenkeeper_actors::values::{Lease, Reason, RenewalPlan, SourceName, TokenError};

use self::endings::{Endings, Roll};
use self::watchman::Watchman;
use super::support::{World, identity, ms, s, within};

const IDENTITIES: usize = 64;
const CALLERS: u64 = 8;
/// Steps of each caller between two pauses.
const STEPS: u64 = 150;
/// The duration of the test, unless a number of incarnations is set.
const SPAN: Duration = Duration::from_secs(10);

/// A waker that panics when it is called, which is the one way to make an actor panic from outside.
#[derive(Default)]
struct Bomb(AtomicBool);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        if !self.0.swap(true, Ordering::SeqCst) {
            // This skips the panic hook, which would print thousands of messages.
            std::panic::resume_unwind(Box::new("a waker that panics"));
        }
    }
}

/// One identity, with its session, its world, and the refusals that were observed.
struct Post {
    world: World,
    session: AuthSession,
    watchman: Watchman,
}

struct Caller {
    posts: Arc<Vec<Post>>,
    endings: Arc<Endings>,
    roll: Roll,
}

impl Caller {
    async fn work(mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            let posts = Arc::clone(&self.posts);
            let post = &posts[self.roll.below(IDENTITIES as u64) as usize];
            match self.roll.below(100) {
                0..55 => drop(token(post, TokenOptions::default()).await?),
                55..72 => refuse(post, self.roll.next()).await?,
                72..76 => drop(token(post, insisting()).await?),
                76..80 => leave(post),
                80..84 => startle(post, self.roll.next()).await?,
                84 => tokio::time::sleep(ms(self.roll.below(6))).await,
                _ => self.endings.end(&mut self.roll).await?,
            }
        }
        Ok(())
    }
}

fn insisting() -> TokenOptions {
    TokenOptions { force: true, ..TokenOptions::default() }
}

/// Waits for the answer, which must come. The errors that no caller can avoid here mean that it has to ask again.
async fn answered<T>(asked: impl Future<Output = Result<T, TokenError>>) -> Result<Option<T>, String> {
    match tokio::time::timeout(s(20), asked).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(error)) if matches!(error.reason(), Reason::Aborted | Reason::NotRunning) => Ok(None),
        Ok(Err(error)) => Err(format!("an answer that nobody gave cause for: {error}")),
        Err(_) => Err("a caller that is left hanging".to_owned()),
    }
}

async fn token(post: &Post, request: TokenOptions) -> Result<Option<Lease>, String> {
    let floor = post.watchman.floor();
    let lease = answered(async {
        if request.force { post.session.token_with(request).await } else { post.session.token().await }
    });
    let Some(lease) = lease.await? else { return Ok(None) };
    floor.allows(&lease)?;
    Ok(Some(lease))
}

async fn refuse(post: &Post, unique: u64) -> Result<(), String> {
    let Some(lease) = token(post, TokenOptions::default()).await? else { return Ok(()) };
    let noted = async {
        match post.session.invalidate(&lease, OperationKey(unique), ChallengeKey(0)).await {
            // The token was minted for a refusal just now (law 11). A forced request gets another one all the same.
            Err(error) if error.reason() == Reason::ResourceRefuses => Ok(false),
            answer => answer.map(|()| true),
        }
    };
    match answered(noted).await? {
        Some(true) => post.watchman.refused(&lease),
        Some(false) => drop(token(post, insisting()).await?),
        None => {}
    }
    // The same task asks again at once.
    drop(token(post, TokenOptions::default()).await?);
    Ok(())
}

/// Asks, and drops the future.
fn leave(post: &Post) {
    let mut asked = Box::pin(post.session.token_with(insisting()));
    let _ = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// Makes the actor panic while it answers, and waits for that answer.
async fn startle(post: &Post, unique: u64) -> Result<(), String> {
    let floor = post.watchman.floor();
    let bomb = Arc::new(Bomb::default());
    let mut asked = Box::pin(post.session.token_with(insisting()));
    let polled = asked.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&bomb))));
    if let Poll::Ready(answer) = polled {
        return answered(async { answer }).await.map(drop);
    }
    for _ in 0..unique % 40 {
        tokio::time::sleep(ms(1)).await;
        if bomb.0.load(Ordering::SeqCst) {
            break;
        }
    }
    // The waker no longer panics from here on.
    bomb.0.store(true, Ordering::SeqCst);
    match answered(asked).await? {
        Some(lease) => floor.allows(&lease),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_and_single_flight_hold_over_any_number_of_incarnations() {
    let number = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().expect("a number"));
    let asked_for = number("TOKENKEEPER_STRESS");
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let seed = number("TOKENKEEPER_SEED").unwrap_or(clock.as_nanos() as u64);
    println!("TOKENKEEPER_SEED={seed}");

    let world = World::new();
    // Each identity has a server of its own, which counts the requests in flight for this identity alone.
    let own_world = |number: usize| {
        let mut own = world.clone();
        own.server = super::support::Server::new(world.clock.clone());
        own.server.numbers_from(number as u64 * 1_000_000_000);
        own.server.lives_for(s(1_000_000_000));
        own.server.takes(ms(1));
        own
    };
    let worlds: Vec<World> = (0..IDENTITIES).map(own_world).collect();
    let name = |number: usize| SourceName::new(format!("server-{number}")).expect("a name");
    let mut settings = world.settings();
    for (number, own) in worlds.iter().enumerate() {
        settings.sources = settings.sources.with(name(number), Arc::new(own.server.clone()));
    }
    let builder = world.builder_with(Arc::new(world.store.clone()), settings).idle_after(ms(2));
    let endings = Arc::new(Endings::begin(builder).await);
    let posts = join_all(worlds.into_iter().enumerate().map(|(number, own)| {
        let session = endings.runtime().session(identity(number));
        let renewal = RenewalPlan { source: name(number), ..RenewalPlan::default() };
        async move {
            within("the answer to a login", session.install(Login { renewal, ..own.login() }))
                .await
                .expect("installed");
            Post { world: own, session, watchman: Watchman::default() }
        }
    }));
    let posts = Arc::new(posts.await);

    let began = Instant::now();
    let (mut rounds, mut incarnations) = (0, 0);
    while asked_for.map_or(began.elapsed() < SPAN, |asked_for| incarnations < asked_for) {
        let callers = (0..CALLERS).map(|number| {
            let roll = Roll(seed ^ (rounds * CALLERS + number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let caller = Caller { posts: Arc::clone(&posts), endings: Arc::clone(&endings), roll };
            tokio::spawn(caller.work())
        });
        for caller in within("the end of a round", join_all(callers)).await {
            assert_eq!(caller.expect("no panic"), Ok(()), "round {rounds}");
        }
        rounds += 1;
        incarnations = endings.incarnations().await;
        calm_down(&world, &posts).await;
        // Restarts no longer count, and no token is one that was minted for a refusal just now.
        world.clock.suspend(s(61));
    }

    for post in posts.iter() {
        assert_eq!(post.world.server.most_in_flight(), 1, "one token request at a time");
        post.world.server.is_content_with(post.world.server.requests());
        let lease = tokio::time::timeout(s(10), post.session.token()).await.expect("an answer").expect("a lease");
        assert_eq!(post.watchman.floor().allows(&lease), Ok(()));
    }
    let requests: usize = posts.iter().map(|post| post.world.server.requests()).sum();
    println!("{incarnations} incarnations, {endings}, {requests} requests, {rounds} rounds, {:?}", began.elapsed());
    assert!(within("a shutdown", endings.runtime().shutdown(s(5))).await.is_clean());
}

/// Waits until no flight is under way, because a flight does not survive a suspend of a minute.
async fn calm_down(world: &World, posts: &[Post]) {
    for post in posts {
        let began = Instant::now();
        while post.world.server.in_flight() > 0 || post.session.state().refreshing {
            assert!(began.elapsed() < s(10), "a flight that never ends: {:?}", post.session.state());
            tokio::time::sleep(ms(1)).await;
            if began.elapsed() > ms(100) && posts.iter().all(|post| post.world.server.in_flight() == 0) {
                // Its actor ended too often, and pauses. A call after the pause starts it again.
                world.clock.suspend(s(61));
                drop(token(post, TokenOptions::default()).await.expect("an answer"));
            }
        }
    }
}
