//! The canonical key of a state. Two states with the same key count as one.
//!
//! The model's own state goes into the key field by field. A flight goes in as its `Debug` text, which shows the whole
//! phase with everything in it. Values that this text leaves out decide nothing. A refresh token stands beside its
//! digest, an access token beside its number, and the digest key and the timeouts are the same throughout. (Two tokens
//! of one run whose digests begin with the same four bytes would look alike. A test ensures that none do.)
//!
//! Two states that differ only in the following ways behave alike for ever, and have the same key:
//!
//! - Times count from now. The machines compare times with now, plus or minus constants of whole seconds, so
//!   milliseconds are left out. A run has fewer than 500 of them (see [`MOMENT`], and the pause of 125 ms before a
//!   flight presents its token once more). The only limit of less than a second besides that pause is one of 500 ms,
//!   after the second presentation of a token. It lasts until a second has passed. Beyond 100 s into the past all ages
//!   are one, because every constant is smaller, and an age only grows. One pair of times is compared with each other,
//!   which is the time of the request for a claim and the time of a mark. The place of each of these among the claims
//!   that are requested or held now goes into the key too.
//! - Operations count from the flight's newest, revisions and token numbers from the store's, refresh tokens from the
//!   one that works, because they are only compared with others of their kind. All tokens of a lineage that no process
//!   can meet any more are one.
//! - Times that nothing reads are left out, where lifetimes are unknown and no grace period counts (`since`, `first`,
//!   `at`, `signed_in`, and the anchor of a validity). The count of contended claims is left out too. It only sets a
//!   pause, which takes no time here.
//! - The two processes begin alike and follow the same rules, so a state and the one with both exchanged are the same.
//!   The key is the smaller of the keys of these two states. In the second one, flights and boots have the exchanged
//!   names.
//!
//! A key has 64 bits of hash, which stateright uses anyway. With a million states, the odds that any two of them get
//! the same key are about one in thirty million.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokenkeeper_actors::values::{BootId, ElapsedTime, Epoch, FlightId, Revision};

use crate::server::Rt;

/// The age from which all ages are one, in seconds.
const ANCIENT: u64 = 100;

/// The time that passes before a claim is requested, in milliseconds. So earlier actions have an earlier time.
pub(crate) const MOMENT: u64 = 1;

/// The difference of the wall clock to the elapsed clock.
pub(crate) const WALL: u64 = 1_800_000_000_000;

/// The two keys of a part. The second one has the processes exchanged.
pub(crate) type Key = [u64; 2];

/// The values that a part's numbers and times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The present, on the elapsed clock.
    pub(crate) now: u64,
    /// The newest operation of the current flight.
    pub(crate) ops: u32,
    /// The store's revision.
    pub(crate) revision: u64,
    /// The store's highest token number.
    pub(crate) number: u64,
    /// The steps that work. `None` for a lineage that no process can meet any more.
    pub(crate) steps: [Option<u8>; 2],
    /// The request times of the claims that are requested or held now.
    pub(crate) asks: [Option<u64>; 6],
}

/// Names the `number`th flight of a process.
pub(crate) fn flight(process: usize, number: u8) -> FlightId {
    FlightId(16 * (process as u128 + 1) + u128::from(number))
}

/// The process of a flight.
pub(crate) fn process_of(flight: FlightId) -> usize {
    usize::try_from(flight.0 / 16).unwrap_or(0).saturating_sub(1)
}

/// The boot of the host a process runs on.
pub(crate) fn boot(process: usize, apart: bool) -> BootId {
    BootId(if apart { process as u128 + 1 } else { 0 })
}

/// The key of everything that `write` writes.
pub(crate) fn key(frame: Frame, write: impl FnOnce(&mut Sink)) -> Key {
    let mut sink = Sink { pair: [DefaultHasher::new(), DefaultHasher::new()], frame };
    write(&mut sink);
    sink.pair.map(|hasher| hasher.finish())
}

/// The key of several parts in this order.
pub(crate) fn join(parts: impl IntoIterator<Item = Key>) -> Key {
    let mut pair = [DefaultHasher::new(), DefaultHasher::new()];
    for key in parts {
        pair.iter_mut().zip(key).for_each(|(hasher, key)| hasher.write_u64(key));
    }
    pair.map(|hasher| hasher.finish())
}

/// The key of several parts in any order.
pub(crate) fn gather(parts: impl IntoIterator<Item = Key>) -> Key {
    let (mut straight, mut exchanged): (Vec<_>, Vec<_>) = parts.into_iter().map(|[one, two]| (one, two)).unzip();
    straight.sort_unstable();
    exchanged.sort_unstable();
    join(straight.into_iter().zip(exchanged).map(|(one, two)| [one, two]))
}

/// Hashes the distinguishing values of a part.
pub(crate) struct Sink {
    pair: [DefaultHasher; 2],
    frame: Frame,
}

impl Sink {
    /// A value that does not depend on the frame.
    pub(crate) fn plain(&mut self, value: impl Hash) {
        self.pair.iter_mut().for_each(|hasher| value.hash(hasher));
    }

    pub(crate) fn time(&mut self, time: ElapsedTime) {
        self.plain(distance(time.as_millis(), self.frame.now));
    }

    /// A time whose place among the claims matters.
    pub(crate) fn placed(&mut self, time: ElapsedTime) {
        let earlier = self.frame.asks.iter().flatten().filter(|asked| **asked <= time.as_millis()).count();
        self.time(time);
        self.plain(earlier);
    }

    pub(crate) fn time_if(&mut self, time: Option<ElapsedTime>) {
        self.plain(time.is_some());
        time.into_iter().for_each(|time| self.time(time));
    }

    pub(crate) fn op(&mut self, op: u32) {
        self.plain(self.frame.ops.wrapping_sub(op));
    }

    pub(crate) fn revision(&mut self, revision: Revision) {
        self.plain(self.frame.revision.wrapping_sub(revision.number()));
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.plain(self.frame.number.wrapping_sub(number));
    }

    pub(crate) fn rt(&mut self, rt: Rt) {
        let works = self.frame.steps.get(rt.lineage).copied().flatten();
        self.plain(works.map(|works| (rt.lineage, works.wrapping_sub(rt.step))));
    }

    pub(crate) fn rt_if(&mut self, rt: Option<Rt>) {
        self.plain(rt.is_some());
        rt.into_iter().for_each(|rt| self.rt(rt));
    }

    pub(crate) fn flight(&mut self, flight: FlightId) {
        let [name, other] = names(flight);
        self.name(name, other);
    }

    /// Claims in any order. Their flights have other names when the processes are exchanged.
    pub(crate) fn claims(&mut self, claims: impl Iterator<Item = (Epoch, FlightId)>) {
        let named = claims.map(|(epoch, flight)| (epoch, names(flight)));
        let (mut straight, mut exchanged): (Vec<_>, Vec<_>) =
            named.map(|(epoch, [name, other])| ((epoch, name), (epoch, other))).unzip();
        straight.sort_unstable();
        exchanged.sort_unstable();
        straight.hash(&mut self.pair[0]);
        exchanged.hash(&mut self.pair[1]);
    }

    pub(crate) fn flight_if(&mut self, flight: Option<FlightId>) {
        self.plain(flight.is_some());
        flight.into_iter().for_each(|flight| self.flight(flight));
    }

    pub(crate) fn boot(&mut self, boot: BootId) {
        let number = boot.0 as u64;
        self.name(number, if number > 0 { 3 - number } else { 0 });
    }

    /// A name, and the name that replaces it when the processes are exchanged.
    fn name(&mut self, name: u64, exchanged: u64) {
        self.pair[0].write_u64(name);
        self.pair[1].write_u64(exchanged);
    }
}

/// The name of a flight, and the name that replaces it when the processes are exchanged.
fn names(flight: FlightId) -> [u64; 2] {
    match flight.0 as u64 {
        first @ 16..32 => [first, first + 16],
        second @ 32..48 => [second, second - 16],
        other => [other, other],
    }
}

/// The seconds from `time` to `now`.
fn distance(time: u64, now: u64) -> u64 {
    match (now / 1000).checked_sub(time / 1000) {
        Some(age) => age.min(ANCIENT),
        None => u64::MAX - (time / 1000 - now / 1000),
    }
}
