//! Request dispatch for both versions of HTTP: faults, processing, and all counting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::authority::{Authority, Issued, Refusal, TokenId};
use super::clock::{Clock, pause};
use super::dpop::{Place, Proofs};
use super::fault::{Afterwards, Manner, When};
use super::form::Form;
use super::login_server::{self, Incoming, Served, Site};
use super::reply::{self, Reply};
use super::rules::Rules;
use super::script::{Script, Step};
use super::tally::{Counts, Snapshot, Timeline, What};

/// The state shared by all connections of a server.
pub(super) struct Dispatcher {
    /// `http://127.0.0.1:…`, without a trailing slash.
    pub(super) origin: String,
    clock: Clock,
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
}

/// The state behind the lock, which is never held over an await. `counts` are only written by the holder of the lock.
pub(super) struct State {
    pub(super) authority: Authority,
    pub(super) token: Script,
    pub(super) resource: Script,
    pub(super) revocation: Script,
    /// The endpoints of logins, if this server has them.
    pub(super) site: Option<Site>,
    /// The checks of proofs of possession.
    pub(super) proofs: Proofs,
    /// How far the authority's clock is ahead.
    pub(super) ahead: Duration,
    timeline: Timeline,
}

/// The parts of a request's head that matter here.
pub(super) struct Head {
    pub(super) method: String,
    /// With the query, if there is one.
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    /// The values of `DPoP`.
    pub(super) proofs: Vec<String>,
    pub(super) content_type: String,
    pub(super) if_none_match: Option<String>,
}

/// A request that has arrived. Dropped when it is answered, or has broken off.
pub(super) struct Call {
    dispatcher: Arc<Dispatcher>,
    endpoint: Endpoint,
    /// Whether the request counts as concurrent.
    inside: AtomicBool,
}

/// The requested endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Token,
    Resource,
    Revocation,
    Elsewhere,
    Other,
    /// An endpoint that only servers with logins have.
    Login(login_server::Endpoint),
}

/// The reply and the way of its delivery.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) manner: Manner,
    pub(super) afterwards: Afterwards,
}

impl Dispatcher {
    pub(super) fn new(origin: String, rules: Rules, seed: u64, site: Option<Site>) -> Self {
        let state = State {
            authority: Authority::new(rules, seed),
            token: Script::default(),
            resource: Script::default(),
            revocation: Script::default(),
            site,
            proofs: Proofs::default(),
            ahead: Duration::ZERO,
            timeline: Timeline::default(),
        };
        Self { origin, clock: Clock::start(), state: Mutex::new(state), counts: watch::Sender::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between two statements, so a panic of another thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authority's time.
    pub(super) fn now(&self, state: &State) -> Duration {
        self.clock.elapsed().saturating_add(state.ahead)
    }

    /// The URL of a request, without its query.
    fn url(&self, head: &Head) -> String {
        format!("{}{}", self.origin, head.path.split('?').next().unwrap_or_default())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let counts = self.counts.borrow().clone();
        state.timeline.snapshot(counts)
    }

    /// Updates the counts, and adds an event to the timeline.
    pub(super) fn note(
        &self,
        state: &mut State,
        what: What,
        token_id: Option<TokenId>,
        status: Option<u16>,
        count: impl FnOnce(&mut Counts),
    ) {
        state.timeline.add(self.clock.elapsed(), what, token_id, status);
        self.counts.send_modify(count);
    }

    /// Updates the counts without an event.
    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        let _state = self.state();
        self.counts.send_modify(count);
    }

    pub(super) fn connected(&self) {
        self.note(&mut self.state(), What::Connected, None, None, |counts| counts.connections += 1);
    }

    /// Registers a request whose head has arrived.
    pub(super) fn arrive(self: &Arc<Self>, head: &Head) -> Call {
        let path = head.path.split('?').next().unwrap_or_default();
        let mut state = self.state();
        let endpoint = match &mut state.site {
            None => Endpoint::of(path),
            Some(site) => {
                let endpoint = site.route(path);
                site.tally.arrived(endpoint, path);
                endpoint.into()
            }
        };
        match endpoint {
            Endpoint::Token => self.note(&mut state, What::TokenRequest, None, None, |counts| {
                counts.token_requests += 1;
                counts.concurrent += 1;
                counts.most_concurrent = counts.most_concurrent.max(counts.concurrent);
            }),
            Endpoint::Resource => {
                self.note(&mut state, What::ResourceRequest, None, None, |counts| counts.resource_requests += 1);
            }
            Endpoint::Revocation => {
                self.note(&mut state, What::RevocationRequest, None, None, |counts| counts.revocation_requests += 1);
            }
            Endpoint::Elsewhere => {
                self.note(&mut state, What::RedirectFollowed, None, None, |counts| counts.redirects_followed += 1);
            }
            Endpoint::Other | Endpoint::Login(_) => self.counts.send_modify(|_| {}),
        }
        drop(state);
        Call { dispatcher: Arc::clone(self), endpoint, inside: AtomicBool::new(endpoint == Endpoint::Token) }
    }

    /// Updates the gauges of chains.
    pub(super) fn count_chains(&self, state: &State) {
        let (alive, revoked) = state.authority.chains();
        self.counts.send_modify(|counts| (counts.chains_alive, counts.chains_revoked) = (alive, revoked));
    }
}

impl Endpoint {
    fn of(path: &str) -> Self {
        match path {
            "/token" => Self::Token,
            "/revoke" => Self::Revocation,
            "/elsewhere" => Self::Elsewhere,
            _ if path == "/mcp" || path.starts_with("/mcp/") => Self::Resource,
            _ => Self::Other,
        }
    }
}

impl From<login_server::Endpoint> for Endpoint {
    fn from(endpoint: login_server::Endpoint) -> Self {
        match endpoint {
            login_server::Endpoint::Token => Self::Token,
            login_server::Endpoint::Resource => Self::Resource,
            login_server::Endpoint::Revocation => Self::Revocation,
            login_server::Endpoint::Elsewhere => Self::Elsewhere,
            other => Self::Login(other),
        }
    }
}

impl Call {
    /// Answers a request that was read completely, with its fault, its processing and its delay.
    pub(super) async fn answer(&self, head: &Head, body: &[u8]) -> Answer {
        let incoming = Incoming { head, body };
        let place = self.log(&incoming);
        let step = self.next_fault();
        if let Some(Step { when: When::Before, fault }) = &step {
            fault.wait().await;
            if fault.strikes() {
                self.struck();
                let reply = Reply::page(503).changed(fault, None, &self.dispatcher.origin);
                let answer = Answer { reply, manner: fault.manner, afterwards: fault.afterwards };
                return self.send(answer, place).await;
            }
        }
        let (Served { mut reply, manner }, issued) = self.work(&incoming);
        let mut answer = (manner, Afterwards::Keep);
        if let Some(Step { when, fault }) = &step {
            answer.1 = fault.afterwards;
            if fault.manner != Manner::Whole {
                answer.0 = fault.manner;
            }
            if *when == When::After {
                fault.wait().await;
                if fault.strikes() {
                    self.struck();
                    reply = reply.changed(fault, issued.as_ref(), &self.dispatcher.origin);
                }
            }
        }
        self.send(Answer { reply, manner: answer.0, afterwards: answer.1 }, place).await
    }

    /// Logs a request that was read completely, and returns its place in the log.
    fn log(&self, incoming: &Incoming<'_>) -> Option<usize> {
        let mut state = self.dispatcher.state();
        let site = state.site.as_mut()?;
        let place = site.tally.read(site.route(incoming.path()), incoming);
        self.dispatcher.counts.send_modify(|_| {});
        place
    }

    fn next_fault(&self) -> Option<Step> {
        let mut state = self.dispatcher.state();
        match self.endpoint {
            Endpoint::Token => state.token.take(),
            Endpoint::Resource => state.resource.take(),
            Endpoint::Revocation => state.revocation.take(),
            Endpoint::Login(endpoint) => state.site.as_mut()?.next_fault(endpoint),
            Endpoint::Elsewhere | Endpoint::Other => None,
        }
    }

    fn struck(&self) {
        self.dispatcher.note(&mut self.dispatcher.state(), What::Faulted, None, None, |counts| counts.faults += 1);
    }

    /// Counts an answer and returns it.
    async fn send(&self, answer: Answer, place: Option<usize>) -> Answer {
        let (dispatcher, status) = (&self.dispatcher, answer.reply.status);
        if self.endpoint == Endpoint::Token {
            let delay = dispatcher.state().authority.rules.answer_delay;
            pause(delay).await;
        }
        if answer.manner == Manner::Whole {
            let mut state = dispatcher.state();
            if let (Some(place), Some(site)) = (place, &mut state.site) {
                site.tally.answered(place, status);
            }
            match self.endpoint {
                Endpoint::Token => dispatcher.note(&mut state, What::TokenAnswer, None, Some(status), |counts| {
                    *counts.token_answers.entry(status).or_default() += 1;
                }),
                Endpoint::Resource => dispatcher.note(&mut state, What::ResourceAnswer, None, Some(status), |counts| {
                    *counts.resource_answers.entry(status).or_default() += 1;
                }),
                Endpoint::Revocation | Endpoint::Elsewhere | Endpoint::Other | Endpoint::Login(_) => {}
            }
        }
        if !matches!(answer.manner, Manner::Drip { .. } | Manner::Halves { .. } | Manner::Silence) {
            self.leave();
        }
        answer
    }

    /// Ends the request's share of `concurrent`. Called before the end of its answer is sent, because a client that has
    /// read the answer may send another request before this one is dropped.
    pub(super) fn leave(&self) {
        if self.inside.swap(false, Ordering::Relaxed) {
            self.dispatcher.count(|counts| counts.concurrent -= 1);
        }
    }

    /// The server's behaviour without faults.
    fn work(&self, incoming: &Incoming<'_>) -> (Served, Option<Issued>) {
        let Incoming { head, body } = *incoming;
        let form = || Form::read(&head.content_type, head.authorization.as_deref(), body).map_err(Refusal::from);
        let mut issued = None;
        let reply = match (self.endpoint, &*head.method) {
            (Endpoint::Token, "POST") => {
                let form = form();
                let key = match self.proof_at_server(head, form.as_ref().ok()) {
                    Ok(key) => key,
                    Err(refused) => return ((*refused).into(), None),
                };
                let answer = self.token(form);
                let reply = self.answer_with_key(answer.map(|tokens| &*issued.insert(tokens)), key);
                match &self.dispatcher.state().site {
                    Some(site) => site.flawed_tokens(reply),
                    None => reply,
                }
            }
            (Endpoint::Resource, method) => self.resource(incoming, method),
            (Endpoint::Revocation, "POST") => self.revoke(form()),
            (Endpoint::Token | Endpoint::Revocation, _) => Reply::empty(405).with("allow", "POST"),
            (Endpoint::Elsewhere, _) => match self.login(login_server::Endpoint::Elsewhere, incoming) {
                Some(served) => served.reply,
                None => Reply::refusal(Refusal::Malformed),
            },
            (Endpoint::Login(login_server::Endpoint::UserInfo), _) => self.userinfo(incoming),
            (Endpoint::Login(endpoint), _) => {
                let served = self.login(endpoint, incoming);
                return (served.unwrap_or_else(|| Reply::empty(404).into()), None);
            }
            (Endpoint::Other, _) => reply::metadata(&head.path, &self.dispatcher.origin),
        };
        (reply.into(), issued)
    }

    /// The behaviour of the endpoints of logins. `None` if this server has none.
    fn login(&self, endpoint: login_server::Endpoint, incoming: &Incoming<'_>) -> Option<Served> {
        let (dispatcher, mut state) = (&self.dispatcher, self.dispatcher.state());
        let now = dispatcher.now(&state);
        let State { authority, site, .. } = &mut *state;
        let served = site.as_mut()?.serve(authority, endpoint, incoming, now);
        // An authorization may have ended earlier grants.
        dispatcher.count_chains(&state);
        Some(served)
    }

    fn token(&self, form: Result<Form, Refusal>) -> Result<Issued, Refusal> {
        let (dispatcher, mut state) = (&self.dispatcher, self.dispatcher.state());
        let grant_type = form.as_ref().ok().and_then(|form| form.grant_type.clone());
        let now = dispatcher.now(&state);
        let State { authority, site, .. } = &mut *state;
        let answer = form.and_then(|form| match site {
            Some(site) => site.token(authority, &form, now),
            None => authority.token(&form, now),
        });
        let is_refresh = grant_type.as_deref() == Some("refresh_token");
        let (what, token_id) = match &answer {
            Ok(Issued { token_id: Some(token_id), .. }) if !is_refresh => (What::Granted, Some(*token_id)),
            Ok(Issued { token_id: Some(token_id), .. }) => (What::Rotated, Some(*token_id)),
            Ok(_) => (What::Minted, None),
            Err(Refusal::Replayed { token_id, .. }) => (What::Replayed, Some(*token_id)),
            Err(Refusal::Ended(token_id)) => (What::Refused, Some(*token_id)),
            Err(_) => (What::Refused, None),
        };
        dispatcher.note(&mut state, what, token_id, None, |counts| {
            match grant_type.as_deref() {
                Some("refresh_token") => counts.refresh_grants += 1,
                Some("client_credentials") => counts.client_credentials_grants += 1,
                _ => counts.other_grants += 1,
            }
            match &answer {
                Ok(Issued { token_id: Some(_), .. }) => counts.rotations += u64::from(is_refresh),
                Ok(_) => counts.mints += 1,
                Err(refusal) => {
                    counts.replays += u64::from(matches!(refusal, Refusal::Replayed { .. }));
                    *counts.refusals.entry(refusal.word()).or_default() += 1;
                }
            }
        });
        if let Err(Refusal::Replayed { token_id, revoked: true }) = answer {
            dispatcher.note(&mut state, What::ChainRevoked, Some(token_id), None, |_| {});
        }
        dispatcher.count_chains(&state);
        answer
    }

    /// Checks the proof of a token request. Returns the thumbprint of its key.
    fn proof_at_server(&self, head: &Head, form: Option<&Form>) -> Result<Option<String>, Box<Reply>> {
        let (dispatcher, mut state) = (&self.dispatcher, self.dispatcher.state());
        let State { authority, proofs, .. } = &mut *state;
        let refresh = form.and_then(|form| form.refresh_token.as_deref());
        let key = proofs.at_server(authority, head, &dispatcher.url(head), refresh).map_err(Box::new);
        if key.is_err() {
            // The refusal is none of the authority's, and no request waits for it.
            dispatcher.counts.send_modify(|_| {});
        }
        key
    }

    /// The answer of the token endpoint, whose tokens are bound to this key.
    fn answer_with_key(&self, answer: Result<&Issued, Refusal>, key: Option<String>) -> Reply {
        let proofs = &mut self.dispatcher.state().proofs;
        match answer {
            Ok(tokens) => proofs.bind(key, tokens, Reply::tokens(tokens)),
            Err(refusal) => proofs.complete(Place::Server, Reply::refusal(refusal)),
        }
    }

    /// The access token of a request to the resource, after the check of its proof.
    fn presented<'h>(&self, head: &'h Head) -> Result<Option<&'h str>, Box<Reply>> {
        self.dispatcher.state().proofs.at_resource(head, &self.dispatcher.url(head)).map_err(Box::new)
    }

    fn resource(&self, incoming: &Incoming<'_>, method: &str) -> Reply {
        let presented = match self.presented(incoming.head) {
            Ok(presented) => presented,
            Err(refused) => return *refused,
        };
        let reply = self.admit(incoming, method, presented);
        self.dispatcher.state().proofs.complete(Place::Resource, reply)
    }

    /// The userinfo endpoint of a server with logins, which checks proofs as the resource does.
    fn userinfo(&self, incoming: &Incoming<'_>) -> Reply {
        let presented = match self.presented(incoming.head) {
            Ok(presented) => presented,
            Err(refused) => return *refused,
        };
        let state = self.dispatcher.state();
        let now = self.dispatcher.now(&state);
        let reply = state.site.as_ref().map(|site| site.userinfo(&state.authority, presented, now));
        state.proofs.complete(Place::Resource, reply.unwrap_or_else(|| Reply::empty(404)))
    }

    fn admit(&self, incoming: &Incoming<'_>, method: &str, presented: Option<&str>) -> Reply {
        if self.dispatcher.state().site.is_some() {
            return self.login_resource(incoming, presented);
        }
        let head = incoming.head;
        let (dispatcher, state) = (&self.dispatcher, self.dispatcher.state());
        let resource = format!("{}{}", dispatcher.origin, head.path.split('?').next().unwrap_or_default());
        let admitted =
            presented.is_some_and(|access| state.authority.admits(access, &resource, dispatcher.now(&state)));
        match (admitted, method) {
            (true, "POST") => Reply::json(200, &serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": {} })),
            (true, _) => Reply::empty(405).with("allow", "POST"),
            (false, _) => reply::challenge(&dispatcher.origin, &head.path, head.authorization.is_some()),
        }
    }

    /// The resource of a server with logins. After a migration another server knows the tokens.
    fn login_resource(&self, incoming: &Incoming<'_>, presented: Option<&str>) -> Reply {
        let (issuer, names) = match &self.dispatcher.state().site {
            Some(site) => site.verifier(),
            None => (None, Vec::new()),
        };
        let issuer = issuer.as_ref().unwrap_or(&self.dispatcher);
        let scope = presented.and_then(|access| {
            // Never both locks at once, because two servers may have migrated to each other.
            let state = issuer.state();
            state.authority.scope_at(access, &names, issuer.now(&state)).map(str::to_owned)
        });
        match &self.dispatcher.state().site {
            Some(site) => site.call(incoming, scope.as_deref()),
            None => Reply::empty(404),
        }
    }

    fn revoke(&self, form: Result<Form, Refusal>) -> Reply {
        let (dispatcher, mut state) = (&self.dispatcher, self.dispatcher.state());
        match form.and_then(|form| state.authority.revoke(&form)) {
            Ok(None) => Reply::empty(200),
            Ok(Some(chain)) => {
                let token_id = state.authority.newest(chain).map(|(_, ordinal)| TokenId { chain, ordinal });
                dispatcher.note(&mut state, What::ChainRevoked, token_id, None, |_| {});
                dispatcher.count_chains(&state);
                Reply::empty(200)
            }
            Err(refusal) => Reply::refusal(refusal),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The token of a bearer header (RFC 6750 section 2.1).
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
