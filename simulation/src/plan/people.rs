//! Scenes in which people, servers and resources change their behaviour.

use tokenkeeper_actors::ports::observer::EffectName;

use super::scenes::Script;
use super::{LoginKind, ServerTrouble, SessionPoint, Stimulus};

impl Script<'_> {
    /// The access token dies early, and many callers notice.
    pub(super) fn refusals(&mut self) {
        let identity = self.identity();
        self.burst(5);
        self.push(3, Stimulus::EndAccess { identity });
        self.at += 10;
        self.burst(6);
        if self.rng.chance(300) {
            let process = self.process();
            let after = self.rng.below(100);
            self.push(after, Stimulus::KillSession { process, identity });
        }
    }

    /// Logins and logouts beside a flight.
    pub(super) fn turnover(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.forced(0, process, identity);
        self.burst(4);
        if self.rng.chance(500) {
            let span = self.rng.pick(&[1_000, 5_000]);
            self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Slow, span });
        }
        for _ in 0..self.rng.between(1, 3) {
            let (process, after) = (self.process(), self.rng.pick(&[2, 10, 50, 200, 3_000]));
            let after = self.rng.below(after);
            let what = match self.rng.below(10) {
                0..4 => Stimulus::Logout { process, identity },
                4..9 => Stimulus::Login { process, identity, kind: LoginKind::Fresh },
                _ => Stimulus::Login { process, identity, kind: LoginKind::Elsewhere },
            };
            self.push(after, what);
        }
        if self.rng.chance(400) {
            let effect = self.rng.pick(&[EffectName::Revoke, EffectName::Close, EffectName::Commit]);
            self.trap_at(0, effect);
        }
        if self.rng.chance(700) {
            self.at += 4_000;
            let kind = LoginKind::Fresh;
            self.push(0, Stimulus::Login { process, identity, kind });
            self.at += 300;
            self.burst(3);
        }
        if self.rng.chance(400) {
            let (process, after, plan) = (self.process(), self.rng.below(4_000), self.rng.below(3) as usize);
            self.at -= after.min(self.at);
            self.push(0, Stimulus::Configure { process, identity, plan });
            self.at += after;
        }
    }

    /// The resource refuses every token.
    pub(super) fn caprice(&mut self) {
        let span = self.rng.pick(&[2_000, 15_000, 60_000]);
        for challenge in 0..self.rng.between(1, 2) {
            let operation = self.rng.below(3) as u8;
            self.push(challenge * 700, Stimulus::Caprice { operation, challenge: challenge as u8, span });
        }
        self.burst(6);
        self.at += 1_500;
        self.burst(6);
    }

    pub(super) fn lineage_ends(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        let what = match self.rng.below(4) {
            0..3 => Stimulus::EndLineages { identity },
            _ => Stimulus::RejectClients,
        };
        self.push(0, what);
        if what == Stimulus::RejectClients && self.rng.chance(500) {
            // It rejects them for a time only.
            self.push(2_000, Stimulus::AcceptClients);
            self.forced(4_000, process, identity);
        }
        if self.rng.chance(600) {
            let effect = self.rng.pick(&[EffectName::End, EffectName::Withdraw]);
            self.trap_at(0, effect);
        }
        self.forced(1, process, identity);
        self.burst(4);
        if self.rng.chance(750) {
            self.at += self.rng.between(100, 5_000);
            let process = self.process();
            let kind = self.rng.weigh(&[(8, LoginKind::Fresh), (2, LoginKind::Dead)]);
            self.push(0, Stimulus::Login { process, identity, kind });
            self.at += 200;
            self.burst(4);
        }
    }

    pub(super) fn bad_login(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.burst(3);
        if self.rng.chance(500) {
            self.push(0, Stimulus::ServerTrouble { kind: ServerTrouble::Loses, span: 500 });
            self.forced(1, process, identity);
        }
        let kind = self.rng.weigh(&[
            (3, LoginKind::Held),
            (if self.config.identities > 1 { 12 } else { 0 }, LoginKind::Foreign),
            (2, LoginKind::Dead),
            (2, LoginKind::WithoutRefresh),
        ]);
        let after = self.rng.below(2_000);
        self.push(after, Stimulus::Login { process, identity, kind });
        self.at += 3_000;
        self.burst(3);
        if self.rng.chance(600) {
            self.push(2_000, Stimulus::Login { process, identity, kind: LoginKind::Fresh });
        }
    }

    pub(super) fn changed(&mut self) {
        let (process, identity) = (self.process(), self.identity());
        self.burst(3);
        let what = if self.rng.chance(400) {
            Stimulus::WrongSubject
        } else {
            Stimulus::Issuers { process, identity, moved: self.rng.chance(800) }
        };
        self.push(5, what);
        if matches!(what, Stimulus::Issuers { moved: true, .. }) && self.rng.chance(900) {
            // A second look parks the grant, and a later one takes it back.
            self.push(5_200, what);
            if self.rng.chance(950) {
                self.push(9_000, Stimulus::Issuers { process, identity, moved: false });
            }
        }
        if self.rng.chance(600) {
            self.trap_at(0, EffectName::Close);
        }
        self.forced(10, process, identity);
        self.at += 50;
        self.burst(4);
        if self.rng.chance(600) {
            self.push(5_000, Stimulus::Login { process, identity, kind: LoginKind::Fresh });
            self.at += 5_500;
            self.burst(2);
        }
    }

    pub(super) fn odds(&mut self) {
        let process = self.process();
        let span = self.rng.pick(&[1_000, 20_000, 60_000]);
        let what = match self.rng.below(5) {
            0 => Stimulus::Throttle { process, span },
            1 => {
                self.forced(0, process, 0);
                self.push(12, Stimulus::ForgetClaims);
                Stimulus::ForgetClaims
            }
            2 => Stimulus::LoseWatch { process, span: span / 2 },
            _ => Stimulus::SessionTrap(self.rng.pick(&[
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
