//! An observer that reports how far flights have come, and holds a flight at a chosen point.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::FlightId;

/// A point of a flight, just before an effect or just after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightPoint {
    /// The effect's word ([`EffectName::as_str`]).
    pub effect: String,
    /// Which of several effects of that name, counted from 1.
    pub nth: u32,
    /// Whether it is the point before the effect.
    pub before: bool,
}

impl FlightPoint {
    /// The point before the first effect of this name.
    pub fn before(effect: EffectName) -> Self {
        Self { effect: effect.as_str().to_owned(), nth: 1, before: true }
    }

    /// The point after the first effect of this name.
    pub fn after(effect: EffectName) -> Self {
        Self { before: false, ..Self::before(effect) }
    }
}

/// An event that a [`FlightObserver`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObserverEvent {
    /// A flight has reached a point, and is not held there yet.
    Reached {
        /// The effect.
        effect: EffectName,
        /// Whether it is about to be carried out.
        before: bool,
    },
    /// The flight is held at the point that it has just reached.
    Held,
    /// The flight has left a point, held there or not.
    Left {
        /// The effect.
        effect: EffectName,
        /// Whether it is about to be carried out.
        before: bool,
    },
}

/// Reports every point that flights reach, and holds a flight at the armed one.
pub struct FlightObserver {
    on_event: Box<dyn Fn(ObserverEvent) + Send + Sync>,
    armed: Mutex<Option<FlightPoint>>,
    /// The number of times that flights were let go.
    released: Mutex<u64>,
    release: Condvar,
}

impl FlightObserver {
    /// An observer that calls `on_event` in the flight's own task.
    pub fn new(on_event: impl Fn(ObserverEvent) + Send + Sync + 'static) -> Self {
        Self {
            on_event: Box::new(on_event),
            armed: Mutex::default(),
            released: Mutex::default(),
            release: Condvar::new(),
        }
    }

    /// Holds the next flight that reaches this point. A point armed before is forgotten.
    pub fn arm(&self, point: FlightPoint) {
        *lock(&self.armed) = Some(point);
    }

    /// Holds no flight at any point. A flight that is held already stays held.
    pub fn disarm(&self) {
        *lock(&self.armed) = None;
    }

    /// Lets the held flight go on.
    pub fn release(&self) {
        *lock(&self.released) += 1;
        self.release.notify_all();
    }

    fn pass(&self, effect: EffectName, before: bool) {
        (self.on_event)(ObserverEvent::Reached { effect, before });
        if self.holds_at(effect, before) {
            let released = lock(&self.released);
            let until = *released;
            (self.on_event)(ObserverEvent::Held);
            drop(
                self.release
                    .wait_while(released, |released| *released == until)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
        (self.on_event)(ObserverEvent::Left { effect, before });
    }

    /// Counts the point, and disarms where it is the armed one.
    fn holds_at(&self, effect: EffectName, before: bool) -> bool {
        let mut armed = lock(&self.armed);
        let Some(point) = armed.as_mut().filter(|point| point.effect == effect.as_str() && point.before == before)
        else {
            return false;
        };
        point.nth = point.nth.saturating_sub(1);
        armed.take_if(|point| point.nth == 0).is_some()
    }
}

impl fmt::Debug for FlightObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightObserver").field("armed", &self.armed).finish_non_exhaustive()
    }
}

impl EffectObserver for FlightObserver {
    fn before(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.pass(effect, true);
    }

    fn after(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        self.pass(effect, false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn a_flight_is_held_at_the_armed_point_until_it_is_released() {
        let (send, events) = mpsc::channel();
        let observer = Arc::new(FlightObserver::new(move |event| send.send(event).unwrap()));
        observer.arm(FlightPoint { nth: 2, ..FlightPoint::after(EffectName::Load) });
        let flight = Arc::clone(&observer);
        #[expect(clippy::disallowed_methods, reason = "a test, which joins its thread")]
        let flight = std::thread::spawn(move || {
            for _ in 0..3 {
                flight.pass(EffectName::Load, true);
                flight.pass(EffectName::Load, false);
            }
        });
        let seen =
            std::iter::from_fn(|| Some(events.recv().unwrap())).take_while(|event| *event != ObserverEvent::Held);
        assert_eq!(seen.count(), 7, "four events of the first effect, two before the second, one at the point");
        assert!(events.try_recv().is_err(), "it goes no further");
        observer.release();
        flight.join().unwrap();
        assert_eq!(events.try_iter().count(), 5, "it is held once");
    }
}
