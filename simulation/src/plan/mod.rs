//! What is done to the world, and when: drawn from the seed, and an explicit list, so that it can be shrunk.

mod faults;
mod people;
mod scenes;

use tokenkeeper_actors::ports::observer::EffectName;

use crate::Millis;
use crate::config::Config;

/// One event of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Millis,
    pub(crate) what: Stimulus,
}

/// A schedule: what happens from outside, in the order of time. Everything else follows from it and the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) events: Vec<Event>,
    /// When all faults end, and everything has to come right by itself.
    pub(crate) heals: Millis,
    /// Whether things also go wrong by themselves.
    pub(crate) weather: bool,
}

/// What comes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stimulus {
    /// A caller wants a token and uses it.
    Caller(CallerSpec),
    /// Somebody signs in.
    Login { process: usize, identity: usize, kind: LoginKind },
    /// Somebody signs out.
    Logout { process: usize, identity: usize },
    /// Somebody changes how the identity is renewed: to another plan of the same effect.
    Configure { process: usize, identity: usize, plan: usize },
    /// The resource lists its issuers: the bound one among them, or another one.
    Issuers { process: usize, identity: usize, moved: bool },
    /// A session's actor is killed.
    KillSession { process: usize, identity: usize },
    /// All flights of a process break off, as if by a defect.
    BreakFlights { process: usize },
    /// A process dies, and another takes its place.
    Crash { process: usize, down: Millis },
    /// A process stops in order, for as long as `grace`, and another takes its place.
    Shutdown { process: usize, grace: Millis },
    /// A process is stopped, and goes on later, as if nothing had happened.
    Pause { process: usize, span: Millis },
    /// A host is suspended.
    Suspend { host: usize, span: Millis },
    /// A host boots anew.
    Reboot { host: usize, down: Millis },
    /// Somebody sets a wall clock.
    StepClock { host: usize, by: i64 },
    /// An issuer wants to be left alone, as another session of the process learned.
    Throttle { process: usize, span: Millis },
    /// The store is in trouble.
    StoreTrouble { kind: StoreTrouble, span: Millis },
    /// The way to the server, or the server, is in trouble.
    ServerTrouble { kind: ServerTrouble, span: Millis },
    /// The resource refuses an operation, whatever the token.
    Caprice { operation: u8, challenge: u8, span: Millis },
    /// The store forgets its claims, as after a failover.
    ForgetClaims,
    /// The server ends all lineages of an identity.
    EndLineages { identity: usize },
    /// The server ends all access tokens of an identity that are out.
    EndAccess { identity: usize },
    /// The server forgets the clients registered so far.
    RejectClients,
    /// The server answers the next refresh for somebody else.
    WrongSubject,
    /// The watch of a process breaks: no news for a while, and then the word that some was lost.
    LoseWatch { process: usize, span: Millis },
    /// Something happens at a named effect of a flight.
    Trap(Trap),
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
}

/// How a caller behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerSpec {
    pub(crate) process: usize,
    pub(crate) identity: usize,
    pub(crate) timeout: Millis,
    pub(crate) min_lifetime: Millis,
    pub(crate) force: bool,
    /// How often it comes back after an error or a refusal.
    pub(crate) rounds: u8,
    /// How long it takes between two steps.
    pub(crate) think: Millis,
    /// When it loses interest.
    pub(crate) leaves_after: Option<Millis>,
    pub(crate) operation: u8,
}

/// Where a login's refresh token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginKind {
    Fresh,
    /// At another issuer.
    Elsewhere,
    /// Without a refresh token.
    WithoutRefresh,
    /// One that the server has refused before.
    Dead,
    /// The one that is held, which may be marked.
    Held,
    /// The one that another identity holds.
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
    /// Writes fail, and reads do not.
    WritesFail,
    /// Records cannot be read.
    Unreadable,
    /// Claiming fails.
    NoClaims,
    /// The store says that it cannot give out claims.
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
    /// 4xx that say nothing, before or after.
    Complains,
    /// A success that cannot be read.
    Garbles,
}

/// Something that happens at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    pub(crate) effect: EffectName,
    pub(crate) when: When,
    pub(crate) deed: Deed,
}

/// Which point of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Before it is carried out.
    Before,
    /// Once it has begun, and has no effect yet.
    Begun,
    /// When it has had its effect and has not been answered.
    Done,
}

/// What happens at a trap.
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

impl Plan {
    pub(crate) fn draw(seed: u64, config: &Config) -> Self {
        scenes::draw(seed, config)
    }
}
