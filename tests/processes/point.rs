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

/// Writes down where flights go; stops one where it is told to, and says so. It goes on when the gate opens, or never.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    track: Mutex<Vec<Point>>,
    armed: Mutex<Option<Point>>,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Stops {
    /// From now on, the first flight that gets there stops.
    pub(crate) fn arm(&self, point: Point) {
        *self.armed.lock().unwrap() = Some(point);
    }

    /// Every point that was passed or stopped at, in order.
    pub(crate) fn track(&self) -> Vec<Point> {
        self.track.lock().unwrap().clone()
    }

    pub(crate) fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn note(&self, effect: EffectName, before: bool) {
        let mut track = self.track.lock().unwrap();
        let point = if before { Point::before(effect) } else { Point::after(effect) };
        let known = track.iter().filter(|known| (&known.effect, known.before) == (&point.effect, before)).count();
        track.push(Point { nth: u32::try_from(known).unwrap() + 1, ..point });
    }

    fn reach(&self, effect: EffectName, before: bool) {
        self.note(effect, before);
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
        let mut gate = self.gate.lock().unwrap();
        *gate = false;
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
