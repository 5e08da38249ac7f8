//! A simulated process: slots, actors, flights and permits, as thin as the runtime that drives the machines in earnest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokenkeeper_actors::law::flight::{Flight, FlightEffect, Op, Order, Report};
use tokenkeeper_actors::law::ledger::{Changed, Login};
use tokenkeeper_actors::law::session::{Published, Refusal, ReplyId, Session, WaiterId};
use tokenkeeper_actors::ports::store::{Claim, Reservation};
use tokenkeeper_actors::values::record::{Issuer, RenewalPlan, View};
use tokenkeeper_actors::values::{ElapsedTime, Epoch, FlightId, KeyedDigest, Moment, Nonce, StoreFault};

use crate::Millis;
use crate::laws::known::Known;

/// Names a process in one of its lives: what belongs to an earlier life means nothing to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid {
    pub(crate) process: usize,
    pub(crate) life: u32,
}

/// Names an actor: a session of a process in one of its incarnations.
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
    /// The last time it stood still: from when to when.
    pub(crate) stood: (Millis, Millis),
    pub(crate) nonce: Nonce,
    pub(crate) slots: Vec<Slot>,
    pub(crate) flights: BTreeMap<FlightId, FlightRun>,
    pub(crate) permits: Permits,
    pub(crate) stopping: bool,
    /// No news of writes until then.
    pub(crate) deaf_until: Option<Millis>,
    /// Flights begun in this life.
    pub(crate) begun: u64,
}

/// How long after a standstill a process may take to learn what it missed: its first read may fail.
const CATCH_UP: Millis = 10_000;

impl Process {
    /// It stands still from `t` until `until`; standstills between which it cannot catch up are one.
    pub(crate) fn stand_still(&mut self, t: Millis, until: Millis) {
        let caught_up = self.stood.1 == 0 || t > self.stood.1 + CATCH_UP;
        let from = if caught_up { t } else { self.stood.0 };
        self.stood = (from, until.max(self.stood.1));
    }
}

/// An identity's place in a process: it outlives the actors.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) published: Published,
    pub(crate) actor: Option<Actor>,
    /// An actor is being started.
    pub(crate) starting: bool,
    /// Messages that wait for the actor to start.
    pub(crate) parked: VecDeque<Mail>,
    /// What flights reported and no actor has taken in yet; `None` says that the flight is over.
    pub(crate) reports: VecDeque<(FlightId, Option<Report>)>,
    pub(crate) incarnations: u32,
    /// The published lease was handed out since the last tick.
    pub(crate) used: bool,
    /// What the laws remember of this identity in this process.
    pub(crate) known: Known,
}

/// A session machine with its mailbox.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) machine: Session,
    pub(crate) incarnation: u32,
    pub(crate) mailbox: VecDeque<Mail>,
    /// An item that will take the next message is pending.
    pub(crate) scheduled: bool,
    pub(crate) waiters: BTreeMap<WaiterId, usize>,
    pub(crate) replies: BTreeMap<ReplyId, Awaited>,
    pub(crate) next_id: u64,
    pub(crate) wake: Option<ElapsedTime>,
    pub(crate) ticks: u32,
    pub(crate) ops: u64,
    /// Since when an operation of its own has been under way.
    pub(crate) reading: Option<Millis>,
    /// The read that it began last: only that one tells it something.
    pub(crate) read: Op,
}

/// What a reply is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// By this caller, for this refusal.
    Refusal(usize, Refusal),
    Install {
        rt: Option<usize>,
        tries: u8,
    },
    Logout {
        since: u64,
    },
    Configure,
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
    Issuers(Vec<Issuer>),
    Loaded(Op, Result<Option<Box<View>>, StoreFault>),
    Changed(Op, Box<Result<Changed, StoreFault>>),
    Reserved(Op, Result<Reservation, StoreFault>),
    /// The slot has a report.
    Report,
    Tick(u32),
    StoreChanged,
    Throttled(ElapsedTime),
    Resumed,
    Shutdown,
}

/// The leave to make requests, for all identities of a process.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    /// Issuers that want to be left alone, and until when.
    /// `None` is the issuer of whoever knows none yet.
    pub(crate) throttled: BTreeMap<Option<Issuer>, ElapsedTime>,
    pub(crate) given: BTreeSet<FlightId>,
}

/// A flight machine, with what the laws remember of it.
#[derive(Debug)]
pub(crate) struct FlightRun {
    pub(crate) machine: Flight,
    pub(crate) identity: usize,
    pub(crate) order: Order,
    /// Its number in the story.
    pub(crate) name: u32,
    /// Names its rng.
    pub(crate) key: u64,
    pub(crate) ops: u64,
    /// Effects that are to be carried out.
    pub(crate) backlog: VecDeque<FlightEffect>,
    pub(crate) wake: Option<ElapsedTime>,
    pub(crate) ticks: u32,
    /// What those who waited when it began asked for at the most.
    pub(crate) need: Duration,
    pub(crate) facts: Facts,
}

/// What is true of a flight, whatever its machine believes.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The last attempt to claim that was granted.
    pub(crate) granted: Option<Op>,
    /// The claim it was given and has not ended.
    pub(crate) claim: Option<Claim>,
    /// Whether a read has begun since the claim was granted.
    pub(crate) read_since_claim: bool,
    /// Whether somebody who held the claim before may live.
    pub(crate) predecessor_may_live: bool,
    pub(crate) mark: Option<Marked>,
    pub(crate) tokens: Option<Brought>,
    /// It learned that this token is dead.
    pub(crate) dead: Option<KeyedDigest>,
    /// It learned that the client is not known.
    pub(crate) client_rejected: bool,
    /// A nonce was asked for, and nothing sent since.
    pub(crate) nonce_wanted: bool,
    /// The server it heard from wants to be left alone: until when, and since when.
    pub(crate) rest: Option<(u8, ElapsedTime, Millis)>,
    pub(crate) sends: u32,
    /// When it was given the issuer's leave.
    pub(crate) permitted: Option<Millis>,
    /// A store operation of its own failed, or hung for longer than it had to wait.
    pub(crate) store_trouble: bool,
    pub(crate) landed: bool,
    pub(crate) keeping: bool,
    pub(crate) settled: bool,
    pub(crate) lost_reported: bool,
    pub(crate) revoked: bool,
    pub(crate) stopping: bool,
    pub(crate) logged_out: Option<Epoch>,
    /// A write of its tokens met a newer epoch: whether that was a logout.
    pub(crate) superseded: Option<bool>,
}

impl Facts {
    /// Whether the flight has told all it had to tell.
    pub(crate) fn is_settled(&self) -> bool {
        self.landed && (!self.keeping || self.settled || self.lost_reported)
    }
}

/// A mark a flight has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    pub(crate) epoch: Epoch,
    pub(crate) rt: usize,
    pub(crate) digest: KeyedDigest,
    /// When it was decided, on the host's clocks.
    pub(crate) moment: Moment,
    pub(crate) presentations: u32,
    pub(crate) number: u64,
    pub(crate) first: Moment,
    /// When it became durable.
    pub(crate) applied: Option<Millis>,
}

/// Tokens a flight was given.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) at: usize,
    pub(crate) rt: Option<usize>,
    pub(crate) sent: Option<KeyedDigest>,
    pub(crate) epoch: Epoch,
    /// Whether there is a new refresh token among them.
    pub(crate) replaces: bool,
    pub(crate) foreign: bool,
    pub(crate) saved: bool,
}
