//! Plans are made of scenes: each brings together what belongs together, so that rare things meet.

use tokenkeeper_actors::ports::observer::EffectName;

use super::{
    CallerSpec, Deed, Event, LoginKind, Plan, ServerTrouble, SessionPoint, Stimulus, StoreTrouble, Trap, When,
};
use crate::Millis;
use crate::config::{Config, Lifetimes};
use crate::dice::{Dice, For};

/// How long after the last event the world is left as it is before it heals.
const CURTAIN: Millis = 20_000;

pub(super) fn draw(seed: u64, config: &Config) -> Plan {
    let mut script = Script { dice: Dice::new(seed, For::Plan, 0), config, at: 0, events: Vec::new() };
    for _ in 0..script.dice.between(2, 8) {
        script.pass();
        script.scene();
    }
    let mut events = script.events;
    events.sort_by_key(|event| event.at);
    let heals = events.last().map_or(0, |event| event.at) + CURTAIN;
    Plan { events, heals, weather: true }
}

struct Script<'a> {
    dice: Dice,
    config: &'a Config,
    /// When the present scene begins.
    at: Millis,
    events: Vec<Event>,
}

impl Script<'_> {
    /// Lets time pass between two scenes: a moment, or until tokens get old.
    fn pass(&mut self) {
        let lifetime = match self.config.server.lifetimes {
            Lifetimes::Seconds(seconds) => seconds * 1000,
            Lifetimes::Unsaid | Lifetimes::Zero | Lifetimes::Huge => 60_000,
        };
        self.at += match self.dice.below(10) {
            0..3 => self.dice.between(10, 3_000),
            3..5 => self.dice.between(5_000, 60_000),
            5..7 => lifetime * self.dice.between(70, 99) / 100,
            7..9 => lifetime + self.dice.between(1, 2_000),
            _ => self.dice.between(60_000, 400_000),
        };
    }

    fn scene(&mut self) {
        match self.dice.below(100) {
            0..8 => self.burst(8),
            8..14 => self.server_trouble(),
            14..20 => self.store_trouble(),
            20..32 => self.trap(),
            32..42 => self.degraded(),
            42..56 => self.rare(),
            56..61 => self.sleep(),
            61..66 => self.refusals(),
            66..72 => self.turnover(),
            72..76 => self.kills(),
            76..80 => self.shutdown(),
            80..84 => self.clocks(),
            84..87 => self.caprice(),
            87..90 => self.lineage_ends(),
            90..93 => self.bad_login(),
            93..95 => self.zombie(),
            95..97 => self.changed(),
            _ => self.odds(),
        }
    }

    fn push(&mut self, after: Millis, what: Stimulus) {
        self.events.push(Event { at: self.at + after, what });
    }

    fn process(&mut self) -> usize {
        self.dice.below(self.config.processes.len() as u64) as usize
    }

    fn identity(&mut self) -> usize {
        self.dice.below(self.config.identities as u64) as usize
    }

    fn host(&mut self) -> usize {
        self.dice.below(self.config.hosts.len() as u64) as usize
    }

    fn caller(&mut self, after: Millis) {
        let dice = &mut self.dice;
        let spec = CallerSpec {
            process: dice.below(self.config.processes.len() as u64) as usize,
            identity: dice.below(self.config.identities as u64) as usize,
            patience: dice.weigh(&[(5, 30_000), (3, 120_000), (2, 5_000), (1, 300), (1, 0)]),
            min_lifetime: dice.weigh(&[(8, 0), (2, 5_000), (1, 60_000), (1, 4_000_000)]),
            force: dice.chance(60),
            rounds: dice.between(0, 4) as u8,
            think: dice.weigh(&[(5, 5), (3, 300), (2, 3_000), (1, 25_000)]),
            leaves_after: if dice.chance(120) { Some(dice.between(0, 4_000)) } else { None },
            operation: dice.below(3) as u8,
        };
        self.push(after, Stimulus::Caller(spec));
    }

    /// Callers in all processes, at nearly the same time.
    fn burst(&mut self, most: u64) {
        let spread = self.dice.pick(&[2, 40, 400, 5_000]);
        for _ in 0..self.dice.between(1, most) {
            let after = self.dice.below(spread);
            self.caller(after);
        }
    }

    fn forced(&mut self, after: Millis, process: usize, identity: usize) {
        let spec = CallerSpec {
            process,
            identity,
            patience: 60_000,
            min_lifetime: 0,
            force: true,
            rounds: 2,
            think: 10,
            leaves_after: None,
            operation: 0,
        };
        self.push(after, Stimulus::Caller(spec));
    }

    fn server_trouble(&mut self) {
        let kind = self.dice.pick(&[
            ServerTrouble::Unreachable,
            ServerTrouble::Loses,
            ServerTrouble::Loses,
            ServerTrouble::Slow,
            ServerTrouble::Throttles,
            ServerTrouble::Breaks,
            ServerTrouble::Complains,
            ServerTrouble::Garbles,
        ]);
        let span = self.dice.pick(&[200, 3_000, 20_000, 90_000]);
        self.push(0, Stimulus::ServerTrouble { kind, span });
        if self.dice.chance(400) {
            let (process, identity) = (self.process(), self.identity());
            self.forced(1, process, identity);
        }
        self.burst(6);
        if self.dice.chance(500) {
            self.at += span;
            self.burst(4);
        }
    }

    fn store_trouble(&mut self) {
        let kind = self.dice.pick(&[
            StoreTrouble::Fails,
            StoreTrouble::Hangs,
            StoreTrouble::Hangs,
            StoreTrouble::SavesFail,
            StoreTrouble::WritesFail,
            StoreTrouble::Unreadable,
            StoreTrouble::NoClaims,
            StoreTrouble::Slow,
        ]);
        let span = self.dice.pick(&[100, 3_000, 20_000, 60_000]);
        let after = self.dice.pick(&[0, 5, 30]);
        self.push(after, Stimulus::StoreTrouble { kind, span });
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(5);
    }

    fn deed(&mut self) -> Deed {
        let short = self.dice.pick(&[20, 500, 4_000]);
        let span = self.dice.pick(&[300, 2_500, 8_000, 40_000, 120_000]);
        match self.dice.below(20) {
            0..8 => Deed::Crash { down: short },
            8..10 => Deed::BreakFlight,
            10..12 => Deed::KillSession,
            12..14 => Deed::Pause { span },
            14..16 => Deed::Suspend { span },
            16 => Deed::Reboot { down: short },
            17 => Deed::Shutdown { grace: short },
            18 => Deed::Logout,
            _ => Deed::Login,
        }
    }

    fn effect(&mut self) -> EffectName {
        self.dice.weigh(&[
            (2, EffectName::AskPermit),
            (2, EffectName::Load),
            (2, EffectName::Claim),
            (3, EffectName::Mark),
            (4, EffectName::Send),
            (4, EffectName::Commit),
            (2, EffectName::ReturnPermit),
            (2, EffectName::EndClaim),
            (2, EffectName::Report),
        ])
    }

    /// The end of whoever is at work.
    fn end(&mut self) -> Deed {
        let down = self.dice.pick(&[20, 500, 4_000]);
        self.dice.weigh(&[(6, Deed::Crash { down }), (3, Deed::BreakFlight), (1, Deed::Reboot { down })])
    }

    /// Whoever is at work ends at this effect.
    fn end_at(&mut self, effect: EffectName) {
        let when = self.dice.pick(&[When::Before, When::Before, When::Begun, When::Done]);
        let deed = self.end();
        self.push(0, Stimulus::Trap(Trap { effect, when, deed }));
    }

    /// What seldom happens, and the end of whoever does it.
    fn rare(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let saves_fail = |span| Stimulus::StoreTrouble { kind: StoreTrouble::SavesFail, span };
        match self.dice.below(20) {
            0..2 => {
                self.end_at(EffectName::Withdraw);
                let kind = self.dice.pick(&[ServerTrouble::Throttles, ServerTrouble::Unreachable]);
                self.push(0, Stimulus::ServerTrouble { kind, span: 800 });
            }
            2 => {
                self.end_at(EffectName::End);
                self.push(0, Stimulus::EndLineages { identity });
            }
            3..7 => {
                // Nothing but the note that the token is spent can be written, or not even that.
                if self.dice.chance(750) {
                    self.end_at(EffectName::Spent);
                }
                let kind = self.dice.weigh(&[(3, StoreTrouble::SavesFail), (2, StoreTrouble::WritesFail)]);
                let onset = if kind == StoreTrouble::SavesFail { 0 } else { self.dice.between(8, 40) };
                self.push(onset, Stimulus::StoreTrouble { kind, span: 60_000 });
                let after = self.dice.between(150, 900);
                self.push(after, Stimulus::Shutdown { process, grace: 25_000 });
            }
            7..10 => {
                self.end_at(EffectName::Renew);
                self.push(0, saves_fail(90_000));
            }
            10..13 => {
                // The pair arrives after the logout.
                self.end_at(EffectName::Revoke);
                self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span: 300 });
                let after = self.dice.between(40, 350);
                self.push(after, Stimulus::Logout { process, identity });
            }
            13..17 => {
                // The logout cannot be stored, and the flight takes it over.
                if self.dice.chance(250) {
                    self.end_at(EffectName::Close);
                }
                let (onset, span) = (self.dice.between(10, 60), self.dice.between(900, 4_000));
                self.push(onset, Stimulus::StoreTrouble { kind: StoreTrouble::WritesFail, span });
                let after = self.dice.between(120, 600);
                self.push(after, Stimulus::Logout { process, identity });
            }
            17 => {
                self.end_at(EffectName::Close);
                self.push(0, Stimulus::WrongSubject);
            }
            _ => {
                let after = self.dice.below(5);
                let span = self.dice.pick(&[1_000, 20_000]);
                self.push(after, Stimulus::Throttle { process, span });
                self.burst(3);
            }
        }
        self.forced(1, process, identity);
        if self.dice.chance(500) {
            self.at += 5_000;
            self.burst(3);
        }
    }

    fn trap_at(&mut self, after: Millis, effect: EffectName) {
        let when = self.dice.pick(&[When::Before, When::Begun, When::Done]);
        let deed = self.deed();
        self.push(after, Stimulus::Trap(Trap { effect, when, deed }));
    }

    /// Something happens at an effect of a flight that all the common effects belong to.
    fn trap(&mut self) {
        let effect = self.effect();
        self.trap_at(0, effect);
        if self.dice.chance(250) {
            let effect = self.effect();
            self.trap_at(0, effect);
        }
        let (process, identity) = (self.process(), self.identity());
        self.forced(1, process, identity);
        self.burst(6);
        if self.dice.chance(400) {
            self.at += 40_000;
            self.burst(3);
        }
    }

    /// A flight gets an answer and cannot store it; meanwhile something else happens.
    fn degraded(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let kind = self.dice.pick(&[
            StoreTrouble::SavesFail,
            StoreTrouble::SavesFail,
            StoreTrouble::SavesFail,
            StoreTrouble::WritesFail,
            StoreTrouble::Fails,
            StoreTrouble::Hangs,
        ]);
        let span = self.dice.pick(&[2_000, 15_000, 80_000]);
        let onset = if kind == StoreTrouble::SavesFail { 0 } else { self.dice.between(5, 60) };
        self.push(onset, Stimulus::StoreTrouble { kind, span });
        self.forced(1, process, identity);
        if self.dice.chance(500) {
            let kind = self.dice.pick(&[ServerTrouble::Throttles, ServerTrouble::Unreachable, ServerTrouble::Loses]);
            self.push(1, Stimulus::ServerTrouble { kind, span: 900 });
        }
        let effect = self.dice.pick(&[
            EffectName::Withdraw,
            EffectName::Spent,
            EffectName::Spent,
            EffectName::Close,
            EffectName::Revoke,
            EffectName::Renew,
            EffectName::End,
            EffectName::Commit,
        ]);
        self.trap_at(0, effect);
        self.burst(4);
        let later = self.dice.pick(&[300, 1_500, 5_000]);
        match self.dice.below(10) {
            0..2 => self.push(later, Stimulus::Logout { process, identity }),
            2..4 => self.push(later, Stimulus::Login { process, identity, kind: LoginKind::Fresh }),
            4..7 => self.push(later, Stimulus::Shutdown { process, grace: 8_000 }),
            7..8 => self.push(later, Stimulus::KillSession { process, identity }),
            8..9 => {
                let down = self.dice.pick(&[20, 500, 4_000]);
                self.push(later, Stimulus::Crash { process, down });
            }
            _ => {}
        }
    }

    fn sleep(&mut self) {
        let (host, process) = (self.host(), self.process());
        let span = self.dice.pick(&[1_000, 10_000, 45_000, 200_000, 900_000]);
        let after = self.dice.below(80);
        match self.dice.below(4) {
            0..2 => self.push(after, Stimulus::Suspend { host, span }),
            2 => self.push(after, Stimulus::Pause { process, span: span.min(200_000) }),
            _ => self.push(after, Stimulus::Reboot { host, down: 3_000 }),
        }
        self.burst(6);
        self.at += span;
        self.burst(4);
    }

    /// The access token dies before its time, and many notice.
    fn refusals(&mut self) {
        let identity = self.identity();
        self.burst(5);
        self.push(3, Stimulus::EndAccess { identity });
        self.at += 10;
        self.burst(6);
        if self.dice.chance(300) {
            let process = self.process();
            let after = self.dice.below(100);
            self.push(after, Stimulus::KillSession { process, identity });
        }
    }

    /// Logins and logouts beside a flight.
    fn turnover(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(4);
        if self.dice.chance(500) {
            let span = self.dice.pick(&[1_000, 5_000]);
            self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span });
        }
        for _ in 0..self.dice.between(1, 3) {
            let (process, after) = (self.process(), self.dice.pick(&[2, 10, 50, 200, 3_000]));
            let after = self.dice.below(after);
            let what = match self.dice.below(10) {
                0..4 => Stimulus::Logout { process, identity },
                4..9 => Stimulus::Login { process, identity, kind: LoginKind::Fresh },
                _ => Stimulus::Login { process, identity, kind: LoginKind::Elsewhere },
            };
            self.push(after, what);
        }
        if self.dice.chance(400) {
            let effect = self.dice.pick(&[EffectName::Revoke, EffectName::Close, EffectName::Commit]);
            self.trap_at(0, effect);
        }
        if self.dice.chance(700) {
            self.at += 4_000;
            let kind = LoginKind::Fresh;
            self.push(0, Stimulus::Login { process, identity, kind });
            self.at += 300;
            self.burst(3);
        }
    }

    /// Actors die and idle, and flights break off.
    fn kills(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        for _ in 0..self.dice.between(1, 4) {
            let spread = self.dice.pick(&[20, 200, 5_000]);
            let after = self.dice.below(spread);
            let what = match self.dice.below(4) {
                0..3 => Stimulus::KillSession { process, identity },
                _ => Stimulus::BreakFlights { process },
            };
            self.push(after, what);
        }
        self.burst(6);
    }

    fn shutdown(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(4);
        let after = self.dice.pick(&[5, 30, 100, 2_000]);
        let after = self.dice.below(after);
        let grace = self.dice.pick(&[10, 1_000, 10_000, 60_000]);
        self.push(after, Stimulus::Shutdown { process, grace });
    }

    fn clocks(&mut self) {
        let host = self.host();
        self.burst(4);
        for _ in 0..self.dice.between(1, 3) {
            let span = self.dice.pick(&[500, 10_000, 90_000, 4_000_000]) as i64;
            let (after, back) = (self.dice.below(2_000), self.dice.chance(500));
            self.push(after, Stimulus::StepClock { host, by: if back { -span } else { span } });
        }
        self.at += 500;
        self.burst(5);
    }

    /// The resource refuses whatever token it is shown.
    fn caprice(&mut self) {
        let span = self.dice.pick(&[2_000, 15_000, 60_000]);
        for challenge in 0..self.dice.between(1, 2) {
            let operation = self.dice.below(3) as u8;
            self.push(challenge * 700, Stimulus::Caprice { operation, challenge: challenge as u8, span });
        }
        self.burst(6);
        self.at += 1_500;
        self.burst(6);
    }

    fn lineage_ends(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let what = match self.dice.below(4) {
            0..3 => Stimulus::EndLineages { identity },
            _ => Stimulus::RejectClients,
        };
        self.push(0, what);
        if self.dice.chance(600) {
            let effect = self.dice.pick(&[EffectName::End, EffectName::Withdraw]);
            self.trap_at(0, effect);
        }
        self.forced(1, process, identity);
        self.burst(4);
        if self.dice.chance(750) {
            self.at += self.dice.between(100, 5_000);
            let process = self.process();
            let kind = self.dice.weigh(&[(8, LoginKind::Fresh), (2, LoginKind::Dead)]);
            self.push(0, Stimulus::Login { process, identity, kind });
            self.at += 200;
            self.burst(4);
        }
    }

    fn bad_login(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.burst(3);
        if self.dice.chance(500) {
            self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Loses, span: 500 });
            self.forced(1, process, identity);
        }
        let kind = self.dice.weigh(&[
            (3, LoginKind::Held),
            (if self.config.identities > 1 { 9 } else { 0 }, LoginKind::Foreign),
            (2, LoginKind::Dead),
            (2, LoginKind::WithoutRefresh),
        ]);
        let after = self.dice.below(2_000);
        self.push(after, Stimulus::Login { process, identity, kind });
        self.at += 3_000;
        self.burst(3);
        if self.dice.chance(600) {
            self.push(2_000, Stimulus::Login { process, identity, kind: LoginKind::Fresh });
        }
    }

    /// A process stops in the middle of a flight, for longer than its claim lasts, and comes back.
    fn zombie(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let effect = self.dice.pick(&[EffectName::Mark, EffectName::Send, EffectName::Commit, EffectName::Load]);
        let when = self.dice.pick(&[When::Before, When::Begun, When::Done]);
        let span = self.dice.pick(&[60_000, 90_000, 200_000]);
        self.push(0, Stimulus::Trap(Trap { effect, when, deed: Deed::Pause { span } }));
        self.forced(1, process, identity);
        self.burst(4);
        if self.dice.chance(400) {
            self.push(200, Stimulus::ForgetClaims);
        }
        for _ in 0..3 {
            self.at += span / 3;
            self.burst(3);
        }
    }

    fn changed(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.burst(3);
        let what = if self.dice.chance(500) {
            Stimulus::WrongSubject
        } else {
            Stimulus::Issuers { process, identity, moved: self.dice.chance(800) }
        };
        self.push(5, what);
        if self.dice.chance(600) {
            self.trap_at(0, EffectName::Close);
        }
        self.forced(10, process, identity);
        self.at += 50;
        self.burst(4);
        if self.dice.chance(600) {
            self.push(5_000, Stimulus::Login { process, identity, kind: LoginKind::Fresh });
            self.at += 5_500;
            self.burst(2);
        }
    }

    fn odds(&mut self) {
        let process = self.process();
        let span = self.dice.pick(&[1_000, 20_000, 60_000]);
        let what = match self.dice.below(5) {
            0 => Stimulus::Throttle { process, span },
            1 => Stimulus::ForgetClaims,
            2 => Stimulus::LoseWatch { process, span: span / 2 },
            _ => Stimulus::SessionTrap(self.dice.pick(&[
                SessionPoint::Publish,
                SessionPoint::Answer,
                SessionPoint::Reply,
                SessionPoint::Change,
                SessionPoint::Fly,
            ])),
        };
        self.push(0, what);
        self.burst(5);
    }
}
