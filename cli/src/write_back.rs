//! The write-back of refresh tokens to a place outside the home, for machines whose home does not last.

use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::engine::law::ledger::{Change, Changed, EntryChange, EntryChanged};
use tokenkeeper::engine::ports::store::{
    Claim, ClaimAnswer, ClaimEnding, ClaimScope, JournalLine, PendingLogin, Removal, Renewed, Reservation, StoreWatch,
    TokenStore,
};
use tokenkeeper::engine::values::issuer::{IssuerEntry, IssuerKey};
use tokenkeeper::engine::values::record::{Issuer, Record, RefreshCredential};
use tokenkeeper::engine::values::{DigestKey, FlightId, KeyedDigest, Moment, Version};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{LoginKey, ServerIdentity, StoreFault};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::failure::Failure;

/// The time-out of one run of the command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The pauses before the second and the third run of a command that failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// A home that also passes the refresh tokens of one session to a command, which keeps them elsewhere.
///
/// This adds durability and delays no answer. A refresh stores its token in the home, and callers get theirs, before the
/// command runs. But a refresh token is not presented before the command has taken it, because the claim is not granted before.
/// If the command fails, nothing more is refreshed, and the access token is served until it expires.
#[derive(Clone, Debug)]
pub(crate) struct WriteBack {
    store: FileStore,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    command: String,
    identity: ServerIdentity,
    /// Locked while the command runs, so that only one run takes place at a time.
    state: Mutex<State>,
    /// The tokio runtime on which the command runs. It may outlive the one that runs a flight.
    tokio: Handle,
}

/// The last refresh token that was given to the command, by its digest.
#[derive(Debug, Default)]
enum State {
    #[default]
    Nothing,
    Written(KeyedDigest),
    Failed(KeyedDigest),
}

impl WriteBack {
    pub(crate) fn new(store: FileStore, command: String, identity: ServerIdentity) -> Self {
        let (state, tokio) = (Mutex::default(), Handle::current());
        Self { store, shared: Arc::new(Shared { command, identity, state, tokio }) }
    }

    /// Gives the refresh token of the record to the command, unless it was given already.
    pub(crate) async fn complete(&self) -> Result<(), Failure> {
        let mut state = self.shared.state.lock().await;
        let failure = || {
            Failure::Store(
                "--write-back has failed, and the newest refresh token is only in this home: save it, or sign in again"
                    .to_owned(),
            )
        };
        let record = self.store.load(&self.shared.identity).await;
        let record = record.map_err(|fault| Failure::store_fault(fault, &self.store))?;
        let Some(credential) = record.as_ref().and_then(|record| Some(&record.held()?.credential)) else {
            return Ok(());
        };
        let digest = credential.digest();
        match &*state {
            State::Written(written) if *written == digest => return Ok(()),
            State::Failed(failed) if *failed == digest => return Err(failure()),
            _ => {}
        }
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            if self.run(credential).await {
                *state = State::Written(digest);
                return Ok(());
            }
            if let Some(pause) = pause {
                #[expect(clippy::disallowed_methods, reason = "the command of a person is run again after a while")]
                tokio::time::sleep(pause).await;
            }
        }
        *state = State::Failed(digest);
        let _ = writeln!(io::stderr(), "note: --write-back has failed, so nothing more is refreshed");
        Err(failure())
    }

    /// Runs the command with the token on its standard input, and returns whether it succeeded. Its output goes to standard
    /// error, because programs read standard output.
    async fn run(&self, credential: &RefreshCredential) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", &self.shared.command]).stdin(Stdio::piped()).kill_on_drop(true);
        command.stdout(io::stderr());
        let run = async {
            let mut process = command.spawn()?;
            if let Some(mut input) = process.stdin.take() {
                // If the command does not read everything, the write fails, and the token counts as not taken.
                input.write_all(credential.token().expose().as_bytes()).await?;
            }
            io::Result::Ok(process.wait().await?.success())
        };
        #[expect(clippy::disallowed_methods, reason = "it bounds the command of a person; no request depends on it")]
        let done = tokio::time::timeout(TIMEOUT, run).await;
        matches!(done, Ok(Ok(true)))
    }

    /// Starts [`complete`](Self::complete) in a task, without waiting for it.
    fn begin(&self) {
        let this = self.clone();
        #[expect(clippy::disallowed_methods, reason = "it outlives the flight; the command waits for it at its end")]
        self.shared.tokio.spawn(async move { this.complete().await.ok() });
    }

    /// Whether the command has taken the refresh token of the record. If this is not known yet, the command runs or is started,
    /// and the result is `None`.
    async fn is_written(&self) -> Result<Option<bool>, StoreFault> {
        let Ok(state) = self.shared.state.try_lock() else { return Ok(None) };
        let record = self.store.load(&self.shared.identity).await?;
        let digest = record.as_ref().and_then(|record| Some(record.held()?.credential.digest()));
        match (digest, &*state) {
            (None, _) => Ok(Some(true)),
            (Some(digest), State::Written(written)) if digest == *written => Ok(Some(true)),
            (Some(digest), State::Failed(failed)) if digest == *failed => Ok(Some(false)),
            _ => {
                self.begin();
                Ok(None)
            }
        }
    }
}

#[async_trait]
impl TokenStore for WriteBack {
    /// Grants no claim on a refresh token that the command has not taken. While the command runs, the claim is contended, so
    /// the flight asks again.
    async fn claim(
        &self,
        identity: &ServerIdentity,
        scope: ClaimScope,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        let answer = self.store.claim(identity, scope, holder, at_least).await?;
        let ClaimAnswer::Granted(claim) = &answer else { return Ok(answer) };
        if !matches!(scope, ClaimScope::Spend(_)) || *identity != self.shared.identity {
            return Ok(answer);
        }
        // Only the holder of the claim changes the token, so this answer stays true while the claim is held.
        let refused = match self.is_written().await {
            Ok(Some(true)) => return Ok(answer),
            Ok(Some(false)) => Err(StoreFault::Failed),
            Ok(None) => Ok(ClaimAnswer::Contended),
            Err(fault) => Err(fault),
        };
        self.store.end_claim(identity, claim, ClaimEnding::Released).await?;
        refused
    }

    async fn change(&self, identity: &ServerIdentity, change: Change) -> Result<Changed, StoreFault> {
        let changed = self.store.change(identity, change).await;
        if *identity == self.shared.identity {
            self.begin();
        }
        changed
    }

    // All other operations are those of the home.

    async fn digest_key(&self) -> Result<DigestKey, StoreFault> {
        self.store.digest_key().await
    }

    async fn load(&self, identity: &ServerIdentity) -> Result<Option<Box<Record>>, StoreFault> {
        self.store.load(identity).await
    }

    async fn list(&self) -> Result<Vec<ServerIdentity>, StoreFault> {
        self.store.list().await
    }

    async fn renew(&self, identity: &ServerIdentity, claim: &Claim, at_least: Duration) -> Result<Renewed, StoreFault> {
        self.store.renew(identity, claim, at_least).await
    }

    async fn end_claim(&self, identity: &ServerIdentity, claim: &Claim, ending: ClaimEnding) -> Result<(), StoreFault> {
        self.store.end_claim(identity, claim, ending).await
    }

    async fn claim_entry(
        &self,
        key: &IssuerKey,
        holder: FlightId,
        at_least: Duration,
    ) -> Result<ClaimAnswer, StoreFault> {
        self.store.claim_entry(key, holder, at_least).await
    }

    async fn end_entry_claim(&self, key: &IssuerKey, claim: &Claim) -> Result<(), StoreFault> {
        self.store.end_entry_claim(key, claim).await
    }

    async fn reserve(
        &self,
        identity: &ServerIdentity,
        digest: KeyedDigest,
        now: Moment,
    ) -> Result<Reservation, StoreFault> {
        self.store.reserve(identity, digest, now).await
    }

    async fn put_login(&self, key: LoginKey, login: PendingLogin) -> Result<(), StoreFault> {
        self.store.put_login(key, login).await
    }

    async fn take_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.store.take_login(key, now).await
    }

    async fn peek_login(&self, key: &LoginKey, now: Moment) -> Result<Option<PendingLogin>, StoreFault> {
        self.store.peek_login(key, now).await
    }

    async fn pending_logins(&self, now: Moment) -> Result<Vec<(LoginKey, PendingLogin)>, StoreFault> {
        self.store.pending_logins(now).await
    }

    async fn remove(&self, identity: &ServerIdentity, expected: Version) -> Result<Removal, StoreFault> {
        self.store.remove(identity, expected).await
    }

    async fn drop_logins(&self, identity: &ServerIdentity) -> Result<(), StoreFault> {
        self.store.drop_logins(identity).await
    }

    async fn load_issuer(&self, key: &IssuerKey) -> Result<Option<Box<IssuerEntry>>, StoreFault> {
        self.store.load_issuer(key).await
    }

    async fn list_issuers(&self) -> Result<Vec<IssuerKey>, StoreFault> {
        self.store.list_issuers().await
    }

    async fn change_issuer(&self, issuer: &Issuer, change: EntryChange) -> Result<EntryChanged, StoreFault> {
        self.store.change_issuer(issuer, change).await
    }

    async fn watch(&self) -> Result<Box<dyn StoreWatch>, StoreFault> {
        self.store.watch().await
    }

    async fn note(&self, identity: &ServerIdentity, line: JournalLine) -> Result<(), StoreFault> {
        self.store.note(identity, line).await
    }

    async fn journal(&self, identity: &ServerIdentity, most: usize) -> Result<Vec<JournalLine>, StoreFault> {
        self.store.journal(identity, most).await
    }
}
