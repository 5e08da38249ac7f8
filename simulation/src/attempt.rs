//! A simulated login attempt, the person it asks, and the programs that want the login.

use std::collections::{BTreeSet, VecDeque};

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::login::{LoginAttempt, LoginEffect, LoginOrder};
use tokenkeeper_actors::law::session::{LoginCause, LoginRequest, LoginRequestKind, OperationKey};
use tokenkeeper_actors::ports::store::Claim;
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{AttemptId, ElapsedTime, Epoch, LoginKey, LoginReason, Scopes, SignInError};

use crate::Millis;
use crate::process::Pid;

/// An attempt machine, with the state that the checks of the laws keep for it.
#[derive(Debug)]
pub(crate) struct AttemptRun {
    pub(crate) machine: LoginAttempt,
    pub(crate) identity: usize,
    pub(crate) order: LoginOrder,
    /// The attempt's number in the story.
    pub(crate) name: u32,
    /// Seeds the attempt's random draws.
    pub(crate) key: u64,
    pub(crate) ops: u64,
    /// Effects to carry out.
    pub(crate) backlog: VecDeque<LoginEffect>,
    pub(crate) wake: Option<ElapsedTime>,
    pub(crate) ticks: u32,
    pub(crate) facts: AttemptFacts,
}

/// The true facts about an attempt, independent of its machine's state.
#[derive(Debug, Default)]
pub(crate) struct AttemptFacts {
    /// The step in which the attempt began.
    pub(crate) begun: u64,
    /// The latest read, and its beginning.
    pub(crate) loading: Option<(Op, Millis)>,
    /// A read before that was answered too late, and may or may not have been used.
    pub(crate) unsure_read: bool,
    /// The record's revision that its first read returned.
    pub(crate) first_read: Option<u64>,
    /// The requests for claims that were granted.
    pub(crate) granted: BTreeSet<Op>,
    /// The claims that it was granted, until it ends them.
    pub(crate) claims: Vec<Claim>,
    /// A renewal of a claim has failed, or has come too late.
    pub(crate) renewal_failed: bool,
    /// The request that is shown, and waits for the person.
    pub(crate) open: Option<LoginKey>,
    /// Whether it found that it cannot show another attempt's request.
    pub(crate) cannot_show: bool,
    /// Whether the request that it shows is another attempt's.
    pub(crate) took_over: bool,
    /// The epoch that the login replaces whose request it shows or answers.
    pub(crate) base: Option<Epoch>,
    /// The pending login that it has taken out.
    pub(crate) taken: Option<LoginKey>,
    /// Whether the note that the code is presented was written, and the writes of it that failed.
    pub(crate) noted: bool,
    pub(crate) note_failures: u32,
    /// When it asked for the right to spend first, and whether the store could not say.
    pub(crate) spend_asked: Option<Millis>,
    pub(crate) spend_failed: bool,
    /// A code is being presented.
    pub(crate) redeeming: bool,
    pub(crate) arriving: bool,
    /// The tokens that it received.
    pub(crate) issued: Option<IssuedTokens>,
    /// One of its writes of a login failed, or hung past its time-out.
    pub(crate) save_failed: bool,
    pub(crate) logged_out: Option<Epoch>,
    /// Whether its login met another record.
    pub(crate) conflict: bool,
    pub(crate) concluded: Option<Result<(), LoginReason>>,
    pub(crate) unstored: bool,
    pub(crate) settled: bool,
    pub(crate) lost: bool,
    /// Whether its own person or server declined.
    pub(crate) declined: bool,
}

/// The tokens that an attempt received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IssuedTokens {
    pub(crate) at: Option<usize>,
    pub(crate) rt: Option<usize>,
    pub(crate) base: Epoch,
    pub(crate) stored: bool,
    pub(crate) revoked: bool,
}

/// A program, or a person's browser, that asks a session something about a login.
#[derive(Debug)]
pub(crate) struct Seeker {
    pub(crate) pid: Pid,
    pub(crate) identity: usize,
    pub(crate) request: LoginRequest,
    pub(crate) doing: Seeking,
    pub(crate) asked_at: Millis,
    /// How long it waits for each answer.
    pub(crate) patience: Millis,
    /// It cancels the login so long after it was offered.
    pub(crate) cancels_after: Option<Millis>,
    /// The number of times that it begins anew after an error that may pass.
    pub(crate) rounds: u8,
    pub(crate) begins: Option<LoginRequest>,
    pub(crate) turn: u32,
    /// It asks after all faults have ended, and has to be signed in.
    pub(crate) at_rest: bool,
    pub(crate) result: Option<Result<(), SignInError>>,
}

/// The state of a seeker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeking {
    /// About to ask.
    Idle,
    Waiting,
    Done,
}

/// An authorization page, or a page for a code, that was shown to a person.
#[derive(Clone, Debug)]
pub(crate) struct Tab {
    pub(crate) identity: usize,
    pub(crate) key: LoginKey,
    /// The process that shows it.
    pub(crate) shown_by: Pid,
    pub(crate) fate: Answering,
}

/// The way in which a person treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    Yes,
    No,
    /// Yes, after the request has expired.
    Late,
    /// Yes, and the browser loads the callback a second time.
    Twice,
    /// Another site opens the callback with an answer of its own.
    Forged,
    /// The tab is closed, and no answer ever comes.
    Closed,
}

/// A request to a person, as the server knows it.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) identity: usize,
    pub(crate) issuer: u8,
    pub(crate) client: u32,
    pub(crate) is_device: bool,
    pub(crate) scopes: Scopes,
    /// The code that was issued for it, or the refusal.
    pub(crate) answer: Option<Result<usize, ()>>,
    pub(crate) polls: u32,
}

/// An authorization code.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) identity: usize,
    pub(crate) issuer: u8,
    pub(crate) client: u32,
    pub(crate) scopes: Scopes,
    pub(crate) subject: u8,
    pub(crate) issued: Millis,
    /// The number of times that it was presented.
    pub(crate) presented: u32,
    pub(crate) used: bool,
}

/// The state that the checks keep for an identity's logins in one process. It outlives the actors.
#[derive(Debug, Default)]
pub(crate) struct KnownLogins {
    /// Attempts that ask, as the session has heard.
    pub(crate) asking: BTreeSet<AttemptId>,
    /// Attempts of which the session knows that they redeem an answer.
    pub(crate) arriving: BTreeSet<AttemptId>,
    /// Attempts of which the session knows that they hold a login that is not stored.
    pub(crate) keeping: BTreeSet<AttemptId>,
    /// Logins for operations, each with the time of the first one and their number.
    pub(crate) elevations: Vec<(OperationKey, ElapsedTime, u32)>,
    /// Scopes that were declined, each with its time.
    pub(crate) declined: Vec<(String, ElapsedTime)>,
    /// The operations behind attempts, and the scopes they want.
    pub(crate) causes: Vec<(AttemptId, OperationKey, Scopes)>,
    /// Epochs that were begun by logins for operations.
    pub(crate) served: Vec<(Epoch, OperationKey)>,
    /// A request was taken at a time that the checks do not know, so they cannot count.
    pub(crate) unsure: bool,
}

impl Seeker {
    /// Whether it asks for a login, and does not only answer one or wait for it.
    pub(crate) fn cause(&self) -> Option<LoginCause> {
        match &self.request.kind {
            LoginRequestKind::Begin(_, cause) => Some(*cause),
            _ => None,
        }
    }
}

/// The number of an issuer by its name.
pub(crate) fn issuer_of(issuer: &Issuer) -> u8 {
    u8::from(issuer.0 != "https://as0.example")
}
