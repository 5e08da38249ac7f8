//! A state of the model. It has two processes, the store, the server, and the operations and requests between them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tokenkeeper_actors::law::flight::{Flight, FlightEffect, Op};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{ElapsedTime, Epoch, FlightId, Moment, Now, Version, WallTime};

use crate::bounds::{Bounds, Span};
use crate::identity::{self, Frame, Key, Sink, WALL, gather, join, key};
use crate::laws::Law;
use crate::reading::{Names, Reading};
use crate::server::{Request, Rt, Server};
use crate::session::Session;
use crate::store::{Store, put_record};

/// A state. Two states are equal when their keys are. The module `identity` explains why.
#[derive(Clone)]
pub struct State {
    pub(crate) now: u64,
    pub(crate) processes: [Arc<Process>; 2],
    pub(crate) store: Arc<Store>,
    pub(crate) server: Arc<Server>,
    pub(crate) wire: Vec<Request>,
    /// Store operations that were given up, and may still take effect.
    pub(crate) late: Vec<Late>,
    /// The events that may still happen.
    pub(crate) left: Bounds,
    pub(crate) broken: Option<Law>,
    key: u64,
}

/// A process with its session and its running flights.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) session: Session,
    pub(crate) seats: Vec<Seat>,
}

/// A flight and its pending effects.
#[derive(Clone)]
pub(crate) struct Seat {
    reading: Option<Reading>,
    pub(crate) flight: Flight,
    pub(crate) epoch: Epoch,
    pub(crate) pending: Vec<Pending>,
    /// The newest operation.
    pub(crate) ops: u32,
    /// The claim that it believes to hold.
    pub(crate) claim: Option<Epoch>,
    pub(crate) landed: bool,
    /// The time since which it has requested the claim.
    pub(crate) claiming: Option<ElapsedTime>,
    /// The time of its request for the claim that it waits for or holds.
    pub(crate) asked: Option<u64>,
    /// Its mark was written.
    pub(crate) marked: bool,
    /// The version that the read before its claim saw, until it has the claim.
    pub(crate) seen: Option<Version>,
    /// The result of the first read. It is kept only for a planted fault.
    pub(crate) first_read: Option<Box<Record>>,
}

/// An effect that was requested and has not happened yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) effect: FlightEffect,
    pub(crate) since: ElapsedTime,
}

/// A store operation that was given up.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) flight: FlightId,
    pub(crate) effect: FlightEffect,
}

impl Process {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, seats: Vec::new() }
    }

    pub(crate) fn seat(&self, flight: FlightId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.flight.id() == flight)
    }

    /// The key, once all of its flights are parsed.
    fn key(&self, frame: Frame, store: Version, names: &Names) -> Key {
        let session = key(frame, |sink| self.session.put(sink, store, ElapsedTime::from_millis(frame.now)));
        let seats = self.seats.iter().map(|seat| key(Frame { ops: seat.ops, ..frame }, |sink| seat.put(sink, names)));
        join([session, gather(seats)])
    }
}

impl Seat {
    pub(crate) fn new(flight: Flight, epoch: Epoch) -> Self {
        let (pending, claim, claiming, seen, first_read) = (Vec::new(), None, None, None, None);
        Self {
            reading: None,
            flight,
            epoch,
            pending,
            ops: 1,
            claim,
            landed: false,
            marked: false,
            asked: None,
            claiming,
            seen,
            first_read,
        }
    }

    /// Writes the distinguishing values.
    fn put(&self, sink: &mut Sink, names: &Names) {
        sink.plain((self.claim, self.landed, self.seen.map(|seen| seen.epoch)));
        self.seen.iter().for_each(|seen| sink.revision(seen.revision));
        for pending in &self.pending {
            // The phase that waits for an effect has the effect's details too, unless the flight is over.
            let op = op(&pending.effect);
            sink.plain(op.is_some());
            op.iter().for_each(|op| sink.op(op.0));
            sink.time(pending.since);
            if self.flight.is_over() {
                Reading::of(&pending.effect, names).put(sink);
            }
        }
        self.first_read.iter().for_each(|record| put_record(record, sink, names));
        self.reading.iter().for_each(|reading| reading.put(sink));
    }

    /// The seat, prepared for a change.
    pub(crate) fn touched(&mut self) -> &mut Self {
        self.reading = None;
        self
    }

    /// Whether it waits for the claim to become free.
    pub(crate) fn is_pausing(&self) -> bool {
        self.claim.is_none() && self.waits()
    }

    /// Whether it waits to present its token once more.
    pub(crate) fn is_repeating(&self) -> bool {
        self.claim.is_some() && self.waits()
    }

    /// Whether it waits for time to pass, before it has landed.
    fn waits(&self) -> bool {
        !self.landed && self.pending.is_empty() && self.flight.next_wake().is_some()
    }

    /// Whether a commit of this flight may still take effect.
    pub(crate) fn may_commit(&self) -> bool {
        !self.flight.is_over() || self.pending.iter().any(|pending| is_commit(&pending.effect))
    }
}

/// Whether an effect is a commit.
pub(crate) fn is_commit(effect: &FlightEffect) -> bool {
    matches!(effect, FlightEffect::Change(_, Change::Commit(_)))
}

/// The operation that an effect's completion is stamped with, if it has one.
pub(crate) fn op(effect: &FlightEffect) -> Option<Op> {
    match effect {
        FlightEffect::AskPermit { op, .. }
        | FlightEffect::Load(op)
        | FlightEffect::Claim { op, .. }
        | FlightEffect::Renew { op, .. }
        | FlightEffect::Change(op, _)
        | FlightEffect::Connect(op, _)
        | FlightEffect::Send { op, .. } => Some(*op),
        _ => None,
    }
}

impl State {
    pub(crate) fn new(sessions: [Session; 2], store: Store, server: Server, left: Bounds, names: &Names) -> Self {
        let processes = sessions.map(|session| Arc::new(Process::new(session)));
        let (store, server) = (Arc::new(store), Arc::new(server));
        let (wire, late) = (Vec::new(), Vec::new());
        let mut state = Self { now: 0, processes, store, server, wire, late, left, broken: None, key: 0 };
        state.seal(names);
        state
    }

    /// Whether enough time has passed for a lease to expire.
    pub(crate) fn has_aged(&self) -> bool {
        self.now >= Span::Pause.millis()
    }

    /// Whether a flight may still claim an epoch.
    pub(crate) fn may_claim(&self, epoch: Epoch) -> bool {
        epoch == self.store.record.epoch || self.seats().any(|(_, seat)| seat.epoch == epoch)
    }

    /// Whether a process can still meet a lineage. It is the stored one, or flights of its epoch or requests are left.
    pub(crate) fn matters(&self, lineage: usize) -> bool {
        let of = |epoch: Epoch| usize::try_from(epoch.number()).unwrap_or(0) == lineage + 1;
        of(self.store.record.epoch)
            || self.seats().any(|(_, seat)| of(seat.epoch))
            || self.wire.iter().any(|request| request.rt.lineage == lineage)
    }

    /// Whether a refresh token may still be presented or processed. It is stored, or flights that may have read it are
    /// left, or requests that carry it are.
    pub(crate) fn may_present(&self, rt: Rt) -> bool {
        let held = self.store.record.held().and_then(|held| Rt::of(held.credential.token()));
        let of = |seat: &Seat| usize::try_from(seat.epoch.number()).unwrap_or(0) == rt.lineage + 1;
        held == Some(rt)
            || self.seats().any(|(_, seat)| of(seat) && seat.claim.is_some())
            || self.wire.iter().any(|request| request.rt == rt)
    }

    /// Whether both processes know the same newest token. It must be the stored one, and the result of a flight.
    pub(crate) fn agrees(&self) -> bool {
        let [one, two] = [0, 1].map(|process: usize| self.processes[process].session.newest);
        let stored = self.store.record.grant().and_then(|grant| grant.access.as_ref());
        one == two && stored.is_some_and(|access| access.number == one.number && access.flight.is_some())
    }

    /// The present, as a process reads it.
    pub(crate) fn moment(&self, process: usize, apart: bool) -> Moment {
        Moment {
            wall: WallTime::from_millis(WALL + self.now),
            elapsed: self.elapsed(),
            boot: identity::boot(process, apart),
        }
    }

    pub(crate) fn at(&self, process: usize, apart: bool) -> Now {
        Now { moment: self.moment(process, apart), ..Now::default() }
    }

    pub(crate) fn elapsed(&self) -> ElapsedTime {
        ElapsedTime::from_millis(self.now)
    }

    /// All flights, with the process they belong to.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.processes
            .iter()
            .enumerate()
            .flat_map(|(number, process)| process.seats.iter().map(move |seat| (number, seat)))
    }

    /// Computes the key.
    pub(crate) fn seal(&mut self, names: &Names) {
        for process in &mut self.processes {
            if process.seats.iter().any(|seat| seat.reading.is_none()) {
                for seat in &mut Arc::make_mut(process).seats {
                    seat.reading.get_or_insert_with(|| Reading::of_flight(&seat.flight, names));
                }
            }
        }
        let frame = self.frame();
        let shared = key(frame, |sink| {
            sink.plain((self.left, self.broken));
            self.store.put(sink, names, |epoch| self.may_claim(epoch));
            self.server.lineages.iter().for_each(|lineage| sink.plain((lineage.revoked, lineage.overtaken)));
        });
        let presented = gather(
            self.server.presented.iter().map(|presented| key(frame, |sink| presented.put(sink, self.elapsed()))),
        );
        let wire = gather(self.wire.iter().map(|request| key(frame, |sink| request.put(sink))));
        let late = gather(self.late.iter().map(|late| {
            // The operations of a flight that is gone are not compared.
            let last = op(&late.effect).map_or(0, |op| op.0);
            let ops = self.seats().find(|(_, seat)| seat.flight.id() == late.flight).map_or(last, |(_, seat)| seat.ops);
            key(Frame { ops, ..frame }, |sink| Reading::of(late, names).put(sink))
        }));
        let rest = join([shared, presented, wire, late]);
        let [one, two] =
            [0, 1].map(|process: usize| self.processes[process].key(frame, self.store.record.version(), names));
        let straight = join([one, two, rest])[0];
        let exchanged = join([two, one, rest])[1];
        self.key = straight.min(exchanged);
    }

    fn frame(&self) -> Frame {
        let step = |lineage: usize| {
            let found = self.server.lineages.get(lineage)?;
            self.matters(lineage).then_some(found.current)
        };
        let record = &self.store.record;
        let (revision, number) = (record.revision.number(), record.number);
        let mut asks = [None; 6];
        for (ask, asked) in asks.iter_mut().zip(self.seats().filter_map(|(_, seat)| seat.asked)) {
            *ask = Some(asked);
        }
        Frame { now: self.now, ops: 0, revision, number, steps: [0, 1].map(step), asks }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.key);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::story::state(self))
    }
}
