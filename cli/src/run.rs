//! `tokenkeeper run`: runs a program that gets the tokens of a session.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokenkeeper::child::HandOff;
use tokenkeeper::{AuthSession, TokenOptions};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::home::{self, HomeArguments, Keeper};
use crate::remedy::Remedy;
use crate::when;
use crate::who::Who;
use crate::write_back::WriteBack;

/// The signals that are passed on, and whether the terminal sends them to the program, too.
const PASSED_ON: [(Signal, bool); 6] = [
    (Signal::INT, true),
    (Signal::QUIT, true),
    (Signal::TERM, false),
    (Signal::HUP, false),
    (Signal::USR1, false),
    (Signal::USR2, false),
];

/// Runs a program that gets the tokens of a session
///
/// The program, and all programs below it, find TOKENKEEPER_SOCKET and TOKENKEEPER_CHILD in their environment, and
/// ask there for a token that is fit for use. `tokenkeeper token --from-socket` does that, and docs/children.md has
/// clients for Python and TypeScript. The tokens end with the program.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    who: Who,
    /// Give a file with the token, too, for programs that can only read one. TOKENKEEPER_TOKEN_FILE is its path
    #[arg(long)]
    file: bool,
    /// How long to wait for the first token, over faults that pass too
    #[arg(long, value_name = "SPAN", default_value = "45s", value_parser = when::parse_span)]
    timeout: Duration,
    /// Run this shell command with each new refresh token on its standard input, for a home that does not last, as in CI. It runs
    /// first with the present one. A token that it has not taken is not used, and its failure is that of this command (6)
    #[arg(long, value_name = "COMMAND")]
    write_back: Option<String>,
    /// The program and its arguments
    #[arg(last = true, required = true, num_args = 1.., value_name = "PROGRAM")]
    program: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Examples:
  tokenkeeper run https://mcp.example.com/mcp -- npx -y some-mcp-server
  tokenkeeper run files -- sh -c 'curl -H \"Authorization: Bearer $(tokenkeeper token --from-socket)\" …'

The program is started once there is a token. Signals are passed on to it. Its exit code is that of this command, or 128
and the number of the signal that ended it. 126 and 127 mean that it cannot be run or does not exist. Otherwise:
  1  failed: what was asked for could not be done
  2  usage: an argument is not acceptable
  3  login required: only a new login helps
  4  refused: by the server, or because it would do harm
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written";

/// Runs the program, and returns its exit code.
pub(crate) fn run(arguments: &Arguments, home: &HomeArguments) -> Result<u8, Failure> {
    let selected = arguments.who.select()?;
    let providers = home.providers()?;
    home::block_on(async {
        // Signals from here on are passed to the program.
        let signals = Signals::new()?;
        let store = home.required()?;
        let identity = selected.identity(Some(&store)).await?;
        let write_back = arguments.write_back.clone();
        let write_back = write_back.map(|command| WriteBack::new(store.clone(), command, identity.clone()));
        let keeper = match &write_back {
            // The command runs with the present token first, so that a failing command is noticed before a token is spent.
            Some(write_back) => {
                write_back.complete().await?;
                Keeper::open_through(store, write_back.clone(), |builder| builder.providers(providers)).await?
            }
            None => Keeper::open(store, providers).await?,
        };
        let session = keeper.session(identity.clone());
        let options = TokenOptions { timeout: arguments.timeout, ..TokenOptions::default() };
        if let Err(error) = keeper.unless_interrupted(session.token_with(options)).await? {
            let remedy = Remedy::of(home, &keeper.store, &identity).await;
            let hint = remedy.hint(&keeper.store, &identity, error.reason()).await;
            let failure = Failure::no_token(error, &keeper.store).with(hint);
            // The error answers the caller. If saving failed too, the next command reports that.
            keeper.land(&session).await.ok();
            if let Some(write_back) = &write_back {
                write_back.complete().await?;
            }
            return Err(failure);
        }
        let code = with_tokens(arguments, &session, signals).await;
        let landed = keeper.land(&session).await;
        let written = match &write_back {
            Some(write_back) => write_back.complete().await,
            None => Ok(()),
        };
        match (code, landed.and(written)) {
            // If the program itself failed, its exit code is kept, and the failure of the session is only printed.
            (Ok(0), Err(failure)) => Err(failure),
            (code, Err(failure)) => {
                let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {failure}\n"));
                code
            }
            (code, Ok(())) => code,
        }
    })
}

/// Runs the program with a hand-off that ends with it.
async fn with_tokens(arguments: &Arguments, session: &AuthSession, mut signals: Signals) -> Result<u8, Failure> {
    let [program, rest @ ..] = &arguments.program[..] else {
        return Err(Failure::Usage("give a program to run after --".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(rest);
    let how = if arguments.file { HandOff::SocketAndFile } else { HandOff::Socket };
    let grant = session.hand_to(&mut command, how)?;
    grant.file_written().await?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let told = format!("error: {} cannot be run: {error}\n", program.to_string_lossy());
            let _ = io::Write::write_all(&mut io::stderr(), told.as_bytes());
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let status = signals.pass_on_to(&mut child).await?;
    drop(grant);
    Ok(code(status))
}

/// The exit code for the end of a program, by the convention of shells.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The signals to this process.
struct Signals {
    received: mpsc::UnboundedReceiver<(Signal, bool)>,
    _tasks: JoinSet<()>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (sender, received) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for (number, is_of_terminal) in PASSED_ON {
            let mut stream = signal(SignalKind::from_raw(number.as_raw()))?;
            let sender = sender.clone();
            #[expect(clippy::disallowed_methods, reason = "the set ends the task when it is dropped")]
            tasks.spawn(async move {
                while stream.recv().await.is_some() && sender.send((number, is_of_terminal)).is_ok() {}
            });
        }
        Ok(Self { received, _tasks: tasks })
    }

    /// Passes the signals on until the program ends.
    async fn pass_on_to(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        // The process id is valid until the wait below has returned.
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return status,
                Some((number, is_of_terminal)) = self.received.recv() => {
                    // The terminal sends its signals to all processes in the foreground, so the program has this one already.
                    if let Some(id) = id && !(is_of_terminal && is_in_foreground()) {
                        let _ = kill_process(id, number);
                    }
                }
            }
        }
    }
}

/// Whether this process is in the foreground of its terminal.
fn is_in_foreground() -> bool {
    let foreground = File::open("/dev/tty").and_then(|tty| Ok(rustix::termios::tcgetpgrp(tty)?));
    foreground.is_ok_and(|group| group == getpgrp())
}
