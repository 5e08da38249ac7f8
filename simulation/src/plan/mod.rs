//! The events that act on the world, with their times. They are drawn from the seed into an explicit list, so that it
//! can be shrunk.

mod faults;
mod logins;
mod people;
mod scenes;

use tokenkeeper_actors::ports::observer::{EffectName, LoginEffectName};

use crate::Millis;
use crate::config::Config;

/// One event of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Millis,
    pub(crate) what: Stimulus,
}

/// The external events of a schedule, in the order of time. Everything else follows from them and the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) events: Vec<Event>,
    /// The time at which all faults end. After it, every process has to recover by itself.
    pub(crate) heals: Millis,
    /// Whether faults also happen at random.
    pub(crate) weather: bool,
}

/// An external event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stimulus {
    /// A caller wants a token and uses it.
    Caller(CallerSpec),
    /// A person signs in.
    Login { process: usize, identity: usize, kind: LoginKind },
    /// A person signs out.
    Logout { process: usize, identity: usize },
    /// A person changes the identity's renewal plan to another one with the same effect.
    Configure { process: usize, identity: usize, plan: usize },
    /// The resource lists its issuers. `moved` leaves the bound one out.
    Issuers { process: usize, identity: usize, moved: bool },
    /// A session's actor is killed.
    KillSession { process: usize, identity: usize },
    /// All flights of a process are aborted, as if by a defect.
    BreakFlights { process: usize },
    /// A process dies, and another one takes its place.
    Crash { process: usize, down: Millis },
    /// A process shuts down within `grace`, and another one takes its place.
    Shutdown { process: usize, grace: Millis },
    /// A process is paused, and continues later as if nothing had happened.
    Pause { process: usize, span: Millis },
    /// A host is suspended.
    Suspend { host: usize, span: Millis },
    /// A host reboots.
    Reboot { host: usize, down: Millis },
    /// A person sets a wall clock.
    StepClock { host: usize, by: i64 },
    /// An issuer asks for a pause. Another session of the process reports it.
    Throttle { process: usize, span: Millis },
    /// The store is in trouble.
    StoreTrouble { kind: StoreTrouble, span: Millis },
    /// The network or the server is in trouble.
    ServerTrouble { kind: ServerTrouble, span: Millis },
    /// The resource refuses an operation with any token.
    Caprice { operation: u8, challenge: u8, span: Millis },
    /// The store forgets its claims, as after a failover.
    ForgetClaims,
    /// The server ends all lineages of an identity.
    EndLineages { identity: usize },
    /// The server ends all valid access tokens of an identity.
    EndAccess { identity: usize },
    /// The server forgets the clients registered so far.
    RejectClients,
    /// The server accepts all clients again.
    AcceptClients,
    /// The server answers the next refresh with a token of another subject.
    WrongSubject,
    /// The watch of a process breaks. It delivers no notifications for a while, and then reports that some were lost.
    LoseWatch { process: usize, span: Millis },
    /// Sets a trap at a named effect of a flight.
    Trap(Trap),
    /// A program or a person wants a login.
    Seek(SeekerSpec),
    /// All login attempts of a process are aborted, as if by a defect.
    BreakAttempts { process: usize },
    /// Sets a trap at a named effect of a login attempt.
    LoginTrap(LoginTrap),
    /// A process dies before an effect of a session.
    SessionTrap(SessionPoint),
}

/// An effect of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPoint {
    Publish,
    Answer,
    Reply,
    Change,
    Fly,
    SignIn,
}

/// How a caller behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerSpec {
    pub(crate) process: usize,
    pub(crate) identity: usize,
    pub(crate) timeout: Millis,
    pub(crate) min_lifetime: Millis,
    pub(crate) force: bool,
    /// Whether it takes the first failure, and does not wait for another attempt.
    pub(crate) fail_fast: bool,
    /// The number of times that it asks again after an error or a refusal.
    pub(crate) rounds: u8,
    /// The time between two steps.
    pub(crate) think: Millis,
    /// The time after which the caller is cancelled.
    pub(crate) leaves_after: Option<Millis>,
    pub(crate) operation: u8,
}

/// A request to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeekerSpec {
    pub(crate) process: usize,
    pub(crate) identity: usize,
    pub(crate) want: Want,
    pub(crate) is_device: bool,
    pub(crate) same_subject: bool,
    /// How long it waits for each answer.
    pub(crate) patience: Millis,
    /// It cancels the login so long after it was offered.
    pub(crate) cancels_after: Option<Millis>,
    /// The number of times that it begins anew after an error that may pass.
    pub(crate) rounds: u8,
}

/// Why a login is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A person asks to sign in.
    Person,
    /// A person asks to sign in, although signed in.
    Again,
    /// The resource wants more than the lease for this operation.
    Operation(u8),
}

/// The origin of a login's refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginKind {
    Fresh,
    /// At another issuer.
    Elsewhere,
    /// Without a refresh token.
    WithoutRefresh,
    /// A token that the server has refused before.
    Dead,
    /// The stored token, which may be marked.
    Held,
    /// A token that another identity holds.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreTrouble {
    /// Every operation fails at once.
    Fails,
    /// Every operation hangs, and may take effect.
    Hangs,
    /// Tokens cannot be stored; small writes can.
    SavesFail,
    /// Writes fail, and reads work.
    WritesFail,
    /// Records cannot be read.
    Unreadable,
    /// Requests for claims fail.
    NoClaims,
    /// The store reports that it does not support claims.
    CannotClaim,
    /// Operations take seconds.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerTrouble {
    Unreachable,
    /// Answers, and sometimes requests, are lost.
    Loses,
    /// Answers come close to, or after, the time-out.
    Slow,
    /// Answers take some hundred milliseconds.
    Late,
    /// 429 with Retry-After.
    Throttles,
    /// 5xx, before or after the refresh token was spent.
    Breaks,
    /// 4xx without a clear meaning, before or after the refresh token was spent.
    Complains,
    /// A success that cannot be parsed, before or after the refresh token was spent.
    Garbles,
    /// The connection breaks in the middle of the answer, before or after the refresh token was spent.
    Halves,
    /// The server is down. Its gateway answers 5xx or breaks the connection, and nothing is processed.
    Down,
}

/// A trap, which triggers an event at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    pub(crate) effect: EffectName,
    pub(crate) when: When,
    pub(crate) deed: Deed,
}

/// A trap at an effect of a login attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoginTrap {
    pub(crate) effect: LoginEffectName,
    pub(crate) when: When,
    pub(crate) deed: Deed,
}

/// A point in the course of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Before the effect is carried out.
    Before,
    /// The operation has begun, and has not taken effect yet.
    Begun,
    /// The operation has taken effect, and has not been answered.
    Done,
}

/// The event that a trap triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Crash { down: Millis },
    BreakFlight,
    KillSession,
    Pause { span: Millis },
    Suspend { span: Millis },
    Reboot { down: Millis },
    Shutdown { grace: Millis },
    Logout,
    Login,
}

impl Deed {
    /// Whether it ends the flight or the attempt that triggers it.
    pub(crate) fn is_crash(self) -> bool {
        matches!(self, Deed::Crash { .. } | Deed::Reboot { .. } | Deed::BreakFlight)
    }
}

impl Plan {
    pub(crate) fn draw(seed: u64, config: &Config) -> Self {
        scenes::draw(seed, config)
    }
}
