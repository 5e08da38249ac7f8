//! The cost of a killed process. It is computed, exactly, from the events in the authorization server's own log and the
//! store at that time, and compared with the server's final counts.

use std::ops::AddAssign;
use std::sync::Arc;

use tempfile::TempDir;
use tokenkeeper::Reason;
use tokenkeeper::engine::values::record::{Record, Renewal};
use tokenkeeper::engine::values::{Lease, TokenError};
use tokio::sync::Semaphore;

use crate::authority::{Chain, Tally};
use crate::on_demand;
use crate::party::{Paper, Party, Setup};
use crate::scene::Server;

/// The number of processes that are started and killed at once. More would only slow this machine down.
const AT_ONCE: usize = 3;

/// The progress of a process when it is killed, as new events at the server and the state in the home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// Its request has arrived.
    pub(crate) posted: bool,
    /// The server has rotated.
    pub(crate) rotated: bool,
    /// The process has revoked its pair.
    pub(crate) revoked: bool,
    pub(crate) standing: Standing,
}

/// The state of an identity in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a refresh token without a mark.
    Free,
    /// It has a refresh token with a mark.
    Marked,
    /// Nothing may be presented before a login.
    Closed(Reason),
}

impl Fate {
    /// There is no mark.
    pub(crate) const UNTOUCHED: Self = Self { posted: false, rotated: false, revoked: false, standing: Standing::Free };
    /// There is a mark, and no byte has left.
    pub(crate) const MARKED: Self = Self { standing: Standing::Marked, ..Self::UNTOUCHED };
    /// Bytes have left, and the refresh token is not spent.
    pub(crate) const UNSPENT: Self = Self { posted: true, ..Self::MARKED };
    /// The server has rotated.
    pub(crate) const ROTATED: Self = Self { rotated: true, ..Self::UNSPENT };
    /// The server has rotated, and the pair is stored.
    pub(crate) const SAVED: Self = Self { standing: Standing::Free, ..Self::ROTATED };
}

impl Standing {
    fn of(record: &Record) -> Self {
        match record.view().renewal {
            Renewal::LoginRequired(why) => Self::Closed(why),
            Renewal::WithoutToken => panic!("every login here has a refresh token"),
            Renewal::Token { mark, .. } => mark.map_or(Self::Free, |_| Self::Marked),
        }
    }
}

/// The expected counts at first, which are compared with the server's in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    kills: u64,
    tally: Tally,
    logins: u64,
    /// The number of rotations of each chain of refresh tokens.
    chains: Vec<u64>,
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.tally += other.tally;
        self.logins += other.logins;
        self.chains.extend(other.chains);
    }
}

impl Account {
    /// Compares the computed counts with those of the server.
    pub(crate) async fn settle(mut self, server: &Server) {
        let tally = server.tally(self.tally.posts).await;
        assert_eq!(tally, self.tally, "{:#}", server.authority.stats());
        self.chains.sort_unstable_by(|one, other| other.cmp(one));
        println!("{self:?}");
    }
}

/// A way to kill a process.
pub(crate) trait Death: Send + Sync {
    /// Changes the login where it must differ from the server's.
    fn amend(&self, _: &Server, _: &mut Paper) {}

    /// Prepares the server, and returns the events that this adds to its counts.
    fn prepare(&self, _: &Lane<'_>) -> impl Future<Output = Tally> + Send {
        std::future::ready(Tally::default())
    }

    /// Starts a refresh in a process, and kills the process.
    fn kill(&self, lane: &Lane<'_>) -> impl Future<Output = ()> + Send;
}

/// The server, and the permits that limit how many processes are started and killed at once.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) server: Arc<Server>,
    leave: Arc<Semaphore>,
}

impl Field {
    /// Returns `None`, and prints a loud notice, on a machine without Node.
    pub(crate) async fn open() -> Option<Self> {
        let server = Arc::new(Server::start(&[]).await?);
        Some(Self { server, leave: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Like this, with another server, because a fault applies to the next request from any process.
    pub(crate) async fn apart(&self) -> Option<Self> {
        let server = Arc::new(Server::start(&[]).await?);
        Some(Self { server, leave: self.leave.clone() })
    }
}

/// One home, with processes that are all killed in one way, and a process that lives, the heir.
pub(crate) struct Lane<'a> {
    pub(crate) server: &'a Server,
    pub(crate) setup: Setup,
    pub(crate) heir: Party,
    /// The heir's last login, and the rig's name for its chain.
    pub(crate) login: (Paper, String),
    _folder: TempDir,
}

impl<'a> Lane<'a> {
    pub(crate) async fn open(server: &'a Server, never_replay: bool, death: &impl Death) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Setup::new(folder.path().join("home"), server.authority.resource());
        setup.shared.never_replay = never_replay;
        let heir = Party::open(&setup, None).await;
        let login = log_in(server, &heir, death).await;
        Self { server, setup, heir, login, _folder: folder }
    }

    fn chain(&self) -> Chain {
        self.server.chain(&self.login.1)
    }

    /// A process is killed, and leaves the state that `fate` describes. Then the heir asks for a token.
    async fn round(&mut self, field: &Field, death: &impl Death, fate: Fate, story: &str) -> Account {
        let mut account = Account { kills: 1, ..Account::default() };
        account.tally += death.prepare(self).await;
        let before = self.chain();
        {
            let _leave = field.leave.acquire().await.unwrap();
            death.kill(self).await;
        }

        // The events before the kill, by the server's log and by the store.
        let Fate { posted, rotated, revoked, standing } = fate;
        let found = self.chain();
        let rotations = before.rotations + u64::from(rotated);
        assert_eq!(found, Chain { rotations, revoked: before.revoked || revoked, ..before }, "{story}");
        assert_eq!(Standing::of(&self.heir.record().await), standing, "{story}");
        account.tally += Tally {
            posts: u64::from(posted),
            rotations: u64::from(rotated),
            revoked: u64::from(revoked),
            ..Tally::default()
        };

        // The outcome for the heir.
        let outcome = insist(&self.heir).await;
        let (presents, refused) = match (standing, self.setup.shared.never_replay) {
            (Standing::Free, _) => (true, None),
            (Standing::Marked, true) => (false, Some(Reason::MaybeConsumed)),
            (Standing::Marked, false) => (true, (rotated || found.revoked).then_some(Reason::GrantEnded)),
            // A caller that insists tries a rejected client again.
            (Standing::Closed(Reason::ClientRejected), _) => (true, None),
            (Standing::Closed(why), _) => (false, Some(why)),
        };
        assert_eq!(outcome.map(drop).map_err(|error| error.reason()), refused.map_or(Ok(()), Err), "{story}");
        let served = u64::from(refused.is_none());
        let replayed = presents && standing == Standing::Marked && rotated;
        // The server remembers nothing of a chain that has ended.
        let caught = replayed && !found.revoked;
        let (rotations, reuse) = (found.rotations + served, found.reuse + u64::from(caught));
        assert_eq!(self.chain(), Chain { rotations, reuse, revoked: found.revoked || caught }, "{story}");
        account.tally += Tally {
            posts: u64::from(presents),
            rotations: served,
            consumed: u64::from(replayed),
            reuse: u64::from(caught),
            revoked: u64::from(caught),
        };
        if refused.is_some() {
            account.logins += 1;
            account.chains.push(rotations);
            self.login = log_in(self.server, &self.heir, death).await;
        }
        account
    }
}

/// Kills `KILLS` processes on one home, one after the other.
pub(crate) async fn run(field: Field, death: impl Death, fate: Fate, never_replay: bool, story: String) -> Account {
    let story = format!("{story}, {}", if never_replay { "reuse ends more" } else { "reuse ends the lineage" });
    let mut lane = Lane::open(&field.server, never_replay, &death).await;
    let mut account = Account::default();
    for round in 0..on_demand("KILLS", 3) {
        account += lane.round(&field, &death, fate, &format!("{story}, round {round}")).await;
    }
    // In the end only a whole chain is left.
    assert!(insist(&lane.heir).await.is_ok(), "{story}");
    account.tally += Tally { posts: 1, rotations: 1, ..Tally::default() };
    account.chains.push(lane.chain().rotations);
    assert_eq!(Standing::of(&lane.heir.record().await), Standing::Free, "{story}");
    lane.heir.end().await;
    account
}

async fn log_in(server: &Server, heir: &Party, death: &impl Death) -> (Paper, String) {
    let (mut paper, chain) = server.sign_in().await;
    death.amend(server, &mut paper);
    heir.install(&paper).await.unwrap();
    (paper, chain)
}

/// Returns a token from a flight that begins now. The death of the process before is known for certain, so the caller
/// never has to ask again.
pub(crate) async fn insist(heir: &Party) -> Result<Lease, TokenError> {
    heir.token(true).await
}
