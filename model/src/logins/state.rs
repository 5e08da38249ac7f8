//! A state: two processes with their attempts, the store, and what people and the server know.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::login::{LoginAttempt, LoginEffect};
use tokenkeeper_actors::ports::store::{ClaimScope, PendingLogin};
use tokenkeeper_actors::values::record::{Content, DeadDigests, Grant, Held, Record, Refresh, RefreshCredential};
use tokenkeeper_actors::values::{
    AttemptId, BootId, DigestKey, ElapsedTime, Epoch, FlightId, Jitter, LoginKey, LoginReason, Moment, Now,
    RefreshToken, RenewalPlan, Revision, Scopes, WallTime,
};

use super::{LoginAction, LoginBounds};

/// The elapsed time of the initial state, in milliseconds.
const BEGINNING: u64 = 1_000_000;

/// A state. Two states are equal when their keys are. The key is a hash of the whole text of the state.
#[derive(Clone)]
pub struct LoginState {
    pub(crate) bounds: LoginBounds,
    pub(crate) left: LoginBounds,
    pub(crate) now: u64,
    pub(crate) processes: [Process; 2],
    pub(crate) record: Record,
    pub(crate) pending: BTreeMap<LoginKey, PendingLogin>,
    pub(crate) claims: BTreeMap<ClaimScope, FlightId>,
    /// The requests to people, by number. The key of each is its number.
    pub(crate) requests: Vec<Request>,
    /// The code on its way to the server.
    pub(crate) wire: Option<Wire>,
    pub(crate) seen: Seen,
    pub(crate) broken: Option<String>,
    key: u64,
}

/// The expected events that occurred on the way to a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stored: bool,
    pub(crate) taken_over: bool,
    pub(crate) elsewhere: bool,
    pub(crate) no_shared: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) attempts: Vec<Run>,
    pub(crate) begun: u8,
    /// Attempts begun in all lives, which gives each its id.
    pub(crate) named: u8,
    /// A write has happened that it has not heard of.
    pub(crate) news: bool,
    pub(crate) logging_out: Option<Epoch>,
    pub(crate) refresh: Refreshing,
    pub(crate) refreshes: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refreshing {
    #[default]
    Idle,
    /// It holds the right to spend the token of this epoch.
    Claimed(Epoch),
    /// It has presented the token.
    Sent(Epoch),
}

#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) id: AttemptId,
    pub(crate) machine: LoginAttempt,
    pub(crate) ops: Vec<LoginEffect>,
    /// The request that it shows.
    pub(crate) open: Option<u8>,
    pub(crate) redeeming: Option<Epoch>,
    pub(crate) holds_tokens: bool,
    pub(crate) concluded: Option<Result<(), LoginReason>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The person's answer, and how often it was delivered.
    pub(crate) answer: Option<bool>,
    pub(crate) delivered: u8,
    pub(crate) shown: bool,
    pub(crate) presented: u8,
    pub(crate) by: AttemptId,
}

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) process: usize,
    pub(crate) attempt: AttemptId,
    pub(crate) op: Op,
    pub(crate) request: u8,
}

pub(crate) fn key_of(request: u8) -> LoginKey {
    LoginKey([request; 32])
}

impl LoginState {
    pub(crate) fn new(bounds: LoginBounds) -> Self {
        let credential = RefreshCredential::new(RefreshToken::new("rt"), &DigestKey::new([1; 32]));
        let grant = Grant {
            binding: crate::model::binding(),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Refresh::Held(Held { credential, since: Moment::default(), mark: None }),
            access: None,
            parked: None,
            signed_in: None,
            rotated: false,
        };
        let record = Record {
            epoch: Epoch::new(1),
            revision: Revision::new(1),
            number: 1,
            dead: DeadDigests::default(),
            content: Content::Grant(Box::new(grant)),
            prompt: None,
        };
        Self {
            bounds,
            left: bounds,
            now: BEGINNING,
            processes: Default::default(),
            record,
            pending: BTreeMap::new(),
            claims: BTreeMap::new(),
            requests: Vec::new(),
            wire: None,
            seen: Seen::default(),
            broken: None,
            key: 0,
        }
    }

    /// Fixes the key, after the last change.
    pub(crate) fn sealed(mut self) -> Self {
        self.key = self.text_key();
        self
    }

    pub(crate) fn now(&self) -> Now {
        let elapsed = ElapsedTime::from_millis(self.now);
        let wall = WallTime::from_millis(self.now);
        Now { moment: Moment { wall, elapsed, boot: BootId(1) }, jitter: Jitter::new(0) }
    }

    pub(crate) fn breaks(&mut self, what: &str) {
        self.broken.get_or_insert_with(|| what.to_owned());
    }

    /// Everything that can happen next.
    pub(crate) fn actions(&self, actions: &mut Vec<LoginAction>) {
        if self.broken.is_some() {
            return;
        }
        for (number, process) in self.processes.iter().enumerate() {
            let asks = process.attempts.iter().any(|run| run.concluded.is_none());
            if process.begun < self.bounds.attempts && !asks {
                actions.push(LoginAction::Begin(number));
            }
            for (attempt, run) in process.attempts.iter().enumerate() {
                for op in 0..run.ops.len() {
                    actions.push(LoginAction::Perform { process: number, attempt, op });
                }
            }
            if process.news && !process.attempts.is_empty() {
                actions.push(LoginAction::Hear(number));
            }
            // The processes begin alike, so only one of them logs out and dies.
            if number == 0 && self.left.logouts > 0 && !process.attempts.is_empty() {
                actions.push(LoginAction::LogOut(number));
            }
            if process.logging_out.is_some() {
                actions.push(LoginAction::WriteLogout(number));
            }
            let spend = ClaimScope::Spend(self.record.epoch);
            match process.refresh {
                Refreshing::Idle if number == 0 && process.refreshes < self.bounds.refreshes => {
                    if !self.claims.contains_key(&spend) && self.record.grant().is_some() {
                        actions.push(LoginAction::Refresh(number));
                    }
                }
                Refreshing::Idle => {}
                _ => actions.push(LoginAction::Refresh(number)),
            }
            if number == 0 && self.left.crashes > 0 && !process.attempts.is_empty() {
                actions.push(LoginAction::Crash(number));
            }
        }
        for (request, known) in (0u8..).zip(&self.requests) {
            if !known.shown || self.left.answers == 0 {
                continue;
            }
            for process in 0..2 {
                for yes in [true, false] {
                    if known.answer.is_none_or(|given| given == yes && known.delivered < 2) {
                        actions.push(LoginAction::Answer { request, yes, process });
                    }
                }
            }
        }
        if self.wire.is_some() {
            actions.push(LoginAction::Redeem);
            if self.left.lost_answers > 0 {
                actions.push(LoginAction::LoseAnswer);
            }
        }
        let busy = actions.iter().any(|action| {
            !matches!(
                action,
                LoginAction::Answer { .. } | LoginAction::Crash(_) | LoginAction::LogOut(_) | LoginAction::Begin(_)
            )
        });
        if !busy && self.left.waits > 0 && self.next_wake().is_some() {
            actions.push(LoginAction::Wait);
        }
    }

    /// The next time that an attempt waits for.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let runs = self.processes.iter().flat_map(|process| &process.attempts);
        runs.filter_map(|run| run.machine.next_wake()).map(ElapsedTime::as_millis).min()
    }

    fn text_key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let token = self.record.held().map(|held| held.credential.token().expose().to_owned());
        format!(
            "{:?} {} {:?} {:?} {token:?} {:?} {:?} {:?} {:?} {:?}",
            self.left,
            self.now,
            self.processes,
            self.record,
            self.pending,
            self.claims,
            self.requests,
            self.wire,
            self.seen
        )
        .hash(&mut hasher);
        self.broken.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for LoginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginState").field("now", &self.now).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl PartialEq for LoginState {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for LoginState {}

impl Hash for LoginState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key);
    }
}
