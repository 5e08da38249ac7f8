//! The surroundings of a session: its store, its flights, its siblings, and logins and logouts.

use std::time::Duration;

use tokenkeeper_actors::law::flight::{Landing, Op, Order, Outcome, Report};
use tokenkeeper_actors::law::ledger::{Change, Changed};
use tokenkeeper_actors::law::profile::Trouble;
use tokenkeeper_actors::law::session::{ReplyId, SessionEvent};
use tokenkeeper_actors::ports::store::Reservation;
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{Cause, FlightId, Generation, Reason, StoreFault, Validity};

use super::{Question, Story, Told, unsaved};

impl Story {
    // The store.

    /// The read in flight returns the stored record.
    pub(crate) fn reads(&mut self) -> Told {
        let op = self.takes_read();
        let view = self.store.view();
        self.does(SessionEvent::Loaded(op, Ok(view)))
    }

    pub(crate) fn read_fails(&mut self) -> Told {
        let op = self.takes_read();
        self.does(SessionEvent::Loaded(op, Err(StoreFault::Failed)))
    }

    /// The op of the read in flight, to answer it out of order.
    pub(crate) fn takes_read(&mut self) -> Op {
        self.takes_question().expect("a read is under way").op
    }

    /// The same with the record from when the read began.
    pub(crate) fn takes_question(&mut self) -> Option<Question> {
        self.loads.pop()
    }

    /// Whether a read is in flight.
    pub(crate) fn is_reading(&self) -> bool {
        !self.loads.is_empty()
    }

    /// Whether a write is in flight.
    pub(crate) fn is_writing(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether a reservation is asked for.
    pub(crate) fn is_reserving(&self) -> bool {
        !self.reservations.is_empty()
    }

    /// The store reports a change, and the record is read.
    pub(crate) fn hears(&mut self) -> Told {
        assert_eq!(self.does(SessionEvent::StoreChanged), ["load"]);
        self.reads()
    }

    /// The write in flight takes effect, or conflicts, and is answered.
    pub(crate) fn writes(&mut self) -> Told {
        let (op, changed) = self.writes_unheard();
        self.does(SessionEvent::Changed(op, Ok(changed)))
    }

    /// The write in flight takes effect, and the answer does not come (yet).
    pub(crate) fn writes_unheard(&mut self) -> (Op, Changed) {
        let (op, change) = self.writes.pop().expect("a write is under way");
        (op, self.store.change(&change))
    }

    /// The write in flight, to be carried out and answered out of order.
    pub(crate) fn takes_write(&mut self) -> (Op, Change) {
        self.writes.pop().expect("a write is under way")
    }

    pub(crate) fn write_fails(&mut self, fault: StoreFault) -> Told {
        let (op, _) = self.writes.pop().expect("a write is under way");
        self.does(SessionEvent::Changed(op, Err(fault)))
    }

    pub(crate) fn reserves(&mut self, answer: Result<Reservation, StoreFault>) -> Told {
        let op = self.reservations.pop().expect("a reservation is asked for");
        self.does(SessionEvent::Reserved(op, answer))
    }

    // Flights.

    /// The order of the last flight.
    pub(crate) fn order(&self) -> &Order {
        self.orders.last().expect("a flight")
    }

    pub(crate) fn flights(&self) -> usize {
        self.orders.len()
    }

    /// The running flight, as its driver knows it.
    pub(crate) fn flight(&self) -> Option<FlightId> {
        self.audit.flight()
    }

    pub(crate) fn reports(&mut self, report: Report) -> Told {
        let flight = self.audit.flight().expect("a flight is in the air");
        self.does(SessionEvent::Flight(flight, report))
    }

    /// The flight lands with this outcome and a view of the stored record.
    pub(crate) fn lands(&mut self, outcome: Outcome) -> Told {
        let view = self.store.view();
        self.reports(Report::Landed(Landing { outcome, view, keeping: false, requests: 1 }))
    }

    /// The flight obtains a token that lives this long from now, stores it, and lands.
    pub(crate) fn mints(&mut self, lifetime: Duration) -> Told {
        self.mints_with(Validity::new(self.at, Some(lifetime)))
    }

    pub(crate) fn mints_with(&mut self, validity: Validity) -> Told {
        let (flight, cause) = (self.order().flight, self.order().cause);
        let lease = self.store.refresh(flight, cause, validity);
        self.lands(Outcome::Minted(lease))
    }

    /// The flight obtains a token and cannot store it. It lands, and keeps the pair and the claim.
    pub(crate) fn mints_unsaved(&mut self, lifetime: Duration) -> Told {
        self.store.mark(self.order().flight, self.at);
        let lease = self.lease_unsaved(lifetime);
        let (outcome, view) = (Outcome::Minted(lease), self.store.view());
        self.reports(Report::Landed(Landing { outcome, view, keeping: true, requests: 1 }))
    }

    /// The flight, whose mark is stored, obtains a token that lives this long from now, and keeps it.
    pub(crate) fn lease_unsaved(&mut self, lifetime: Duration) -> tokenkeeper_actors::values::Lease {
        let (flight, cause) = (self.order().flight, self.order().cause);
        let validity = Validity::new(self.at, Some(lifetime));
        let commit = self.store.commit(flight, cause, validity);
        let lease = unsaved(Generation::stored(commit.epoch, commit.access.number), validity, cause);
        self.kept = Some(commit);
        lease
    }

    /// The flight that keeps a pair has saved it, or found that another process was faster.
    pub(crate) fn saves(&mut self) -> Told {
        let commit = self.kept.take().expect("an unsaved pair");
        self.store.change(&Change::Commit(Box::new(commit)));
        let view = self.store.view().expect("a record");
        self.reports(Report::Settled(view))
    }

    /// A repeatable source's flight has minted without the store.
    pub(crate) fn mints_without_store(&mut self, lifetime: Duration) -> Told {
        let order = self.order();
        let generation = Generation { number: order.known.number + 1, nonce: order.nonce, ..order.known };
        let lease = unsaved(generation, Validity::new(self.at, Some(lifetime)), order.cause);
        self.reports(Report::Landed(Landing {
            outcome: Outcome::Minted(lease),
            view: None,
            keeping: false,
            requests: 1,
        }))
    }

    pub(crate) fn fails(&mut self, reason: Reason) -> Told {
        self.lands(Outcome::Failed(Trouble::new(reason)))
    }

    pub(crate) fn fails_for(&mut self, reason: Reason, span: Duration) -> Told {
        self.lands(Outcome::Failed(Trouble { reason, retry_after: Some(span) }))
    }

    /// The flight ends without another report.
    pub(crate) fn breaks_off(&mut self) -> Told {
        let flight = self.audit.flight().expect("a flight is in the air");
        self.does(SessionEvent::FlightOver(flight))
    }

    /// A flight of another process, or an earlier one, stores a token for this long from now, for this cause.
    pub(crate) fn sibling_mints(&mut self, lifetime: Duration, cause: Cause) {
        self.store.refresh(FlightId(0xfeed), cause, Validity::new(self.at, Some(lifetime)));
    }

    // Logins, logouts, issuers.

    /// A login is to be installed, with a token that lives this long from now.
    pub(crate) fn installs(&mut self, reply: u64, lifetime: Duration) -> Told {
        let login = self.store.login(Some(lifetime), self.at);
        self.does(SessionEvent::Install(ReplyId(reply), Box::new(login)))
    }

    pub(crate) fn logs_out(&mut self, reply: u64) -> Told {
        self.does(SessionEvent::Logout(ReplyId(reply)))
    }

    pub(crate) fn lists(&mut self, issuers: &[&str]) -> Told {
        let issuers = issuers.iter().map(|issuer| Issuer((*issuer).to_owned())).collect();
        self.does(SessionEvent::IssuersListed(issuers))
    }
}
