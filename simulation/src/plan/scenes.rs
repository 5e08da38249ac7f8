//! Builds plans from scenes. Each scene combines related events, so that rare conditions coincide.

use super::{CallerSpec, Event, Plan, Stimulus};
use crate::Millis;
use crate::config::{Config, Lifetimes};
use crate::rng::{For, Rng};

/// The time between the last event and the end of all faults.
const CURTAIN: Millis = 20_000;

pub(super) fn draw(seed: u64, config: &Config) -> Plan {
    let mut script = Script {
        rng: Rng::new(seed, For::Plan, 0),
        config,
        at: 0,
        events: Vec::new(),
        logins: Rng::new(seed, For::LoginPlan, 0),
    };
    for _ in 0..script.rng.between(4, 10) {
        script.pass();
        script.with_logins();
        script.scene();
    }
    let mut events = script.events;
    events.sort_by_key(|event| event.at);
    let heals = events.last().map_or(0, |event| event.at) + CURTAIN;
    Plan { events, heals, weather: true }
}

pub(super) struct Script<'a> {
    pub(super) rng: Rng,
    pub(super) config: &'a Config,
    /// The start of the current scene.
    pub(super) at: Millis,
    events: Vec<Event>,
    /// Draws the scenes of logins, so that the others stay as they are.
    logins: Rng,
}

impl Script<'_> {
    /// Lets a moment pass between two scenes, or enough time for tokens to age.
    fn pass(&mut self) {
        let lifetime = match self.config.server.lifetimes {
            Lifetimes::Seconds(seconds) => seconds * 1000,
            Lifetimes::Unsaid | Lifetimes::Zero | Lifetimes::Huge => 60_000,
        };
        self.at += match self.rng.below(10) {
            0..3 => self.rng.between(10, 3_000),
            3..5 => self.rng.between(5_000, 60_000),
            5..7 => lifetime * self.rng.between(70, 99) / 100,
            7..9 => lifetime + self.rng.between(1, 2_000),
            _ => self.rng.between(60_000, 400_000),
        };
    }

    /// Adds a scene of logins to the one that follows, in some cases.
    fn with_logins(&mut self) {
        let at = self.at;
        std::mem::swap(&mut self.rng, &mut self.logins);
        if self.rng.chance(600) {
            self.at += self.rng.weigh(&[(3, 0), (3, 40), (2, 900), (2, 6_000)]);
            self.login_scene();
        }
        std::mem::swap(&mut self.rng, &mut self.logins);
        self.at = at;
    }

    fn scene(&mut self) {
        match self.rng.below(112) {
            0..6 => self.burst(8),
            6..12 => self.server_trouble(),
            12..15 => self.outage(),
            15..20 => self.store_trouble(),
            20..29 => self.trap(),
            29..36 => self.degraded(),
            36..54 | 100..106 | 109..112 => self.rare(),
            54..57 => self.repeat(),
            57..62 => self.sleep(),
            62..67 => self.refusals(),
            67..73 => self.turnover(),
            73..77 => self.kills(),
            77..80 => self.shutdown(),
            80..84 => self.clocks(),
            84..87 => self.caprice(),
            87..90 => self.lineage_ends(),
            90..93 => self.bad_login(),
            93..95 | 106..109 => self.zombie(),
            95..97 => self.changed(),
            _ => self.odds(),
        }
    }

    pub(super) fn push(&mut self, after: Millis, what: Stimulus) {
        self.events.push(Event { at: self.at + after, what });
    }

    pub(super) fn process(&mut self) -> usize {
        self.rng.below(self.config.processes.len() as u64) as usize
    }

    pub(super) fn identity(&mut self) -> usize {
        self.rng.below(self.config.identities as u64) as usize
    }

    pub(super) fn host(&mut self) -> usize {
        self.rng.below(self.config.hosts.len() as u64) as usize
    }

    pub(super) fn caller(&mut self, after: Millis) {
        let rng = &mut self.rng;
        let spec = CallerSpec {
            process: rng.below(self.config.processes.len() as u64) as usize,
            identity: rng.below(self.config.identities as u64) as usize,
            timeout: rng.weigh(&[(5, 30_000), (3, 120_000), (2, 5_000), (1, 300), (1, 0)]),
            min_lifetime: rng.weigh(&[(8, 0), (2, 5_000), (1, 60_000), (1, 4_000_000)]),
            force: rng.chance(60),
            fail_fast: rng.chance(120),
            rounds: rng.between(0, 4) as u8,
            think: rng.weigh(&[(5, 5), (3, 300), (2, 3_000), (1, 25_000)]),
            leaves_after: if rng.chance(120) { Some(rng.between(0, 4_000)) } else { None },
            operation: rng.below(3) as u8,
        };
        self.push(after, Stimulus::Caller(spec));
    }

    /// Callers in all processes, at nearly the same time.
    pub(super) fn burst(&mut self, most: u64) {
        let spread = self.rng.pick(&[2, 40, 400, 5_000]);
        for _ in 0..self.rng.between(1, most) {
            let after = self.rng.below(spread);
            self.caller(after);
        }
    }

    pub(super) fn forced(&mut self, after: Millis, process: usize, identity: usize) {
        let spec = CallerSpec {
            process,
            identity,
            timeout: 60_000,
            min_lifetime: 0,
            force: true,
            fail_fast: false,
            rounds: 2,
            think: 10,
            leaves_after: None,
            operation: 0,
        };
        self.push(after, Stimulus::Caller(spec));
    }
}
