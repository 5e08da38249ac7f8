//! Conditions at the end, when all faults are over. Every process has recovered, or returns a true error that a person
//! can resolve.

use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::values::record::{MarkState, Record};
use tokenkeeper_actors::values::{Reason, TokenError};

use crate::config::{Lifetimes, StoreKind};
use crate::process::Pid;
use crate::world::World;

impl World {
    /// The last request in a process failed. The error must be true, and a person must be able to resolve it.
    pub(crate) fn check_probe(&mut self, pid: Pid, identity: usize, error: TokenError) {
        let reason = error.reason();
        let brief = matches!(self.config.server.lifetimes, Lifetimes::Seconds(..=4));
        let rejected = reason == Reason::ClientRejected && self.config.repeatable();
        if reason == Reason::ExpiredOnArrival && brief || rejected {
            return;
        }
        let known = &self.processes[pid.process].slots[identity].known;
        let closing = reason == Reason::LoggedOut && known.owed.is_some();
        // Only this process knows a result that its flight could not store.
        let learned = known.met.contains_key(&reason);
        let lately = self.truth.was(identity, self.knows_since(pid, self.t), |state| state.justifies(reason));
        if !reason.is_login_required() || !lately && !closing && !learned {
            return self
                .breach("7", "a process does not recover", || format!("p{} i{identity}: {error:?}", pid.process));
        }
        if reason == Reason::MaybeConsumed && self.could_retry(identity) {
            self.breach("10", "a token in doubt is given up though policy allows one more presentation", || {
                format!("p{} i{identity}", pid.process)
            });
        }
    }

    /// Whether the policy still allows a presentation of the token in doubt.
    fn could_retry(&self, identity: usize) -> bool {
        let mark = self.store.record(identity).and_then(Record::held).and_then(|held| held.mark.as_ref());
        let once = self.config.profile.reuse == Reuse::EndsLineage && self.config.store == StoreKind::Kernel;
        once && mark.is_some_and(|mark| mark.state == MarkState::Open && mark.presentations < 2)
    }

    pub(crate) fn check_finish(&mut self) {
        for identity in 0..self.config.identities {
            let kernel = self.config.store == StoreKind::Kernel;
            let leaked = self.store.holders(identity).find(|(_, by, _)| kernel && !self.truth.lives(by.flight));
            if let Some((scope, by, _)) = leaked {
                self.breach("5", "a claim is held by nobody", || format!("{scope:?} by {}", by.flight));
            }
        }
        for process in 0..self.processes.len() {
            for identity in 0..self.config.identities {
                let owed = self.processes[process].slots[identity].known.owed;
                let record = self.store.record(identity);
                let lives = |owed| record.is_some_and(|record| record.epoch <= owed && record.grant().is_some());
                if owed.is_some_and(lives) {
                    self.breach("12", "a logout never becomes durable", || format!("p{process} i{identity}: {owed:?}"));
                }
            }
        }
    }
}
