//! The storm itself: keeps the processes at work, does to them what is drawn, and signs in where that is required.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokenkeeper::engine::law::ledger::{Login, LoginAccess};
use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::values::record::{Refresh, RefreshCredential};
use tokenkeeper::engine::values::{FlightId, RenewalPlan};
use tokenkeeper::{Scopes, TokenKind, Validity};
use tokio::signal::unix::{SignalKind, signal};

use super::super::arena::{Arena, Grant, Ground};
use super::super::arguments::Arguments;
use super::super::clock::pause;
use super::account::{Account, Circumstances, Verdict};
use super::chaos::{Draws, Incident};
use super::crew::{Crew, Heard, Member, Number};
use super::host::Host;
use super::lookout::Lookout;
use super::progress::{Event, Progress};
use super::schedule::{Due, Schedule};
use super::words::{Said, Setup, Step, Told};

/// How long access tokens live at the built-in server.
const LIFETIME: Duration = Duration::from_secs(2);
/// And at a rig, which counts in whole seconds and so rounds a lifetime down by up to one: what is handed out there is
/// never so old.
const RIG_LIFETIME: Duration = Duration::from_secs(4);
/// How often the home is looked at and swept, and the progress shown.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a flight is waited for that comes to a point, or sends: longer than a token lives.
const IN_VAIN: Duration = Duration::from_secs(6);
/// So long a request is under way before its process is stopped: the server has it by then, and has not answered.
const ON_ITS_WAY: Duration = Duration::from_millis(15);
/// Who is told to end and has not done so by then never will.
const LAST: Duration = Duration::from_secs(90);
/// How often a login is tried that meets a store in use.
const SIGN_INS: u32 = 5;

pub(super) struct Soak<'a, W> {
    arguments: &'a Arguments,
    arena: Arena,
    lifetime: Duration,
    host: Host,
    crew: Crew,
    lookout: Lookout,
    draws: Draws,
    account: Account,
    progress: Progress<'a, W>,
    schedule: Schedule,
    /// What waits for a flight.
    hunt: Option<Incident>,
    /// How many token requests the server had seen when the hunt began.
    seen: u64,
    epoch: u64,
    /// A mark that a login is said to be required for.
    suspect: Option<FlightId>,
    ending: bool,
    interrupted: bool,
}

/// Holds it.
pub(super) async fn hold<W: Write>(
    arguments: &Arguments,
    home: &Path,
    ground: &Ground,
    progress: Progress<'_, W>,
) -> io::Result<Verdict> {
    let Arguments { callers, seed, never_replay, .. } = *arguments;
    let lifetime = if ground.is_rig() { RIG_LIFETIME } else { LIFETIME };
    let arena = ground.open(lifetime).await?;
    let http2 = ground.speaks_http2();
    let host = Host::open(home, arena.resource(), never_replay, None).await?;
    let lookout = Lookout::new(home, arena.resource());
    let setup =
        Setup { home: home.to_owned(), resource: arena.resource().to_owned(), callers, never_replay, http2, seed };
    let mut soak = Soak {
        arguments,
        arena,
        lifetime,
        host,
        crew: Crew::new(setup),
        lookout,
        draws: Draws::new(seed),
        account: Account::default(),
        progress,
        schedule: Schedule::new(),
        hunt: None,
        seen: 0,
        epoch: 0,
        suspect: None,
        ending: false,
        interrupted: false,
    };
    soak.run().await
}

impl<W: Write> Soak<'_, W> {
    async fn run(&mut self) -> io::Result<Verdict> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        self.sign_in().await?;
        for _ in 0..self.arguments.processes.unwrap_or(1) {
            self.crew.start(self.epoch).await?;
        }
        self.schedule = Schedule::new();
        let minutes = self.arguments.minutes;
        self.schedule.within(Duration::from_secs_f64(60.0 * minutes), Due::End);
        self.schedule.within(GLANCE, Due::Glance);
        if self.arguments.kills {
            self.rest();
        }
        while !(self.ending && self.crew.is_empty()) {
            self.come_due().await?;
            tokio::select! {
                biased;
                Some(()) = interrupt.recv() => self.interrupt().await,
                (number, heard) = self.crew.hear() => self.heard(number, heard).await?,
                seen = self.lookout.seen() => self.account.seen(seen),
                () = pause(self.schedule.rest()) => {}
            }
        }
        let seconds = self.schedule.passed().as_secs_f64();
        if !self.host.end().await {
            self.account.died_otherwise += 1;
        }
        let tally = self.arena.tally().await?;
        self.arena.close().await?;
        let Arguments { callers, seed, never_replay, kills, processes, .. } = *self.arguments;
        let circumstances = Circumstances {
            server: self.arena.resource().to_owned(),
            processes: processes.unwrap_or(1),
            callers,
            seconds: (seconds * 10.0).round() / 10.0,
            lifetime_seconds: self.lifetime.as_secs_f64(),
            kills,
            never_replay,
            seed,
            interrupted: self.interrupted,
        };
        Ok(Verdict::new(circumstances, std::mem::take(&mut self.account), &tally))
    }

    // --- what is heard -----------------------------------------------------------------------------------------------

    async fn heard(&mut self, number: Number, heard: Heard) -> io::Result<()> {
        let said = match heard {
            Heard::Said(said) => said,
            Heard::Gone(Some(member)) => return self.gone(number, *member).await,
            Heard::Gone(None) => return Ok(()),
        };
        match said {
            Said::Step(step) => self.stepped(number, step),
            Said::Stays => {
                self.crew.kill(number);
                self.crew.tell_all(Told::Disarm).await;
                self.hunted();
            }
            Said::Token { own } => self.account.token(own),
            Said::Refused(token) => self.account.refused(token),
            Said::LoginRequired { epoch, reason } if epoch == self.epoch => self.login_required(&reason).await?,
            Said::LoginRequired { .. } => {}
            Said::Calls(calls) => self.account.called(calls),
            Said::Failed(why) => {
                self.progress.event(self.schedule.passed(), &Event::Failed { process: number, why: &why })?;
                self.account.failed(why);
            }
            Said::Ended { clean } => self.account.died_otherwise += u64::from(!clean),
        }
        Ok(())
    }

    fn stepped(&mut self, number: Number, step: Step) {
        match (step, self.hunt) {
            (Step::Saved, _) => self.account.saved(self.schedule.passed()),
            (Step::Sending, Some(Incident::KillSending(span))) => {
                self.schedule.within(span, Due::Kill(number));
                self.hunted();
            }
            (Step::Sending, Some(Incident::Supersede(span))) => {
                self.schedule.within(ON_ITS_WAY, Due::Supersede(number, span));
                self.hunted();
            }
            _ => {}
        }
    }

    async fn gone(&mut self, number: Number, member: Member) -> io::Result<()> {
        let Member { killed, ended, step, .. } = member;
        if killed && !ended {
            self.account.died(self.schedule.passed(), step);
            self.progress.event(self.schedule.passed(), &Event::Killed { process: number, at: step })?;
        } else if !ended {
            self.account.died_otherwise += 1;
            self.progress.event(self.schedule.passed(), &Event::Died { process: number })?;
        }
        member.bury().await;
        if !self.ending {
            self.crew.start(self.epoch).await?;
        }
        Ok(())
    }

    // --- logins ------------------------------------------------------------------------------------------------------

    /// A process says that a login is required. Whether it is, the home decides: what is said may be old.
    async fn login_required(&mut self, reason: &str) -> io::Result<()> {
        let record = match self.host.store.inspect(self.host.session.identity()).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.account.unreadable(error.to_string());
                return Ok(());
            }
        };
        if record.epoch.number() != self.epoch {
            return Ok(());
        }
        let ended = record.grant().is_some_and(|grant| matches!(grant.refresh, Refresh::Ended(_)));
        let mark = record.held().and_then(|held| held.mark.as_ref()).map(|mark| mark.flight);
        // A mark that comes and goes is a flight's; one that stays while callers are told this is nobody's any more.
        if ended || (mark.is_some() && mark == self.suspect) {
            let explained = self.account.login_required(reason, self.arguments.never_replay);
            self.progress.event(self.schedule.passed(), &Event::Login { why: reason, explained })?;
            self.sign_in().await?;
        } else {
            self.suspect = mark;
        }
        Ok(())
    }

    async fn sign_in(&mut self) -> io::Result<()> {
        let digests = self.host.store.digest_key().await.map_err(io::Error::other)?;
        let mut tries = 1;
        let view = loop {
            let Grant { binding, scope, access, refresh, lifetime } = self.arena.grant().await?;
            let at = self.host.clock.now();
            let login = Login {
                renewal: RenewalPlan::default(),
                binding,
                requested: Scopes::default(),
                granted: Scopes::new(scope.split_ascii_whitespace()),
                subject: None,
                dpop_key: None,
                refresh: Some(RefreshCredential::new(refresh, &digests)),
                access: Some(LoginAccess {
                    token: access,
                    kind: TokenKind::Bearer,
                    validity: Validity::new(at, Some(lifetime)),
                }),
                at,
            };
            match self.host.session.install(login).await {
                Ok(view) => break view,
                Err(error) if tries == SIGN_INS => {
                    return Err(io::Error::other(format!("a login could not be stored: {error}")));
                }
                Err(_) => tries += 1,
            }
        };
        self.account.signed_in();
        self.epoch = view.version.epoch.number();
        self.suspect = None;
        self.crew.tell_all(Told::Login(self.epoch)).await;
        Ok(())
    }

    // --- what is due -------------------------------------------------------------------------------------------------

    async fn come_due(&mut self) -> io::Result<()> {
        while let Some(due) = self.schedule.next() {
            match due {
                Due::Incident => self.begin().await?,
                Due::InVain => {
                    self.crew.tell_all(Told::Disarm).await;
                    self.hunted();
                }
                Due::Kill(number) => self.crew.kill(number),
                Due::Supersede(number, span) => self.supersede(number, span).await?,
                Due::LetGo(number) => self.crew.let_go(number),
                Due::Glance => self.glance().await?,
                Due::End => self.end(false).await,
                Due::Last => self.give_up(),
            }
        }
        Ok(())
    }

    fn rest(&mut self) {
        let rest = self.draws.rest();
        self.schedule.within(rest, Due::Incident);
    }

    /// The hunt is over.
    fn hunted(&mut self) {
        if self.hunt.take().is_some() && !self.ending {
            self.schedule.retain(|due| !matches!(due, Due::InVain));
            self.rest();
        }
    }

    async fn begin(&mut self) -> io::Result<()> {
        if self.ending {
            return Ok(());
        }
        let incident = self.draws.incident();
        match incident {
            Incident::Kill => {
                if let Some(number) = self.draws.of(&self.crew.running()) {
                    self.crew.kill(number);
                }
                self.rest();
            }
            Incident::Stop(span) => {
                if let Some(number) = self.draws.of(&self.crew.running()) {
                    self.stop(number, span)?;
                }
                self.rest();
            }
            Incident::KillAt(_) | Incident::KillSending(_) | Incident::Supersede(_) => {
                self.hunt = Some(incident);
                self.schedule.within(IN_VAIN, Due::InVain);
                if let Incident::KillAt(point) = incident {
                    self.crew.tell_all(Told::Arm(point)).await;
                } else {
                    self.seen = self.arena.tally().await?.arrived;
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self, number: Number, span: Duration) -> io::Result<()> {
        if self.crew.stop(number) {
            self.account.stopped += 1;
            self.progress
                .event(self.schedule.passed(), &Event::Stopped { process: number, millis: span.as_millis() as u64 })?;
            self.schedule.within(span, Due::LetGo(number));
        }
        Ok(())
    }

    /// Stops a process that is sending, and signs in meanwhile: what it obtains is worth nothing when it goes on.
    async fn supersede(&mut self, number: Number, span: Duration) -> io::Result<()> {
        // One that is stopped before the server has its request would send it when it goes on, beside the new lineage's.
        if self.ending || self.arena.tally().await?.arrived == self.seen {
            return Ok(());
        }
        self.stop(number, span)?;
        self.account.logins_unasked += 1;
        self.progress.event(self.schedule.passed(), &Event::SignedIn)?;
        self.sign_in().await
    }

    /// Looks at the home, and tidies it.
    async fn glance(&mut self) -> io::Result<()> {
        self.lookout.begin()?;
        if let Err(error) = self.host.store.sweep().await {
            self.account.unreadable(error.to_string());
        }
        let tally = self.arena.tally().await?;
        self.progress.tell(self.schedule.passed(), &self.account, &tally);
        self.schedule.within(GLANCE, Due::Glance);
        Ok(())
    }

    async fn interrupt(&mut self) {
        // The second time nobody wants to wait any more.
        if self.interrupted {
            self.schedule.within(Duration::ZERO, Due::Last);
        }
        self.interrupted = true;
        self.end(true).await;
    }

    /// Whoever has not ended by now never will; a person who is in a hurry does not say that.
    fn give_up(&mut self) {
        for number in self.crew.all() {
            self.account.died_otherwise += u64::from(!self.interrupted);
            self.crew.kill(number);
        }
    }

    async fn end(&mut self, at_once: bool) {
        self.ending = true;
        self.hunt = None;
        self.schedule.retain(|due| matches!(due, Due::Glance | Due::Last));
        for number in self.crew.all() {
            self.crew.let_go(number);
        }
        self.crew.tell_all(Told::Disarm).await;
        self.crew.tell_all(Told::End { at_once }).await;
        self.schedule.within(LAST, Due::Last);
    }
}
