//! A strict authorization server and the resource behind it. They are the ground truth for the checks of the laws.

use tokenkeeper_actors::law::profile::Refused;
use tokenkeeper_actors::values::record::RefreshCredential;
use tokenkeeper_actors::values::{BootId, DigestKey, Epoch, FlightId, RefreshToken};

use crate::Millis;
use crate::config::{Lifetimes, ServerConfig, ServerKind};
use crate::process::Pid;
use crate::rng::Rng;

/// One login and all refresh tokens that descend from it.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    pub(crate) identity: usize,
    pub(crate) issuer: u8,
    pub(crate) client: u32,
    /// The person who signed in.
    pub(crate) subject: u8,
    pub(crate) ended: Option<End>,
    /// Requests under way that present one of its refresh tokens.
    pub(crate) under_way: Vec<usize>,
}

/// The reason why a lineage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A spent refresh token was presented again, which the server treats as theft.
    Reuse,
    /// A flight or a session revoked the lineage.
    Revoked,
    /// A flight or a session revoked an older lineage, and this server revoked all lineages of the identity.
    Swept,
    /// The server ended it for a reason of its own.
    Whim,
    /// Its user has authorized the client again.
    Reauthorized,
}

#[derive(Clone, Debug)]
pub(crate) struct Rt {
    pub(crate) lineage: usize,
    pub(crate) credential: RefreshCredential,
    /// The time at which it was spent, and its newest successor.
    pub(crate) spent: Option<(Millis, usize)>,
    /// The access token that was issued when it was spent.
    first_at: Option<usize>,
    /// It was presented, and accepted.
    used: bool,
    /// The server has issued another token in its place, and does not accept it any more.
    replaced: bool,
    pub(crate) presentations: Vec<Presentation>,
    /// The number of presentations that were settled by a commit that kept the token.
    pub(crate) settled: usize,
}

/// One presentation of a refresh token, as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Presentation {
    pub(crate) request: usize,
    pub(crate) at: Millis,
    /// The time at which the flight decided on it.
    pub(crate) decided: Millis,
    pub(crate) flight: FlightId,
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) timeout: Millis,
    /// The verdict on the answer that the flight received. `None` until an answer arrives.
    pub(crate) verdict: Option<Verdict>,
    /// The request left late, because its process stood still between the last check and the first byte. Law 1 states
    /// this limit.
    pub(crate) excused: bool,
}

/// The class of a presentation by law 10's table. The simulation works it out independently, from the profile's plain
/// data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Usable,
    /// The answer is usable, and the refresh token stays the same.
    Kept,
    Unspent,
    NonceWanted,
    ClientRejected,
    Dead,
    Doubt,
}

/// The presentations from the last one on whose answer brought tokens and no new refresh token. The count in a mark starts
/// anew with such an answer.
pub(crate) fn since_last_answer(presentations: &[Presentation]) -> &[Presentation] {
    let last = presentations.iter().rposition(|one| one.verdict == Some(Verdict::Kept));
    &presentations[last.unwrap_or_default()..]
}

impl Presentation {
    /// Whether the presentation counts as one that may have spent the token.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.verdict, Some(Verdict::Unspent | Verdict::Kept | Verdict::NonceWanted | Verdict::ClientRejected))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) identity: usize,
    pub(crate) lineage: Option<usize>,
    /// The time at which the request for this token was sent, and the boot of the sender's host.
    pub(crate) asked: Millis,
    pub(crate) boot: BootId,
    /// The true expiry.
    pub(crate) ends: Option<Millis>,
    pub(crate) killed: bool,
    /// The token belongs to another subject.
    pub(crate) foreign: bool,
    pub(crate) flight: Option<FlightId>,
    /// The process that redeemed the code of its login.
    pub(crate) owner: Option<Pid>,
    /// The epoch that its login replaces, and the step in which the attempt began that obtained it.
    pub(crate) base: Option<(Epoch, u64)>,
    /// A record with this token was durable at some time.
    pub(crate) durable: bool,
    /// Storing the token failed or timed out.
    pub(crate) save_failed: bool,
}

/// The true state of all tokens.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) lineages: Vec<Lineage>,
    pub(crate) rts: Vec<Rt>,
    pub(crate) ats: Vec<At>,
    /// The server no longer knows clients up to this number.
    pub(crate) rejects_to: u32,
    pub(crate) clients: u32,
    /// The next answer is for another subject.
    pub(crate) wrong_subject: bool,
    /// Operations that the resource refuses with any token, each with its challenge and the time until which it does.
    pub(crate) caprices: Vec<(u8, u8, Millis)>,
    /// The server refuses every token request until then, with 429 and the time that is left.
    pub(crate) cools_until: Millis,
    /// The number of token requests that were processed.
    pub(crate) processed: u64,
}

/// The server's answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Tokens(Issued),
    Refused(Refused),
    /// The connection breaks in the middle of the answer.
    Half,
}

/// A usable answer.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) at: usize,
    pub(crate) rt: Option<usize>,
    pub(crate) expires_in: Option<u64>,
    pub(crate) foreign: bool,
}

/// The content of a token request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) identity: usize,
    pub(crate) rt: Option<usize>,
    pub(crate) issuer: u8,
    pub(crate) client: u32,
    pub(crate) sent: Millis,
    pub(crate) boot: BootId,
    pub(crate) flight: FlightId,
}

impl Server {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self {
            config,
            lineages: Vec::new(),
            rts: Vec::new(),
            ats: Vec::new(),
            rejects_to: 0,
            clients: 1,
            wrong_subject: false,
            caprices: Vec::new(),
            cools_until: 0,
            processed: 0,
        }
    }

    /// Parses the number in a token's text.
    pub(crate) fn number(token: &str) -> Option<usize> {
        token.split_once('-').and_then(|(_, number)| number.parse().ok())
    }

    pub(crate) fn rt_text(number: usize) -> String {
        format!("rt-{number}")
    }

    pub(crate) fn at_text(number: usize) -> String {
        format!("at-{number}")
    }

    fn new_rt(&mut self, lineage: usize, key: &DigestKey) -> usize {
        let token = RefreshToken::new(Self::rt_text(self.rts.len()));
        let credential = RefreshCredential::new(token, key);
        self.rts.push(Rt {
            lineage,
            credential,
            spent: None,
            first_at: None,
            used: false,
            replaced: false,
            presentations: Vec::new(),
            settled: 0,
        });
        self.rts.len() - 1
    }

    /// A person signs in. Creates a lineage with its first refresh token.
    pub(crate) fn sign_in(&mut self, identity: usize, issuer: u8, client: u32, key: &DigestKey) -> usize {
        self.lineages.push(Lineage { identity, issuer, client, subject: 0, ended: None, under_way: Vec::new() });
        self.new_rt(self.lineages.len() - 1, key)
    }

    /// Issues an access token, with the lifetime that the server states for it.
    pub(crate) fn issue(
        &mut self,
        asked: &Asked,
        lineage: Option<usize>,
        now: Millis,
        rng: &mut Rng,
    ) -> (usize, Option<u64>) {
        let lifetimes = if rng.chance(930) {
            self.config.lifetimes
        } else {
            rng.pick(&[
                Lifetimes::Seconds(1),
                Lifetimes::Seconds(40),
                Lifetimes::Unsaid,
                Lifetimes::Zero,
                Lifetimes::Huge,
            ])
        };
        let (said, lives) = match lifetimes {
            Lifetimes::Seconds(seconds) => (Some(seconds), Some(seconds * 1000)),
            Lifetimes::Unsaid => (None, Some(180_000)),
            Lifetimes::Zero => (Some(0), Some(120_000)),
            Lifetimes::Huge => (Some(u64::MAX / 2000), None),
        };
        self.ats.push(At {
            identity: asked.identity,
            lineage,
            asked: asked.sent,
            boot: asked.boot,
            ends: lives.map(|lives| now + lives),
            killed: false,
            foreign: false,
            flight: Some(asked.flight),
            owner: None,
            base: None,
            durable: false,
            save_failed: false,
        });
        (self.ats.len() - 1, said)
    }

    pub(crate) fn end(&mut self, lineage: usize, how: End) {
        if self.lineages[lineage].ended.is_some() {
            return;
        }
        self.lineages[lineage].ended = Some(how);
        if self.config.family_takes_access || how == End::Revoked {
            for at in self.ats.iter_mut().filter(|at| at.lineage == Some(lineage)) {
                at.killed = true;
            }
        }
    }

    /// Revokes a refresh token's lineage. Where revocation is not confined, revokes the identity's other lineages too.
    pub(crate) fn revoke(&mut self, rt: usize, confined: bool) {
        let lineage = self.rts[rt].lineage;
        self.end(lineage, End::Revoked);
        if !confined {
            let (identity, issuer) = (self.lineages[lineage].identity, self.lineages[lineage].issuer);
            for other in 0..self.lineages.len() {
                if (self.lineages[other].identity, self.lineages[other].issuer) == (identity, issuer) {
                    self.end(other, End::Swept);
                }
            }
        }
    }

    /// Whether the server would forgive the reuse of a refresh token that it has replaced.
    pub(crate) fn forgives(&self, rt: usize, now: Millis) -> bool {
        let Some((spent, successor)) = self.rts[rt].spent else { return true };
        self.config.kind.forgives(now - spent, self.rts[successor].used)
    }

    /// Answers a token request. Faults on the network are not simulated here.
    pub(crate) fn answer(&mut self, asked: &Asked, now: Millis, key: &DigestKey, rng: &mut Rng) -> Reply {
        if asked.client <= self.rejects_to {
            return refused(401, "invalid_client");
        }
        self.processed += 1;
        let Some(rt) = asked.rt else {
            let (at, expires_in) = self.issue(asked, None, now, rng);
            return Reply::Tokens(Issued { at, rt: None, expires_in, foreign: false });
        };
        let lineage = self.rts[rt].lineage;
        if self.lineages[lineage].ended.is_some() || self.lineages[lineage].issuer != asked.issuer {
            return refused(400, "invalid_grant");
        }
        if self.rts[rt].replaced {
            return refused(400, "invalid_grant");
        }
        let first = self.rts[rt].spent.is_none();
        let successor = match self.rts[rt].spent {
            None if rng.chance(self.config.rotates) => {
                let successor = self.new_rt(lineage, key);
                self.rts[rt].spent = Some((now, successor));
                Some(successor)
            }
            None => self.config.repeats.then_some(rt),
            Some((spent, successor)) if self.forgives(rt, now) => match self.config.kind {
                ServerKind::Grace(_) | ServerKind::UntilSuccessorUsed => {
                    let another = self.new_rt(lineage, key);
                    self.rts[successor].replaced = self.config.kind == ServerKind::UntilSuccessorUsed;
                    self.rts[rt].spent = Some((spent, another));
                    Some(another)
                }
                ServerKind::AccessOnly => None,
                ServerKind::SameToken => Some(rt),
                ServerKind::Strict | ServerKind::Idempotent | ServerKind::NeverRotates => Some(successor),
            },
            Some(_) => {
                self.end(lineage, End::Reuse);
                return refused(400, "invalid_grant");
            }
        };
        let repeated = self.rts[rt].first_at.filter(|_| !first && self.config.kind == ServerKind::Idempotent);
        self.rts[rt].used = true;
        if self.config.kills_older && repeated.is_none() {
            for at in self.ats.iter_mut().filter(|at| at.lineage == Some(lineage)) {
                at.killed = true;
            }
        }
        let (at, expires_in) = self.issue(asked, Some(lineage), now, rng);
        match repeated {
            // The text differs, so that the checks can tell the two answers apart. Everything else is the first one's.
            Some(repeated) => {
                (self.ats[at].ends, self.ats[at].killed) = (self.ats[repeated].ends, self.ats[repeated].killed)
            }
            None if first => self.rts[rt].first_at = Some(at),
            None => {}
        }
        let foreign = std::mem::take(&mut self.wrong_subject) && self.config.names_subject;
        self.ats[at].foreign = foreign;
        Reply::Tokens(Issued { at, rt: successor, expires_in, foreign })
    }

    /// Whether the resource accepts an access token for an operation. Returns the challenge if it does not.
    pub(crate) fn accepts(&self, at: usize, operation: u8, now: Millis) -> Result<(), u64> {
        let caprice = self.caprices.iter().find(|(refused, _, until)| *refused == operation && *until > now);
        if let Some((_, challenge, _)) = caprice {
            return Err(u64::from(*challenge) + 100);
        }
        let at = &self.ats[at];
        if at.killed || at.foreign || at.ends.is_some_and(|ends| ends <= now) { Err(1) } else { Ok(()) }
    }
}

pub(crate) fn refused(status: u16, error: &str) -> Reply {
    let error = (!error.is_empty()).then(|| error.to_owned());
    Reply::Refused(Refused { status, error, retry_after: None })
}
