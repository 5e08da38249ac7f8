//! A login source without a network, and the person who answers it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretSlice};
use tokenkeeper::callback::{key_of_state, parameters};
use tokenkeeper_actors::law::ledger::LoginAccess;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::login::{
    AuthorizationCode, IssuedLogin, LoginSource, Polled, Preparation, Prepared, Redeemed, Redemption,
};
use tokenkeeper_actors::ports::store::PendingLogin;
use tokenkeeper_actors::values::record::{Binding, Client, ClientAuth, Issuer, RenewalPlan, Subject};
use tokenkeeper_actors::values::{
    AccessToken, Callback, LoginKey, LoginMethod, LoginOffer, LoginReason, LoginUrl, OfferedPrompt, RefreshToken,
    Scopes, ServerIdentity, TokenKind, Validity,
};

/// The issuer, as answers name it.
const ISSUER: &str = "https://as.example.com";

/// The code of every answer.
const CODE: &str = "scripted-authorization-code";

/// The pause between two polls of a device login.
const POLL: Duration = Duration::from_secs(5);

/// A login source with a scripted server, which follows the steps that a test pushes. By default each login succeeds, with
/// tokens for an hour.
///
/// Cheap to clone. Clones share one server, so several runtimes may use it as replicas do.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tokenkeeper::engine::memory::MemoryStore;
/// use tokenkeeper::engine::values::DigestKey;
/// use tokenkeeper::engine::system::SystemClock;
/// use tokenkeeper::{AuthRuntime, LoginCause, LoginMethod, LoginProgress, LoginWish, Scopes, SessionSpec};
/// use tokenkeeper_testkit::scripted::{PersonAnswer, ScriptedLogins};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let logins = ScriptedLogins::new(Arc::new(SystemClock::new()?));
/// let store = MemoryStore::new(DigestKey::new([7; 32]));
/// let auth = AuthRuntime::builder(store).login_source(Arc::new(logins.clone())).spawn().await?;
/// let session = auth.session(SessionSpec::mcp("https://mcp.example.com/mcp")?);
///
/// let method = LoginMethod::Redirect("http://127.0.0.1:8000/callback".to_owned());
/// let wish = LoginWish { scopes: Scopes::default(), method, same_subject: true, extends: false };
/// let wait = Duration::from_secs(30);
/// let LoginProgress::Offered { key, .. } = session.begin_login(wish, LoginCause::Person, wait).await? else { panic!() };
/// session.complete_login(logins.answer(key, PersonAnswer::Yes), wait).await?;
/// assert_eq!(session.token().await?.token().expose(), "at-1");
/// assert_eq!(logins.counts().redeemed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedLogins {
    clock: Arc<dyn Clock>,
    server: Arc<Mutex<Server>>,
}

/// An answer of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PersonAnswer {
    /// Access is allowed.
    Yes,
    /// Access is declined.
    No,
    /// The answer of an attacker, with an issuer that is not this login's.
    Forged,
}

/// How the scripted server answers a redemption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginStep {
    /// Issues tokens for an hour.
    #[default]
    Issues,
    /// Issues tokens in the name of this person.
    IssuesTo(String),
    /// Issues an access token alone.
    WithoutRefresh,
    /// Refuses the code.
    Refuses,
    /// Does not know the client any more.
    ForgetsClient,
    /// Issues tokens, and its answer is lost.
    Loses,
    /// Cannot be reached.
    Unreachable,
    /// Issues tokens for an hour after this time, in which the login is being redeemed.
    Takes(Duration),
}

/// The counts of a scripted login source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginCounts {
    /// Requests that were prepared.
    pub prepared: u64,
    /// Requests that were shown, again after a takeover included.
    pub shown: u64,
    /// Codes that reached the server.
    pub redeemed: u64,
    /// Codes that reached the server a second time. A real one would end the session for it.
    pub replayed: u64,
}

#[derive(Debug, Default)]
struct Server {
    steps: VecDeque<LoginStep>,
    preparations: VecDeque<LoginReason>,
    counts: LoginCounts,
    requests: BTreeMap<LoginKey, Request>,
    issued: u64,
    /// Requests that a person has answered on another device.
    entered: BTreeMap<LoginKey, PersonAnswer>,
}

/// A request to a person.
#[derive(Debug, Default)]
struct Request {
    scopes: Scopes,
    /// Whether its code has been presented.
    is_presented: bool,
    state: String,
    /// Where the browser goes with the answer; empty for a device.
    redirect: String,
}

impl ScriptedLogins {
    /// A login source on `clock`, which must be the runtime's own.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, server: Arc::default() }
    }

    /// Adds a step. Each redemption takes the next one. Without any, the server issues tokens.
    pub fn push(&self, step: LoginStep) {
        self.server().steps.push_back(step);
    }

    /// Lets the next preparation fail.
    pub fn fail_preparation(&self, reason: LoginReason) {
        self.server().preparations.push_back(reason);
    }

    /// The answer of a person to the request of `key`, as it arrives at a callback address.
    pub fn answer(&self, key: LoginKey, answer: PersonAnswer) -> Callback {
        Callback::new(key, word(answer))
    }

    /// The address to which the server sends the browser with the answer of a person, as a browser would open it. `None` for an
    /// unknown request or one of a device.
    pub fn redirect(&self, key: LoginKey, answer: PersonAnswer) -> Option<String> {
        let server = self.server();
        let Request { state, redirect, .. } =
            server.requests.get(&key).filter(|request| !request.redirect.is_empty())?;
        let (answer, issuer) = match answer {
            PersonAnswer::Yes => (("code", CODE), ISSUER),
            PersonAnswer::No => (("error", "access_denied"), ISSUER),
            PersonAnswer::Forged => (("code", CODE), "https://attacker.example.com"),
        };
        let (name, value) = answer;
        Some(format!("{redirect}?{name}={value}&state={state}&iss={issuer}"))
    }

    /// Lets a person answer the request of `key` on another device.
    pub fn enter(&self, key: LoginKey, answer: PersonAnswer) {
        self.server().entered.insert(key, answer);
    }

    /// The scopes that the request of `key` asked for.
    pub fn scopes_of(&self, key: LoginKey) -> Option<Scopes> {
        self.server().requests.get(&key).map(|request| request.scopes.clone())
    }

    /// The counts so far.
    pub fn counts(&self) -> LoginCounts {
        self.server().counts
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, scopes: Scopes, step: &LoginStep) -> IssuedLogin {
        let now = self.clock.now();
        let number = {
            let mut server = self.server();
            server.issued += 1;
            server.issued
        };
        let client =
            Client { id: "scripted".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
        let subject = match step {
            LoginStep::IssuesTo(subject) => subject.clone(),
            _ => "person".to_owned(),
        };
        IssuedLogin {
            binding: Binding {
                issuer: Issuer(ISSUER.to_owned()),
                client,
                token_endpoint: "https://as.example.com/token".to_owned(),
                revocation_endpoint: Some("https://as.example.com/revoke".to_owned()),
                resource: None,
            },
            requested: scopes.clone(),
            granted: scopes,
            subject: Some(Subject(subject)),
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: (*step != LoginStep::WithoutRefresh).then(|| RefreshToken::new(format!("rt-{number}"))),
            access: Some(LoginAccess {
                token: AccessToken::new(format!("at-{number}")),
                kind: TokenKind::Bearer,
                validity: Validity::new(now, Some(Duration::from_secs(3_600))),
            }),
        }
    }
}

#[async_trait]
impl LoginSource for ScriptedLogins {
    async fn prepare(&self, _identity: &ServerIdentity, preparation: Preparation) -> Result<Prepared, LoginReason> {
        let mut server = self.server();
        if let Some(reason) = server.preparations.pop_front() {
            return Err(reason);
        }
        server.counts.prepared += 1;
        let state = format!("{:032x}-{}", preparation.attempt.0, server.counts.prepared);
        let key = key_of_state(&state);
        let redirect = match preparation.method {
            LoginMethod::Redirect(address) | LoginMethod::Hosted { redirect: address, .. } => address,
            _ => String::new(),
        };
        let sealed = SecretSlice::from(format!("{state} {redirect}").into_bytes());
        server.requests.insert(key, Request { scopes: preparation.scopes, is_presented: false, state, redirect });
        Ok(Prepared { key, expires: preparation.expires, sealed })
    }

    fn offer(&self, pending: &PendingLogin) -> Result<LoginOffer, LoginReason> {
        let (state, redirect) = opened(pending)?;
        self.server().counts.shown += 1;
        let url = LoginUrl::new(format!("{ISSUER}/authorize?state={state}&redirect_uri={redirect}"));
        let prompt = match redirect {
            "" => OfferedPrompt::Device { url, complete: None, user_code: "CODE".to_owned(), interval: POLL },
            _ => OfferedPrompt::Browser { url },
        };
        Ok(LoginOffer { prompt, expires: pending.expires })
    }

    async fn read(&self, pending: &PendingLogin, callback: &Callback) -> Result<AuthorizationCode, LoginReason> {
        let (state, _) = opened(pending)?;
        let answer = parameters(callback.expose()).map_err(|_| LoginReason::Forged)?;
        match callback.expose() {
            _ if callback.key != key_of_state(state) => Err(LoginReason::Forged),
            "yes" => Ok(AuthorizationCode::new(CODE)),
            "no" => Err(LoginReason::Denied),
            _ if answer.iss.is_some_and(|issuer| issuer != ISSUER) => Err(LoginReason::Forged),
            _ if answer.error.is_some() => Err(LoginReason::Denied),
            _ => answer.code.filter(|code| code.expose() == CODE).ok_or(LoginReason::Forged),
        }
    }

    async fn redeem(&self, _identity: &ServerIdentity, redemption: Redemption) -> Redeemed {
        let Ok((state, _)) = opened(&redemption.pending) else { return Redeemed::Refused(LoginReason::Refused) };
        let key = key_of_state(state);
        let (step, scopes) = {
            let mut server = self.server();
            let step = server.steps.pop_front().unwrap_or_default();
            if step == LoginStep::Unreachable {
                return Redeemed::NotSent;
            }
            server.counts.redeemed += 1;
            let Request { scopes, is_presented, .. } = server.requests.entry(key).or_default();
            let (scopes, replayed) = (scopes.clone(), std::mem::replace(is_presented, true));
            server.counts.replayed += u64::from(replayed);
            (step, scopes)
        };
        if let LoginStep::Takes(span) = step {
            #[expect(clippy::disallowed_methods, reason = "a script waits as its test does")]
            tokio::time::sleep(span).await;
        }
        match step {
            LoginStep::Refuses => Redeemed::Refused(LoginReason::Refused),
            LoginStep::ForgetsClient => Redeemed::Refused(LoginReason::ClientRejected),
            LoginStep::Loses => {
                self.server().issued += 1;
                Redeemed::Lost
            }
            step => Redeemed::Issued(Box::new(self.issue(scopes, &step))),
        }
    }

    async fn poll(&self, _identity: &ServerIdentity, pending: &PendingLogin) -> Polled {
        let Ok((state, _)) = opened(pending) else { return Polled::Ended(LoginReason::Refused) };
        let key = key_of_state(state);
        let (answer, scopes) = {
            let server = self.server();
            let scopes = server.requests.get(&key).map(|request| request.scopes.clone()).unwrap_or_default();
            (server.entered.get(&key).copied(), scopes)
        };
        match answer {
            None => Polled::Pending,
            Some(PersonAnswer::Yes) => Polled::Issued(Box::new(self.issue(scopes, &LoginStep::Issues))),
            Some(_) => Polled::Ended(LoginReason::Denied),
        }
    }
}

fn word(answer: PersonAnswer) -> &'static str {
    match answer {
        PersonAnswer::Yes => "yes",
        PersonAnswer::No => "no",
        PersonAnswer::Forged => "forged",
    }
}

/// The `state` and the redirect address of a pending login, which is empty for a device.
fn opened(pending: &PendingLogin) -> Result<(&str, &str), LoginReason> {
    let text = std::str::from_utf8(pending.sealed.expose_secret()).map_err(|_| LoginReason::UnknownLogin)?;
    text.split_once(' ').ok_or(LoginReason::UnknownLogin)
}
