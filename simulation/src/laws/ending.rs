//! Conditions at the end, when all faults are over. Every process has recovered, or returns a true error that a person
//! can resolve.

use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::values::{Reason, TokenError};

use super::truth::State;
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
        let since = self.knows_since(pid, self.t);
        let lately = self.truth.was(identity, since, |state| self.justifies(state, reason));
        if !reason.is_login_required() || !lately && !closing && !learned {
            self.breach("7", "a process does not recover", || format!("p{} i{identity}: {error:?}", pid.process));
        }
    }

    /// Whether a caller may get `reason` while a record is in this state. A token in doubt is given up only where reuse
    /// costs more than its lineage.
    pub(crate) fn justifies(&self, state: &State, reason: Reason) -> bool {
        let given_up = self.config.profile.reuse == Reuse::EndsMore && state.marked;
        match reason {
            Reason::MaybeConsumed => given_up || state.spent,
            Reason::GrantEnded if state.ended => true,
            reason => state.login_required == Some(reason),
        }
    }

    pub(crate) fn check_finish(&mut self) {
        for identity in 0..self.config.identities {
            let kernel = self.config.store == StoreKind::Kernel;
            let leaked = self.store.holders(identity).find(|(_, by, _)| kernel && !self.truth.holder_lives(by.flight));
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
