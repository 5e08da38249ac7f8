//! A home that several processes share, and what a runtime on it needs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokenkeeper::engine::law::ledger::{Login, LoginAccess};
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper::engine::runtime::RuntimeBuilder;
use tokenkeeper::engine::runtime::{AuthRuntime, Settings};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::{Binding, RefreshCredential};
use tokenkeeper::engine::values::{DigestKey, Moment};
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::ReqwestClient;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{
    AccessToken, Account, RefreshToken, RenewalPlan, Scopes, ServerIdentity, Target, TokenKind, Validity,
};

use super::obtained::{ListingGrant, ObtainedTokens};

/// The home, and the identity whose session its processes share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HomeIdentity {
    /// The folder.
    pub home: PathBuf,
    /// The URL of the MCP server.
    pub resource: String,
    /// The account at the MCP server.
    pub account: String,
    /// Whether a refresh token whose answer was lost is never presented again.
    pub never_replay: bool,
}

impl HomeIdentity {
    /// The server identity.
    ///
    /// # Errors
    ///
    /// When resource or account are not acceptable.
    pub fn identity(&self) -> io::Result<ServerIdentity> {
        let account = Account::new(&self.account).map_err(io::Error::other)?;
        Ok(ServerIdentity::new(account, Target::mcp(&self.resource).map_err(io::Error::other)?))
    }
}

/// An opened home.
#[derive(Debug)]
pub struct SharedHome {
    /// The store.
    pub store: FileStore,
    /// The clock of the runtime.
    pub clock: Arc<SystemClock>,
    /// The tokens that token requests of this process brought.
    pub obtained: ObtainedTokens,
    /// The identity whose session is shared.
    pub identity: ServerIdentity,
}

impl SharedHome {
    /// Opens the home, which is made where it does not exist, and returns it with settings for its runtime.
    ///
    /// A token request may take `request_timeout` and a store operation `store_timeout`. Both are shorter than by
    /// default, because the mark of a killed process is waited for until its request has certainly ended.
    ///
    /// # Errors
    ///
    /// When the home cannot be opened, or the identity is not acceptable.
    pub fn open(
        shared: &HomeIdentity,
        request_timeout: Duration,
        store_timeout: Duration,
    ) -> io::Result<(Self, Settings)> {
        let store = FileStore::open(&shared.home).map_err(io::Error::other)?;
        let clock = Arc::new(SystemClock::new().map_err(io::Error::other)?);
        let http = ReqwestClient::new().map_err(io::Error::other)?;
        let obtained = ObtainedTokens::default();
        let grant = RefreshGrant::new(Arc::new(http), Arc::<SystemClock>::clone(&clock));
        let mut settings = Settings::new(Arc::new(ListingGrant { grant, obtained: obtained.clone() }));
        let reuse = if shared.never_replay { Reuse::EndsMore } else { Reuse::EndsLineage };
        settings.profiles = Profile { reuse, request_timeout, ..Profile::default() }.into();
        settings.timeouts.store_timeout = store_timeout;
        settings.timeouts.send_within = Duration::from_millis(500);
        Ok((Self { store, clock, obtained, identity: shared.identity()? }, settings))
    }

    /// A builder of a runtime on this home.
    pub fn builder(&self, settings: Settings) -> RuntimeBuilder {
        AuthRuntime::builder(Arc::new(self.store.clone()), settings).clock(Arc::<SystemClock>::clone(&self.clock))
    }
}

/// A login as a session installs it, at the moment `at`. `access` is an access token with its lifetime, `digests` the
/// key of the store.
pub fn login(
    binding: Binding,
    scope: &str,
    refresh: RefreshToken,
    access: Option<(AccessToken, Duration)>,
    digests: &DigestKey,
    at: Moment,
) -> Login {
    Login {
        binding,
        renewal: RenewalPlan::default(),
        requested: Scopes::default(),
        granted: Scopes::new(scope.split_ascii_whitespace()),
        subject: None,
        dpop_key: None,
        refresh: Some(RefreshCredential::new(refresh, digests)),
        access: access.map(|(token, lifetime)| LoginAccess {
            token,
            kind: TokenKind::Bearer,
            validity: Validity::new(at, Some(lifetime)),
        }),
        at,
        begun_on: None,
    }
}
