//! A second exploration: two processes whose login attempts, refreshes and logouts share one record.
//!
//! It runs the shipped attempt machine and the shipped ledger, on locks of the kernel. A session is reduced to what it does
//! for its attempts: it hands on news, answers and logouts. A refresh is reduced to the right to spend: it claims the
//! right, presents the token, writes, and ends its claim. The [flights](crate) themselves are explored without logins.
//!
//! An operation on the store and its answer are one step, and the operations of an attempt may take effect in any order.
//! Time passes only where nothing else can happen, to the next time that an attempt waits for. So an attempt neither gives
//! an operation up nor renews a claim.

mod state;
mod step;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stateright::{Checker, Model, Property};
use tokenkeeper_actors::law::flight::StoreTimeouts;
use tokenkeeper_actors::law::login::{LoginEquipment, LoginLimits};
use tokenkeeper_actors::values::{Account, DigestKey, ServerIdentity, Target};

pub use state::LoginState;

/// The number of events of each kind in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoginBounds {
    /// Attempts that each process begins to ask a person, one after the other.
    pub attempts: u8,
    /// Answers that people give. One answer may come twice, and in either process.
    pub answers: u8,
    /// Processes that die and start again.
    pub crashes: u8,
    /// Logouts.
    pub logouts: u8,
    /// Refreshes of one process.
    pub refreshes: u8,
    /// Redemptions whose answer is lost.
    pub lost_answers: u8,
    /// Stretches of time.
    pub waits: u8,
}

impl LoginBounds {
    /// One attempt of each process, and one answer.
    pub const CALM: LoginBounds =
        LoginBounds { attempts: 1, answers: 1, crashes: 0, logouts: 0, refreshes: 0, lost_answers: 0, waits: 14 };

    /// A process dies.
    pub const CRASHED: LoginBounds = LoginBounds { crashes: 1, ..LoginBounds::CALM };

    /// A logout.
    pub const LOGGED_OUT: LoginBounds = LoginBounds { logouts: 1, ..LoginBounds::CALM };

    /// A refresh of one process.
    pub const REFRESHED: LoginBounds = LoginBounds { refreshes: 1, ..LoginBounds::CALM };

    /// The answer to the code is lost.
    pub const LOST: LoginBounds = LoginBounds { lost_answers: 1, ..LoginBounds::CALM };

    /// An answer that may come twice.
    pub const TWICE: LoginBounds = LoginBounds { answers: 2, ..LoginBounds::CALM };

    /// Those that CI has time for.
    pub const USUAL: [LoginBounds; 5] =
        [LoginBounds::CALM, LoginBounds::CRASHED, LoginBounds::LOGGED_OUT, LoginBounds::REFRESHED, LoginBounds::LOST];

    /// Larger ones.
    pub const LARGER: [LoginBounds; 1] = [LoginBounds::TWICE];
}

/// A step of the exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAction {
    /// A process begins an attempt to ask a person.
    Begin(usize),
    /// An operation of an attempt takes effect and is answered.
    Perform {
        /// The process.
        process: usize,
        /// The attempt's place.
        attempt: usize,
        /// The operation's place.
        op: usize,
    },
    /// A person answers the request with this number, and the answer arrives in a process.
    Answer {
        /// The request.
        request: u8,
        /// Whether access is allowed.
        yes: bool,
        /// Where the answer arrives.
        process: usize,
    },
    /// The server processes the code that is on its way.
    Redeem,
    /// The answer to the code is lost.
    LoseAnswer,
    /// A process hears of the writes before.
    Hear(usize),
    /// A process begins to log out.
    LogOut(usize),
    /// The logout of a process is written.
    WriteLogout(usize),
    /// A refresh of a process goes one step on.
    Refresh(usize),
    /// A process dies.
    Crash(usize),
    /// Time passes.
    Wait,
}

/// Two processes with login attempts.
#[derive(Debug)]
pub struct Logins {
    bounds: LoginBounds,
    pub(crate) equipment: Arc<LoginEquipment>,
    pub(crate) identity: ServerIdentity,
}

impl Logins {
    /// The model with these bounds.
    pub fn new(bounds: LoginBounds) -> Self {
        let seconds = Duration::from_secs;
        let limits = LoginLimits {
            prompt: seconds(8),
            follow: seconds(12),
            redeem: seconds(4),
            late: seconds(4),
            ..LoginLimits::default()
        };
        let equipment = LoginEquipment { timeouts: StoreTimeouts::default(), digests: DigestKey::new([1; 32]), limits };
        let account = Account::new("a").unwrap_or_else(|_| unreachable!("a short name"));
        let target = Target::mcp("https://r.example/").unwrap_or_else(|_| unreachable!("an address"));
        Self { bounds, equipment: Arc::new(equipment), identity: ServerIdentity::new(account, target) }
    }
}

impl Model for Logins {
    type State = LoginState;
    type Action = LoginAction;

    fn init_states(&self) -> Vec<LoginState> {
        vec![LoginState::new(self.bounds).sealed()]
    }

    fn actions(&self, state: &LoginState, actions: &mut Vec<LoginAction>) {
        state.actions(actions);
    }

    fn next_state(&self, last: &LoginState, action: LoginAction) -> Option<LoginState> {
        Some(step::step(self, last, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("every law of logins holds", |_: &Self, state: &LoginState| state.broken.is_none()),
            Property::sometimes("a login is stored", |_, state: &LoginState| state.seen.stored),
            Property::sometimes("a prompt is taken over", |_, state: &LoginState| state.seen.taken_over),
            Property::sometimes("an answer arrives elsewhere", |_, state: &LoginState| state.seen.elsewhere),
            Property::sometimes("a no is shared", |_, state: &LoginState| state.seen.no_shared),
        ]
    }
}

/// The result of the exploration.
#[derive(Debug)]
pub struct LoginReport {
    /// The bounds.
    pub bounds: LoginBounds,
    /// The number of states.
    pub states: usize,
    /// Whether every state was expanded.
    pub complete: bool,
    /// The broken law, and the steps that break it.
    pub broken: Option<String>,
    /// Expected events that did not happen.
    pub missing: Vec<&'static str>,
}

/// Explores everything that `bounds` allow, on `threads` threads.
pub fn check_logins(bounds: LoginBounds, threads: usize) -> LoginReport {
    let checker = Logins::new(bounds).checker().threads(threads).spawn_bfs().join();
    let broken = checker.discovery("every law of logins holds").map(|path| {
        let last = path.last_state().broken.clone().unwrap_or_default();
        let steps: Vec<String> = path.into_actions().iter().map(|action| format!("    {action:?}\n")).collect();
        format!("{last}\n{}", steps.concat())
    });
    let names = ["a login is stored", "an answer arrives elsewhere", "a no is shared"];
    // Only a request whose asker has died is taken over.
    let taken_over = Some("a prompt is taken over").filter(|_| bounds.crashes > 0);
    let names = names.into_iter().chain(taken_over);
    let missing = names.filter(|name| checker.discovery(name).is_none()).collect();
    // It ends early where a law is broken.
    let complete = checker.is_done() && broken.is_none();
    LoginReport { bounds, states: checker.unique_state_count(), complete, broken, missing }
}

impl LoginReport {
    /// Whether everything was explored, every law holds, and every expected event was seen.
    pub fn is_good(&self) -> bool {
        self.complete && self.missing.is_empty()
    }
}

impl fmt::Display for LoginReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete = if self.complete { "complete" } else { "NOT COMPLETE" };
        writeln!(f, "logins: {:?}\n    {} states, {complete}", self.bounds, self.states)?;
        self.broken.iter().try_for_each(|broken| writeln!(f, "    BROKEN: {broken}"))?;
        self.missing.iter().try_for_each(|name| writeln!(f, "    never seen: {name}"))
    }
}
