//! A process is killed at each point of a flight's ordinary path, and another one asks for a token.
//!
//! The expected outcome is computed, exactly, from the events in the authorization server's own log. A kill before the
//! mark loses nothing. A kill after the mark and before a byte left loses nothing where reuse ends the lineage, and needs
//! a login where it ends more. After bytes left, the latter always needs a login unless the pair was saved. The former
//! needs one only where the server had rotated. Then, and only then, it presents a used refresh token, once.

use serde_json::json;
use tokenkeeper::engine::ports::observer::EffectName;
use tokio::task::JoinSet;

use crate::authority::Tally;
use crate::crew::Member;
use crate::party::{Party, Setup};
use crate::point::TrackedFlights;
use crate::reckoning::{Account, Death, Fate, Field, Lane, insist, run};
use crate::scene::Server;
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// How long the rig delays a request during which the client is to be killed, in milliseconds.
const MIDST: u64 = 1_000;

/// The points of an ordinary flight in order, each with the fate of a process that is killed there.
pub(crate) fn way() -> Vec<(FlightPoint, Fate)> {
    use EffectName::{AskPermit, Claim, Commit, Connect, EndClaim, Load, Mark, Report, ReturnPermit, Send};
    let again = |point: FlightPoint| FlightPoint { nth: 2, ..point };
    let mut way = Vec::new();
    for effect in [AskPermit, Load, Claim] {
        way.extend([FlightPoint::before(effect), FlightPoint::after(effect)].map(|point| (point, Fate::UNTOUCHED)));
    }
    // The flight connects and reads again, under the claim.
    way.extend([FlightPoint::before(Connect), FlightPoint::after(Connect)].map(|point| (point, Fate::UNTOUCHED)));
    way.extend([FlightPoint::before(Load), FlightPoint::after(Load)].map(|point| (again(point), Fate::UNTOUCHED)));
    way.extend([(FlightPoint::before(Mark), Fate::UNTOUCHED), (FlightPoint::after(Mark), Fate::MARKED)]);
    way.extend([(FlightPoint::before(Send), Fate::MARKED), (FlightPoint::after(Send), Fate::ROTATED)]);
    way.extend(
        [FlightPoint::before(ReturnPermit), FlightPoint::after(ReturnPermit)].map(|point| (point, Fate::ROTATED)),
    );
    way.extend([(FlightPoint::before(Commit), Fate::ROTATED), (FlightPoint::after(Commit), Fate::SAVED)]);
    way.extend([FlightPoint::before(EndClaim), FlightPoint::before(Report)].map(|point| (point, Fate::SAVED)));
    way.extend([FlightPoint::after(Report), FlightPoint::after(EndClaim)].map(|point| (point, Fate::SAVED)));
    way
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_leave_out_no_point_of_the_way() {
    let Some(server) = Server::start(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let flights = TrackedFlights::new();
    let party =
        Party::open(&Setup::new(folder.path(), server.authority.resource()), Some(flights.observer.clone())).await;
    party.install(&server.sign_in().await.0).await.unwrap();
    party.token(true).await.unwrap();
    party.end().await;
    let way: Vec<FlightPoint> = way().into_iter().map(|(point, _)| point).collect();
    let mut track = flights.track();
    // The connection and the second read are under way at the same time.
    let connected = track.iter().position(|point| *point == FlightPoint::after(EffectName::Connect)).unwrap();
    assert!(track[..connected].iter().all(|point| point.effect != EffectName::Mark.as_str()), "{track:?}");
    let point = track.remove(connected);
    let connects = track.iter().position(|point| *point == FlightPoint::before(EffectName::Connect)).unwrap();
    track.insert(connects + 1, point);
    assert_eq!(track, way);
}

/// A kill at a point of the ordinary path.
impl Death for FlightPoint {
    async fn kill(&self, lane: &Lane<'_>) {
        let mut victim = Member::start(&lane.setup).await;
        victim.refresh_until(self.clone()).await;
        victim.kill().await;
    }
}

/// `KILLS` sets a larger number of kills at each point.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_every_effect_cost_what_they_must_and_no_more() {
    let Some(field) = Field::open().await else { return };
    let mut lanes = JoinSet::new();
    for (point, fate) in way() {
        for never_replay in [false, true] {
            let story = format!("{point:?}");
            lanes.spawn(run(field.clone(), point.clone(), fate, never_replay, story));
        }
    }
    let mut account = Account::default();
    while let Some(lane) = lanes.join_next().await {
        account += lane.unwrap();
    }
    account.settle(&field.server).await;
}

/// Whether the server processes the request during which the client is killed.
#[derive(Clone, Copy, Debug)]
struct Midst {
    processed: bool,
}

impl Death for Midst {
    async fn kill(&self, lane: &Lane<'_>) {
        let mut victim = Member::start(&lane.setup).await;
        let (when, counter) = match self.processed {
            true => ("after", "/refresh/success"),
            false => ("before", "/token/delayed"),
        };
        let authority = &lane.server.authority;
        authority.tell("/delay", &json!({ "ms": MIDST, "n": 1, "when": when, "grant": "refresh_token" }));
        if !self.processed {
            authority.tell("/drop", &json!({ "n": 1, "when": "before", "grant": "refresh_token" }));
        }
        let counted = authority.stats().pointer(counter).unwrap().as_u64().unwrap();
        victim.tell(Command::Token { force: true }).await;
        lane.server.counts(counter, counted + 1).await;
        victim.kill().await;
    }
}

/// A kill while the server has the request. The outcome depends on whether the server had rotated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_midst_of_a_request_cost_what_the_server_has_done() {
    let Some(field) = Field::open().await else { return };
    let mut lanes = JoinSet::new();
    for processed in [false, true] {
        for never_replay in [false, true] {
            let Some(field) = field.apart().await else { return };
            let fate = if processed { Fate::ROTATED } else { Fate::UNSPENT };
            let death = Midst { processed };
            lanes.spawn(async move {
                let account = run(field.clone(), death, fate, never_replay, format!("{death:?}")).await;
                account.settle(&field.server).await;
            });
        }
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
}

/// The count in a found mark is continued. The presentations that dead processes marked lengthen the pause before the next
/// one, and never forbid it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_a_row_are_counted_and_end_no_session() {
    let Some(server) = Server::start(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), server.authority.resource());
    let heir = Party::open(&setup, None).await;
    heir.install(&server.sign_in().await.0).await.unwrap();
    for presentations in 1..=3 {
        let mut victim = Member::start(&setup).await;
        victim.refresh_until(FlightPoint::before(EffectName::Send)).await;
        victim.kill().await;
        assert_eq!(heir.mark().await.map(|mark| mark.presentations), Some(presentations));
    }
    assert_eq!(server.tally(0).await, Tally::default());
    assert!(insist(&heir).await.is_ok());
    assert_eq!(server.tally(1).await, Tally { posts: 1, rotations: 1, ..Tally::default() });
    assert_eq!(heir.mark().await, None);
    heir.end().await;
}
