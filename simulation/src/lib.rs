//! A deterministic simulation of tokenkeeper. It runs the shipped state machines in a world with faults.
//!
//! Processes on several hosts, each with sessions, flights and login attempts, share one simulated store and one strict authorization
//! server, over virtual time. A seed decides on the machines, on the actions of people and programs, on the operations
//! that fail, hang or precede a crash, and on the times at which clocks step and hosts sleep. After every step the
//! simulation checks the laws against the ground truth ([the modules of `laws`](self)), and every answer against the
//! answers that a caller may get.
//!
//! ```text
//! config   the world of a seed                   server   the authorization server and the resource
//! plan     events from outside, with their times store    records and claims, with the shipped ledger
//! world    all that follows, step by step        laws     conditions that hold at each step
//! ```

mod attempt;
mod clock;
mod config;
mod laws;
mod narrate;
mod plan;
mod process;
mod queue;
mod rng;
mod server;
mod shrink;
mod store;
mod story;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use shrink::shrink;
pub use tally::Tally;

use config::Config;
use plan::Plan;
use world::World;

/// Virtual milliseconds.
pub(crate) type Millis = u64;

/// The virtual time before the first event of a schedule. It is long enough for a token to be old.
pub(crate) const PRELUDE: Millis = 4_000_000;

/// A fault planted into the driver on purpose, to show that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A mark is not written, and the driver reports to its flight that it was.
    MarkSkipped,
    /// A restarted actor forgets the refused generations.
    FloorForgotten,
    /// The driver ends the claim of an aborted flight as if the flight had settled everything.
    ReleasedOnBreak,
    /// A waiter is sometimes answered twice.
    AnsweredTwice,
}

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The law's number.
    pub law: &'static str,
    /// The forbidden event.
    pub what: &'static str,
    /// The identity, the process and the values concerned, as text.
    pub detail: String,
    /// Virtual milliseconds since the schedule began.
    pub at: u64,
}

/// The result of one schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed of the schedule.
    pub seed: u64,
    /// The broken law, if any.
    pub breach: Option<Breach>,
    /// The number of events of each kind.
    pub tally: Tally,
    /// A digest of every step. It does not depend on whether a story is kept.
    pub digest: u64,
    /// The story, one line a step. Empty unless it was requested.
    pub story: String,
}

/// A schedule to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    config: Config,
    plan: Plan,
    planted: Option<Planted>,
}

impl Schedule {
    /// The schedule of `seed`.
    pub fn new(seed: u64) -> Self {
        let config = Config::draw(seed);
        let plan = Plan::draw(seed, &config);
        Self { seed, config, plan, planted: None }
    }

    /// The same schedule with a fault planted into the driver.
    #[must_use]
    pub fn with(self, planted: Planted) -> Self {
        Self { planted: Some(planted), ..self }
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.plan.events.len()
    }

    /// The world and its events, as text.
    pub fn describe(&self) -> String {
        let events = self.plan.events.iter().map(|event| format!("{:>9} {:?}\n", event.at, event.what));
        format!(
            "seed {}\n{:#?}\nweather: {}\n{}",
            self.seed,
            self.config,
            self.plan.weather,
            events.collect::<String>()
        )
    }

    /// Runs the schedule. `told` requests the story.
    pub fn run(&self, told: bool) -> Outcome {
        let run = || {
            let mut world = World::new(self.seed, self.config.clone(), self.plan.clone(), told, self.planted);
            world.run();
            let digest = world.story.digest();
            Outcome {
                seed: self.seed,
                breach: world.breach,
                tally: world.tally,
                digest,
                story: world.story.into_text(),
            }
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().cloned();
            let detail =
                text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            let breach = Some(Breach { law: "0", what: "a panic", detail, at: 0 });
            Outcome { seed: self.seed, breach, tally: Tally::default(), digest: 0, story: String::new() }
        })
    }
}
