//! The target of session handles, in place of an actor, and its timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokenkeeper_actors::law::session::{Policy, SessionEvent};
use tokenkeeper_actors::runtime::stand_in::{Stage, StandIn};

use super::clock::{Alarm, TokioClock};
use super::play::Play;
use super::world::Store;

/// Stands in for a session's actor.
#[derive(Debug)]
pub(super) struct Desk {
    clock: TokioClock,
    myself: Weak<Desk>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    play: Play,
    alarm: Option<Alarm>,
}

impl Desk {
    pub(super) fn new(stage: Stage, store: Store, policy: Policy, clock: TokioClock) -> Arc<Self> {
        let play = Play::new(stage, store, policy, clock.clone());
        Arc::new_cyclic(|myself| Self {
            clock,
            myself: Weak::clone(myself),
            state: Mutex::new(State { play, alarm: None }),
        })
    }

    /// Calls `act` after all due work is done, and sets the alarm for the next due time.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Play) -> T) -> T {
        let mut state = self.state();
        state.play.catch_up();
        let done = act(&mut state.play);
        self.set_alarm(&mut state);
        done
    }

    /// Does the due work when the alarm rings.
    fn ring(&self) {
        self.act(|_| {});
    }

    fn set_alarm(&self, state: &mut State) {
        let due = state.play.next_wake();
        if due.is_none_or(|at| state.alarm.as_ref().is_none_or(|alarm| !alarm.rings_at(at))) {
            state.alarm = due.and_then(|at| {
                let desk = Weak::clone(&self.myself);
                Alarm::set(&self.clock, at, move || {
                    if let Some(desk) = desk.upgrade() {
                        desk.ring();
                    }
                })
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn for Desk {
    fn happen(&self, event: SessionEvent) {
        self.act(|play| play.happen(event));
    }
}
