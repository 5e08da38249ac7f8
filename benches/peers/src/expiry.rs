//! Callers at the moment of expiry, and callers whose unexpired token was refused.
use crate::{
    contest::{self, Contestant, Turn},
    env::Env,
    options::{Connections, Options},
    peer::{First, Peer},
    report::{Cell, Report, Spread, median},
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// A storm longer than this is not repeated, and the peer takes no part in larger ones.
const TOO_LONG_MS: f64 = 2_000.0;

/// The resource's delay. It is long enough for all callers to have sent the old token before the first of them gets
/// its 401.
const RESOURCE_MS: u64 = 100;

/// The callers of one storm.
#[derive(Default)]
pub struct Crowd {
    pub began: Option<Instant>,
    /// When the first caller was served.
    pub served: Option<Instant>,
    pub ended: Option<Instant>,
    pub failed: u64,
    /// Those of the failed callers that had no answer in time.
    pub timed_out: u64,
    /// The first error.
    pub err: Option<String>,
}

/// `callers` tasks that begin together. `settle` is the time in which they get to the start line.
pub async fn crowd<F>(callers: usize, settle: Duration, patience: Duration, call: impl Fn() -> F) -> Crowd
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (go, rx) = watch::channel(false);
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (call, mut rx) = (call(), rx.clone());
            tokio::spawn(async move {
                rx.changed().await.unwrap();
                let began = Instant::now();
                let answer = timeout(patience, call).await;
                (began, Instant::now(), answer)
            })
        })
        .collect();
    tokio::time::sleep(settle).await;
    go.send(true).unwrap();
    let mut crowd = Crowd::default();
    for task in tasks {
        let (began, ended, answer) = task.await.unwrap();
        crowd.began = Some(crowd.began.map_or(began, |first| first.min(began)));
        crowd.ended = Some(crowd.ended.map_or(ended, |last| last.max(ended)));
        match answer {
            Ok(Ok(())) => crowd.served = Some(crowd.served.map_or(ended, |first| first.min(ended))),
            Ok(Err(e)) => {
                crowd.failed += 1;
                crowd.err.get_or_insert(e);
            }
            Err(_) => {
                crowd.failed += 1;
                crowd.timed_out += 1;
            }
        }
    }
    crowd
}

impl Crowd {
    /// From the first call to the last answer.
    fn ms(&self) -> f64 {
        let span = self.began.zip(self.ended).map_or(Duration::ZERO, |(began, ended)| ended - began);
        span.as_secs_f64() * 1e3
    }
}

/// A peer whose token has expired. The server then does as `next` says, in the terms of `/ctl/{family}/set`.
pub async fn at_expiry<P: Peer>(env: &Env, next: &str, connections: Connections) -> (Arc<P>, u64) {
    let seed = env.new_family("delay_ms=0&expires_in=1").await;
    let fam = seed.fam;
    let next = format!("{next}&expires_in=3600&reset=true");
    let set = async || {
        env.set(fam, &next).await;
        if connections == Connections::Closed {
            env.close_idle().await;
        }
    };
    // A peer with a timer of its own asks for its first token at once.
    if P::FIRST == First::Background {
        set().await;
    }
    let p = Arc::new(P::create(env, seed).await);
    if P::FIRST == First::Fetched {
        p.get().await.expect("first get");
    }
    if P::FIRST != First::Background {
        set().await;
    }
    (p, fam)
}

/// The time that `callers` tasks of a peer take to get to the start line. A peer with a timer of its own has begun.
pub fn settle<P: Peer>(callers: usize) -> Duration {
    match P::FIRST {
        First::Background => Duration::ZERO,
        _ => Duration::from_millis(5 + callers as u64 / 200),
    }
}

pub async fn get<P: Peer>(p: Arc<P>) -> Result<(), String> {
    p.get().await.map(|_| ())
}

/// The storm of a turn.
#[derive(Clone, Copy)]
pub struct StormPlan {
    pub callers: usize,
    pub delay_ms: u64,
    /// How long each caller waits.
    pub patience: Duration,
    pub connections: Connections,
}

pub struct Storm {
    pub posts: u64,
    /// The first token request came over a kept connection.
    pub first_kept: bool,
    pub failed: u64,
    pub timed_out: u64,
    pub over_ms: f64,
    pub revoked: bool,
    pub max_inflight: u64,
    pub err: Option<String>,
}

async fn storm_of(env: &Env, fam: u64, crowd: Crowd, servers_ms: u64) -> Storm {
    let stat = env.stat(fam).await;
    Storm {
        posts: stat.posts,
        first_kept: stat.first_kept,
        failed: crowd.failed,
        timed_out: crowd.timed_out,
        over_ms: crowd.ms() - servers_ms as f64,
        revoked: stat.revoked,
        max_inflight: stat.max_inflight,
        err: crowd.err,
    }
}

/// `plan.callers` callers at the moment of expiry.
pub async fn storm<P: Peer>(env: &Env, plan: StormPlan) -> Storm {
    let StormPlan { callers, delay_ms, patience, connections } = plan;
    let (p, fam) = at_expiry::<P>(env, &format!("delay_ms={delay_ms}"), connections).await;
    let crowd = crowd(callers, settle::<P>(callers), patience, || get(p.clone())).await;
    let storm = storm_of(env, fam, crowd, delay_ms).await;
    assert!(connections == Connections::Kept || !storm.first_kept, "{} kept a connection", P::NAME);
    storm
}

/// The resource refuses the cached, unexpired token, and `plan.callers` callers get the 401 at once. Their connections are
/// those of their requests to the resource.
pub async fn refused<P: Peer>(env: &Env, plan: StormPlan) -> Storm {
    let StormPlan { callers, delay_ms, patience, .. } = plan;
    let seed = env.new_family("delay_ms=0&expires_in=3600").await;
    let fam = seed.fam;
    let p = Arc::new(P::create(env, seed).await);
    let url: Arc<str> = format!("{}/f/{fam}/mcp", env.base).into();
    p.call(&env.http, &url).await.expect("call with a good token");
    let next = format!("delay_ms={delay_ms}&reset=true&revoke_access=true&resource_delay_ms={RESOURCE_MS}");
    env.set(fam, &next).await;
    let call = || {
        let (p, http, url) = (p.clone(), env.http.clone(), url.clone());
        async move { p.call(&http, &url).await }
    };
    let crowd = crowd(callers, Duration::from_millis(5), patience, call).await;
    storm_of(env, fam, crowd, delay_ms + 2 * RESOURCE_MS).await
}

/// All storms of one peer with one size of crowd.
#[derive(Default)]
struct Storms {
    ms: Spread,
    posts: Vec<u64>,
    /// Storms whose first token request came over a kept connection.
    kept: usize,
    failed: Vec<u64>,
    revoked: usize,
    max_inflight: u64,
    err: Option<String>,
    /// The longest storm.
    longest_ms: f64,
}

impl Storms {
    fn add(&mut self, storm: Storm) -> f64 {
        self.posts.push(storm.posts);
        self.kept += usize::from(storm.first_kept);
        self.failed.push(storm.failed);
        self.revoked += usize::from(storm.revoked);
        self.max_inflight = self.max_inflight.max(storm.max_inflight);
        self.err = self.err.take().or(storm.err).or((storm.timed_out > 0).then(|| "no answer in time".into()));
        self.longest_ms = self.longest_ms.max(storm.over_ms);
        storm.over_ms
    }

    /// Some storms of `peer`, as one turn. None if they take too long to be repeated.
    async fn turn<'a>(&mut self, repeat: usize, storm: impl Fn() -> Turn<'a, Storm>) {
        let mut ms = vec![];
        while ms.len() < repeat && self.longest_ms < TOO_LONG_MS {
            ms.push(self.add(storm().await));
        }
        if !ms.is_empty() {
            self.ms.add(median(&ms));
        }
    }
}

type Run = for<'a> fn(&'a dyn Contestant, &'a Env, StormPlan) -> Turn<'a, Storm>;

pub async fn run(options: &Options) {
    let peers = contest::contestants(options, |facts| facts.expires);
    let sizes = options.callers.clone().unwrap_or(vec![1, 32, 1_000, 10_000]);
    let connections = options.connections.clone().unwrap_or(vec![Connections::Closed, Connections::Kept]);
    let groups = groups(&connections, &sizes);
    storms(options, "expiry", options.delay_ms, &peers, &groups, |peer, env, plan| peer.storm(env, plan)).await;
}

pub async fn run_refused(options: &Options) {
    let peers = contest::contestants(options, |facts| facts.answers_401);
    let sizes = options.callers.clone().unwrap_or(vec![1, 32, 200]);
    let groups = groups(&[Connections::Kept], &sizes);
    let servers_ms = options.delay_ms + 2 * RESOURCE_MS;
    storms(options, "refused", servers_ms, &peers, &groups, |peer, env, plan| peer.refused(env, plan)).await;
}

/// Each size of crowd, with each kind of connections.
fn groups(connections: &[Connections], sizes: &[usize]) -> Vec<(Connections, usize)> {
    sizes.iter().flat_map(|size| connections.iter().map(move |mode| (*mode, *size))).collect()
}

/// Lets `peers` take turns at the storms of each group.
async fn storms(
    options: &Options,
    workload: &'static str,
    servers_ms: u64,
    peers: &[Box<dyn Contestant>],
    groups: &[(Connections, usize)],
    run: Run,
) {
    let env = Env::start();
    let over = format!("ms over the servers' {servers_ms}");
    let head = [
        "callers",
        "connections",
        "peer",
        &over,
        "against",
        "token requests",
        "first over a kept connection",
        "failed",
        "chain revoked",
        "requests at once, at most",
    ];
    let mut report = Report::new(workload, head);
    let patience = options.patience.unwrap_or(Duration::from_secs(45));
    let rounds = options.rounds.unwrap_or(7);
    let reference = contest::reference(options, peers);
    let mut too_slow: Vec<Option<usize>> = vec![None; peers.len()];
    for &(connections, callers) in groups {
        let plan = StormPlan { callers, delay_ms: options.delay_ms, patience, connections };
        let mut all: Vec<Storms> = peers.iter().map(|_| Storms::default()).collect();
        // The first round is not counted. It pays for code, pools and memory.
        for round in 0..=rounds {
            for (i, peer) in peers.iter().enumerate() {
                if too_slow[i].is_some() {
                    continue;
                }
                let storm = || run(&**peer, &env, plan);
                if round > 0 {
                    all[i].turn(options.repeat, storm).await;
                    continue;
                }
                let first = storm().await;
                if first.over_ms >= TOO_LONG_MS {
                    let ms = all[i].add(first);
                    all[i].ms.add(ms);
                }
            }
            eprintln!("{callers} callers, connections {}: round {round} of {rounds}", connections.word());
        }
        for (i, (peer, storms)) in peers.iter().zip(&all).enumerate() {
            let name = peer.facts().label();
            if let Some(size) = too_slow[i] {
                let mode = connections.word();
                report.note(format!("{name} took no part with {callers} callers, {mode}: {size} took it seconds."));
                continue;
            }
            let other = reference.filter(|place| *place != i).map(|place| &all[place].ms);
            report.row([
                Cell::Whole(callers as i64),
                Cell::Text(connections.word().into()),
                Cell::Text(name.clone()),
                Cell::Spread(storms.ms.clone(), 1),
                Cell::against(&storms.ms, other),
                Cell::span(&storms.posts),
                Cell::Text(format!("{} of {}", storms.kept, storms.posts.len())),
                Cell::span(&storms.failed),
                Cell::Text(format!("{} of {}", storms.revoked, storms.posts.len())),
                Cell::Whole(storms.max_inflight as i64),
            ]);
            if let Some(err) = &storms.err {
                eprintln!("{name}, {callers} callers, first error: {}", err.chars().take(200).collect::<String>());
            }
            if storms.longest_ms >= TOO_LONG_MS {
                too_slow[i] = Some(callers);
            }
        }
    }
    report.note(format!(
        "The time is from the first call to the last answer, failed callers included, less the servers' own. Storms in \
         one turn, whose median counts: {}.",
        options.repeat
    ));
    report.note(
        "closed: idle connections are closed before the first call, as between two expiries that are an hour apart. kept: \
         the client that the baselines share has used its connection just before.",
    );
    contest::note_comparison(&mut report, options);
    contest::note_refresh(&mut report, peers);
    contest::note_versions(&mut report, peers);
    report.publish(options.json.as_deref());
}
