//! Peers without their types, so that they can take turns.
use crate::{
    env::Env,
    expiry::{self, Storm, StormPlan},
    faults::{self, FaultCase, FaultPlan},
    for_each_peer, hit,
    hit::Hot,
    options::Options,
    peer::{First, Peer},
    recovery::{self, CancelCase, ChainCase},
    report::{Report, version},
};
use std::{collections::BTreeMap, future::Future, marker::PhantomData, pin::Pin};

pub type Turn<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The constants of a [`Peer`].
#[derive(Clone, Copy)]
pub struct Facts {
    pub name: &'static str,
    pub package: Option<&'static str>,
    pub refresh: &'static str,
    pub first: First,
    pub holds_its_seed: bool,
    pub hits: bool,
    pub expires: bool,
    pub faults: bool,
    pub rotates: bool,
    pub answers_401: bool,
}

impl Facts {
    pub fn of<P: Peer>() -> Self {
        Self {
            name: P::NAME,
            package: P::PACKAGE,
            refresh: P::REFRESH,
            first: P::FIRST,
            holds_its_seed: P::HOLDS_ITS_SEED,
            hits: P::HITS,
            expires: P::EXPIRES,
            faults: P::FAULTS,
            rotates: P::ROTATES,
            answers_401: P::ANSWERS_401,
        }
    }

    /// The name in a table of expiries.
    pub fn label(&self) -> String {
        match self.first {
            First::Background => format!("{} (cold start)", self.name),
            _ => self.name.into(),
        }
    }
}

pub trait Contestant: Send + Sync {
    fn facts(&self) -> Facts;
    fn hot<'a>(&self, env: &'a Env) -> Turn<'a, Box<dyn Hot>>;
    fn storm<'a>(&self, env: &'a Env, plan: StormPlan) -> Turn<'a, Storm>;
    fn refused<'a>(&self, env: &'a Env, plan: StormPlan) -> Turn<'a, Storm>;
    fn fault<'a>(&self, env: &'a Env, plan: FaultPlan) -> Turn<'a, FaultCase>;
    fn cancel<'a>(&self, env: &'a Env, with_waiter: bool) -> Turn<'a, CancelCase>;
    fn chain<'a>(&self, env: &'a Env) -> Turn<'a, ChainCase>;
}

struct Of<P>(PhantomData<fn() -> P>);

impl<P: Peer> Contestant for Of<P> {
    fn facts(&self) -> Facts {
        Facts::of::<P>()
    }
    fn hot<'a>(&self, env: &'a Env) -> Turn<'a, Box<dyn Hot>> {
        Box::pin(hit::hot::<P>(env))
    }
    fn storm<'a>(&self, env: &'a Env, plan: StormPlan) -> Turn<'a, Storm> {
        Box::pin(expiry::storm::<P>(env, plan))
    }
    fn refused<'a>(&self, env: &'a Env, plan: StormPlan) -> Turn<'a, Storm> {
        Box::pin(expiry::refused::<P>(env, plan))
    }
    fn fault<'a>(&self, env: &'a Env, plan: FaultPlan) -> Turn<'a, FaultCase> {
        Box::pin(faults::fault::<P>(env, plan))
    }
    fn cancel<'a>(&self, env: &'a Env, with_waiter: bool) -> Turn<'a, CancelCase> {
        Box::pin(recovery::cancel::<P>(env, with_waiter))
    }
    fn chain<'a>(&self, env: &'a Env) -> Turn<'a, ChainCase> {
        Box::pin(recovery::chain::<P>(env))
    }
}

/// The peers that `options` name and `takes_part` admits, in the order of their turns.
pub fn contestants(options: &Options, takes_part: impl Fn(&Facts) -> bool) -> Vec<Box<dyn Contestant>> {
    let mut all: Vec<Box<dyn Contestant>> = vec![];
    macro_rules! add {
        ($t:ty) => {
            all.push(Box::new(Of::<$t>(PhantomData)));
        };
    }
    for_each_peer!(add);
    all.retain(|peer| options.wants(peer.facts().name) && takes_part(&peer.facts()));
    if all.is_empty() {
        eprintln!("no peer of this workload has such a name");
        std::process::exit(2);
    }
    all
}

/// The place of the peer that the others are compared with.
pub fn reference(options: &Options, peers: &[Box<dyn Contestant>]) -> Option<usize> {
    peers.iter().position(|peer| peer.facts().name == options.against)
}

/// Notes how to read the comparisons of a table.
pub fn note_comparison(report: &mut Report, options: &Options) {
    report.note(format!(
        "Each figure is the median of the turns, with the smallest and the greatest of them. `lower` and `higher`: the \
         whole range lies below or above the range of `{}` in the same group. `overlaps`: the ranges overlap, so that \
         the figures do not tell the two apart.",
        options.against
    ));
}

/// Notes the versions of the peers.
pub fn note_versions(report: &mut Report, peers: &[Box<dyn Contestant>]) {
    let mut packages: Vec<&str> = peers.iter().filter_map(|peer| peer.facts().package).collect();
    packages.dedup();
    let named = packages.iter().map(|package| format!("{package} {}", version(package).unwrap_or("?")));
    report.note(format!("Versions: {}.", named.collect::<Vec<_>>().join(", ")));
}

/// Notes what the figures of a refresh include.
pub fn note_refresh(report: &mut Report, peers: &[Box<dyn Contestant>]) {
    let mut same: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for peer in peers {
        same.entry(peer.facts().refresh).or_default().push(peer.facts().name);
    }
    for (refresh, names) in same {
        report.note(format!("Includes, beside request and answer, {refresh}: {}.", names.join("; ")));
    }
}
