//! Scenes in which people sign in, and programs want logins for what they do.

use tokenkeeper_actors::ports::observer::LoginEffectName as L;

use super::scenes::Script;
use super::{Deed, LoginKind, LoginTrap, SeekerSpec, ServerTrouble, Stimulus, StoreTrouble, Want, When};
use crate::Millis;

impl Script<'_> {
    /// A scene of logins, beside the other events of that time.
    pub(super) fn login_scene(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        match self.rng.below(172) {
            0..18 => self.wanted(process, identity),
            18..27 => self.step_ups(identity),
            27..34 => self.in_vain(process, identity),
            34..42 => self.asker_dies(process, identity),
            42..50 => self.redeemer_dies(process, identity),
            50..58 => self.signed_out_meanwhile(process, identity),
            58..64 => self.unwritten(process, identity),
            64..66 => self.redeemer_dies(process, identity),
            66..72 => self.by_device(process, identity),
            72..78 => self.rare_login(process, identity),
            78..84 => self.servers_forget(process, identity),
            84..87 => self.overtaken(process, identity),
            87..90 => self.asker_dies(process, identity),
            90..95 => self.asker_sleeps(process, identity),
            95..100 => self.tired_of_asking(process, identity),
            100..114 => self.beside_a_doubt(process, identity),
            114..124 => self.stopped_unwritten(process, identity),
            124..132 => self.beside_a_doubt(process, identity),
            132..136 => self.rare_login(process, identity),
            136..166 => self.beside_a_doubt(process, identity),
            _ => self.overtaken(process, identity),
        }
    }

    fn seeker(&mut self, after: Millis, process: usize, identity: usize, want: Want) {
        let spec = SeekerSpec {
            process,
            identity,
            want,
            is_device: self.rng.chance(60),
            same_subject: self.rng.chance(400),
            patience: self.rng.weigh(&[(5, 900_000), (3, 60_000), (1, 4_000), (1, 0)]),
            cancels_after: self.rng.chance(90).then(|| self.rng.between(1, 9_000)),
            rounds: self.rng.below(3) as u8,
        };
        self.push(after, Stimulus::Seek(spec));
    }

    /// A login is wanted, in most cases one that is necessary.
    fn want(&mut self) -> Want {
        self.rng.weigh(&[(4, Want::Person), (6, Want::Again)])
    }

    fn seekers(&mut self, most: u64, identity: usize) {
        let spread = self.rng.pick(&[3, 50, 900, 8_000]);
        for _ in 0..self.rng.between(1, most) {
            let (after, process, want) = (self.rng.below(spread), self.process(), self.want());
            self.seeker(after, process, identity, want);
        }
    }

    fn log_out(&mut self, after: Millis, process: usize, identity: usize) {
        self.push(after, Stimulus::Logout { process, identity });
    }

    fn login_trap(&mut self, effect: L, deed: Deed) {
        let when = self.rng.pick(&[When::Before, When::Begun, When::Done]);
        self.push(0, Stimulus::LoginTrap(LoginTrap { effect, when, deed }));
    }

    /// Ends an attempt, its process or its host at this effect.
    fn end_login_at(&mut self, effect: L) {
        let when = self.rng.pick(&[When::Before, When::Before, When::Begun, When::Done]);
        let deed = self.end();
        self.push(0, Stimulus::LoginTrap(LoginTrap { effect, when, deed }));
    }

    fn wanted(&mut self, process: usize, identity: usize) {
        if self.rng.chance(500) {
            self.log_out(0, process, identity);
        }
        // Effects of each attempt, so that a trap there is reached.
        let effect = self.rng.pick(&[
            L::Claim,
            L::Claim,
            L::Load,
            L::Load,
            L::Prepare,
            L::Put,
            L::Put,
            L::Ask,
            L::Ask,
            L::Show,
            L::Take,
            L::Take,
            L::Judge,
            L::Answer,
            L::Redeem,
            L::Reserve,
            L::Install,
            L::EndClaim,
            L::EndPrompt,
            L::Revoke,
            L::Report,
            L::Report,
        ]);
        match self.rng.below(10) {
            0..6 => self.end_login_at(effect),
            6..8 => {
                let deed = self.deed();
                self.login_trap(effect, deed);
            }
            _ => {}
        }
        self.at += 40;
        self.seekers(6, identity);
        self.burst(3);
        if self.rng.chance(300) {
            let (after, process, want) = (self.rng.between(500, 20_000), self.process(), self.want());
            self.seeker(after, process, identity, want);
        }
    }

    fn step_ups(&mut self, identity: usize) {
        self.burst(3);
        let spread = self.rng.pick(&[5, 400, 20_000, 90_000]);
        for _ in 0..self.rng.between(2, 9) {
            let operation = self.rng.below(3) as u8;
            let (after, process) = (self.rng.below(spread), self.process());
            self.seeker(after, process, identity, Want::Operation(operation));
        }
        if self.rng.chance(400) {
            let span = self.rng.pick(&[20_000, 60_000]);
            self.push(0, Stimulus::Caprice { operation: 1, challenge: 0, span });
            self.at += spread;
            self.burst(5);
        }
        if self.rng.chance(300) {
            let effect = self.rng.pick(&[L::Redeem, L::Install, L::Ask, L::Prepare]);
            self.end_login_at(effect);
        }
    }

    /// A login is made for an operation, which is refused all the same.
    fn in_vain(&mut self, process: usize, identity: usize) {
        self.push(0, Stimulus::Caprice { operation: 1, challenge: 0, span: 60_000 });
        for after in [0, 200] {
            self.seeker(after, process, identity, Want::Operation(1));
        }
        for _ in 0..12 {
            let after = self.rng.between(500, 20_000);
            self.caller(after);
        }
    }

    /// The process that asks dies while the request is open, and another one takes it over.
    fn asker_dies(&mut self, process: usize, identity: usize) {
        let want = self.want();
        self.seeker(0, process, identity, want);
        let other = self.process();
        let want = self.want();
        self.seeker(30, other, identity, want);
        let down = self.rng.pick(&[50, 3_000, 30_000]);
        let after = self.rng.between(400, 3_000);
        self.push(after, Stimulus::Crash { process, down });
        let effect = self.rng.pick(&[L::Peek, L::Peek, L::Peek, L::Peek, L::Show, L::Discard, L::Prepare]);
        self.at += after;
        if self.rng.chance(850) {
            self.end_login_at(effect);
        }
        for _ in 0..self.rng.between(1, 3) {
            let (after, process, want) = (self.rng.below(9_000), self.process(), self.want());
            self.seeker(after, process, identity, want);
        }
    }

    /// The process that redeems an answer dies.
    fn redeemer_dies(&mut self, process: usize, identity: usize) {
        let effect = self.rng.pick(&[L::Judge, L::Answer, L::Redeem, L::Redeem, L::Reserve, L::Install]);
        self.end_login_at(effect);
        if self.rng.chance(300) {
            let effect = self.rng.pick(&[L::Take, L::EndPrompt, L::EndClaim]);
            self.end_login_at(effect);
        }
        let want = self.want();
        self.seeker(0, process, identity, want);
        for _ in 0..self.rng.between(1, 4) {
            let (after, process, want) = (self.rng.below(60_000), self.process(), self.want());
            self.seeker(after, process, identity, want);
        }
        self.burst(4);
        self.at += 40_000;
        self.seekers(3, identity);
    }

    fn signed_out_meanwhile(&mut self, process: usize, identity: usize) {
        let want = self.want();
        self.seeker(0, process, identity, want);
        if self.rng.chance(500) {
            let deed = Deed::Logout;
            let effect = self.rng.pick(&[L::Judge, L::Answer, L::Redeem, L::Reserve, L::Install, L::Show, L::Take]);
            self.login_trap(effect, deed);
            if self.rng.chance(700) {
                self.end_login_at(L::Revoke);
            }
        }
        if self.rng.chance(300) {
            self.push(300, Stimulus::StoreTrouble { kind: StoreTrouble::WritesFail, span: 4_000 });
            self.end_login_at(L::Discard);
        }
        let (after, other) = (self.rng.between(50, 9_000), self.process());
        let where_to = if self.rng.chance(500) { process } else { other };
        self.log_out(after, where_to, identity);
        self.at += after + 500;
        if self.rng.chance(400) {
            self.seekers(3, identity);
        }
    }

    /// The login comes, and the store does not take it.
    fn unwritten(&mut self, process: usize, identity: usize) {
        let kind = self.rng.pick(&[StoreTrouble::SavesFail, StoreTrouble::SavesFail, StoreTrouble::Hangs]);
        let span = self.rng.pick(&[15_000, 60_000, 150_000]);
        let onset = if kind == StoreTrouble::SavesFail { 0 } else { self.rng.between(500, 3_000) };
        self.push(onset, Stimulus::StoreTrouble { kind, span });
        let want = self.want();
        self.seeker(0, process, identity, want);
        let later = self.rng.between(4_000, 30_000);
        let what = match self.rng.below(10) {
            0..2 => Stimulus::Logout { process, identity },
            2..5 => Stimulus::Shutdown { process, grace: self.rng.pick(&[3_000, 6_000, 12_000]) },
            5 => Stimulus::KillSession { process, identity },
            6 => Stimulus::Crash { process, down: 500 },
            7..9 => Stimulus::Login { process: self.process(), identity, kind: LoginKind::Fresh },
            _ => Stimulus::BreakAttempts { process },
        };
        if self.rng.chance(800) {
            self.push(later, what);
        }
        if self.rng.chance(400) {
            let effect = self.rng.pick(&[L::Reserve, L::Install, L::Renew, L::Revoke]);
            self.end_login_at(effect);
        }
        self.at += 5_000;
        self.burst(5);
        self.at += span / 2;
        self.burst(4);
    }

    /// The process stops while it holds a login that its store does not take.
    fn stopped_unwritten(&mut self, process: usize, identity: usize) {
        self.push(0, Stimulus::StoreTrouble { kind: StoreTrouble::SavesFail, span: 200_000 });
        let spec = SeekerSpec {
            process,
            identity,
            want: self.want(),
            is_device: false,
            same_subject: false,
            patience: 900_000,
            cancels_after: None,
            rounds: 0,
        };
        self.push(0, Stimulus::Seek(spec));
        let after = self.rng.between(3_000, 14_000);
        let grace = self.rng.pick(&[1_000, 3_000, 9_000]);
        self.push(after, Stimulus::Shutdown { process, grace });
    }

    /// A code comes while a refresh of the old grant is in doubt, for longer than the code can wait.
    fn beside_a_doubt(&mut self, process: usize, identity: usize) {
        self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Loses, span: 900 });
        self.forced(1, process, identity);
        let other = self.process();
        for after in [20, 900] {
            self.seeker(after, other, identity, Want::Again);
        }
        self.push(2_000, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span: 60_000 });
        let after = self.rng.between(4_000, 20_000);
        self.push(after, Stimulus::ServerTrouble { kind: ServerTrouble::Breaks, span: 20_000 });
    }

    fn by_device(&mut self, process: usize, identity: usize) {
        if self.rng.chance(500) {
            self.end_login_at(L::Poll);
        }
        for after in [0, 700] {
            let spec = SeekerSpec {
                process,
                identity,
                want: self.want(),
                is_device: true,
                same_subject: false,
                patience: 900_000,
                cancels_after: None,
                rounds: 1,
            };
            self.push(after, Stimulus::Seek(spec));
        }
        if self.rng.chance(300) {
            let after = self.rng.between(1_000, 30_000);
            self.log_out(after, process, identity);
        }
        self.at += 20_000;
    }

    /// Effects that are rare, often with the end of their process.
    fn rare_login(&mut self, process: usize, identity: usize) {
        let want = self.want();
        match self.rng.below(6) {
            0..2 => {
                // Claims are renewed only on leases, and by an attempt that waits for long.
                self.end_login_at(L::Renew);
                self.seeker(0, process, identity, want);
                self.seeker(30_000, process, identity, want);
                self.seeker(70_000, process, identity, want);
                self.at += 80_000;
            }
            2 => {
                // Two processes ask at once, or the record changes before the request is written.
                self.end_login_at(L::Discard);
                self.seeker(0, process, identity, want);
                self.push(15, Stimulus::Configure { process, identity, plan: 1 });
                for _ in 0..6 {
                    let (after, plan) = (self.rng.below(500), self.rng.below(3) as usize);
                    self.push(after, Stimulus::Configure { process, identity, plan });
                }
            }
            3 | 4 => {
                // Another login or logout is written while the code is redeemed.
                self.end_login_at(L::Revoke);
                self.login_trap(L::Redeem, Deed::Logout);
                self.seeker(0, process, identity, want);
            }
            _ => {
                self.end_login_at(L::EndPrompt);
                self.seeker(0, process, identity, want);
            }
        }
    }

    fn servers_forget(&mut self, process: usize, identity: usize) {
        let want = if self.rng.chance(500) { Want::Operation(0) } else { self.want() };
        self.seeker(0, process, identity, want);
        let after = self.rng.between(100, 4_000);
        match self.rng.below(6) {
            0..3 => {
                // The server forgets the client while its user is asked, or after the code was issued.
                self.push(after, Stimulus::RejectClients);
                if self.rng.chance(600) {
                    self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span: 30_000 });
                }
            }
            3 => {
                let kind = self.rng.pick(&[
                    ServerTrouble::Loses,
                    ServerTrouble::Unreachable,
                    ServerTrouble::Slow,
                    ServerTrouble::Down,
                ]);
                self.push(after, Stimulus::ServerTrouble { kind, span: 8_000 });
            }
            4 => self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Unreachable, span: 3_000 }),
            _ => self.push(after, Stimulus::EndLineages { identity }),
        }
        self.at += after;
        self.burst(4);
    }

    /// Another login, an import or a refresh comes between.
    fn overtaken(&mut self, process: usize, identity: usize) {
        let want = self.want();
        self.seeker(0, process, identity, want);
        for _ in 0..self.rng.between(1, 3) {
            let (after, other) = (self.rng.between(300, 9_000), self.process());
            self.push(after, Stimulus::Login { process: other, identity, kind: LoginKind::Fresh });
        }
        if self.rng.chance(600) {
            self.login_trap(L::Redeem, Deed::Login);
            self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span: 15_000 });
        }
        let after = self.rng.between(300, 6_000);
        self.forced(after, process, identity);
    }

    /// The process that asks stands still, and its claim runs out.
    fn asker_sleeps(&mut self, process: usize, identity: usize) {
        let want = self.want();
        self.seeker(0, process, identity, want);
        let span = self.rng.pick(&[20_000, 60_000, 200_000, 900_000]);
        let after = self.rng.between(300, 3_000);
        self.push(after, Stimulus::Pause { process, span: span.min(200_000) });
        if self.rng.chance(400) {
            self.push(after + 100, Stimulus::ForgetClaims);
        }
        if self.rng.chance(500) {
            self.push(after + 300, Stimulus::ForgetClaims);
            let (after, other) = (after + self.rng.between(400, 4_000), self.process());
            self.seeker(after, other, identity, Want::Again);
        }
        self.at += after + 40_000;
        self.seekers(4, identity);
        self.at += span / 2;
        self.seekers(2, identity);
    }

    /// One operation wants logins again and again.
    fn tired_of_asking(&mut self, process: usize, identity: usize) {
        for _ in 0..7 {
            let after = self.rng.between(500, 30_000);
            let spec = SeekerSpec {
                process,
                identity,
                want: Want::Operation(2),
                is_device: false,
                same_subject: true,
                patience: 900_000,
                cancels_after: None,
                rounds: 0,
            };
            self.push(after, Stimulus::Seek(spec));
            self.at += after + 15_000;
        }
    }
}
