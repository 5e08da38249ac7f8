//! A worker: a runtime on the shared home, and callers that call the MCP server again and again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokenkeeper::engine::law::session::{ChallengeKey, OperationKey};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::observer::EffectName;
use tokenkeeper::engine::runtime::{AuthRuntime, AuthSession, Settings};
use tokenkeeper::engine::values::{Lease, TokenError};
use tokenkeeper::{Generation, Reason};
use tokio::task::JoinSet;

use super::messages::{CallCounts, FlightStage, WorkerReport, WorkerRequest, WorkerSetup};
use crate::clock::{Stopwatch, pause};
use crate::draws::mix;
use crate::processes::{FlightObserver, HomeIdentity, ObserverEvent, SharedHome, read_requests, report};
use crate::transport::{self, Transport};

/// A call that takes longer has failed. It waits for a token for 30 s at most, and for longer only if a login is required.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Every session knows of a login after this time. From then on, a caller's error that requires a login is correct.
const NEWS_DELAY: Duration = Duration::from_secs(1);
/// The shortest pause of a caller before it asks again after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two reports of calls.
const REPORT_PAUSE: Duration = Duration::from_millis(250);
/// A caller's pause between two calls in milliseconds, as the minimum and the range above it.
const CALL_PAUSE: (u64, u64) = (50, 200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A store operation takes long on a busy machine.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens the home with the settings of a soak, which make everything faster than by default.
pub(super) fn open(shared: &HomeIdentity) -> io::Result<(SharedHome, Settings)> {
    let (home, mut settings) = SharedHome::open(shared, REQUEST_TIMEOUT, STORE_TIMEOUT)?;
    settings.policy.initial_backoff = Duration::from_millis(50);
    settings.policy.max_backoff = Duration::from_secs(1);
    Ok((home, settings))
}

/// Shuts the runtime down, and returns whether everything is saved.
pub(super) async fn shut_down(runtime: &AuthRuntime) -> bool {
    runtime.shutdown(SHUTDOWN_TIMEOUT).await.is_clean()
}

/// Runs this process as a worker until its parent ends it.
///
/// # Errors
///
/// When the home cannot be opened, or no soak has started this process.
pub fn run() -> io::Result<()> {
    die_with_the_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let clean = runtime.block_on(work())?;
    report(&WorkerReport::Ended { clean });
    // The thread that reads standard input does not end by itself.
    runtime.shutdown_background();
    Ok(())
}

/// A stopped process does not see its standard input close, and would stay for ever.
fn die_with_the_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        // If it fails, a worker that is not stopped still ends by itself.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}

async fn work() -> io::Result<bool> {
    // A worker without a parent ends at once, as if it had been killed.
    let mut requests = read_requests(|| std::process::exit(1));
    let Some(WorkerRequest::Start(setup)) = requests.recv().await else {
        return Err(io::Error::other("only a soak starts a worker"));
    };
    let (home, settings) = open(&setup.shared)?;
    let observer = Arc::new(FlightObserver::new(report_stage));
    let builder = home.builder(settings).observer(Arc::<FlightObserver>::clone(&observer));
    let runtime = builder.spawn().await.map_err(io::Error::other)?;
    let WorkerSetup { shared, callers: count, http2, seed } = setup;
    let callers = Arc::new(Callers {
        session: runtime.session(home.identity.clone()),
        home,
        resource: shared.resource,
        transports: transport::pair(http2)?,
        newest: Mutex::default(),
        counts: Mutex::default(),
        epoch: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    for caller in 0..count {
        #[expect(clippy::disallowed_methods, reason = "the callers, all of whom are joined")]
        tasks.spawn(Arc::clone(&callers).run(caller, mix(seed ^ u64::from(caller))));
    }
    loop {
        tokio::select! {
            Some(request) = requests.recv() => match request {
                WorkerRequest::Start(_) => {}
                WorkerRequest::Login(epoch) => callers.epoch.store(epoch, Ordering::Relaxed),
                WorkerRequest::Arm(point) => observer.arm(point),
                WorkerRequest::Disarm => observer.disarm(),
                WorkerRequest::End { at_once: true } => break tasks.shutdown().await,
                WorkerRequest::End { at_once: false } => callers.over.store(true, Ordering::Relaxed),
            },
            caller = tasks.join_next() => if caller.is_none() {
                break;
            },
            () = pause(REPORT_PAUSE) => callers.report_calls(),
        }
    }
    callers.report_calls();
    Ok(shut_down(&runtime).await)
}

/// Reports how far a flight has come. A stage is reported before its effect is carried out, so that the parent knows of
/// everything that may have happened.
fn report_stage(event: ObserverEvent) {
    use ObserverEvent::{Held, Left, Reached};
    let stage = match event {
        Held => return report(&WorkerReport::Held),
        Reached { effect: EffectName::Mark, before: true } => FlightStage::Marking,
        Reached { effect: EffectName::Mark, before: false } => FlightStage::Marked,
        // A flight that is held before its request has sent nothing.
        Left { effect: EffectName::Send, before: true } => FlightStage::Sending,
        Reached { effect: EffectName::Send, before: false } => FlightStage::Answered,
        Reached { effect: EffectName::Commit, before: true } => FlightStage::Saving,
        Reached { effect: EffectName::Commit, before: false } => FlightStage::Saved,
        // A doubt that is left when the flight has reported was not left by a death.
        Reached { effect: EffectName::Report, before: false } => FlightStage::Idle,
        Reached { .. } | Left { .. } => return,
    };
    report(&WorkerReport::Stage(stage));
}

/// The callers of a worker.
struct Callers {
    session: AuthSession,
    home: SharedHome,
    resource: String,
    transports: [Transport; 2],
    newest: Mutex<Option<Generation>>,
    counts: Mutex<CallCounts>,
    /// The epoch of the last login that the parent told of.
    epoch: AtomicU64,
    over: AtomicBool,
}

impl Callers {
    /// Runs one caller.
    async fn run(self: Arc<Self>, caller: u32, seed: u64) {
        let transport = &self.transports[caller as usize % 2];
        let mut draw = seed;
        while !self.over.load(Ordering::Relaxed) {
            let watch = Stopwatch::start();
            let mut held_up = false;
            match self.call(transport, watch, &mut held_up).await {
                Ok(()) => {
                    let mut counts = lock(&self.counts);
                    counts.answered += 1;
                    counts.held_up += u64::from(held_up);
                    let took = u64::try_from(watch.read().as_millis()).unwrap_or(u64::MAX);
                    counts.longest_ms = counts.longest_ms.max(took);
                }
                Err(reason) => report(&WorkerReport::Failed(reason.to_owned())),
            }
            draw = mix(draw);
            pause(Duration::from_millis(CALL_PAUSE.0 + draw % CALL_PAUSE.1)).await;
        }
    }

    /// Calls the MCP server. Waits and asks again after an error that requires a login.
    async fn call(&self, transport: &Transport, watch: Stopwatch, held_up: &mut bool) -> Result<(), &'static str> {
        let mut required = None;
        loop {
            let asked = self.home.clock.now();
            let error = match self.session.token().await {
                Ok(lease) if !lease.validity().outlasts(Duration::ZERO, &asked) => return Err("expired_when_asked"),
                Ok(lease) => match self.present(transport, &lease).await? {
                    Presented::Served => return Ok(()),
                    Presented::Refused(Ok(())) if watch.read() > CALL_TIMEOUT => return Err("refused_on_and_on"),
                    Presented::Refused(Ok(())) => continue,
                    Presented::Refused(Err(error)) => error,
                },
                Err(error) => error,
            };
            if watch.read() > CALL_TIMEOUT || !error.is_login_required() {
                return Err(error.reason().as_str());
            }
            *held_up = true;
            self.report_required_login(error.reason(), &mut required);
            pause(error.retry_after().unwrap_or(RETRY_PAUSE).clamp(RETRY_PAUSE, NEWS_DELAY)).await;
        }
    }

    async fn present(&self, transport: &Transport, lease: &Lease) -> Result<Presented, &'static str> {
        self.note(lease);
        match transport.call(&self.resource, lease.token()).await {
            Ok(200) => Ok(Presented::Served),
            Ok(401) => {
                let Generation { epoch, number, .. } = lease.generation();
                report(&WorkerReport::Refused(format!("{}.{number}", epoch.number())));
                let refused = self.session.invalidate(lease, OperationKey(1), ChallengeKey(1)).await;
                Ok(Presented::Refused(refused))
            }
            Ok(_) => Err("mcp_server_unexpected"),
            Err(_) => Err("mcp_server_unreached"),
        }
    }

    /// Reports a token that no caller of this process had before.
    fn note(&self, lease: &Lease) {
        let generation = lease.generation();
        let mut newest = lock(&self.newest);
        if newest.is_none_or(|newest| generation.supersedes(&newest)) {
            *newest = Some(generation);
            report(&WorkerReport::Token { own: self.home.obtained.take(lease.token()) });
        }
    }

    /// Reports that a login is required, once callers have got that error for [`NEWS_DELAY`], and again after each
    /// further one. `required` is the epoch of the last login then, and the time since the last report.
    fn report_required_login(&self, reason: Reason, required: &mut Option<(u64, Stopwatch)>) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let (since, watch) = required.get_or_insert_with(|| (epoch, Stopwatch::start()));
        if *since != epoch {
            (*since, *watch) = (epoch, Stopwatch::start());
        } else if watch.read() >= NEWS_DELAY {
            *watch = Stopwatch::start();
            report(&WorkerReport::LoginRequired { epoch, reason: reason.as_str().to_owned() });
        }
    }

    /// Reports the calls since the last report.
    fn report_calls(&self) {
        let counts = std::mem::take(&mut *lock(&self.counts));
        if counts.answered > 0 {
            report(&WorkerReport::Calls(counts));
        }
    }
}

/// The MCP server's response to a token.
enum Presented {
    Served,
    /// The session's answer to the report of the refusal.
    Refused(Result<(), TokenError>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
