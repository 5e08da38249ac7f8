//! Where a flight is stopped: before or after a named effect.

use std::sync::{Condvar, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::FlightId;

use crate::worker::say;

/// A point on a flight's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// The effect's word.
    pub(crate) effect: String,
    /// Which of several of that name: the first is 1.
    pub(crate) nth: u32,
    pub(crate) before: bool,
}

impl Point {
    pub(crate) fn before(effect: EffectName) -> Self {
        Self { effect: effect.as_str().to_owned(), nth: 1, before: true }
    }

    pub(crate) fn after(effect: EffectName) -> Self {
        Self { before: false, ..Self::before(effect) }
    }
}

/// Stops a flight where it is told to, and says so; it goes on when the gate opens, or never.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    armed: Mutex<Option<Point>>,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Stops {
    pub(crate) fn arm(&self, point: Point) {
        *self.gate.lock().unwrap() = false;
        *self.armed.lock().unwrap() = Some(point);
    }

    pub(crate) fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn reach(&self, effect: EffectName, before: bool) {
        let mut armed = self.armed.lock().unwrap();
        let Some(point) = armed.as_mut().filter(|point| point.effect == effect.as_str() && point.before == before)
        else {
            return;
        };
        point.nth -= 1;
        if point.nth > 0 {
            return;
        }
        *armed = None;
        drop(armed);
        let gate = self.gate.lock().unwrap();
        say(&json!({ "event": "stopped" }));
        drop(self.opened.wait_while(gate, |open| !*open).unwrap());
    }
}

impl EffectObserver for Stops {
    fn before(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.reach(effect, true);
    }

    fn after(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.reach(effect, false);
    }
}
