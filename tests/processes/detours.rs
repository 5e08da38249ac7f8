//! A process is killed on a path that a flight takes when it does not end in a saved token. It withdraws its mark, or
//! stores that its grant has ended, or that its token is spent and the successor lost, or a tombstone, or it revokes a
//! pair that will not be used.
//!
//! The expected outcome is computed as on the ordinary path, with which each of these paths begins.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenkeeper::Reason;
use tokenkeeper::engine::law::ledger::{Change, Changed};
use tokenkeeper::engine::ports::observer::EffectName;
use tokenkeeper::engine::ports::store::{ClaimAnswer, ClaimEnding, ClaimScope, TokenStore};
use tokenkeeper::engine::values::FlightId;
use tokio::task::JoinSet;

use crate::authority::Tally;
use crate::crew::Member;
use crate::disk::stored;
use crate::door::Door;
use crate::kills;
use crate::party::{CLAIM, Paper, STORE_TIMEOUT};
use crate::reckoning::{Account, Death, Fate, Field, Lane, Standing, insist, run};
use crate::scene::{Scene, Server};
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// A path that is not the ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detour {
    /// No connection to the server can be established, and the mark is withdrawn.
    Unreachable,
    /// The server is too busy, and the mark is withdrawn.
    Throttled,
    /// The server does not know the client. The mark is withdrawn, and the grant parked.
    ClientRejected,
    /// The process shuts down between its mark and its request. The mark is withdrawn, and nothing was sent.
    CalledOff,
    /// Another program has presented a used refresh token, and the server has ended the chain.
    Ended,
    /// The process shuts down while it cannot store its pair. Then the disk is back, for one short write.
    Spent,
    /// Another process has logged out, and was killed before it could revoke anything.
    Late,
    /// The process logged out, could not store that, and lost its actors. Only its flight is left to store the logout.
    Buried,
}

impl Detour {
    const ALL: [Detour; 8] = [
        Detour::Unreachable,
        Detour::Throttled,
        Detour::ClientRejected,
        Detour::CalledOff,
        Detour::Ended,
        Detour::Spent,
        Detour::Late,
        Detour::Buried,
    ];

    /// The effects of such a flight in order. An effect that is retried is listed once.
    fn way(self) -> Vec<EffectName> {
        use EffectName::{
            AskPermit, Claim, Close, Commit, Connect, End, EndClaim, Load, Mark, Report, ReturnPermit, Revoke, Send,
            Spent, Withdraw,
        };
        let rest: &[EffectName] = match self {
            Detour::Unreachable => &[EndClaim, ReturnPermit, Report],
            Detour::Throttled | Detour::ClientRejected => &[Mark, Send, ReturnPermit, Withdraw, EndClaim, Report],
            Detour::CalledOff => &[Mark, Withdraw, EndClaim, ReturnPermit, Report],
            Detour::Ended => &[Mark, Send, ReturnPermit, End, EndClaim, Report],
            // After the note that the token is spent the flight tries once more to save its successor.
            Detour::Spent => &[Mark, Send, ReturnPermit, Commit, Report, Commit, Spent, Commit, EndClaim, Report],
            Detour::Late => &[Mark, Send, ReturnPermit, Commit, Revoke, EndClaim, Report],
            Detour::Buried => &[Mark, Send, ReturnPermit, Revoke, Close, EndClaim, Report],
        };
        [&[AskPermit, Load, Claim, Connect, Load], rest].concat()
    }

    /// The points where a process is killed, each with the fate that it has come to there.
    fn points(self) -> Vec<(FlightPoint, Fate)> {
        use EffectName::{Close, Connect, End, EndClaim, Revoke, Spent, Withdraw};
        let around =
            |effect, before, after| vec![(FlightPoint::before(effect), before), (FlightPoint::after(effect), after)];
        let closed = |fate, why| Fate { standing: Standing::Closed(why), ..fate };
        let (unspent, rotated) = (Fate::UNSPENT, Fate::ROTATED);
        match self {
            Detour::Throttled => around(Withdraw, unspent, Fate { standing: Standing::Free, ..unspent }),
            Detour::ClientRejected => around(Withdraw, unspent, closed(unspent, Reason::ClientRejected)),
            // Nothing is written without a connection. The endpoint is there again at these points.
            Detour::Unreachable => [FlightPoint::after(Connect), FlightPoint::before(EndClaim)]
                .map(|point| (point, Fate::UNTOUCHED))
                .into(),
            Detour::CalledOff => around(Withdraw, Fate::MARKED, Fate::UNTOUCHED),
            Detour::Ended => around(End, unspent, closed(unspent, Reason::GrantEnded)),
            Detour::Spent => around(Spent, rotated, closed(rotated, Reason::MaybeConsumed)),
            Detour::Late => {
                let late = closed(rotated, Reason::LoggedOut);
                around(Revoke, late, Fate { revoked: true, ..late })
            }
            // The flight does both at the same time. Each alone is made to hang or fail.
            Detour::Buried => {
                let revoked = around(Revoke, rotated, Fate { revoked: true, ..rotated });
                [revoked, around(Close, rotated, closed(rotated, Reason::LoggedOut))].concat()
            }
        }
    }

    /// The server's answer to the next refresh, which it does not process.
    fn fault(self) -> Option<Value> {
        let fault = |status, error| Some(json!({ "n": 1, "status": status, "error": error, "grant": "refresh_token" }));
        match self {
            Detour::Throttled => fault(429, "slow_down"),
            Detour::ClientRejected => fault(401, "invalid_client"),
            _ => None,
        }
    }
}

/// A home that is moved away, until this is dropped.
struct Away<'a> {
    home: &'a Path,
    away: PathBuf,
}

impl<'a> Away<'a> {
    fn take(home: &'a Path) -> Self {
        let away = home.with_extension("away");
        fs::rename(home, &away).unwrap();
        Self { home, away }
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        fs::rename(&self.away, self.home).unwrap();
    }
}

/// A point on a detour where a process is killed.
struct Place {
    detour: Detour,
    point: FlightPoint,
    /// A door before the token endpoint, if the endpoint must be unreachable at times.
    door: Option<Door>,
    /// A listener that accepts revocations and never answers, if nothing may be revoked before the tombstone is stored.
    silent: Option<TcpListener>,
}

impl Place {
    fn new(detour: Detour, point: FlightPoint) -> Self {
        let door = (detour == Detour::Unreachable).then(Door::new);
        let silent = point == FlightPoint::after(EffectName::Close);
        Self { detour, point, door, silent: silent.then(|| TcpListener::bind("127.0.0.1:0").unwrap()) }
    }

    /// Makes `victim` take this path, and stop at the point.
    async fn lead(&self, lane: &Lane<'_>, victim: &mut Member) {
        let point = self.point.clone();
        match self.detour {
            Detour::Throttled | Detour::ClientRejected | Detour::Ended => {
                self.detour.fault().iter().for_each(|fault| lane.server.authority.tell("/fail", fault));
                victim.refresh_until(FlightPoint::before(EffectName::Send)).await;
                // Once the grant's end is stored, the call may be answered before the flight stops at the point.
                victim.go_until(point).await;
            }
            Detour::Unreachable => {
                let (door, there) = (self.door.as_ref().unwrap(), lane.server.authority.token_endpoint());
                door.shut().await;
                victim.refresh_until(point).await;
                door.open(there).await;
            }
            Detour::CalledOff => {
                victim.refresh_until(FlightPoint::before(EffectName::Mark)).await;
                victim.begin_end().await;
                victim.go_until(point).await;
            }
            Detour::Spent => {
                let call = victim.refresh_until(FlightPoint::after(EffectName::Send)).await;
                let away = Away::take(&lane.setup.shared.home);
                victim.tell(Command::Go).await;
                assert!(victim.answer(call).await["token"].is_string());
                victim.call(Command::Arm(FlightPoint::before(EffectName::Spent))).await;
                victim.begin_end().await;
                victim.stops().await;
                drop(away);
                if !point.before {
                    victim.go_until(point).await;
                }
            }
            Detour::Late => {
                victim.refresh_until(FlightPoint::before(EffectName::Commit)).await;
                let (heir, epoch) = (&lane.heir, lane.heir.record().await.epoch);
                let cleared = heir.store.change(heir.session.identity(), Change::Clear { epoch }).await;
                assert!(matches!(cleared, Ok(Changed::Applied { .. })));
                victim.go_until(point).await;
            }
            Detour::Buried => {
                victim.refresh_until(FlightPoint::before(EffectName::Send)).await;
                let mut away = Some(Away::take(&lane.setup.shared.home));
                let out = victim.call(Command::LogOut).await;
                assert!(out["error"].is_string(), "{out}");
                victim.call(Command::Uproot).await;
                // If the point is after the revocation, the home stays away until then, so that nothing is stored
                // before.
                away.take_if(|_| point != FlightPoint::after(EffectName::Revoke));
                victim.go_until(point).await;
            }
        }
    }
}

impl Death for Place {
    fn amend(&self, server: &Server, paper: &mut Paper) {
        self.door.iter().for_each(|door| paper.token_endpoint = door.before(&paper.token_endpoint));
        let silent = self.silent.as_ref().map(|silent| format!("http://{}/", silent.local_addr().unwrap()));
        paper.revocation_endpoint = silent.or_else(|| Some(server.authority.revocation_endpoint().to_owned()));
    }

    async fn prepare(&self, lane: &Lane<'_>) -> Tally {
        if self.detour != Detour::Ended {
            return Tally::default();
        }
        assert!(insist(&lane.heir).await.is_ok());
        assert_eq!(lane.server.authority.present(&lane.login.0.refresh_token).await, 400);
        Tally { posts: 2, rotations: 1, consumed: 1, reuse: 1, revoked: 1 }
    }

    async fn kill(&self, lane: &Lane<'_>) {
        let mut victim = Member::start(&lane.setup).await;
        self.lead(lane, &mut victim).await;
        victim.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_leave_out_no_effect() {
    let Some(server) = Server::start(&[]).await else { return };
    let mut met: Vec<EffectName> = kills::way().into_iter().map(|(point, _)| named(&point)).collect();
    for detour in Detour::ALL {
        let place = Place::new(detour, detour.points().remove(0).0);
        let lane = Lane::open(&server, false, &place).await;
        place.prepare(&lane).await;
        let mut victim = Member::start(&lane.setup).await;
        place.lead(&lane, &mut victim).await;
        victim.tell(Command::Go).await;
        // Shutting down waits for the flight.
        victim.call(Command::ShutDown).await;
        let mut way: Vec<EffectName> = victim.track().await.iter().filter(|point| point.before).map(named).collect();
        way.dedup();
        assert_eq!(way, detour.way(), "{detour:?}");
        met.extend(way);
        for (point, _) in detour.points() {
            assert!(met.contains(&named(&point)), "{detour:?} never gets to {point:?}");
        }
        lane.heir.end().await;
    }
    let missing: Vec<EffectName> = EffectName::ALL.into_iter().filter(|effect| !met.contains(effect)).collect();
    // A throttle that is reported before a repetition writes what a returned permit writes. The simulation ends processes
    // there. A flight on this store has nothing to renew.
    assert_eq!(missing, [EffectName::Throttle, EffectName::Renew]);
}

fn named(point: &FlightPoint) -> EffectName {
    EffectName::ALL.into_iter().find(|effect| effect.as_str() == point.effect).unwrap()
}

/// `KILLS` sets a larger number of kills at each point.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_on_every_detour_cost_what_they_must_and_no_more() {
    let Some(shared) = Field::open().await else { return };
    let (mut lanes, mut account) = (JoinSet::new(), Account::default());
    for detour in Detour::ALL {
        for (point, fate) in detour.points() {
            for never_replay in [false, true] {
                let alone = detour.fault().is_some();
                let field = if alone { shared.apart().await.unwrap() } else { shared.clone() };
                let (place, story) = (Place::new(detour, point.clone()), format!("{detour:?}, {point:?}"));
                lanes.spawn(async move {
                    let account = run(field.clone(), place, fate, never_replay, story).await;
                    if alone {
                        account.settle(&field.server).await;
                        return Account::default();
                    }
                    account
                });
            }
        }
    }
    while let Some(lane) = lanes.join_next().await {
        account += lane.unwrap();
    }
    account.settle(&shared.server).await;
}

/// A claim on this store is a kernel lock, and lasts as long as its process. A flight that keeps a pair that it cannot
/// store keeps its claim, and has nothing to renew, however long that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_find_no_renewal_on_this_store() {
    let Some(scene) = Scene::new().await else { return };
    let (identity, holder) = (scene.party.session.identity(), FlightId(1));
    let scope = ClaimScope::Spend(scene.party.record().await.epoch);
    let claimed = scene.party.store.claim(identity, scope, holder, CLAIM).await;
    let Ok(ClaimAnswer::Granted(claim)) = claimed else { panic!("{claimed:?}") };
    assert_eq!(claim.remaining, None);
    scene.party.store.end_claim(identity, &claim, ClaimEnding::Released).await.unwrap();

    let mut victim = scene.member().await;
    let call = victim.refresh_until(FlightPoint::after(EffectName::Send)).await;
    let away = Away::take(&scene.setup.shared.home);
    victim.tell(Command::Go).await;
    assert!(victim.answer(call).await["token"].is_string());
    // A claim with a limited duration would have been renewed by now.
    tokio::time::sleep(CLAIM / 2 + STORE_TIMEOUT).await;
    drop(away);
    stored(&mut victim).await;
    victim.call(Command::ShutDown).await;
    let track = victim.track().await;
    assert!(track.contains(&FlightPoint { nth: 3, ..FlightPoint::before(EffectName::Commit) }), "{track:?}");
    assert!(track.iter().all(|point| named(point) != EffectName::Renew), "{track:?}");
    scene.assert_counts((1, 1, 0)).await;
    assert_eq!(scene.party.mark().await, None);
}
