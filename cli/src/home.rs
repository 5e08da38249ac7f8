//! The home that commands share, and a runtime over it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokenkeeper::stores::file::{FileStore, FileStoreBuilder, Trouble};
use tokenkeeper::{AuthRuntime, AuthSession, BuildError, ServerIdentity};

use crate::failure::Failure;

/// How long a command that is done waits for what goes on behind it: a revocation, a last save.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long for a refresh that is under way, whose answer may be the only copy of a token: the request's own time-out, and
/// saving what came.
const FLIGHT: Duration = Duration::from_secs(45);

/// After how much of that a person is told what is waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// Which home.
#[derive(Debug, clap::Args)]
pub(crate) struct HomeArguments {
    /// The folder that keeps the sessions [default: $XDG_STATE_HOME/tokenkeeper or ~/.local/state/tokenkeeper]
    #[arg(long, global = true, value_name = "DIR", env = "TOKENKEEPER_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Where the home's key is: in a file of the home (file), or in the operating system's keychain (keychain)
    #[arg(long, global = true, value_name = "PLACE", env = "TOKENKEEPER_KEY", hide_env_values = true)]
    #[arg(default_value = "file", hide_possible_values = true)]
    key: Key,
}

/// Where a home's key is kept.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Key {
    File,
    Keychain,
}

impl HomeArguments {
    pub(crate) fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.home {
            Some(dir) => Ok(dir.clone()),
            None => Ok(FileStore::default_dir()?),
        }
    }

    /// The home, which is made where there is none.
    pub(crate) fn open(&self) -> Result<FileStore, Failure> {
        if let Some(store) = self.open_existing()? {
            return Ok(store);
        }
        let store = self.builder()?.open()?;
        // A person may want to know where secrets go; a program reads standard output.
        let (dir, place) = (store.dir().display(), self.place());
        let _ = writeln!(io::stderr(), "note: made the home {dir}; its key is in {place}");
        Ok(store)
    }

    /// The home; `None` where there is none, and then none is made.
    pub(crate) fn open_existing(&self) -> Result<Option<FileStore>, Failure> {
        match self.builder()?.existing().open() {
            Ok(store) => Ok(Some(store)),
            Err(error) if *error.trouble() == Trouble::NoHome => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The home, which must be there: a folder that is not (a slip of the pen, or not mounted) is not made into one where
    /// nobody ever signed in.
    pub(crate) fn required(&self) -> Result<FileStore, Failure> {
        self.open_existing()?.ok_or_else(|| self.dir().map_or_else(|error| error, Failure::no_home))
    }

    fn builder(&self) -> Result<FileStoreBuilder, Failure> {
        let builder = FileStore::builder(self.dir()?);
        match self.key {
            Key::File => Ok(builder),
            #[cfg(feature = "keychain")]
            Key::Keychain => Ok(builder.key(tokenkeeper::stores::file::KeySource::Keychain)),
            #[cfg(not(feature = "keychain"))]
            Key::Keychain => Err(Failure::Usage(
                "this tokenkeeper was built without the keychain: build it with --features keychain".to_owned(),
            )),
        }
    }

    /// Where the key of a new home is.
    fn place(&self) -> &'static str {
        match self.key {
            Key::File => "a file in it that only you can read",
            Key::Keychain => "the keychain",
        }
    }
}

/// A runtime over a home, for as long as one command takes.
pub(crate) struct Keeper {
    pub(crate) store: FileStore,
    auth: AuthRuntime,
}

impl Keeper {
    pub(crate) async fn open(store: FileStore) -> Result<Self, Failure> {
        let auth = AuthRuntime::builder(store.clone()).spawn().await;
        let auth = auth.map_err(|error| match error {
            BuildError::Store(fault) => Failure::store_fault(fault, &store),
            error => Failure::Failed(io::Error::other(error)),
        })?;
        Ok(Self { store, auth })
    }

    pub(crate) fn session(&self, identity: ServerIdentity) -> AuthSession {
        self.auth.session(identity)
    }

    /// Waits for what is to be done, unless the person at the terminal does not want to.
    ///
    /// A refresh that is under way then still ends, because its answer may be the only copy of a token; a second
    /// interruption gives that up.
    pub(crate) async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut interruptions = Interruptions::new()?;
        tokio::select! {
            done = work => Ok(done),
            () = interruptions.next() => {
                self.end(FLIGHT).await?;
                Err(interrupted())
            }
        }
    }

    /// Ends the runtime after a refresh: what was obtained is saved by then, or it is said that it is not.
    pub(crate) async fn land(self) -> Result<(), Failure> {
        self.end(FLIGHT).await
    }

    /// Ends the runtime.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.end(PATIENCE).await
    }

    #[expect(clippy::disallowed_methods, reason = "a person is told what is waited for; no request depends on it")]
    async fn end(&self, timeout: Duration) -> Result<(), Failure> {
        let mut interruptions = Interruptions::new()?;
        let mut shutdown = pin!(self.auth.shutdown(timeout));
        let report = match tokio::time::timeout(SILENCE, &mut shutdown).await {
            Ok(report) => report,
            Err(_) => {
                let _ = writeln!(
                    io::stderr(),
                    "note: waiting for an answer, which may be the only copy of a token; interrupt to give it up"
                );
                tokio::select! {
                    report = shutdown => report,
                    () = interruptions.next() => return Err(interrupted()),
                }
            }
        };
        match (report.unsaved.first(), report.unfinished.first()) {
            (None, None) => Ok(()),
            (Some(_), _) => Err(Failure::Store(match self.store.last_trouble() {
                Some(words) => format!("the new token could not be stored, so a login will be needed\n  {words}"),
                None => "the new token could not be stored, so a login will be needed".to_owned(),
            })),
            (None, Some(_)) => Err(Failure::Unavailable(
                "the server has not answered the refresh yet; the next command finds out what became of it".to_owned(),
            )),
        }
    }
}

/// What asks a command to end: Ctrl-C, the end of a job or of the terminal.
struct Interruptions {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

impl Interruptions {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        tokio::signal::ctrl_c().await.ok();
    }
}

fn interrupted() -> Failure {
    Failure::Failed(io::Error::new(io::ErrorKind::Interrupted, "interrupted"))
}

/// Runs a command's work.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}
