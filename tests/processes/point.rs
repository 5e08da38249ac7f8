//! An observer that keeps the points that flights reach, and reports a held flight to the parent.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokenkeeper_judge::processes::{FlightObserver, FlightPoint, ObserverEvent, report};

/// An observer with the points that it has seen.
pub(crate) struct TrackedFlights {
    pub(crate) observer: Arc<FlightObserver>,
    track: Arc<Mutex<Vec<FlightPoint>>>,
}

impl TrackedFlights {
    pub(crate) fn new() -> Self {
        let track = Arc::<Mutex<Vec<FlightPoint>>>::default();
        let reached = track.clone();
        let observer = FlightObserver::new(move |event| match event {
            ObserverEvent::Reached { effect, before } => {
                let point = if before { FlightPoint::before(effect) } else { FlightPoint::after(effect) };
                let mut track = reached.lock().unwrap();
                let same = track.iter().filter(|known| (&known.effect, known.before) == (&point.effect, before));
                let nth = u32::try_from(same.count()).unwrap() + 1;
                track.push(FlightPoint { nth, ..point });
            }
            ObserverEvent::Held => report(&json!({ "event": "stopped" })),
            ObserverEvent::Left { .. } => {}
        });
        Self { observer: Arc::new(observer), track }
    }

    /// Every point that was reached, in order.
    pub(crate) fn track(&self) -> Vec<FlightPoint> {
        self.track.lock().unwrap().clone()
    }
}
