//! A strict authorization server inside the process. It rotates refresh tokens, takes a second presentation for theft,
//! and counts all requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper_actors::law::flight::{Revocation, Spending, TokenRequest};
use tokenkeeper_actors::law::profile::{Evidence, Lost, Refused, Tokens};
use tokenkeeper_actors::ports::source::{NotRevoked, TokenSource};
use tokenkeeper_actors::values::{AccessToken, Lease, RefreshToken, ServerIdentity, TokenKind, Validity};
use tokio::sync::Semaphore;

use super::TestClock;

/// The prefixes of its access tokens and refresh tokens. No other word begins like them, so that a search finds the
/// tokens in any text.
pub(crate) const ACCESS: &str = "AT.zQ9/vX+7k=LmB&2yWp~u5Gd8Rn";
pub(crate) const REFRESH: &str = "RT.hV4/cK+1s=PwE&9tZx~a3Jf6Ub";

/// The server, and the source that asks it. Clones are one server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Inner>);

/// The output has no fields, because they hold all secrets, and each value with this source shows it.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

struct Inner {
    clock: TestClock,
    state: Mutex<State>,
    /// One permit for each answer that may be sent.
    gate: Semaphore,
}

#[derive(Default)]
struct State {
    issued: u64,
    /// The lineage of each refresh token.
    refresh: BTreeMap<String, u64>,
    consumed: BTreeSet<String>,
    revoked: BTreeSet<u64>,
    /// Access tokens that the resource accepts, with their lineage.
    accepted: BTreeMap<String, u64>,
    requests: Vec<String>,
    replays: u64,
    in_flight: usize,
    most_in_flight: usize,
    plan: VecDeque<Answer>,
    delay: Duration,
    revocation_delay: Duration,
    no_revocation: Option<NotRevoked>,
    lifetime: Duration,
    kills_old: bool,
}

/// The server's reaction to one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The correct answer.
    Properly,
    /// It consumes the token, and its answer is lost.
    LostAfter,
    /// It does nothing and sends no answer.
    LostBefore,
    /// It refuses the request, and changes nothing.
    Refuse(u16, Option<Duration>),
    /// The source panics after the server has answered.
    Panic,
    /// The source panics before anything is sent.
    PanicBefore,
}

impl Server {
    pub(crate) fn new(clock: TestClock) -> Self {
        let state = State { lifetime: Duration::from_secs(3_600), ..State::default() };
        let gate = Semaphore::new(Semaphore::MAX_PERMITS / 2);
        Self(Arc::new(Inner { clock, state: Mutex::new(state), gate }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics in here")
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.state().lifetime
    }

    pub(crate) fn lives_for(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// Numbers its tokens from `number` on, so that several servers beside one store issue different ones.
    pub(crate) fn numbers_from(&self, number: u64) {
        self.state().issued = number;
    }

    /// Sets the time that each request takes.
    pub(crate) fn takes(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Sets the time that each revocation takes.
    pub(crate) fn takes_to_revoke(&self, delay: Duration) {
        self.state().revocation_delay = delay;
    }

    /// Makes each revocation fail for this reason.
    pub(crate) fn revokes_nothing(&self, why: NotRevoked) {
        self.state().no_revocation = Some(why);
    }

    /// Makes each refresh invalidate the former access token.
    pub(crate) fn kills_old(&self) {
        self.state().kills_old = true;
    }

    /// Sets the answers to the next requests, one each.
    pub(crate) fn plans(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().plan.extend(answers);
    }

    /// Sends no answer until [`opens`](Self::opens).
    pub(crate) fn shuts(&self) {
        self.0.gate.forget_permits(usize::MAX);
    }

    /// Allows so many answers to be sent.
    pub(crate) fn opens(&self, answers: usize) {
        self.0.gate.add_permits(answers);
    }

    /// Signs a person in. Returns an access token and the first refresh token of a new lineage.
    pub(crate) fn sign_in(&self) -> (String, String) {
        let mut state = self.state();
        let lineage = state.issued;
        state.issue(lineage)
    }

    /// Whether the resource accepts a lease.
    pub(crate) fn accepts(&self, lease: &Lease) -> bool {
        let state = self.state();
        let lineage = state.accepted.get(lease.token().expose());
        lineage.is_some_and(|lineage| !state.revoked.contains(lineage))
    }

    // Counters.

    pub(crate) fn requests(&self) -> usize {
        self.state().requests.len()
    }

    pub(crate) fn replays(&self) -> u64 {
        self.state().replays
    }

    pub(crate) fn revoked(&self) -> usize {
        self.state().revoked.len()
    }

    /// Requests that were received and are not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// Asserts that no token was replayed, no lineage was revoked, and this many requests were made.
    pub(crate) fn is_content_with(&self, requests: usize) {
        assert_eq!((self.requests(), self.replays(), self.revoked()), (requests, 0, 0), "requests, replays, revoked");
    }

    fn present(&self, refresh: &str, answer: &Answer) -> Evidence {
        let at = self.0.clock.moment();
        let mut state = self.state();
        state.requests.push(refresh.to_owned());
        match answer {
            Answer::LostBefore => return Evidence::Lost(Lost::TimedOut),
            Answer::Refuse(status, retry_after) => {
                let retry_after = *retry_after;
                return Evidence::Refused(Refused { status: *status, error: None, retry_after });
            }
            Answer::Properly | Answer::LostAfter | Answer::Panic | Answer::PanicBefore => {}
        }
        let Some(lineage) = state.refresh.get(refresh).copied() else { return invalid_grant() };
        if !state.consumed.insert(refresh.to_owned()) {
            state.replays += 1;
            state.revoked.insert(lineage);
        }
        if state.revoked.contains(&lineage) {
            return invalid_grant();
        }
        if state.kills_old {
            state.accepted.retain(|_, of| *of != lineage);
        }
        let (access, next) = state.issue(lineage);
        let lifetime = state.lifetime;
        if matches!(answer, Answer::LostAfter) {
            return Evidence::Lost(Lost::TimedOut);
        }
        Evidence::Tokens(Box::new(Tokens {
            access: AccessToken::new(access),
            kind: TokenKind::Bearer,
            validity: Validity::new(at, Some(lifetime)),
            refresh: Some(RefreshToken::new(next)),
            granted: None,
            subject: None,
            binding: None,
        }))
    }
}

fn invalid_grant() -> Evidence {
    let error = Some("invalid_grant".to_owned());
    Evidence::Refused(Refused { status: 400, error, retry_after: None })
}

impl State {
    fn issue(&mut self, lineage: u64) -> (String, String) {
        self.issued += 1;
        let (access, refresh) = (format!("{ACCESS}-{}", self.issued), format!("{REFRESH}-{}", self.issued));
        self.accepted.insert(access.clone(), lineage);
        self.refresh.insert(refresh.clone(), lineage);
        (access, refresh)
    }
}

#[async_trait]
impl TokenSource for Server {
    fn spending(&self) -> Spending {
        Spending::SingleUse
    }

    async fn request(&self, _identity: &ServerIdentity, request: TokenRequest) -> Evidence {
        let (answer, delay) = {
            let mut state = self.state();
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            (state.plan.pop_front().unwrap_or(Answer::Properly), state.delay)
        };
        let refresh = request.refresh.expect("a refresh token");
        self.0.clock.pass(delay).await;
        if matches!(answer, Answer::PanicBefore) {
            self.state().in_flight -= 1;
            panic!("a source that was told to panic");
        }
        let evidence = self.present(refresh.expose(), &answer);
        self.0.gate.acquire().await.expect("the gate is never closed").forget();
        self.state().in_flight -= 1;
        assert!(!matches!(answer, Answer::Panic), "a source that was told to panic");
        evidence
    }

    async fn revoke(&self, _identity: &ServerIdentity, revocation: Revocation) -> Result<(), NotRevoked> {
        let delay = self.state().revocation_delay;
        self.0.clock.pass(delay).await;
        let mut state = self.state();
        if let Some(why) = state.no_revocation {
            return Err(why);
        }
        let lineage = revocation.refresh.and_then(|held| state.refresh.get(held.token().expose()).copied());
        lineage.is_some_and(|lineage| state.revoked.insert(lineage)).then_some(()).ok_or(NotRevoked::Failed)
    }
}
