//! The workloads. Everything here is generic over `Peer`. No workload names a peer.
use crate::{
    env::Env,
    peer::{First, Peer},
};
use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

pub const CONC: [usize; 4] = [1, 2, 8, 64];

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn mmm(v: &mut [f64]) -> (f64, f64, f64) {
    v.sort_by(f64::total_cmp);
    (v[0], v[v.len() / 2], v[v.len() - 1])
}

/// A peer holding a cached, unexpired token, after its first get.
pub async fn hot_peer<P: Peer>(env: &Env) -> P {
    let seed = env.new_family("delay_ms=0&expires_in=3600").await;
    let mut p = P::create(env, seed).await;
    for _ in 0..100 {
        p.get().await.expect("hot get");
    }
    p.warm().await;
    p
}

// ---------------------------------------------------------------- W1

pub trait Hot: Send + Sync {
    fn name(&self) -> &'static str;
    fn run(&self, conc: usize, iters: u64) -> Pin<Box<dyn Future<Output = Duration> + Send + '_>>;
}

pub struct HotPeer<P>(pub Arc<P>);

impl<P: Peer> Hot for HotPeer<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }
    /// The wall time of `conc` tasks with `iters` gets each.
    fn run(&self, conc: usize, iters: u64) -> Pin<Box<dyn Future<Output = Duration> + Send + '_>> {
        Box::pin(async move {
            let (go, rx) = watch::channel(false);
            let tasks: Vec<_> = (0..conc)
                .map(|_| {
                    let (p, mut rx) = (self.0.clone(), rx.clone());
                    tokio::spawn(async move {
                        rx.changed().await.unwrap();
                        for _ in 0..iters {
                            let _ = black_box(p.get().await.expect("hot get"));
                        }
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(2)).await;
            let t = Instant::now();
            go.send(true).unwrap();
            for h in tasks {
                h.await.unwrap();
            }
            t.elapsed()
        })
    }
}

// ---------------------------------------------------------------- W2

pub struct StormCase {
    pub posts: u64,
    pub failed: usize,
    pub timed_out: usize,
    pub over_ms: f64,
    pub revoked: bool,
    pub max_inflight: u64,
    pub err: Option<String>,
}

pub async fn storm<P: Peer>(env: &Env, n: usize, delay_ms: u64, cap: Duration) -> StormCase {
    let seed = env.new_family("delay_ms=0&expires_in=1").await;
    let fam = seed.fam;
    if P::FIRST == First::Background {
        env.set(fam, &format!("delay_ms={delay_ms}&expires_in=3600&reset=true")).await;
    }
    let p = Arc::new(P::create(env, seed).await);
    if P::FIRST == First::Fetched {
        p.get().await.expect("first get");
    }
    if P::FIRST != First::Background {
        env.set(fam, &format!("delay_ms={delay_ms}&expires_in=3600&reset=true")).await;
    }
    let (go, rx) = watch::channel(false);
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let (p, mut rx) = (p.clone(), rx.clone());
            tokio::spawn(async move {
                rx.changed().await.unwrap();
                let t0 = Instant::now();
                let r = timeout(cap, p.get()).await;
                (t0, Instant::now(), r.map(|r| r.map(|_| ())))
            })
        })
        .collect();
    if P::FIRST != First::Background {
        // Lets every caller park on the start line.
        tokio::time::sleep(Duration::from_millis(5 + n as u64 / 200)).await;
    }
    go.send(true).unwrap();
    let mut first = None::<Instant>;
    let mut last = None::<Instant>;
    let (mut failed, mut timed_out, mut err) = (0, 0, None);
    for h in tasks {
        let (t0, t1, r) = h.await.unwrap();
        first = Some(first.map_or(t0, |f| f.min(t0)));
        last = Some(last.map_or(t1, |f| f.max(t1)));
        match r {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                failed += 1;
                err.get_or_insert(e);
            }
            Err(_) => {
                failed += 1;
                timed_out += 1;
            }
        }
    }
    let s = env.stat(fam).await;
    StormCase {
        posts: s.posts,
        failed,
        timed_out,
        over_ms: (last.unwrap() - first.unwrap()).as_secs_f64() * 1e3 - delay_ms as f64,
        revoked: s.revoked,
        max_inflight: s.max_inflight,
        err,
    }
}

/// The resource's delay. It is long enough for all callers to have sent the old token before the first of them gets
/// its 401.
pub const RESOURCE_MS: u64 = 100;

/// W2b. The resource refuses the cached, unexpired token, and `n` callers get the 401 at once.
pub async fn reject_storm<P: Peer>(env: &Env, n: usize, delay_ms: u64, cap: Duration) -> StormCase {
    let seed = env.new_family("delay_ms=0&expires_in=3600").await;
    let fam = seed.fam;
    let p = Arc::new(P::create(env, seed).await);
    let url: Arc<str> = format!("{}/f/{fam}/mcp", env.base).into();
    p.call(&env.http, &url).await.expect("call with a good token");
    env.set(fam, &format!("delay_ms={delay_ms}&reset=true&revoke_access=true&resource_delay_ms={RESOURCE_MS}")).await;
    let (go, rx) = watch::channel(false);
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let (p, mut rx, http, url) = (p.clone(), rx.clone(), env.http.clone(), url.clone());
            tokio::spawn(async move {
                rx.changed().await.unwrap();
                timeout(cap, p.call(&http, &url)).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let t = Instant::now();
    go.send(true).unwrap();
    let (mut failed, mut timed_out, mut err) = (0, 0, None);
    for h in tasks {
        match h.await.unwrap() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                failed += 1;
                err.get_or_insert(e);
            }
            Err(_) => {
                failed += 1;
                timed_out += 1;
            }
        }
    }
    let over_ms = t.elapsed().as_secs_f64() * 1e3 - (delay_ms + 2 * RESOURCE_MS) as f64;
    let s = env.stat(fam).await;
    StormCase { posts: s.posts, failed, timed_out, over_ms, revoked: s.revoked, max_inflight: s.max_inflight, err }
}

// ---------------------------------------------------------------- cancellation and chain

pub struct CancelCase {
    /// The retry, after the cancelled exchange has settled.
    pub retry: Result<(), String>,
    /// A caller that was waiting on the same refresh when the first one was cancelled.
    pub waiter: Result<(), String>,
    pub posts: u64,
    pub revoked: bool,
}

/// One caller starts a refresh, and `waiters` others join it. The first caller is dropped after the server has rotated
/// the token and before it has answered. Then one more call follows.
pub async fn cancel<P: Peer>(env: &Env, with_waiter: bool) -> CancelCase {
    let seed = env.new_family("delay_ms=0&expires_in=1").await;
    let fam = seed.fam;
    let slow = "delay_ms=300&expires_in=3600&reset=true";
    if P::FIRST == First::Background {
        env.set(fam, slow).await;
    }
    let p = Arc::new(P::create(env, seed).await);
    if P::FIRST == First::Fetched {
        p.get().await.expect("first get");
    }
    if P::FIRST != First::Background {
        env.set(fam, slow).await;
    }
    let victim = {
        let p = p.clone();
        tokio::spawn(async move { p.get().await.map(|_| ()) })
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    let waiter = with_waiter.then(|| {
        let p = p.clone();
        tokio::spawn(async move { timeout(Duration::from_secs(10), p.get()).await.map(|r| r.map(|_| ())) })
    });
    // Waits until the server has received the POST, and so has rotated the token.
    for _ in 0..200 {
        if env.stat(fam).await.posts > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    victim.abort();
    let _ = victim.await;
    let waiter = match waiter {
        None => Ok(()),
        Some(h) => h.await.unwrap().unwrap_or(Err("timeout".into())),
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let retry = timeout(Duration::from_secs(10), p.get()).await.map(|r| r.map(|_| ())).unwrap_or(Err("timeout".into()));
    let s = env.stat(fam).await;
    CancelCase { retry, waiter, posts: s.posts, revoked: s.revoked }
}

/// Runs two refreshes in sequence, to see whether the peer uses the rotated refresh token.
pub async fn chain<P: Peer>(env: &Env) -> (Result<(), String>, u64, bool) {
    let seed = env.new_family("delay_ms=0&expires_in=1").await;
    let fam = seed.fam;
    let p = P::create(env, seed).await;
    let mut r = Ok(());
    for i in 0..3 {
        if i > 0 && P::FIRST == First::Background {
            tokio::time::sleep(Duration::from_millis(11_500)).await;
        }
        if i > 0 && P::SERVES_UNTIL_EXPIRY {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        if let Err(e) = timeout(Duration::from_secs(30), p.get()).await.unwrap_or(Err("timeout".into())) {
            r = Err(e);
            break;
        }
    }
    let s = env.stat(fam).await;
    (r, s.posts, s.revoked)
}
