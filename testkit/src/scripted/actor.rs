//! The target of session handles, in place of an actor, and its timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokenkeeper_actors::law::session::{Policy, SessionEvent};
use tokenkeeper_actors::runtime::stand_in::{Stage, StandIn};

use super::clock::{Alarm, TokioClock};
use super::driver::Driver;
use super::world::Store;

/// Stands in for a session's actor.
#[derive(Debug)]
pub(super) struct ScriptedActor {
    clock: TokioClock,
    this: Weak<ScriptedActor>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    driver: Driver,
    alarm: Option<Alarm>,
}

impl ScriptedActor {
    pub(super) fn new(stage: Stage, store: Store, policy: Policy, clock: TokioClock) -> Arc<Self> {
        let driver = Driver::new(stage, store, policy, clock.clone());
        Arc::new_cyclic(|this| Self {
            clock,
            this: Weak::clone(this),
            state: Mutex::new(State { driver, alarm: None }),
        })
    }

    /// Calls `change` after all due work is done, and sets the alarm for the next due time.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Driver) -> T) -> T {
        let mut state = self.state();
        state.driver.catch_up();
        let done = change(&mut state.driver);
        self.set_alarm(&mut state);
        done
    }

    /// Does the due work when the alarm rings.
    fn ring(&self) {
        self.update(|_| {});
    }

    fn set_alarm(&self, state: &mut State) {
        let due = state.driver.next_wake();
        if due.is_none_or(|at| state.alarm.as_ref().is_none_or(|alarm| !alarm.rings_at(at))) {
            state.alarm = due.and_then(|at| {
                let actor = Weak::clone(&self.this);
                Alarm::set(&self.clock, at, move || {
                    if let Some(actor) = actor.upgrade() {
                        actor.ring();
                    }
                })
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn for ScriptedActor {
    fn happen(&self, event: SessionEvent) {
        self.update(|driver| driver.handle(event));
    }
}
