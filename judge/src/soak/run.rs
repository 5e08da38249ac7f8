//! The run of a soak, which keeps the workers going, injects faults, and signs in where a login is required.

use std::io::{self, Write};
use std::time::Duration;

use tokenkeeper::Account;
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::runtime::{AuthRuntime, AuthSession};
use tokenkeeper::engine::values::FlightId;
use tokenkeeper::engine::values::record::Refresh;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::faults::{ProcessFault, draw_fault, draw_pause};
use super::messages::{FlightStage, WorkerReport, WorkerRequest, WorkerSetup};
use super::prober::Prober;
use super::progress::{SoakEvent, SoakProgress};
use super::schedule::{DueAction, Schedule};
use super::verdict::{SoakCounts, SoakSetting, SoakVerdict};
use super::workers::{Worker, WorkerEvent, WorkerNumber, Workers};
use super::{SoakPlan, SoakPrograms, worker};
use crate::clock::pause;
use crate::draws::SeededDraws;
use crate::processes::{HomeIdentity, SharedHome, login};
use crate::target::{TargetLogin, TargetServer, TargetSite};

/// The lifetime of access tokens at the built-in server.
const LIFETIME: Duration = Duration::from_secs(2);
/// The lifetime of access tokens at a rig. It counts in whole seconds, so that a lifetime may be a second shorter. No
/// token is handed out at that age.
const RIG_LIFETIME: Duration = Duration::from_secs(4);
/// The pause between two looks at the home by `status` or `why`, and between two updates of the progress.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// A fault that no flight has met after this time, which is longer than a token lives, is given up.
const FAULT_TIMEOUT: Duration = Duration::from_secs(6);
/// The time from a token request until its process is stopped. By then the server has the request, and has not answered.
const REQUEST_ARRIVAL: Duration = Duration::from_millis(15);
/// A worker that has not ended after this time will not.
const END_TIMEOUT: Duration = Duration::from_secs(90);
/// The most attempts to install a login. The store is in use.
const MAX_INSTALLS: u32 = 5;

/// A soak.
pub(super) struct Soak<'a, W> {
    plan: &'a SoakPlan,
    target: TargetServer,
    lifetime: Duration,
    home: SharedHome,
    /// The parent's own runtime, which installs logins.
    runtime: AuthRuntime,
    session: AuthSession,
    workers: Workers,
    prober: Prober,
    draws: SeededDraws,
    counts: SoakCounts,
    progress: SoakProgress<'a, W>,
    schedule: Schedule,
    /// The fault that waits for a flight.
    fault: Option<ProcessFault>,
    /// The number of token requests that had arrived when the fault began to wait.
    arrived: u64,
    /// The epoch of the last login.
    epoch: u64,
    /// The mark for which a worker has reported that a login is required.
    suspect: Option<FlightId>,
    ending: bool,
    interrupted: bool,
}

impl<'a, W: Write> Soak<'a, W> {
    /// Opens the server and the home.
    pub(super) async fn start(
        plan: &'a SoakPlan,
        site: &TargetSite,
        programs: SoakPrograms,
        progress: SoakProgress<'a, W>,
    ) -> io::Result<Self> {
        let lifetime = if site.is_rig() { RIG_LIFETIME } else { LIFETIME };
        let target = site.open(lifetime).await?;
        let SoakPlan { callers, seed, never_replay, faults, .. } = *plan;
        if faults {
            target.inject_passing_faults(seed);
        }
        let (resource, account) = (target.resource().to_owned(), Account::default().as_str().to_owned());
        let shared = HomeIdentity { home: plan.home.clone(), resource, account, never_replay };
        let (home, settings) = worker::open(&shared)?;
        let runtime = home.builder(settings).spawn().await.map_err(io::Error::other)?;
        let prober = Prober::new(home.store.clone(), &plan.home, target.resource(), programs.tokenkeeper);
        let setup = WorkerSetup { shared, callers, http2: site.speaks_http2(), seed };
        Ok(Self {
            plan,
            target,
            lifetime,
            session: runtime.session(home.identity.clone()),
            home,
            runtime,
            workers: Workers::new(programs.worker, setup),
            prober,
            draws: SeededDraws::new(seed),
            counts: SoakCounts::default(),
            progress,
            schedule: Schedule::new(),
            fault: None,
            arrived: 0,
            epoch: 0,
            suspect: None,
            ending: false,
            interrupted: false,
        })
    }

    /// Runs the soak to its end.
    pub(super) async fn run(mut self) -> io::Result<SoakVerdict> {
        let mut interrupts = self.plan.ends_on_interrupt.then(|| signal(SignalKind::interrupt())).transpose()?;
        self.sign_in().await?;
        for _ in 0..self.plan.processes {
            self.workers.start(self.epoch).await?;
        }
        self.schedule = Schedule::new();
        self.schedule.within(self.plan.duration, DueAction::End);
        self.schedule.within(LOOK_PAUSE, DueAction::Look);
        if self.plan.kills {
            self.schedule_fault();
        }
        while !(self.ending && self.workers.is_empty()) {
            self.take_due_actions().await?;
            tokio::select! {
                biased;
                () = interrupt(&mut interrupts) => self.interrupt().await,
                (number, event) = self.workers.next_event() => self.on_worker_event(number, event).await?,
                (look, result) = self.prober.next_look() => self.counts.add_look(look, result),
                () = pause(self.schedule.until_next()) => {}
            }
        }
        self.verdict().await
    }

    async fn verdict(mut self) -> io::Result<SoakVerdict> {
        let seconds = self.schedule.passed().as_secs_f64();
        if !worker::shut_down(&self.runtime).await {
            self.counts.died_otherwise += 1;
        }
        let target = self.target.counts().await?;
        self.target.close().await?;
        let SoakPlan { processes, callers, seed, never_replay, kills, faults, .. } = *self.plan;
        let setting = SoakSetting {
            server: self.target.resource().to_owned(),
            processes,
            callers,
            seconds: (seconds * 10.0).round() / 10.0,
            lifetime_seconds: self.lifetime.as_secs_f64(),
            kills,
            faults,
            never_replay,
            seed,
            interrupted: self.interrupted,
        };
        Ok(SoakVerdict::new(setting, self.counts, &target))
    }

    // --- events of workers -------------------------------------------------------------------------------------------

    async fn on_worker_event(&mut self, number: WorkerNumber, event: WorkerEvent) -> io::Result<()> {
        let report = match event {
            WorkerEvent::Report(report) => report,
            WorkerEvent::Dead(Some(worker)) => return self.on_death(number, *worker).await,
            WorkerEvent::Dead(None) => return Ok(()),
        };
        match report {
            WorkerReport::Stage(stage) => self.on_stage(number, stage),
            WorkerReport::Held => {
                self.workers.kill(number);
                self.workers.send_all(WorkerRequest::Disarm).await;
                self.end_fault();
            }
            WorkerReport::Token { own } => self.counts.add_token(own),
            WorkerReport::Refused(token) => self.counts.add_refused(token),
            WorkerReport::LoginRequired { epoch, reason } if epoch == self.epoch => {
                self.on_required_login(&reason).await?;
            }
            WorkerReport::LoginRequired { .. } => {}
            WorkerReport::Calls(calls) => self.counts.add_calls(calls),
            WorkerReport::Failed(reason) => {
                self.event(&SoakEvent::Failed { process: number, why: &reason })?;
                self.counts.add_failure(reason);
            }
            WorkerReport::Ended { clean } => self.counts.died_otherwise += u64::from(!clean),
        }
        Ok(())
    }

    fn on_stage(&mut self, number: WorkerNumber, stage: FlightStage) {
        match (stage, &self.fault) {
            (FlightStage::Saved, _) => self.counts.add_saved(self.schedule.passed()),
            (FlightStage::Sending, Some(ProcessFault::KillSending(span))) => {
                self.schedule.within(*span, DueAction::Kill(number));
                self.end_fault();
            }
            (FlightStage::Sending, Some(ProcessFault::Supersede(span))) => {
                self.schedule.within(REQUEST_ARRIVAL, DueAction::Supersede(number, *span));
                self.end_fault();
            }
            _ => {}
        }
    }

    /// Counts the death, and starts another worker.
    async fn on_death(&mut self, number: WorkerNumber, worker: Worker) -> io::Result<()> {
        let Worker { killed, ended, stage, .. } = worker;
        if killed && !ended {
            self.counts.add_killed(self.schedule.passed(), stage);
            self.event(&SoakEvent::Killed { process: number, at: stage })?;
        } else if !ended {
            self.counts.died_otherwise += 1;
            self.event(&SoakEvent::Died { process: number })?;
        }
        worker.reap().await;
        if !self.ending {
            self.workers.start(self.epoch).await?;
        }
        Ok(())
    }

    fn event(&mut self, event: &SoakEvent<'_>) -> io::Result<()> {
        self.progress.event(self.schedule.passed(), event)
    }

    // --- logins ------------------------------------------------------------------------------------------------------

    /// Signs in if a login is required. The home decides that, because a report may be old.
    async fn on_required_login(&mut self, reason: &str) -> io::Result<()> {
        let record = match self.home.store.inspect(&self.home.identity).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.counts.add_unreadable(error.to_string());
                return Ok(());
            }
        };
        if record.epoch.number() != self.epoch {
            return Ok(());
        }
        let ended = record.grant().is_some_and(|grant| matches!(grant.refresh, Refresh::Ended(_)));
        let mark = record.held().and_then(|held| held.mark.as_ref()).map(|mark| mark.flight);
        // The mark of a living flight comes and goes. One that stays until the next report is that of a dead process.
        if ended || (mark.is_some() && mark == self.suspect) {
            let explained = self.counts.add_required_login(reason, self.plan.never_replay);
            self.event(&SoakEvent::Login { why: reason, explained })?;
            self.sign_in().await?;
        } else {
            self.suspect = mark;
        }
        Ok(())
    }

    async fn sign_in(&mut self) -> io::Result<()> {
        let digests = self.home.store.digest_key().await.map_err(io::Error::other)?;
        let mut attempts = 1;
        let view = loop {
            let TargetLogin { binding, scope, access, refresh, lifetime } = self.target.sign_in().await?;
            let now = self.home.clock.now();
            let login = login(binding, &scope, refresh, Some((access, lifetime)), &digests, now);
            match self.session.install(login).await {
                Ok(view) => break view,
                Err(error) if attempts == MAX_INSTALLS => {
                    return Err(io::Error::other(format!("a login could not be stored: {error}")));
                }
                Err(_) => attempts += 1,
            }
        };
        self.counts.end_doubts();
        self.epoch = view.version.epoch.number();
        self.suspect = None;
        self.workers.send_all(WorkerRequest::Login(self.epoch)).await;
        Ok(())
    }

    // --- scheduled actions -------------------------------------------------------------------------------------------

    async fn take_due_actions(&mut self) -> io::Result<()> {
        while let Some(action) = self.schedule.next() {
            match action {
                DueAction::BeginFault => self.begin_fault().await?,
                DueAction::GiveUpFault => {
                    self.workers.send_all(WorkerRequest::Disarm).await;
                    self.end_fault();
                }
                DueAction::Kill(number) => self.workers.kill(number),
                DueAction::Supersede(number, span) => self.supersede(number, span).await?,
                DueAction::Resume(number) => self.workers.resume(number),
                DueAction::Look => self.look().await?,
                DueAction::End => self.end(false).await,
                DueAction::KillAll => self.kill_all(),
            }
        }
        Ok(())
    }

    fn schedule_fault(&mut self) {
        let pause = draw_pause(&mut self.draws);
        self.schedule.within(pause, DueAction::BeginFault);
    }

    async fn begin_fault(&mut self) -> io::Result<()> {
        if self.ending {
            return Ok(());
        }
        let fault = draw_fault(&mut self.draws);
        match &fault {
            ProcessFault::Kill => {
                if let Some(number) = self.draws.of(&self.workers.running()) {
                    self.workers.kill(number);
                }
                self.schedule_fault();
                return Ok(());
            }
            ProcessFault::Stop(span) => {
                if let Some(number) = self.draws.of(&self.workers.running()) {
                    self.stop(number, *span)?;
                }
                self.schedule_fault();
                return Ok(());
            }
            ProcessFault::KillAt(point) => self.workers.send_all(WorkerRequest::Arm(point.clone())).await,
            ProcessFault::KillSending(_) | ProcessFault::Supersede(_) => {
                self.arrived = self.target.counts().await?.arrived;
            }
        }
        self.fault = Some(fault);
        self.schedule.within(FAULT_TIMEOUT, DueAction::GiveUpFault);
        Ok(())
    }

    /// Ends the wait of a fault for a flight, and schedules the next fault.
    fn end_fault(&mut self) {
        if self.fault.take().is_some() && !self.ending {
            self.schedule.retain(|action| !matches!(action, DueAction::GiveUpFault));
            self.schedule_fault();
        }
    }

    fn stop(&mut self, number: WorkerNumber, span: Duration) -> io::Result<()> {
        if self.workers.stop(number) {
            self.counts.stopped += 1;
            self.event(&SoakEvent::Stopped { process: number, millis: span.as_millis() as u64 })?;
            self.schedule.within(span, DueAction::Resume(number));
        }
        Ok(())
    }

    /// Stops a worker that is sending, and signs in meanwhile. The token that the worker obtains is of an old epoch then.
    async fn supersede(&mut self, number: WorkerNumber, span: Duration) -> io::Result<()> {
        // A worker that is stopped before the server has its request would send it later, beside the new lineage's.
        if self.ending || self.target.counts().await?.arrived == self.arrived {
            return Ok(());
        }
        self.stop(number, span)?;
        self.counts.logins_unasked += 1;
        self.event(&SoakEvent::SignedIn)?;
        self.sign_in().await
    }

    async fn look(&mut self) -> io::Result<()> {
        self.prober.start_command();
        let target = self.target.counts().await?;
        self.progress.show(self.schedule.passed(), &self.counts, &target);
        self.schedule.within(LOOK_PAUSE, DueAction::Look);
        Ok(())
    }

    // --- the end -----------------------------------------------------------------------------------------------------

    async fn interrupt(&mut self) {
        // A second interrupt ends all waiting.
        if self.interrupted {
            self.schedule.within(Duration::ZERO, DueAction::KillAll);
        }
        self.interrupted = true;
        self.end(true).await;
    }

    async fn end(&mut self, at_once: bool) {
        self.ending = true;
        self.fault = None;
        self.schedule.retain(|action| matches!(action, DueAction::Look | DueAction::KillAll));
        for number in self.workers.all() {
            self.workers.resume(number);
        }
        self.workers.send_all(WorkerRequest::Disarm).await;
        self.workers.send_all(WorkerRequest::End { at_once }).await;
        self.schedule.within(END_TIMEOUT, DueAction::KillAll);
    }

    /// Kills the workers that have not ended. After an interrupt that is no fault of theirs.
    fn kill_all(&mut self) {
        for number in self.workers.all() {
            self.counts.died_otherwise += u64::from(!self.interrupted);
            self.workers.kill(number);
        }
    }
}

/// Waits for the next interrupt, for ever where interrupts are not listened to.
async fn interrupt(interrupts: &mut Option<Signal>) {
    match interrupts {
        Some(interrupts) => drop(interrupts.recv().await),
        None => std::future::pending().await,
    }
}
