//! Scenes in which machines, stores and networks fail.

use tokenkeeper_actors::ports::observer::EffectName;

use super::scenes::Script;
use super::{Deed, LoginKind, ServerTrouble, Stimulus, StoreTrouble, Trap, When};
use crate::Millis;

impl Script<'_> {
    pub(super) fn server_trouble(&mut self) {
        let kind = self.rng.pick(&[
            ServerTrouble::Unreachable,
            ServerTrouble::Loses,
            ServerTrouble::Loses,
            ServerTrouble::Slow,
            ServerTrouble::Throttles,
            ServerTrouble::Breaks,
            ServerTrouble::Complains,
            ServerTrouble::Garbles,
            ServerTrouble::Halves,
            ServerTrouble::Down,
            ServerTrouble::Down,
        ]);
        let span = self.rng.pick(&[200, 3_000, 20_000, 90_000]);
        self.push(0, Stimulus::ServerTrouble { kind, span });
        if self.rng.chance(400) {
            let (process, identity) = (self.process(), self.identity());
            self.forced(1, process, identity);
        }
        self.burst(6);
        if self.rng.chance(500) {
            self.at += span;
            self.burst(4);
        }
    }

    /// The server cannot be used for minutes or hours, while callers come and go.
    pub(super) fn outage(&mut self) {
        let kind = self.rng.pick(&[
            ServerTrouble::Down,
            ServerTrouble::Down,
            ServerTrouble::Unreachable,
            ServerTrouble::Loses,
            ServerTrouble::Breaks,
        ]);
        let span = self.rng.weigh(&[(4, 45_000), (4, 200_000), (2, 900_000), (1, 7_200_000)]);
        self.push(0, Stimulus::ServerTrouble { kind, span });
        let (process, identity) = (self.process(), self.identity());
        self.forced(1, process, identity);
        self.burst(4);
        for _ in 0..3 {
            self.at += span / 3;
            self.burst(3);
        }
        self.at += 2_000;
    }

    /// A flight repeats its request, while the record changes under it.
    fn repeat_beside_changes(&mut self, process: usize, identity: usize) {
        for _ in 0..self.rng.between(2, 6) {
            let (after, plan) = (self.rng.below(12_000), self.rng.below(3) as usize);
            self.push(after, Stimulus::Configure { process, identity, plan });
        }
    }

    /// An answer is lost, and the flight presents its token once more.
    pub(super) fn repeat(&mut self) {
        let kind = self.rng.pick(&[ServerTrouble::Loses, ServerTrouble::Breaks, ServerTrouble::Halves]);
        let (process, identity) = (self.process(), self.identity());
        // With a slow store, the request leaves seconds later.
        let slow = self.rng.chance(600);
        self.push(0, Stimulus::ServerTrouble { kind, span: if slow { 6_000 } else { 100 } });
        if slow {
            self.push(0, Stimulus::StoreTrouble { kind: StoreTrouble::Slow, span: 15_000 });
        }
        self.forced(1, process, identity);
        if self.rng.chance(700) {
            self.repeat_beside_changes(process, identity);
        }
        self.burst(3);
    }

    pub(super) fn store_trouble(&mut self) {
        let kind = self.rng.pick(&[
            StoreTrouble::Fails,
            StoreTrouble::Hangs,
            StoreTrouble::Hangs,
            StoreTrouble::SavesFail,
            StoreTrouble::WritesFail,
            StoreTrouble::Unreadable,
            StoreTrouble::NoClaims,
            StoreTrouble::CannotClaim,
            StoreTrouble::Slow,
        ]);
        let span = self.rng.pick(&[100, 3_000, 20_000, 60_000]);
        let after = self.rng.pick(&[0, 5, 30]);
        self.push(after, Stimulus::StoreTrouble { kind, span });
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(5);
    }

    pub(super) fn deed(&mut self) -> Deed {
        let short = self.rng.pick(&[20, 500, 4_000]);
        let span = self.rng.pick(&[300, 2_500, 8_000, 40_000, 120_000]);
        match self.rng.below(20) {
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

    pub(super) fn effect(&mut self) -> EffectName {
        self.rng.weigh(&[
            (4, EffectName::AskPermit),
            (4, EffectName::Load),
            (4, EffectName::Claim),
            (4, EffectName::Connect),
            (4, EffectName::Mark),
            (4, EffectName::Send),
            (4, EffectName::Commit),
            (4, EffectName::ReturnPermit),
            (4, EffectName::EndClaim),
            (4, EffectName::Report),
        ])
    }

    /// Draws an end for the flight or the process that reaches a trap.
    pub(super) fn end(&mut self) -> Deed {
        let down = self.rng.pick(&[20, 500, 4_000]);
        self.rng.weigh(&[(6, Deed::Crash { down }), (3, Deed::BreakFlight), (1, Deed::Reboot { down })])
    }

    /// Ends the flight, its process or its host at this effect.
    pub(super) fn end_at(&mut self, effect: EffectName) {
        let when = self.rng.pick(&[When::Before, When::Before, When::Begun, When::Done]);
        let deed = self.end();
        self.push(0, Stimulus::Trap(Trap { effect, when, deed }));
    }

    /// A rare effect, often with the end of its flight or process.
    pub(super) fn rare(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let saves_fail = |span| Stimulus::StoreTrouble { kind: StoreTrouble::SavesFail, span };
        match self.rng.below(41) {
            0..2 => {
                self.end_at(EffectName::Withdraw);
                let kind = self.rng.pick(&[ServerTrouble::Throttles, ServerTrouble::Unreachable]);
                self.push(0, Stimulus::ServerTrouble { kind, span: 800 });
            }
            2 => {
                self.end_at(EffectName::End);
                self.push(0, Stimulus::EndLineages { identity });
            }
            3..11 | 32 | 37 | 40 => {
                // Only the note that the token is spent can be written, or not even that.
                if self.rng.chance(450) {
                    self.end_at(EffectName::Spent);
                }
                let kind = self.rng.weigh(&[(2, StoreTrouble::SavesFail), (1, StoreTrouble::WritesFail)]);
                let onset = if kind == StoreTrouble::SavesFail { 0 } else { self.rng.between(20, 80) };
                self.push(onset, Stimulus::StoreTrouble { kind, span: 60_000 });
                let after = self.rng.between(150, 900);
                self.push(after, Stimulus::Shutdown { process, grace: 25_000 });
            }
            11..15 => {
                self.end_at(EffectName::Renew);
                self.push(0, saves_fail(90_000));
            }
            15..19 => {
                // The token pair arrives after the logout.
                let deed = Deed::Logout;
                let effect = self.rng.pick(&[EffectName::Send, EffectName::Commit]);
                self.push(0, Stimulus::Trap(Trap { effect, when: When::Begun, deed }));
                self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Late, span: 900 });
                self.end_at(EffectName::Revoke);
            }
            19..23 | 33..37 => {
                // The logout cannot be stored, and the flight takes it over.
                if self.rng.chance(250) {
                    self.end_at(EffectName::Close);
                }
                let (onset, span) = (self.rng.between(10, 60), self.rng.between(900, 4_000));
                self.push(onset, Stimulus::StoreTrouble { kind: StoreTrouble::WritesFail, span });
                let after = self.rng.between(120, 600);
                self.push(after, Stimulus::Logout { process, identity });
            }
            23 => {
                self.end_at(EffectName::Close);
                self.push(0, Stimulus::WrongSubject);
            }
            24..30 | 38..40 => {
                // An answer that leaves a doubt and asks for a short pause.
                self.end_at(EffectName::Throttle);
                self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Breaks, span: 15_000 });
                self.burst(3);
            }
            _ => {
                let after = self.rng.below(5);
                let span = self.rng.pick(&[1_000, 20_000]);
                self.push(after, Stimulus::Throttle { process, span });
                self.burst(3);
            }
        }
        self.forced(1, process, identity);
        if self.rng.chance(500) {
            self.at += 5_000;
            self.burst(3);
        }
    }

    pub(super) fn trap_at(&mut self, after: Millis, effect: EffectName) {
        let when = self.rng.pick(&[When::Before, When::Begun, When::Done]);
        let deed = self.deed();
        self.push(after, Stimulus::Trap(Trap { effect, when, deed }));
    }

    /// Sets a trap at one of the common effects of a flight.
    pub(super) fn trap(&mut self) {
        let effect = self.effect();
        if self.rng.chance(500) {
            self.end_at(effect);
        } else {
            self.trap_at(0, effect);
        }
        if self.rng.chance(250) {
            let effect = self.effect();
            self.trap_at(0, effect);
        }
        let (process, identity) = (self.process(), self.identity());
        self.forced(1, process, identity);
        self.burst(6);
        if self.rng.chance(400) {
            self.at += 40_000;
            self.burst(3);
        }
    }

    /// A flight gets an answer and cannot store it. Another event happens in the meantime.
    pub(super) fn degraded(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let kind = self.rng.pick(&[
            StoreTrouble::SavesFail,
            StoreTrouble::SavesFail,
            StoreTrouble::SavesFail,
            StoreTrouble::WritesFail,
            StoreTrouble::Fails,
            StoreTrouble::Hangs,
        ]);
        let span = self.rng.pick(&[2_000, 15_000, 80_000]);
        let onset = if kind == StoreTrouble::SavesFail { 0 } else { self.rng.between(5, 60) };
        self.push(onset, Stimulus::StoreTrouble { kind, span });
        self.forced(1, process, identity);
        if self.rng.chance(500) {
            let kind = self.rng.pick(&[ServerTrouble::Throttles, ServerTrouble::Unreachable, ServerTrouble::Loses]);
            self.push(1, Stimulus::ServerTrouble { kind, span: 900 });
        }
        let effect = self.rng.pick(&[
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
        let later = self.rng.pick(&[300, 1_500, 5_000]);
        match self.rng.below(10) {
            0..2 => self.push(later, Stimulus::Logout { process, identity }),
            2..4 => self.push(later, Stimulus::Login { process, identity, kind: LoginKind::Fresh }),
            4..7 => self.push(later, Stimulus::Shutdown { process, grace: 8_000 }),
            7..8 => self.push(later, Stimulus::KillSession { process, identity }),
            8..9 => {
                let down = self.rng.pick(&[20, 500, 4_000]);
                self.push(later, Stimulus::Crash { process, down });
            }
            _ => {}
        }
    }

    pub(super) fn sleep(&mut self) {
        let (host, process) = (self.host(), self.process());
        let span = self.rng.pick(&[1_000, 10_000, 45_000, 200_000, 900_000]);
        let after = self.rng.below(80);
        match self.rng.below(4) {
            0..2 => self.push(after, Stimulus::Suspend { host, span }),
            2 => self.push(after, Stimulus::Pause { process, span: span.min(200_000) }),
            _ => self.push(after, Stimulus::Reboot { host, down: 3_000 }),
        }
        self.burst(6);
        self.at += span;
        self.burst(4);
    }

    /// Actors die and idle, and flights are aborted.
    pub(super) fn kills(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        for _ in 0..self.rng.between(1, 4) {
            let spread = self.rng.pick(&[20, 200, 5_000]);
            let after = self.rng.below(spread);
            let what = match self.rng.below(4) {
                0..3 => Stimulus::KillSession { process, identity },
                _ => Stimulus::BreakFlights { process },
            };
            self.push(after, what);
        }
        self.burst(6);
    }

    pub(super) fn shutdown(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(4);
        let after = self.rng.pick(&[5, 30, 100, 2_000]);
        let after = self.rng.below(after);
        let grace = self.rng.pick(&[10, 1_000, 10_000, 60_000]);
        self.push(after, Stimulus::Shutdown { process, grace });
    }

    pub(super) fn clocks(&mut self) {
        let host = self.host();
        self.burst(4);
        for _ in 0..self.rng.between(1, 3) {
            let span = self.rng.pick(&[500, 10_000, 90_000, 4_000_000]) as i64;
            let (after, back) = (self.rng.below(2_000), self.rng.chance(500));
            self.push(after, Stimulus::StepClock { host, by: if back { -span } else { span } });
        }
        self.at += 500;
        self.burst(5);
    }

    /// A process stands still in the middle of a flight, for longer than its claim lasts, and then continues.
    pub(super) fn zombie(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let effect = self.rng.pick(&[
            EffectName::Connect,
            EffectName::Mark,
            EffectName::Send,
            EffectName::Commit,
            EffectName::Load,
        ]);
        let when = self.rng.pick(&[When::Before, When::Begun, When::Done]);
        let span = self.rng.pick(&[60_000, 90_000, 200_000]);
        self.push(0, Stimulus::Trap(Trap { effect, when, deed: Deed::Pause { span } }));
        self.forced(1, process, identity);
        self.burst(4);
        if self.rng.chance(400) {
            self.push(200, Stimulus::ForgetClaims);
        }
        for _ in 0..3 {
            self.at += span / 3;
            self.burst(3);
        }
    }
}
