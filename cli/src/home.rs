//! The home, which all commands share, and a runtime on it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::{FileStore, FileStoreBuilder, Trouble};
use tokenkeeper::{
    Account, AuthRuntime, AuthSession, BuildError, RuntimeBuilder, ServerIdentity, SessionSpec, StoreFault,
};

use crate::egress;
use crate::failure::Failure;
use crate::providers::ProvidersArguments;

/// The maximum time that a finished command waits for background work, such as a last save.
const PATIENCE: Duration = Duration::from_secs(10);

/// The maximum time that a command waits for a refresh in flight after its own time-out has passed, because the answer may be
/// the only copy of a token.
const FLIGHT: Duration = Duration::from_secs(60);

/// The time in which a command repeats a write that the store cannot take.
const WRITING: Duration = Duration::from_secs(30);

/// The shortest and the longest pause between two such writes. The first pause is the shortest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The notes for a person who waits.
const AWAITS_ANSWER: &str = "waiting for an answer, which may be the only copy of a token; interrupt to give it up";
const AWAITS_STORE: &str = "waiting for the store, which does not take it yet; interrupt to give it up";

/// The wait after which a note explains to the person at the terminal why the command has not ended.
const SILENCE: Duration = Duration::from_secs(1);

/// The options that select a home, and the providers that its sessions may be with.
#[derive(Debug, clap::Args)]
pub(crate) struct HomeArguments {
    /// The folder that keeps the sessions [default: $XDG_STATE_HOME/tokenkeeper or ~/.local/state/tokenkeeper]
    #[arg(long, global = true, value_name = "DIR", env = "TOKENKEEPER_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Where the home's key is: in a file of the home (file), or in the operating system's keychain (keychain)
    #[arg(long, global = true, value_name = "PLACE", env = "TOKENKEEPER_KEY", hide_env_values = true)]
    #[arg(default_value = "file", hide_possible_values = true)]
    key: Key,
    #[command(flatten)]
    providers: ProvidersArguments,
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

    /// The providers that the sessions of the home may be with.
    pub(crate) fn providers(&self) -> Result<Providers, Failure> {
        self.providers.read()
    }

    /// Opens the home, and creates it if it does not exist.
    pub(crate) fn open(&self) -> Result<FileStore, Failure> {
        if let Some(store) = self.open_existing()? {
            return Ok(store);
        }
        let store = self.builder()?.open()?;
        // The note goes to standard error, because programs read standard output.
        let (dir, place) = (store.dir().display(), self.place());
        let _ = writeln!(io::stderr(), "note: made the home {dir}; its key is in {place}");
        Ok(store)
    }

    /// Opens the home, or returns `None` if it does not exist. Never creates one.
    pub(crate) fn open_existing(&self) -> Result<Option<FileStore>, Failure> {
        match self.builder()?.existing().open() {
            Ok(store) => Ok(Some(store)),
            Err(error) if *error.trouble() == Trouble::NoHome => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the home, which must exist. A mistyped or unmounted folder must not become a new, empty home.
    pub(crate) fn required(&self) -> Result<FileStore, Failure> {
        self.open_existing()?.ok_or_else(|| self.dir().map_or_else(|error| error, Failure::no_home))
    }

    /// The command that signs in to this session in this home. Secrets of the URL are left out of it.
    pub(crate) fn login_command(&self, identity: &ServerIdentity) -> String {
        let mut words = vec!["tokenkeeper".to_owned(), "login".to_owned(), identity.target().to_string()];
        if *identity.account() != Account::default() {
            words.extend(["--account".to_owned(), identity.account().as_str().to_owned()]);
        }
        let usual = FileStore::default_dir().ok();
        if let Some(dir) = self.dir().ok().filter(|dir| Some(dir) != usual.as_ref()) {
            words.extend(["--home".to_owned(), dir.display().to_string()]);
        }
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| "tokenkeeper login".to_owned())
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

    /// Where the key of a new home is kept.
    fn place(&self) -> &'static str {
        match self.key {
            Key::File => "a file in it that only you can read",
            Key::Keychain => "the keychain",
        }
    }
}

/// A runtime on a home, for the duration of one command.
pub(crate) struct Keeper {
    pub(crate) store: FileStore,
    auth: AuthRuntime,
}

impl Keeper {
    pub(crate) async fn open(store: FileStore, providers: Providers) -> Result<Self, Failure> {
        Self::open_with(store, providers, |builder| builder).await
    }

    /// Opens it with further settings of the runtime.
    pub(crate) async fn open_with(
        store: FileStore,
        providers: Providers,
        configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Result<Self, Failure> {
        let through = store.clone();
        Self::open_through(store, through, |builder| configure(builder.providers(providers))).await
    }

    /// Opens it with another store, which keeps its records in `store`.
    pub(crate) async fn open_through(
        store: FileStore,
        through: impl TokenStore,
        configure: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Result<Self, Failure> {
        let http = Arc::new(egress::deferred_client()?);
        let auth = configure(AuthRuntime::builder(through).http(http)).spawn().await;
        let auth = auth.map_err(|error| match error {
            BuildError::Store(fault) => Failure::store_fault(fault, &store),
            error => Failure::Failed(io::Error::other(error)),
        })?;
        Ok(Self { store, auth })
    }

    pub(crate) fn session(&self, spec: impl Into<SessionSpec>) -> AuthSession {
        self.auth.session(spec)
    }

    /// Waits for `work` until it ends or the person at the terminal interrupts it.
    ///
    /// After an interruption a refresh in flight still ends, because its answer may be the only copy of a token. A
    /// second interruption abandons it.
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

    /// Waits for the refresh of `session` that is in flight, and for its save. The runtime repeats a failed save during the
    /// wait. A shutdown would end these repeats.
    #[expect(clippy::disallowed_methods, reason = "the flight goes on when the wait ends; the shutdown reports it")]
    pub(crate) async fn settle(&self, session: &AuthSession) -> Result<(), Failure> {
        let settled = async {
            let mut watch = session.watch();
            loop {
                let state = watch.now();
                if !state.refreshing && !state.unsaved || watch.next().await.is_none() {
                    return;
                }
            }
        };
        self.noting(AWAITS_ANSWER, tokio::time::timeout(FLIGHT, settled)).await.map(drop)
    }

    /// Repeats `write` while the store cannot take it for a transient reason, and returns its result. `fault` returns the store
    /// fault in an error, if there is one.
    #[expect(clippy::disallowed_methods, reason = "a person waits; the pauses are between complete writes")]
    pub(crate) async fn persist<T, E>(
        &self,
        mut write: impl AsyncFnMut() -> Result<T, E>,
        fault: impl Fn(&E) -> Option<StoreFault>,
    ) -> Result<Result<T, E>, Failure> {
        let passes = |error: &E| {
            let fault = fault(error);
            fault.is_some_and(|fault| matches!(fault, StoreFault::Busy | StoreFault::Full | StoreFault::TimedOut))
        };
        let writing = async {
            let mut end = pin!(tokio::time::sleep(WRITING));
            let (mut pause, longest) = PAUSES;
            loop {
                match write().await {
                    Err(error) if passes(&error) && !end.is_elapsed() => {}
                    done => return done,
                }
                tokio::select! {
                    () = &mut end => {}
                    () = tokio::time::sleep(pause) => {}
                }
                pause = longest.min(pause * 2);
            }
        };
        self.noting(AWAITS_STORE, writing).await
    }

    /// Waits for the refresh of `session` that is in flight, and then shuts the runtime down. Returns an error if the new token
    /// could not be saved.
    pub(crate) async fn land(self, session: &AuthSession) -> Result<(), Failure> {
        self.settle(session).await?;
        self.close().await
    }

    /// Shuts the runtime down.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.end(PATIENCE).await
    }

    /// Shuts the runtime down without a wait for background work.
    pub(crate) async fn close_now(self) -> Result<(), Failure> {
        self.end(Duration::ZERO).await
    }

    /// Returns the result of `work`. After a second, a note explains to the person at the terminal why the command has not
    /// ended. An interruption ends the wait.
    #[expect(clippy::disallowed_methods, reason = "it delays a note for a person; no request depends on it")]
    async fn noting<T>(&self, note: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut interruptions = Interruptions::new()?;
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
            return Ok(done);
        }
        let _ = writeln!(io::stderr(), "note: {note}");
        tokio::select! {
            done = work => Ok(done),
            () = interruptions.next() => Err(interrupted()),
        }
    }

    async fn end(&self, timeout: Duration) -> Result<(), Failure> {
        let mut report = self.noting(AWAITS_ANSWER, self.auth.shutdown(timeout)).await?;
        let unsaved = |identity: &ServerIdentity| self.auth.session(identity.clone()).state().unsaved;
        let is_being_saved = report.unfinished.iter().any(unsaved);
        if is_being_saved {
            // The store has not answered the last save. Its answer decides whether the token is lost.
            let more = self.noting(AWAITS_STORE, self.auth.shutdown(FLIGHT)).await?;
            report.unsaved.extend(more.unsaved);
            report.unfinished = more.unfinished;
        }
        match (report.unsaved.first(), report.unfinished.first()) {
            (None, None) => Ok(()),
            (Some(_), _) => Err(Failure::Store(match self.store.last_trouble() {
                Some(words) => format!("the new token could not be stored, so a login will be needed\n  {words}"),
                None => "the new token could not be stored, so a login will be needed".to_owned(),
            })),
            (None, Some(_)) if is_being_saved => Err(Failure::store_fault(StoreFault::TimedOut, &self.store)),
            (None, Some(_)) => Err(Failure::Unavailable(
                "the server has not answered the refresh yet; the next command finds out what became of it".to_owned(),
            )),
        }
    }
}

/// The signals that ask a command to end: Ctrl-C, termination, a closed terminal.
pub(crate) struct Interruptions {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

impl Interruptions {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        tokio::signal::ctrl_c().await.ok();
    }
}

/// Writes a note about each damaged record that a login has replaced.
pub(crate) fn note_put_aside(store: &FileStore) {
    for file in store.put_aside() {
        let _ = writeln!(
            io::stderr(),
            "note: the old record was damaged and is kept in {}; nothing uses it any more",
            file.display()
        );
    }
}

fn interrupted() -> Failure {
    Failure::Failed(io::Error::new(io::ErrorKind::Interrupted, "interrupted"))
}

/// Runs the work of a command on a new tokio runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        outlive_file_size_limit()?;
        work.await
    })
}

/// Runs the work of a command on a new tokio runtime on this thread only, for commands that pass messages on. With two threads,
/// each message would have to wait for both. At the end, unfinished work on the blocking threads of the tokio runtime, such as
/// the look-up of a name, is abandoned.
pub(crate) fn block_on_this_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        outlive_file_size_limit()?;
        work.await
    });
    runtime.shutdown_background();
    done
}

/// Makes a write past the limit on file sizes fail with an error. By default, the signal for it ends the process, and a token
/// that the server has just issued is lost. The handler stays when the listener is dropped.
fn outlive_file_size_limit() -> io::Result<()> {
    #[cfg(unix)]
    drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(
        rustix::process::Signal::XFSZ.as_raw(),
    ))?);
    Ok(())
}
