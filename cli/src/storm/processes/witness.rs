//! Sees what the flights of a process do, says how far they are, and holds one up where that is asked for.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tokenkeeper::ServerIdentity;
use tokenkeeper::engine::ports::observer::{EffectName, EffectObserver};
use tokenkeeper::engine::values::FlightId;

use super::words::{Point, Said, Step};

/// The observer of a process.
#[derive(Debug, Default)]
pub(super) struct Witness {
    armed: Mutex<Option<Point>>,
}

impl Witness {
    /// The next flight that comes to this point stays there, until its process is killed.
    pub(super) fn arm(&self, point: Option<Point>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = point;
    }

    fn pass(&self, name: EffectName, after: bool) {
        let due = |point: &Point| point.after == after && point.effect.name() == name;
        let stays = self.armed.lock().unwrap_or_else(PoisonError::into_inner).take_if(|point| due(point)).is_some();
        if stays {
            say(&Said::Stays);
            loop {
                std::thread::park();
            }
        }
    }
}

impl EffectObserver for Witness {
    fn before(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        // Said before it is done: whoever listens knows of all that may have been done.
        match effect {
            EffectName::Mark => say(&Said::Step(Step::Marking)),
            EffectName::Send => {
                // It stays before it says so, and so before any byte leaves.
                self.pass(effect, false);
                return say(&Said::Step(Step::Sending));
            }
            EffectName::Commit => say(&Said::Step(Step::Saving)),
            _ => {}
        }
        self.pass(effect, false);
    }

    fn after(&self, _: &ServerIdentity, _: FlightId, effect: EffectName) {
        match effect {
            EffectName::Mark => say(&Said::Step(Step::Marked)),
            EffectName::Send => say(&Said::Step(Step::Answered)),
            EffectName::Commit => say(&Said::Step(Step::Saved)),
            // What is reported is over: a doubt that is left then was left by no death.
            EffectName::Report => say(&Said::Step(Step::Idle)),
            _ => {}
        }
        self.pass(effect, true);
    }
}

/// Tells the parent. Without a parent there is nothing left to do.
pub(super) fn say(said: &Said) {
    let told = serde_json::to_string(said).map_err(io::Error::from).and_then(|line| {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    });
    if told.is_err() {
        std::process::exit(1);
    }
}
