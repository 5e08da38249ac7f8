//! A hit, which is a get of a cached, unexpired token.
use crate::{
    contest::{self, Turn},
    env::Env,
    options::Options,
    peer::Peer,
    report::{Cell, Report, Spread},
};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The length of one turn with one number of tasks.
const TURN: Duration = Duration::from_millis(60);

/// A peer that holds a cached, unexpired token, after its first gets.
pub async fn hot_peer<P: Peer>(env: &Env) -> P {
    let seed = env.new_family("delay_ms=0&expires_in=3600").await;
    let mut p = P::create(env, seed).await;
    for _ in 0..100 {
        p.get().await.expect("hot get");
    }
    p.warm().await;
    p
}

pub async fn hot<P: Peer>(env: &Env) -> Box<dyn Hot> {
    Box::new(HotPeer(Arc::new(hot_peer::<P>(env).await)))
}

pub trait Hot: Send + Sync {
    /// The wall time of `tasks` tasks with `gets` gets each.
    fn run(&self, tasks: usize, gets: u64) -> Turn<'_, Duration>;
}

struct HotPeer<P>(Arc<P>);

impl<P: Peer> Hot for HotPeer<P> {
    fn run(&self, tasks: usize, gets: u64) -> Turn<'_, Duration> {
        Box::pin(async move {
            let (go, rx) = watch::channel(false);
            let tasks: Vec<_> = (0..tasks)
                .map(|_| {
                    let (p, mut rx) = (self.0.clone(), rx.clone());
                    tokio::spawn(async move {
                        rx.changed().await.unwrap();
                        for _ in 0..gets {
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

pub async fn run(options: &Options) {
    let env = Env::start();
    let peers = contest::contestants(options, |facts| facts.hits);
    let rounds = options.rounds.unwrap_or(9);
    let mut report = Report::new("hit", ["tasks", "peer", "ns per get", "against"]);
    let mut hot = vec![];
    for peer in &peers {
        hot.push(peer.hot(&env).await);
    }
    // The number of gets of each cell that take one turn.
    let mut gets = vec![vec![]; peers.len()];
    for (peer, gets) in hot.iter().zip(&mut gets) {
        for &tasks in &options.tasks {
            let probe = (2_000 / tasks as u64).max(50);
            peer.run(tasks, probe).await;
            let each = peer.run(tasks, probe).await.as_secs_f64() / probe as f64;
            gets.push(((TURN.as_secs_f64() / each) as u64).clamp(50, 20_000_000));
        }
    }
    let mut ns = vec![vec![Spread::default(); options.tasks.len()]; peers.len()];
    for round in 1..=rounds {
        for (peer, hot) in hot.iter().enumerate() {
            for (j, &tasks) in options.tasks.iter().enumerate() {
                let took = hot.run(tasks, gets[peer][j]).await;
                ns[peer][j].add(took.as_nanos() as f64 / (gets[peer][j] * tasks as u64) as f64);
            }
        }
        eprintln!("round {round} of {rounds}");
    }
    let reference = contest::reference(options, &peers);
    for (j, &tasks) in options.tasks.iter().enumerate() {
        for (i, peer) in peers.iter().enumerate() {
            let other = reference.filter(|place| *place != i).map(|place| &ns[place][j]);
            report.row([
                Cell::Whole(tasks as i64),
                Cell::Text(peer.facts().name.into()),
                Cell::Spread(ns[i][j].clone(), 0),
                Cell::against(&ns[i][j], other),
            ]);
        }
    }
    contest::note_comparison(&mut report, options);
    report.note("ns per get is the wall time of a turn, divided by all gets of all tasks.");
    contest::note_versions(&mut report, &peers);
    report.publish(options.json.as_deref());
}
