//! The soak: several processes share one home for a while, and are killed and stopped.
//!
//! The parent ([`run`]) starts the workers, injects process faults, signs in where a login is required, and computes the
//! verdict from the server's counters and the workers' reports. Each worker ([`worker::run`]) has a runtime on the home
//! and callers that call the MCP server again and again.

mod arguments;
mod faults;
mod messages;
mod prober;
mod progress;
mod run;
mod schedule;
mod text;
mod verdict;
pub mod worker;
mod workers;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::command::{TOKENKEEPER, WORKER};
use crate::failure::Failure;
use crate::paint::print;
use crate::target::TargetSite;
use crate::transport;
pub(crate) use arguments::Arguments;
use progress::SoakProgress;
use run::Soak;
pub use verdict::SoakVerdict;

/// The files that the parent needs besides its callers' connections: pipes, libraries, the home, token requests.
const OTHER_FILES: usize = 256;

/// The plan of a soak.
#[derive(Clone, Debug)]
pub struct SoakPlan {
    /// The home. It keeps what is stored there.
    pub home: PathBuf,
    /// The number of worker processes.
    pub processes: u32,
    /// The number of callers in each worker.
    pub callers: u32,
    /// The duration.
    pub duration: Duration,
    /// Whether workers are killed and stopped.
    pub kills: bool,
    /// Whether one token request in ten meets a fault that passes.
    pub faults: bool,
    /// Whether a refresh token whose answer was lost is never presented again.
    pub never_replay: bool,
    /// The seed of the process faults and of the callers' pauses.
    pub seed: u64,
    /// Whether Ctrl-C ends the soak, with the verdict so far.
    pub ends_on_interrupt: bool,
}

/// A program with arguments and additional environment variables.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its additional environment variables.
    pub environment: Vec<(OsString, OsString)>,
}

impl Invocation {
    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.path);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The programs that a soak starts.
#[derive(Clone, Debug)]
pub struct SoakPrograms {
    /// A program that calls [`worker::run`].
    pub worker: Invocation,
    /// The `tokenkeeper` command, whose `status` and `why` are run on the home. Without it they are not.
    pub tokenkeeper: Option<Invocation>,
}

impl SoakPrograms {
    /// This program's own hidden subcommands.
    fn own() -> io::Result<Self> {
        let path = std::env::current_exe()?;
        let own = |subcommand: &str| Invocation {
            path: path.clone(),
            arguments: vec![subcommand.into()],
            ..Invocation::default()
        };
        Ok(Self { worker: own(WORKER), tokenkeeper: Some(own(TOKENKEEPER)) })
    }
}

/// Runs a soak, and returns its verdict.
///
/// # Errors
///
/// When the home cannot be opened, a process cannot be started or the server cannot be reached.
pub async fn run(plan: &SoakPlan, site: &TargetSite, programs: SoakPrograms) -> io::Result<SoakVerdict> {
    room_for(plan)?;
    Soak::start(plan, site, programs, SoakProgress::<io::Sink>::hidden()).await?.run().await
}

/// Runs `tokenkeeper-judge soak`.
pub(crate) fn command(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let plan = arguments.plan();
    room_for(&plan)?;
    let site = TargetSite::chosen(arguments.against.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let progress = SoakProgress::new(arguments, out);
    let verdict =
        runtime.block_on(async { Soak::start(&plan, &site, SoakPrograms::own()?, progress).await?.run().await })?;
    if arguments.json {
        serde_json::to_writer(&mut *out, &verdict).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print(out, &text::report(&verdict, site.is_rig(), &plan.home))?;
    }
    Failure::unless_held(&verdict.broken)
}

/// Raises the limit of open files. The built-in server has one end of each caller's connection in this process.
fn room_for(plan: &SoakPlan) -> io::Result<()> {
    let files = OTHER_FILES + plan.processes as usize * plan.callers as usize;
    match transport::open_files(files)? {
        enough if enough >= files => Ok(()),
        few => Err(io::Error::other(format!(
            "this process may open {few} files and needs {files}: say `ulimit -n {files}` first, or take fewer callers"
        ))),
    }
}
