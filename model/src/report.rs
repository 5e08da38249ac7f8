//! Runs a check, and reports the result.

use std::fmt;
use std::sync::Arc;

use stateright::{Checker, Model};

use crate::config::Config;
use crate::laws::Law;
use crate::model::TwoProcesses;
use crate::sightings::{Sight, Sightings};
use crate::story;

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    /// The configuration of the check.
    pub config: Config,
    /// The number of states.
    pub states: usize,
    /// The number of steps between states, including steps that lead back to the same state.
    pub steps: usize,
    /// The maximum number of steps from the initial state to another one.
    pub depth: usize,
    /// Whether every state was expanded with all of its actions.
    pub complete: bool,
    /// The broken laws, each with a way to break it.
    pub broken: Vec<Broken>,
    /// The events that were seen.
    pub sightings: Arc<Sightings>,
}

/// A broken law.
#[derive(Debug)]
pub struct Broken {
    /// The law.
    pub law: Law,
    /// About the shortest way to break it, step by step.
    pub story: String,
}

/// Explores everything that `config` allows, on `threads` threads.
pub fn check(config: Config, threads: usize) -> Report {
    let model = TwoProcesses::new(config.clone());
    let sightings = Arc::clone(&model.sightings);
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    // This count comes before the stories, because making a story visits states again.
    let complete = checker.is_done() && sightings.expanded() == states as u64;
    let broken = Law::ALL.into_iter().filter_map(|law| {
        let path = checker.discovery(law.name())?;
        Some(Broken { law, story: story::path(path) })
    });
    let broken = broken.collect();
    Report { config, states, steps, depth, complete, broken, sightings }
}

impl Report {
    /// The events that the bounds allow, and that were not seen.
    pub fn missing(&self) -> Vec<Sight> {
        let missing = |sight: &Sight| sight.is_expected(&self.config) && self.sightings.count(*sight) == 0;
        Sight::ALL.iter().copied().filter(missing).collect()
    }

    /// Whether everything was explored, every law holds, and every expected event was seen.
    pub fn is_good(&self) -> bool {
        self.complete && self.broken.is_empty() && self.missing().is_empty()
    }

    /// Whether this law was broken.
    pub fn broke(&self, law: Law) -> bool {
        self.broken.iter().any(|broken| broken.law == law)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { config, states, steps, depth, complete, .. } = self;
        let complete = if *complete { "complete" } else { "NOT COMPLETE" };
        writeln!(f, "{}\n    {states} states, {steps} steps, depth {depth}, {complete}", config.name())?;
        let mut between = "    seen";
        for sight in Sight::ALL.iter().copied().filter(|sight| self.sightings.count(*sight) > 0) {
            write!(f, "{between} {} {}", self.sightings.count(sight), sight.name())?;
            between = ",";
        }
        writeln!(f)?;
        for sight in self.missing() {
            writeln!(f, "    NEVER SEEN: {}", sight.name())?;
        }
        for broken in &self.broken {
            writeln!(f, "    BROKEN: {}\n{}", broken.law.name(), broken.story)?;
        }
        Ok(())
    }
}
