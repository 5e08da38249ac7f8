//! A simulated process with slots, actors, flights and permits. It is as thin as the runtime that drives the shipped
//! machines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokenkeeper_actors::law::flight::{Flight, FlightEffect, Op, Order, Report};
use tokenkeeper_actors::law::ledger::{Changed, Login};
use tokenkeeper_actors::law::login::LoginReport;
use tokenkeeper_actors::law::session::{Published, Refusal, ReplyId, Session, WaiterId};
use tokenkeeper_actors::ports::store::{Claim, Reservation};
use tokenkeeper_actors::values::record::{Issuer, RenewalPlan, View};
use tokenkeeper_actors::values::{AttemptId, ElapsedTime, Epoch, FlightId, KeyedDigest, Moment, Nonce, StoreFault};

use crate::Millis;
use crate::attempt::{AttemptRun, KnownLogins};
use crate::laws::known::Known;

/// Names a process in one of its lives. Items of an earlier life do not reach a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid {
    pub(crate) process: usize,
    pub(crate) life: u32,
}

/// Names an actor, which is one incarnation of a session in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActorId {
    pub(crate) pid: Pid,
    pub(crate) identity: usize,
    pub(crate) incarnation: u32,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) up: bool,
    pub(crate) paused_until: Option<Millis>,
    /// The start and the end of the last standstill.
    pub(crate) stood: (Millis, Millis),
    pub(crate) nonce: Nonce,
    pub(crate) slots: Vec<Slot>,
    pub(crate) flights: BTreeMap<FlightId, FlightRun>,
    pub(crate) attempts: BTreeMap<AttemptId, AttemptRun>,
    pub(crate) permits: Permits,
    pub(crate) stopping: bool,
    /// The process gets no notifications of writes until then.
    pub(crate) deaf_until: Option<Millis>,
    /// The number of flights begun in this life.
    pub(crate) begun: u64,
}

/// The time that a process may need after a standstill to learn the changes it missed. Its first read may fail.
const CATCH_UP: Millis = 10_000;

impl Process {
    /// The process stands still from `t` until `until`. Two standstills merge when the process cannot catch up between
    /// them.
    pub(crate) fn stand_still(&mut self, t: Millis, until: Millis) {
        let caught_up = self.stood.1 == 0 || t > self.stood.1 + CATCH_UP;
        let from = if caught_up { t } else { self.stood.0 };
        self.stood = (from, until.max(self.stood.1));
    }
}

/// An identity's place in a process. It outlives the actors.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) published: Published,
    pub(crate) actor: Option<Actor>,
    /// An actor is starting.
    pub(crate) starting: bool,
    /// Messages that wait until the actor has started.
    pub(crate) parked: VecDeque<Mail>,
    /// Reports of flights that no actor has taken yet. `None` marks the end of the flight.
    pub(crate) reports: VecDeque<(FlightId, Option<Report>)>,
    /// Reports of login attempts that no actor has taken yet. `None` marks the end of the attempt.
    pub(crate) login_reports: VecDeque<(AttemptId, Option<LoginReport>)>,
    pub(crate) incarnations: u32,
    /// The published lease was handed out since the last tick.
    pub(crate) used: bool,
    /// The state that the checks of the laws keep for this identity in this process.
    pub(crate) known: Known,
    /// The same for its logins.
    pub(crate) logins: KnownLogins,
}

/// A session machine with its mailbox.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) machine: Session,
    pub(crate) incarnation: u32,
    pub(crate) mailbox: VecDeque<Mail>,
    /// An item that makes the actor take its next message is pending.
    pub(crate) scheduled: bool,
    pub(crate) waiters: BTreeMap<WaiterId, usize>,
    pub(crate) replies: BTreeMap<ReplyId, Awaited>,
    pub(crate) next_id: u64,
    pub(crate) wake: Option<ElapsedTime>,
    pub(crate) ticks: u32,
    pub(crate) ops: u64,
    /// The start of the actor's own operation that is under way.
    pub(crate) reading: Option<Millis>,
    /// The actor's newest read. It ignores the answers of older ones.
    pub(crate) read: Op,
}

/// The request behind an awaited reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A caller's report of a refused token.
    Refusal(usize, Refusal),
    Install {
        rt: Option<usize>,
        tries: u8,
    },
    Logout {
        since: u64,
    },
    Configure,
    /// A seeker's request about a login.
    Login(usize),
}

/// A message to an actor.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    Ask(usize),
    Gone(usize),
    Refuse(usize, Refusal),
    Install {
        login: Box<Login>,
        rt: Option<usize>,
        tries: u8,
    },
    Logout,
    Configure(Box<RenewalPlan>),
    /// A seeker's request about a login.
    Login(usize),
    Issuers(Vec<Issuer>),
    Loaded(Op, Result<Option<Box<View>>, StoreFault>),
    Changed(Op, Box<Result<Changed, StoreFault>>),
    Reserved(Op, Result<Reservation, StoreFault>),
    /// The slot has a report.
    Report,
    /// The slot has a report of a login attempt.
    LoginReport,
    Tick(u32),
    StoreChanged,
    Throttled(ElapsedTime),
    Resumed,
    Shutdown,
}

/// Permits for token requests, shared by all identities of a process.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    /// The issuers that asked for a pause, each with its end. `None` stands for the issuer of sessions that do not
    /// know theirs yet.
    pub(crate) throttled: BTreeMap<Option<Issuer>, ElapsedTime>,
    pub(crate) given: BTreeSet<FlightId>,
}

/// A flight machine, with the state that the checks of the laws keep for it.
#[derive(Debug)]
pub(crate) struct FlightRun {
    pub(crate) machine: Flight,
    pub(crate) identity: usize,
    pub(crate) order: Order,
    /// The flight's number in the story.
    pub(crate) name: u32,
    /// Seeds the flight's random draws.
    pub(crate) key: u64,
    pub(crate) ops: u64,
    /// Effects to carry out.
    pub(crate) backlog: VecDeque<FlightEffect>,
    pub(crate) wake: Option<ElapsedTime>,
    pub(crate) ticks: u32,
    /// The longest minimum lifetime among the callers that waited when the flight began.
    pub(crate) need: Duration,
    pub(crate) facts: Facts,
}

/// The true facts about a flight, independent of its machine's state.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The last attempt to claim that was granted.
    pub(crate) granted: Option<Op>,
    /// The granted claim, until the flight ends it.
    pub(crate) claim: Option<Claim>,
    /// Whether a read has begun since the claim was granted.
    pub(crate) read_since_claim: bool,
    /// Whether an earlier holder of the claim may be alive.
    pub(crate) predecessor_may_live: bool,
    /// The latest connection that the flight asked for.
    pub(crate) connection: Option<Connection>,
    pub(crate) mark: Option<Marked>,
    pub(crate) tokens: Option<Brought>,
    /// The flight learned that this token is dead.
    pub(crate) dead: Option<KeyedDigest>,
    /// The flight learned that the server does not know the client.
    pub(crate) client_rejected: bool,
    /// The server asked for a nonce, and the flight has sent nothing since.
    pub(crate) nonce_wanted: bool,
    /// The server that asked for a pause, the end of the pause, and the time of the request.
    pub(crate) rest: Option<(u8, ElapsedTime, Millis)>,
    pub(crate) sends: u32,
    /// Those of them that repeat a request which the server challenged.
    pub(crate) challenges: u32,
    /// The time at which an answer was lost, until the flight goes on, and the pause that the server asked for.
    pub(crate) lost: Option<(Millis, Option<Duration>)>,
    /// The time at which the limiter permitted the flight.
    pub(crate) permitted: Option<Millis>,
    /// One of the flight's own store operations failed, or hung past its time-out.
    pub(crate) store_trouble: bool,
    pub(crate) landed: bool,
    pub(crate) keeping: bool,
    pub(crate) settled: bool,
    pub(crate) lost_reported: bool,
    pub(crate) revoked: bool,
    /// When its process began to stop, and how long that waits for the flight.
    pub(crate) closing: Option<(ElapsedTime, ElapsedTime)>,
    pub(crate) logged_out: Option<Epoch>,
    /// A write of the flight's tokens met a newer epoch. The value is true if that was a logout.
    pub(crate) superseded: Option<bool>,
}

impl Facts {
    /// Whether the flight has delivered its last report.
    pub(crate) fn is_settled(&self) -> bool {
        self.landed && (!self.keeping || self.settled || self.lost_reported)
    }
}

/// A connection that a flight has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) op: Op,
    pub(crate) endpoint: String,
    pub(crate) plan: RenewalPlan,
    pub(crate) stands: bool,
}

/// A mark that a flight has requested.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    pub(crate) epoch: Epoch,
    pub(crate) rt: usize,
    pub(crate) digest: KeyedDigest,
    /// The time of the decision, on the host's clocks.
    pub(crate) moment: Moment,
    pub(crate) decided: Millis,
    pub(crate) presentations: u32,
    pub(crate) number: u64,
    pub(crate) first: Moment,
    /// The time at which the mark became durable.
    pub(crate) applied: Option<Millis>,
}

/// Tokens that a flight received.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) at: usize,
    pub(crate) rt: Option<usize>,
    pub(crate) sent: Option<KeyedDigest>,
    pub(crate) epoch: Epoch,
    /// Whether they include a new refresh token.
    pub(crate) replaces: bool,
    pub(crate) foreign: bool,
    pub(crate) saved: bool,
}
