//! Runs a check, and says what it found.

use std::fmt::{self, Write};
use std::sync::Arc;

use stateright::{Checker, Model, Path};

use crate::actions::Action;
use crate::config::Config;
use crate::laws::Law;
use crate::model::TwoProcesses;
use crate::sightings::{Sight, Sightings};
use crate::state::State;
use crate::story;

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// What was explored.
    pub config: Config,
    /// The states there are.
    pub states: usize,
    /// The steps between them.
    pub steps: usize,
    /// The length of the longest way to a state that had to be taken.
    pub depth: usize,
    /// The laws that were found broken, each with a way to break it.
    pub broken: Vec<Broken>,
    /// What was come across.
    pub sightings: Arc<Sightings>,
}

/// A law that was found broken.
#[derive(Debug)]
pub struct Broken {
    /// The law.
    pub law: Law,
    /// How to break it, step by step.
    pub story: String,
}

impl Report {
    /// Everything that can be seen and was not.
    pub fn unseen(&self) -> Vec<Sight> {
        let seen = |sight: &Sight| self.sightings.count(*sight) > 0;
        Sight::ALL.into_iter().filter(|sight| !seen(sight)).collect()
    }

    /// Whether this law was found broken.
    pub fn broke(&self, law: Law) -> bool {
        self.broken.iter().any(|broken| broken.law == law)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { config, states, steps, depth, .. } = self;
        writeln!(f, "{}: {states} states, {steps} steps, depth {depth}", config.name())?;
        for sight in Sight::ALL {
            writeln!(f, "  {:>9}  {sight:?}", self.sightings.count(sight))?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN: {}\n{}", broken.law.name(), broken.story)?;
        }
        Ok(())
    }
}

/// Explores everything that `config` allows, with this many threads.
pub fn check(config: Config, threads: usize) -> Report {
    let model = TwoProcesses::new(config.clone());
    let sightings = Arc::clone(&model.sightings);
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let broken = Law::ALL.into_iter().filter_map(|law| {
        let path = checker.discovery(law.name())?;
        Some(Broken { law, story: tell(path) })
    });
    let broken = broken.collect();
    Report { config, states, steps, depth, broken, sightings }
}

fn tell(path: Path<State, Action>) -> String {
    let mut told = String::new();
    let mut taken: Option<Action> = None;
    for (number, (state, next)) in path.into_vec().into_iter().enumerate() {
        let action = taken.as_ref().map_or("begin".to_owned(), story::action);
        // Writing to a string does not fail.
        let _ = writeln!(told, "{number:>3}  {action}\n{}", story::state(&state));
        taken = next;
    }
    told
}
