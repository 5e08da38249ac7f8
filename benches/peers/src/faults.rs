//! A fault that passes. The first token request after an expiry meets it.
use crate::{
    contest,
    env::Env,
    expiry::{at_expiry, crowd, get, settle},
    options::{Connections, Options},
    peer::Peer,
    report::{Cell, Report, Spread},
    server::Fault,
};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The pause before a peer is asked again, after all callers have failed.
const ASK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Clone, Copy)]
pub struct FaultPlan {
    pub fault: Fault,
    pub callers: usize,
    pub delay_ms: u64,
    pub slow_ms: u64,
    pub grace_ms: u64,
    /// How long each caller waits.
    pub patience: Duration,
    /// How long the peer is asked again, from the first call on.
    pub within: Duration,
    pub connections: Connections,
}

pub struct FaultCase {
    pub failed: u64,
    /// From the first call to the first token.
    pub token_ms: Option<f64>,
    pub posts: u64,
    pub revoked: bool,
    pub err: Option<String>,
}

/// `plan.callers` callers at the moment of expiry. If none of them gets a token, one more asks again until it has one,
/// until the chain is revoked, or until the time is up.
pub async fn fault<P: Peer>(env: &Env, plan: FaultPlan) -> FaultCase {
    let FaultPlan { fault, delay_ms, slow_ms, grace_ms, .. } = plan;
    let next = format!("delay_ms={delay_ms}&slow_ms={slow_ms}&grace_ms={grace_ms}&fault={}", fault.word());
    let (p, fam) = at_expiry::<P>(env, &next, plan.connections).await;
    let crowd = crowd(plan.callers, settle::<P>(plan.callers), plan.patience, || get(p.clone())).await;
    let began = crowd.began.unwrap_or_else(Instant::now);
    let mut served = crowd.served;
    while served.is_none() && began.elapsed() < plan.within && !env.stat(fam).await.revoked {
        tokio::time::sleep(ASK_AGAIN).await;
        let left = plan.within.saturating_sub(began.elapsed());
        if let Ok(Ok(())) = timeout(left, get(p.clone())).await {
            served = Some(Instant::now());
        }
    }
    let stat = env.stat(fam).await;
    assert_eq!(stat.faulted, 1, "the fault was met once");
    let no_answer = (crowd.timed_out > 0).then(|| "no answer in time".into());
    FaultCase {
        failed: crowd.failed,
        token_ms: served.map(|at| (at - began).as_secs_f64() * 1e3),
        posts: stat.posts,
        revoked: stat.revoked,
        err: crowd.err.or(no_answer),
    }
}

/// All cases of one peer with one fault.
#[derive(Default)]
struct Cases {
    failed: Vec<u64>,
    ms: Spread,
    posts: Vec<u64>,
    /// Turns at whose end the session had given a token and its chain was alive.
    survived: usize,
    err: Option<String>,
}

impl Cases {
    fn add(&mut self, case: FaultCase) {
        self.failed.push(case.failed);
        case.token_ms.into_iter().for_each(|ms| self.ms.add(ms));
        self.posts.push(case.posts);
        self.survived += usize::from(case.token_ms.is_some() && !case.revoked);
        self.err = self.err.take().or(case.err);
    }

    /// The time to the token, in turns without one as well.
    fn ms(&self) -> Cell {
        let (with, all) = (self.ms.turns(), self.failed.len());
        match all - with {
            0 => Cell::Spread(self.ms.clone(), 0),
            without => Cell::Text(format!("none in {without} of {all} turns")),
        }
    }
}

pub async fn run(options: &Options) {
    let peers = contest::contestants(options, |facts| facts.faults);
    let head = [
        "fault",
        "connections",
        "callers",
        "peer",
        "callers failed",
        "ms to a token",
        "against",
        "token requests",
        "session survived",
    ];
    let mut report = Report::new("faults", head);
    let rounds = options.rounds.unwrap_or(5);
    let reference = contest::reference(options, &peers);
    let patience = options.patience.unwrap_or(Duration::from_secs(30));
    let sizes = options.callers.clone().unwrap_or(vec![32]);
    let connections = options.connections.clone().unwrap_or(vec![Connections::Closed]);
    let modes = options.faults.iter().flat_map(|fault| connections.iter().map(move |mode| (*fault, *mode)));
    for ((fault, connections), callers) in modes.flat_map(|mode| sizes.iter().map(move |size| (mode, *size))) {
        let (delay_ms, slow_ms, grace_ms) = (options.delay_ms, options.slow_ms, options.grace_ms);
        let plan =
            FaultPlan { fault, callers, delay_ms, slow_ms, grace_ms, patience, within: options.within, connections };
        let mut all: Vec<Cases> = peers.iter().map(|_| Cases::default()).collect();
        for round in 1..=rounds {
            for (peer, cases) in peers.iter().zip(&mut all) {
                // A server of its own, so that its `Retry-After` holds back no other turn.
                let env = Env::start();
                cases.add(peer.fault(&env, plan).await);
            }
            eprintln!("{}, {callers} callers: round {round} of {rounds}", fault.word());
        }
        for (i, (peer, cases)) in peers.iter().zip(&all).enumerate() {
            let complete = |cases: &Cases| cases.ms.turns() == cases.failed.len();
            let other = reference.filter(|place| *place != i && complete(&all[*place]) && complete(cases));
            report.row([
                Cell::Text(fault.word().into()),
                Cell::Text(connections.word().into()),
                Cell::Whole(callers as i64),
                Cell::Text(peer.facts().label()),
                Cell::span(&cases.failed),
                cases.ms(),
                Cell::against(&cases.ms, other.map(|place| &all[place].ms)),
                Cell::span(&cases.posts),
                Cell::Text(format!("{} of {rounds}", cases.survived)),
            ]);
            if let Some(err) = &cases.err {
                let err: String = err.chars().take(200).collect();
                eprintln!("{}, {}, first error: {err}", peer.facts().name, fault.word());
            }
        }
    }
    report.note(format!(
        "The first token request after the expiry meets the fault, and the others do not. Callers wait {} s. The time \
         to a token is from the first call to the first token, the server's {} ms included. If no caller gets one, the \
         peer is asked again every {} ms, for {} s or until its chain is revoked.",
        patience.as_secs(),
        options.delay_ms,
        ASK_AGAIN.as_millis(),
        options.within.as_secs(),
    ));
    report.note(format!(
        "503 (with a page of HTML), reset, 429 (`Retry-After: 1`) and half (an answer that ends in its middle) leave the \
         refresh token as it was. slow: it is rotated, and the answer comes {} ms late. lost: it is rotated, the \
         connection is reset instead of an answer, and the server answers the old one with the same successor for {} ms.",
        options.slow_ms, options.grace_ms,
    ));
    report.note(
        "A session survived if it gave a token and its chain was alive at the end. closed: idle connections were closed \
         before the first call.",
    );
    contest::note_comparison(&mut report, options);
    contest::note_versions(&mut report, &peers);
    report.publish(options.json.as_deref());
}
