//! The start and the end of a schedule. It begins with records in the store, and ends with all faults healed.

use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::ports::store::ClaimScope;
use tokenkeeper_actors::values::record::{Mark, MarkState};
use tokenkeeper_actors::values::{BootId, Epoch, FlightId};

use super::callers::Doing;
use super::{Item, World};
use crate::config::Start;
use crate::plan::CallerSpec;
use crate::store::Holder;
use crate::{Millis, PRELUDE};

/// The time between the end of all faults and the last requests.
const RECOVERY: Millis = 40_000;

/// The maximum number of times that a caller has to ask again before it must get a token.
const PROBES: u8 = 6;

/// The maximum time for one of the last requests. It is longer than the wait for a claim, and than the longest
/// backoff.
const PATIENCE: Millis = 400_000;

/// The maximum time for the last logins. A request of a dead process may be open, and is taken over first.
const LAST_LOGINS: Millis = 4_000_000;

/// The interval between checks for callers without an answer.
const GLANCE: Millis = 5_000;

impl World {
    /// Writes the initial records of the schedule into the store.
    pub(super) fn furnish(&mut self) {
        for identity in 0..self.config.identities {
            match self.config.start {
                Start::Nothing => {}
                Start::Expired => self.furnish_login(identity, 0),
                Start::Fresh => self.furnish_login(identity, PRELUDE),
                Start::Tombstone => {
                    self.furnish_login(identity, 0);
                    self.furnish_change(identity, &Change::Clear { epoch: Epoch::new(1) });
                }
                Start::Doubtful => {
                    self.furnish_login(identity, 0);
                    self.furnish_doubt(identity);
                }
            }
        }
        self.t = 0;
    }

    fn furnish_login(&mut self, identity: usize, at: Millis) {
        self.t = at;
        let key = self.store.key.clone();
        self.server.clients += 1;
        let rt = self.server.sign_in(identity, 0, self.server.clients, &key);
        let login = self.new_login(0, identity, rt, !self.config.repeatable());
        self.furnish_change(identity, &Change::Install(Box::new(login)));
    }

    fn furnish_change(&mut self, identity: usize, change: &Change) {
        let changed = self.store.change(identity, change);
        self.furnished(identity, change, &changed);
    }

    /// Writes a mark by an unknown flight.
    fn furnish_doubt(&mut self, identity: usize) {
        let Some(record) = self.store.record(identity) else { return };
        let Some(held) = record.held() else { return };
        let flight = FlightId(0xdead_0000 + identity as u128);
        let moment = self.moment(0);
        let mark = Mark {
            flight,
            digest: held.credential.digest(),
            presentations: 1,
            number: record.number + 1,
            first: moment,
            latest: moment,
            timeout: self.config.profile.request_timeout,
            state: MarkState::Open,
        };
        let change = Change::Mark { expected: record.version(), mark };
        self.furnish_change(identity, &change);
        let holder = Holder { flight, process: usize::MAX, life: 0, host: usize::MAX, boot: BootId(0) };
        if self.config.is_leased() {
            self.store.lose(identity, ClaimScope::Spend(Epoch::new(1)), holder);
        }
    }

    /// Ends all faults. A process that is down comes up, one that is stopping ends, and one that stands still
    /// continues.
    pub(super) fn heal(&mut self) {
        if let Some(until) = (0..self.processes.len()).filter_map(|process| self.still_until(process)).max() {
            return self.queue.push(until + 1, Item::Heal);
        }
        self.tell(|| "*".to_owned(), |_| "all faults end".to_owned());
        self.healed = true;
        self.traps.clear();
        self.session_traps.clear();
        self.login_traps.clear();
        self.store_troubles.clear();
        self.server_troubles.clear();
        self.server.caprices.clear();
        self.server.cools_until = 0;
        if self.config.repeatable() {
            // A login cannot bring another client, so the server accepts the old registration again.
            self.server.rejects_to = 0;
        }
        // The requests that the faults have stalled time out first, and the leases of dead processes run out.
        let profile = &self.config.profile;
        let stalled = profile.connect_timeout + profile.request_timeout + self.config.timeouts.store_timeout * 4;
        self.queue.push(self.t + RECOVERY + stalled.as_millis() as Millis, Item::Probe);
    }

    /// Asks for a token everywhere. A caller that gets a retryable error asks again later.
    pub(super) fn probe(&mut self) {
        if (0..self.processes.len()).any(|process| !self.runs(self.pid(process))) {
            // A process still sleeps or starts.
            return self.queue.push(self.t + 20_000, Item::Probe);
        }
        self.tell(|| "*".to_owned(), |_| "everybody asks once more".to_owned());
        for process in 0..self.processes.len() {
            for identity in 0..self.config.identities {
                let spec = CallerSpec {
                    process,
                    identity,
                    timeout: PATIENCE,
                    min_lifetime: 0,
                    force: false,
                    fail_fast: false,
                    rounds: PROBES,
                    think: 0,
                    leaves_after: None,
                    operation: 200,
                };
                self.new_caller(spec, true);
            }
        }
        self.last_call = self.t + PATIENCE * Millis::from(PROBES);
        self.queue.push(self.t + GLANCE, Item::Finish);
    }

    /// Ends the schedule once every caller was answered, or should have been.
    pub(super) fn finish(&mut self) {
        let waits = self.callers.iter().any(|caller| caller.doing != Doing::Done) || self.logins_run();
        if self.t < self.last_call && waits {
            return self.queue.push(self.t + GLANCE, Item::Finish);
        }
        if !waits && !self.at_rest && !self.config.repeatable() {
            self.seek_at_rest();
            self.last_call = self.t + LAST_LOGINS;
            return self.queue.push(self.t + GLANCE, Item::Finish);
        }
        for id in 0..self.callers.len() {
            let caller = &self.callers[id];
            if caller.doing != Doing::Done {
                let doing = caller.doing;
                self.breach("7", "a caller was never answered", || format!("c{id} is {doing:?}"));
            }
        }
        if self.logins_run() {
            self.breach("7", "a login never ends", String::new);
        }
        if self.at_rest {
            self.check_signed_in();
        }
        self.check_finish();
        self.finished = true;
    }
}
