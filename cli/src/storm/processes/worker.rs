//! One of the processes: a runtime on the shared home, and callers that want tokens from it without a rest.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::{Generation, Lease, Reason, TokenError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::clock::{Stopwatch, pause};
use super::super::faults::mix;
use super::super::wire::{self, Wire};
use super::host::Host;
use super::witness::{Witness, say};
use super::words::{Calls, Said, Setup, Told};
use crate::failure::Failure;

/// A call that takes longer than this has failed.
const LONGEST_CALL: Duration = Duration::from_secs(60);
/// StoreEvent of a login has reached every session by then; who is told later that a login is required is told the truth.
const NEWS: Duration = Duration::from_secs(1);
/// How long a caller waits before it asks again that was told to ask later.
const AGAIN: Duration = Duration::from_millis(50);
/// How often it is said what callers have done.
const EVERY: Duration = Duration::from_millis(250);
/// Between two calls of a caller, in milliseconds: at least this, and up to so much more.
const REST: (u64, u64) = (50, 200);

/// Runs the process, as it is told on standard input.
pub(crate) fn run() -> Result<(), Failure> {
    die_with_the_parent();
    let mut first = String::new();
    io::stdin().lock().read_line(&mut first)?;
    let setup: Setup = read(&first).ok_or_else(|| {
        Failure::Usage("this is started by `tokenkeeper storm --processes`, and by nobody else".to_owned())
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let clean = runtime.block_on(work(&setup))?;
    say(&Said::Ended { clean });
    // The thread that reads standard input does not end by itself.
    runtime.shutdown_background();
    Ok(())
}

/// One that is stopped does not see its pipe close, and would lie there for ever.
fn die_with_the_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        // Without it, one that is not stopped still ends by itself.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}

async fn work(setup: &Setup) -> io::Result<bool> {
    let witness = Arc::new(Witness::default());
    let observer = Arc::<Witness>::clone(&witness);
    let host = Host::open(&setup.home, &setup.resource, setup.never_replay, Some(observer)).await?;
    let crowd = Arc::new(Crowd {
        host,
        resource: setup.resource.clone(),
        wires: wire::pair(setup.http2)?,
        newest: Mutex::default(),
        calls: Mutex::default(),
        epoch: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let mut callers = JoinSet::new();
    for caller in 0..setup.callers {
        #[expect(clippy::disallowed_methods, reason = "the callers, all of whom are waited for")]
        callers.spawn(Arc::clone(&crowd).crowd(caller, mix(setup.seed ^ u64::from(caller))));
    }
    let mut told = listen();
    loop {
        tokio::select! {
            Some(told) = told.recv() => match told {
                Told::Login(epoch) => crowd.epoch.store(epoch, Ordering::Relaxed),
                Told::Arm(point) => witness.arm(Some(point)),
                Told::Disarm => witness.arm(None),
                Told::End { at_once: true } => break callers.shutdown().await,
                Told::End { at_once: false } => crowd.over.store(true, Ordering::Relaxed),
            },
            caller = callers.join_next() => if caller.is_none() {
                break;
            },
            () = pause(EVERY) => crowd.tell(),
        }
    }
    crowd.tell();
    Ok(crowd.host.end().await)
}

/// What the parent tells, on a thread of its own: a flight that is held up holds a thread of the runtime up as well.
fn listen() -> mpsc::UnboundedReceiver<Told> {
    let (tell, told) = mpsc::unbounded_channel();
    #[expect(clippy::disallowed_methods, reason = "reading blocks its thread, which ends with the process")]
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Some(told) = line.ok().and_then(|line| read(&line)) else { break };
            if tell.send(told).is_err() {
                // It is ending.
                return;
            }
        }
        // The parent is gone, however it went. What is under way here is as if this process had been killed.
        std::process::exit(1);
    });
    told
}

fn read<T: DeserializeOwned>(line: &str) -> Option<T> {
    serde_json::from_str(line).ok()
}

/// The callers of a process, and what they share.
struct Crowd {
    host: Host,
    resource: String,
    wires: [Wire; 2],
    newest: Mutex<Option<Generation>>,
    calls: Mutex<Calls>,
    /// Of the last login that was heard of.
    epoch: AtomicU64,
    over: AtomicBool,
}

impl Crowd {
    /// One caller.
    async fn crowd(self: Arc<Self>, caller: u32, seed: u64) {
        let wire = &self.wires[caller as usize % 2];
        let mut draw = seed;
        while !self.over.load(Ordering::Relaxed) {
            let watch = Stopwatch::start();
            let mut held_up = false;
            match self.call(wire, watch, &mut held_up).await {
                Ok(()) => {
                    let mut calls = lock(&self.calls);
                    calls.done += 1;
                    calls.held_up += u64::from(held_up);
                    let took = u64::try_from(watch.read().as_millis()).unwrap_or(u64::MAX);
                    calls.longest_ms = calls.longest_ms.max(took);
                }
                Err(why) => say(&Said::Failed(why.to_owned())),
            }
            draw = mix(draw);
            pause(Duration::from_millis(REST.0 + draw % REST.1)).await;
        }
    }

    /// One call of the MCP server, with whatever it takes to make it. What a caller is told to wait for is waited for.
    async fn call(&self, wire: &Wire, watch: Stopwatch, held_up: &mut bool) -> Result<(), &'static str> {
        let mut required = None;
        loop {
            let error = match self.host.session.token().await {
                Ok(lease) => match self.present(wire, &lease).await? {
                    Presented::Served => return Ok(()),
                    Presented::Refused(Ok(())) if watch.read() > LONGEST_CALL => return Err("refused_on_and_on"),
                    Presented::Refused(Ok(())) => continue,
                    Presented::Refused(Err(error)) => error,
                },
                Err(error) => error,
            };
            let waits = matches!(error.reason(), Reason::InDoubt | Reason::Contended);
            if watch.read() > LONGEST_CALL || !(waits || error.is_login_required()) {
                return Err(error.reason().as_str());
            }
            *held_up = true;
            if error.is_login_required() {
                self.require(error.reason(), &mut required);
            } else {
                required = None;
            }
            pause(error.retry_after().unwrap_or(AGAIN).clamp(AGAIN, NEWS)).await;
        }
    }

    async fn present(&self, wire: &Wire, lease: &Lease) -> Result<Presented, &'static str> {
        self.note(lease);
        match wire.call(&self.resource, lease.token()).await {
            Ok(200) => Ok(Presented::Served),
            Ok(401) => {
                let Generation { epoch, number, .. } = lease.generation();
                say(&Said::Refused(format!("{}.{number}", epoch.number())));
                let refused = self.host.session.invalidate(lease, OperationKey(1), ChallengeKey(1)).await;
                Ok(Presented::Refused(refused))
            }
            Ok(_) => Err("mcp_server_unexpected"),
            Err(_) => Err("mcp_server_unreached"),
        }
    }

    /// Takes note of a token that is new here.
    fn note(&self, lease: &Lease) {
        let generation = lease.generation();
        let mut newest = lock(&self.newest);
        if newest.is_none_or(|newest| generation.supersedes(&newest)) {
            *newest = Some(generation);
            say(&Said::Token { own: self.host.obtained.take(lease.token()) });
        }
    }

    /// Says that a login is required, if the caller has been told so for a while, and again now and then: since when, and
    /// since which login, is in `required`.
    fn require(&self, reason: Reason, required: &mut Option<(u64, Stopwatch)>) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let (since, watch) = required.get_or_insert_with(|| (epoch, Stopwatch::start()));
        if *since != epoch {
            (*since, *watch) = (epoch, Stopwatch::start());
        } else if watch.read() >= NEWS {
            *watch = Stopwatch::start();
            say(&Said::LoginRequired { epoch, reason: reason.as_str().to_owned() });
        }
    }

    /// Says what callers have done since this was said last.
    fn tell(&self) {
        let calls = std::mem::take(&mut *lock(&self.calls));
        if calls.done > 0 {
            say(&Said::Calls(calls));
        }
    }
}

/// What the MCP server made of a token.
enum Presented {
    Served,
    /// What the session made of the refusal.
    Refused(Result<(), TokenError>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
