//! A runtime on the shared home, as each of the processes has one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper::engine::law::profile::{InDoubt, Profile};
use tokenkeeper::engine::ports::observer::EffectObserver;
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, AuthRuntime, AuthSession, RefreshGrant, ServerIdentity, Settings, Target};

use super::obtained::{Listed, Obtained};

/// How long a token request may take. Shorter than the default, as everything here is: until it has passed for sure, nobody
/// presents what a process that died has marked.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a store operation may take, on a machine that is busy.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);
const SEND_WITHIN: Duration = Duration::from_millis(500);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MOST: Duration = Duration::from_secs(1);
const SHUTDOWN: Duration = Duration::from_secs(15);

/// A runtime over the home, with the one session that is stormed.
pub(super) struct Host {
    pub(super) store: FileStore,
    pub(super) session: AuthSession,
    pub(super) clock: SystemClock,
    pub(super) obtained: Obtained,
    runtime: AuthRuntime,
}

impl Host {
    pub(super) async fn open(
        home: &Path,
        resource: &str,
        never_replay: bool,
        observer: Option<Arc<dyn EffectObserver>>,
    ) -> io::Result<Self> {
        let store = FileStore::open(home).map_err(io::Error::other)?;
        let clock = SystemClock::new().map_err(io::Error::other)?;
        let http = ReqwestClient::new().map_err(io::Error::other)?;
        let obtained = Obtained::default();
        let grant = RefreshGrant::new(Arc::new(http), Arc::new(clock.clone()));
        let mut settings = Settings::new(Arc::new(Listed { grant, obtained: obtained.clone() }));
        let in_doubt = if never_replay { InDoubt::NeverReplay } else { InDoubt::RetryOnce };
        settings.profiles = Profile { in_doubt, request_timeout: REQUEST_TIMEOUT, ..Profile::default() }.into();
        settings.policy.initial_backoff = BACKOFF_FIRST;
        settings.policy.max_backoff = BACKOFF_MOST;
        settings.timeouts.store_timeout = STORE_TIMEOUT;
        settings.timeouts.send_within = SEND_WITHIN;
        let mut builder = AuthRuntime::builder(Arc::new(store.clone()), settings).clock(Arc::new(clock.clone()));
        if let Some(observer) = observer {
            builder = builder.observer(observer);
        }
        let runtime = builder.spawn().await.map_err(io::Error::other)?;
        let target = Target::mcp(resource).map_err(io::Error::other)?;
        let session = runtime.session(ServerIdentity::new(Account::default(), target));
        Ok(Self { store, session, clock, obtained, runtime })
    }

    /// Ends the runtime: whether in good order.
    pub(super) async fn end(&self) -> bool {
        self.runtime.shutdown(SHUTDOWN).await.is_clean()
    }
}
