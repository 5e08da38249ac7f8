//! The caller that refreshes is cancelled, and refreshes in a row.
use crate::{
    contest,
    env::Env,
    options::Options,
    peer::{First, Peer},
    report::{Cell, Report},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

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

pub struct ChainCase {
    pub outcome: Result<(), String>,
    pub posts: u64,
    pub revoked: bool,
}

/// Runs refreshes in sequence, to see whether the peer uses the rotated refresh token.
pub async fn chain<P: Peer>(env: &Env) -> ChainCase {
    let seed = env.new_family("delay_ms=0&expires_in=1").await;
    let fam = seed.fam;
    let p = P::create(env, seed).await;
    let mut outcome = Ok(());
    for i in 0..3 {
        if i > 0 && P::FIRST == First::Background {
            tokio::time::sleep(Duration::from_millis(11_500)).await;
        }
        if i > 0 && P::SERVES_UNTIL_EXPIRY {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let got = timeout(Duration::from_secs(30), p.get()).await.unwrap_or(Err("timeout".into()));
        if let Err(error) = got {
            outcome = Err(error);
            break;
        }
    }
    let stat = env.stat(fam).await;
    ChainCase { outcome, posts: stat.posts, revoked: stat.revoked }
}

fn word(outcome: &Result<(), String>) -> String {
    match outcome {
        Ok(()) => "ok".into(),
        Err(error) => format!("fails ({})", error.chars().take(70).collect::<String>()),
    }
}

fn yes(fact: bool) -> Cell {
    Cell::Text(if fact { "yes" } else { "no" }.into())
}

pub async fn run_cancel(options: &Options) {
    let env = Env::start();
    let peers = contest::contestants(options, |facts| facts.expires);
    let head = [
        "peer",
        "rotates",
        "retry after a cancelled refresh",
        "token requests",
        "chain revoked",
        "second caller, waiting",
        "retry then",
        "token requests then",
        "chain revoked then",
    ];
    let mut report = Report::new("cancel", head);
    for peer in &peers {
        let (alone, joined) = (peer.cancel(&env, false).await, peer.cancel(&env, true).await);
        report.row([
            Cell::Text(peer.facts().name.into()),
            yes(peer.facts().rotates),
            Cell::Text(word(&alone.retry)),
            Cell::Whole(alone.posts as i64),
            yes(alone.revoked),
            Cell::Text(word(&joined.waiter)),
            Cell::Text(word(&joined.retry)),
            Cell::Whole(joined.posts as i64),
            yes(joined.revoked),
        ]);
    }
    contest::note_versions(&mut report, &peers);
    report.publish(options.json.as_deref());
}

pub async fn run_chain(options: &Options) {
    let env = Env::start();
    let peers = contest::contestants(options, |facts| facts.expires);
    let head = ["peer", "three gets, each on an expired token", "token requests", "chain revoked"];
    let mut report = Report::new("chain", head);
    for peer in &peers {
        let chain = peer.chain(&env).await;
        report.row([
            Cell::Text(peer.facts().name.into()),
            Cell::Text(word(&chain.outcome)),
            Cell::Whole(chain.posts as i64),
            yes(chain.revoked),
        ]);
    }
    contest::note_versions(&mut report, &peers);
    report.publish(options.json.as_deref());
}
