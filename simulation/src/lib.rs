//! A deterministic simulation of tokenkeeper: the machines that ship, in a world that goes wrong.
//!
//! Processes on several hosts, each with sessions and flights, share one simulated store and one strict authorization
//! server, over virtual time. A seed decides everything: which machines there are, what people and programs do, which
//! operation fails, hangs, or is the last before a crash, when clocks step and hosts sleep. After every step the laws
//! are checked on the ground truth ([the modules of `laws`](self)), and every answer against what a caller may be told.
//!
//! ```text
//! config   the world a seed stands for           server   the authorization server and the resource
//! plan     what is done to it, and when          store    records and claims, with the ledger that ships
//! world    what follows from that, step by step  laws     what must be true at each step
//! ```

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

/// Time that has passed when a schedule's first event may happen: long enough for a token to be old.
pub(crate) const PRELUDE: Millis = 4_000_000;

/// A fault planted into the driver on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A mark is not written, and its flight is told that it was.
    MarkSkipped,
    /// A restarted actor forgets what was refused.
    FloorForgotten,
    /// The claim of a flight that breaks off is ended as if all were settled.
    ReleasedOnBreak,
    /// Now and then a waiter is answered twice.
    AnsweredTwice,
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The law's number.
    pub law: &'static str,
    /// What must not have happened.
    pub what: &'static str,
    /// With whom and when, for a reader.
    pub detail: String,
    /// Virtual milliseconds since the schedule began.
    pub at: u64,
}

/// What came of one schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed it was made from.
    pub seed: u64,
    /// The law it broke, if it broke one.
    pub breach: Option<Breach>,
    /// What happened, counted.
    pub tally: Tally,
    /// A digest of every step, with or without a story.
    pub digest: u64,
    /// One line a step, if it was to be told.
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
    /// The schedule that `seed` stands for.
    pub fn new(seed: u64) -> Self {
        let config = Config::draw(seed);
        let plan = Plan::draw(seed, &config);
        Self { seed, config, plan, planted: None }
    }

    /// The same with a fault planted into the driver.
    #[must_use]
    pub fn with(self, planted: Planted) -> Self {
        Self { planted: Some(planted), ..self }
    }

    /// How many events it has.
    pub fn events(&self) -> usize {
        self.plan.events.len()
    }

    /// What it is about, for a reader: the world, and what is done to it.
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

    /// Runs it; `told` says whether anybody wants to read the story.
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
