//! A process is killed at each point of a flight's way, and another one asks for a token.
//!
//! What must come of it is computed, exactly, from what the authorization server's own log says had happened: killed before
//! the mark, nothing is lost. After the mark and before a byte left, nothing is under `RetryOnce`, and a login is needed
//! under `NeverReplay`. After bytes left, `NeverReplay` always needs a login unless the pair was saved; `RetryOnce` does
//! only where the server had rotated, and then, and only then, presents a used refresh token, once.

use std::ops::AddAssign;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::FlightId;
use tokenkeeper::{Lease, Reason, ServerIdentity, TokenError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::authority::Tally;
use crate::crew::Member;
use crate::on_demand;
use crate::party::{Party, Setup};
use crate::point::Point;
use crate::scene::Server;
use crate::worker::Command;

/// Processes that are started and killed at once: more would only make this machine slow.
const AT_ONCE: usize = 3;

/// How long the rig takes over a request in whose midst the client is to be killed, in milliseconds.
const MIDST: u64 = 1_000;

/// What a killed process had come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// No mark.
    Untouched,
    /// A mark, and no byte has left.
    Marked,
    /// Bytes have left, and the server does not process them.
    Unprocessed,
    /// The server has rotated.
    Rotated,
    /// And the pair is stored.
    Saved,
}

/// Where a process is killed.
#[derive(Clone, Debug)]
enum Place {
    At(Point),
    /// While the server has the request, which it processes, or not.
    Midst {
        processed: bool,
    },
}

/// What is counted: by us before, by the server after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    kills: u64,
    posts: u64,
    rotations: u64,
    replays: u64,
    logins: u64,
    /// How long each chain of refresh tokens has become.
    chains: Vec<u64>,
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.posts += other.posts;
        self.rotations += other.rotations;
        self.replays += other.replays;
        self.logins += other.logins;
        self.chains.extend(other.chains);
    }
}

/// The way of an ordinary flight, in order, with what a process that is killed there has come to.
fn way() -> Vec<(Point, Fate)> {
    use EffectName::{AskPermit, Claim, Commit, EndClaim, Load, Mark, Report, ReturnPermit, Send};
    let again = |point: Point| Point { nth: 2, ..point };
    let mut way = Vec::new();
    for effect in [AskPermit, Load, Claim] {
        way.extend([Point::before(effect), Point::after(effect)].map(|point| (point, Fate::Untouched)));
    }
    // It reads again, under the claim.
    way.extend([Point::before(Load), Point::after(Load)].map(|point| (again(point), Fate::Untouched)));
    way.extend([(Point::before(Mark), Fate::Untouched), (Point::after(Mark), Fate::Marked)]);
    way.extend([(Point::before(Send), Fate::Marked), (Point::after(Send), Fate::Rotated)]);
    way.extend([Point::before(ReturnPermit), Point::after(ReturnPermit)].map(|point| (point, Fate::Rotated)));
    way.extend([(Point::before(Commit), Fate::Rotated), (Point::after(Commit), Fate::Saved)]);
    way.extend([Point::before(EndClaim), Point::before(Report)].map(|point| (point, Fate::Saved)));
    way.extend([Point::after(Report), Point::after(EndClaim)].map(|point| (point, Fate::Saved)));
    way
}

/// Writes down where a flight goes.
#[derive(Debug, Default)]
struct Track(Mutex<Vec<Point>>);

impl Track {
    fn note(&self, point: Point) {
        let mut track = self.0.lock().unwrap();
        let nth = track.iter().filter(|known| (&known.effect, known.before) == (&point.effect, point.before)).count();
        track.push(Point { nth: u32::try_from(nth).unwrap() + 1, ..point });
    }
}

impl EffectObserver for Track {
    fn before(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.note(Point::before(effect));
    }

    fn after(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.note(Point::after(effect));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_leave_out_no_point_of_the_way() {
    let Some(server) = Server::start(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let track = Arc::new(Track::default());
    let party = Party::open(&Setup::new(folder.path(), server.authority.resource()), Some(track.clone())).await;
    party.install(&server.sign_in().await.0).await.unwrap();
    party.token(true).await.unwrap();
    party.end().await;
    let way: Vec<Point> = way().into_iter().map(|(point, _)| point).collect();
    assert_eq!(*track.0.lock().unwrap(), way);
}

/// On demand with more kills at each point: `KILLS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_every_effect_cost_what_they_must_and_no_more() {
    let Some(server) = Server::start(&[]).await else { return };
    let (server, leave) = (Arc::new(server), Arc::new(Semaphore::new(AT_ONCE)));
    let mut lanes = JoinSet::new();
    for (point, fate) in way() {
        for never_replay in [false, true] {
            let (place, fate) = (Place::At(point.clone()), fate);
            lanes.spawn(run(Lane::new(server.clone(), leave.clone(), place, fate, never_replay)));
        }
    }
    let mut account = Account::default();
    while let Some(lane) = lanes.join_next().await {
        account += lane.unwrap();
    }
    settle(&server, account).await;
}

/// The same, killed while the server has the request: whether it had rotated decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_midst_of_a_request_cost_what_the_server_has_done() {
    let leave = Arc::new(Semaphore::new(AT_ONCE));
    let mut lanes = JoinSet::new();
    for processed in [false, true] {
        for never_replay in [false, true] {
            // Its faults meet whoever comes next: each lane has a rig of its own.
            let Some(server) = Server::start(&[]).await else { return };
            let server = Arc::new(server);
            let fate = if processed { Fate::Rotated } else { Fate::Unprocessed };
            let lane = Lane::new(server.clone(), leave.clone(), Place::Midst { processed }, fate, never_replay);
            lanes.spawn(async move {
                let account = run(lane).await;
                settle(&server, account).await;
            });
        }
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
}

/// Under `RetryOnce` a mark that was found is counted on from: a refresh token is presented twice in all, by whomever, and
/// what a dead process marked counts as presented.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_two_in_a_row_leave_no_third_presentation() {
    let Some(server) = Server::start(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), server.authority.resource());
    let heir = Party::open(&setup, None).await;
    heir.install(&server.sign_in().await.0).await.unwrap();
    for presentations in 1..=2 {
        let mut victim = Member::start(&setup).await;
        victim.refresh_until(Point::before(EffectName::Send)).await;
        victim.kill().await;
        assert_eq!(heir.mark().await.map(|mark| mark.presentations), Some(presentations));
    }
    assert_eq!(insist(&heir).await.map(drop).map_err(|error| error.reason()), Err(Reason::PerhapsSpent));
    assert_eq!(server.tally(0).await, Tally::default());
    heir.install(&server.sign_in().await.0).await.unwrap();
    assert!(insist(&heir).await.is_ok());
    assert_eq!(server.tally(1).await, Tally { posts: 1, rotations: 1, ..Tally::default() });
    heir.end().await;
}

/// Compares what was computed with what the server has counted.
async fn settle(server: &Server, mut account: Account) {
    let tally = server.tally(account.posts).await;
    let Account { posts, rotations, replays, .. } = account;
    let expected = Tally { posts, rotations, consumed: replays, reuse: replays, revoked: replays };
    assert_eq!(tally, expected, "{:#}", server.authority.stats());
    account.chains.sort_unstable_by(|one, other| other.cmp(one));
    println!("{account:?}");
}

/// One home, with processes that are killed at one place and another one that lives.
struct Lane {
    server: Arc<Server>,
    leave: Arc<Semaphore>,
    place: Place,
    fate: Fate,
    setup: Setup,
    _folder: TempDir,
}

impl Lane {
    fn new(server: Arc<Server>, leave: Arc<Semaphore>, place: Place, fate: Fate, never_replay: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(folder.path().join("home"), server.authority.resource());
        let setup = Setup { never_replay, ..setup };
        Self { server, leave, place, fate, setup, _folder: folder }
    }

    /// A process begins a refresh, and is killed.
    async fn kill(&self) {
        let mut victim = Member::start(&self.setup).await;
        match &self.place {
            Place::At(point) => drop(victim.refresh_until(point.clone()).await),
            Place::Midst { processed } => {
                let (when, counter) = match processed {
                    true => ("after", "/refresh/success"),
                    false => ("before", "/token/delayed"),
                };
                let delay = json!({ "ms": MIDST, "n": 1, "when": when, "grant": "refresh_token" });
                self.server.authority.tell("/delay", &delay);
                if !processed {
                    let drop = json!({ "n": 1, "when": "before", "grant": "refresh_token" });
                    self.server.authority.tell("/drop", &drop);
                }
                let counted = self.server.authority.stats().pointer(counter).unwrap().as_u64().unwrap();
                victim.tell(Command::Token { force: true }).await;
                self.server.counts(counter, counted + 1).await;
            }
        }
        victim.kill().await;
    }
}

async fn run(lane: Lane) -> Account {
    let Lane { server, setup, fate, .. } = &lane;
    let story = format!("{:?}, {}", lane.place, if setup.never_replay { "NeverReplay" } else { "RetryOnce" });
    let heir = Party::open(setup, None).await;
    let (paper, mut chain) = server.sign_in().await;
    heir.install(&paper).await.unwrap();
    let mut account = Account::default();
    for round in 0..on_demand("KILLS", 3) {
        let story = format!("{story}, round {round}");
        let before = server.chain(&chain);
        {
            let _leave = lane.leave.acquire().await.unwrap();
            lane.kill().await;
        }
        account.kills += 1;
        account.posts += u64::from(*fate >= Fate::Unprocessed);

        // What had happened, by the server's log and by the store.
        let rotated = server.chain(&chain).rotations - before.rotations;
        assert_eq!(rotated, u64::from(*fate >= Fate::Rotated), "{story}");
        account.rotations += rotated;
        let (marked, saved) = (heir.mark().await.is_some(), *fate == Fate::Saved);
        assert_eq!(marked, *fate >= Fate::Marked && !saved, "{story}");

        // What may come of it.
        let outcome = insist(&heir).await;
        let (presented, refused) = match (marked, setup.never_replay) {
            (true, true) => (false, Some(Reason::PerhapsSpent)),
            (true, false) if rotated > 0 => (true, Some(Reason::GrantEnded)),
            _ => (true, None),
        };
        assert_eq!(outcome.map(drop).map_err(|error| error.reason()), refused.map_or(Ok(()), Err), "{story}");
        account.posts += u64::from(presented);
        account.rotations += u64::from(refused.is_none());
        let replayed = refused == Some(Reason::GrantEnded);
        account.replays += u64::from(replayed);
        let after = server.chain(&chain);
        let rotations = before.rotations + rotated + u64::from(refused.is_none());
        assert_eq!(
            (after.rotations, after.reuse, after.revoked),
            (rotations, u64::from(replayed), replayed),
            "{story}"
        );
        if refused.is_some() {
            account.logins += 1;
            account.chains.push(after.rotations);
            let (paper, next) = server.sign_in().await;
            heir.install(&paper).await.unwrap();
            chain = next;
        }
    }
    // Nothing is left behind but a chain that is whole.
    assert!(insist(&heir).await.is_ok(), "{story}");
    account.posts += 1;
    account.rotations += 1;
    account.chains.push(server.chain(&chain).rotations);
    assert_eq!(heir.mark().await, None, "{story}");
    heir.end().await;
    account
}

/// A token from a flight that begins now; while what a dead process had begun may still be under way, that is waited for.
async fn insist(heir: &Party) -> Result<Lease, TokenError> {
    for _ in 0..10 {
        match heir.token(true).await {
            Err(error) if error.reason() == Reason::InDoubt => {
                tokio::time::sleep(error.when_to_retry().unwrap_or(Duration::from_millis(10))).await;
            }
            outcome => return outcome,
        }
    }
    panic!("in doubt for ever");
}
