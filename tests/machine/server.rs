//! An identity provider, and any number of MCP servers with authorization servers of their own, on one port of this machine.
//!
//! It is strict. A refresh token and an ID-JAG are good once, and a second presentation of a refresh token ends its whole chain.
//! It counts every request, and fails on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::form_urlencoded;

use super::jwt;

/// The grants of token requests, as they are counted.
pub(crate) const CODE: &str = "idp authorization_code";
pub(crate) const REFRESH: &str = "idp refresh_token";
pub(crate) const EXCHANGE: &str = "idp token-exchange";
pub(crate) const BEARER: &str = "as jwt-bearer";
pub(crate) const CREDENTIALS: &str = "as client_credentials";
pub(crate) const DELEGATION: &str = "as token-exchange";
pub(crate) const METADATA: &str = "metadata";

pub(crate) type Counts = BTreeMap<&'static str, usize>;

/// A fault of one request or of its answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing is processed, and this is the answer.
    Refuse(u16, &'static str, Option<&'static str>),
    /// Nothing is processed, and the connection ends.
    CloseBefore,
    /// The request is processed, and its answer is lost.
    CloseAfter,
    /// The answer has no ID token.
    WithoutIdToken,
    /// Nothing is processed, and the answer wants a person at this page.
    WantsPerson(&'static str),
}

/// A token request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) form: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    serial: u64,
    /// The only refresh token that is good, and whether its chain lives.
    refresh: String,
    is_alive: bool,
    replays: usize,
    /// ID tokens with a lower number are not accepted any more.
    oldest: u64,
    /// The issuers that all MCP servers list, in place of their own.
    listed: Option<Vec<String>>,
    /// Codes of sign-ons that may be used, with the addresses that they were sent to.
    codes: BTreeMap<String, String>,
    /// ID-JAGs that may be used, with their audience.
    grants: BTreeMap<String, String>,
    spent: BTreeSet<String>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    requests: Vec<Request>,
    /// The parameters of the pages that were opened.
    pages: Vec<BTreeMap<String, String>>,
    lifetime: u64,
    secret: String,
    inside: usize,
    most_inside_refresh: usize,
    /// Whether an exchange of the refresh token brings no new one.
    keeps_refresh_token: bool,
}

struct Shared {
    origin: String,
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
    /// The grants whose requests wait.
    held: watch::Sender<BTreeSet<&'static str>>,
}

/// The server. Dropping it ends its tasks.
pub(crate) struct Server {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let state = State {
            refresh: "rt-0".to_owned(),
            is_alive: true,
            lifetime: 3_600,
            secret: "secret/1 +".to_owned(),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            origin,
            state: Mutex::new(state),
            counts: watch::Sender::default(),
            held: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        let all = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(serve(Arc::clone(&all), stream));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { shared, _tasks: tasks }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.shared.origin
    }

    pub(crate) fn idp(&self) -> String {
        format!("{}/idp", self.shared.origin)
    }

    pub(crate) fn issuer(&self, server: usize) -> String {
        format!("{}/as/{server}", self.shared.origin)
    }

    pub(crate) fn resource(&self, server: usize) -> String {
        format!("{}/app/{server}/mcp", self.shared.origin)
    }

    /// An ID token as a sign-on returns it.
    pub(crate) fn id_token(&self) -> String {
        let mut state = self.state();
        state.serial += 1;
        id_token(state.serial)
    }

    /// No ID token that was issued so far is accepted any more.
    pub(crate) fn refuse_id_tokens(&self) {
        let mut state = self.state();
        state.oldest = state.serial + 1;
    }

    /// Lets all MCP servers list the authorization servers with these numbers.
    pub(crate) fn list(&self, servers: impl IntoIterator<Item = usize>) {
        let listed = servers.into_iter().map(|server| self.issuer(server)).collect();
        self.state().listed = Some(listed);
    }

    pub(crate) fn end_chain(&self) {
        self.state().is_alive = false;
    }

    pub(crate) fn keep_refresh_token(&self) {
        self.state().keeps_refresh_token = true;
    }

    pub(crate) fn change_secret(&self, secret: &str) {
        self.state().secret = secret.to_owned();
    }

    pub(crate) fn next(&self, grant: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(grant).or_default().extend(faults);
    }

    /// Lets the requests of this grant wait until they are released.
    pub(crate) fn hold(&self, grant: &'static str) {
        self.shared.held.send_modify(|held| {
            held.insert(grant);
        });
    }

    pub(crate) fn release(&self) {
        self.shared.held.send_modify(BTreeSet::clear);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.counts.borrow().clone()
    }

    pub(crate) fn count(&self, grant: &'static str) -> usize {
        self.counts().get(grant).copied().unwrap_or_default()
    }

    /// Waits until so many requests of this grant have arrived.
    pub(crate) async fn until(&self, grant: &'static str, count: usize) {
        let mut counts = self.shared.counts.subscribe();
        let arrived = counts.wait_for(|counts| counts.get(grant).copied().unwrap_or_default() >= count);
        super::within(format!("{count} requests of {grant}"), arrived).await.unwrap();
    }

    pub(crate) fn replays(&self) -> usize {
        self.state().replays
    }

    pub(crate) fn most_refreshes_at_once(&self) -> usize {
        self.state().most_inside_refresh
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The parameters of the pages that were opened.
    pub(crate) fn pages(&self) -> Vec<BTreeMap<String, String>> {
        self.state().pages.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let Some((path, authorization, body)) = read(&mut stream).await else { return };
    if let Some(query) = path.strip_prefix("/idp/authorize?") {
        let location = shared.state.lock().unwrap().signed_on(query);
        let head = format!("HTTP/1.1 302 .\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        drop(stream.write_all(head.as_bytes()).await);
        drop(stream.shutdown().await);
        return;
    }
    let answer = if path.starts_with("/.well-known/") {
        shared.count(METADATA);
        match shared.fault(METADATA) {
            Some(Fault::Refuse(status, error, _)) => Some((status, json!({ "error": error }), None)),
            Some(_) => None,
            None => Some(shared.metadata(&path)),
        }
    } else {
        let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        shared.token(Request { path, authorization, form }).await
    };
    let Some((status, body, retry_after)) = answer else { return };
    let retry_after = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\n{retry_after}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await);
    drop(stream.shutdown().await);
}

/// Reads the path, the authorization and the body of a request.
async fn read(stream: &mut TcpStream) -> Option<(String, Option<String>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1)?.to_owned();
    Some((path, header("authorization"), bytes[head_end..].to_vec()))
}

type Answer = (u16, Value, Option<&'static str>);

impl Shared {
    fn count(&self, grant: &'static str) {
        self.counts.send_modify(|counts| *counts.entry(grant).or_default() += 1);
    }

    fn fault(&self, grant: &'static str) -> Option<Fault> {
        self.state.lock().unwrap().faults.get_mut(grant).and_then(VecDeque::pop_front)
    }

    fn metadata(&self, path: &str) -> Answer {
        let origin = &self.origin;
        let body = if let Some(place) = path.strip_prefix("/.well-known/oauth-protected-resource") {
            let server = place.split('/').nth(2).unwrap_or_default();
            let own = || vec![format!("{origin}/as/{server}")];
            let listed = self.state.lock().unwrap().listed.clone().unwrap_or_else(own);
            json!({ "resource": format!("{origin}{place}"), "authorization_servers": listed })
        } else if let Some(place) = path.strip_prefix("/.well-known/oauth-authorization-server") {
            let issuer = format!("{origin}{place}");
            json!({
                "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
                "authorization_endpoint": format!("{issuer}/authorize"), "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"], "scopes_supported": ["openid", "offline_access"],
            })
        } else {
            return (404, json!({}), None);
        };
        (200, body, None)
    }

    async fn token(&self, request: Request) -> Option<Answer> {
        let grant = match (request.path.starts_with("/idp/"), request.form.get("grant_type").map(String::as_str)) {
            (true, Some("authorization_code")) => CODE,
            (true, Some("refresh_token")) => REFRESH,
            (true, Some("urn:ietf:params:oauth:grant-type:token-exchange")) => EXCHANGE,
            (false, Some("urn:ietf:params:oauth:grant-type:token-exchange")) => DELEGATION,
            (false, Some("urn:ietf:params:oauth:grant-type:jwt-bearer")) => BEARER,
            (false, Some("client_credentials")) => CREDENTIALS,
            _ => return Some((400, json!({ "error": "unsupported_grant_type" }), None)),
        };
        {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            state.inside += usize::from(is_spend(&request, grant));
            state.most_inside_refresh = state.most_inside_refresh.max(state.inside);
        }
        self.count(grant);
        drop(self.held.subscribe().wait_for(|held| !held.contains(grant)).await);
        let mut state = self.state.lock().unwrap();
        state.inside -= usize::from(is_spend(&request, grant));
        let fault = state.faults.get_mut(grant).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Refuse(status, error, retry_after)) => Some((status, json!({ "error": error }), retry_after)),
            Some(Fault::WantsPerson(page)) => {
                Some((400, json!({ "error": "interaction_required", "interaction_uri": page }), None))
            }
            Some(Fault::CloseBefore) => None,
            Some(Fault::CloseAfter) => {
                state.grant(grant, &request);
                None
            }
            Some(Fault::WithoutIdToken) => {
                let (status, mut body) = state.grant(grant, &request);
                body.as_object_mut().unwrap().remove("id_token");
                Some((status, body, None))
            }
            None => {
                let (status, body) = state.grant(grant, &request);
                Some((status, body, None))
            }
        }
    }
}

/// Whether a request presents the refresh token.
fn is_spend(request: &Request, grant: &str) -> bool {
    let kind = request.form.get("subject_token_type").map(String::as_str).unwrap_or_default();
    grant == REFRESH || kind.ends_with("refresh_token")
}

impl State {
    /// The person signs on at once. Returns the address that the browser is sent to.
    fn signed_on(&mut self, query: &str) -> String {
        let asked: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        self.serial += 1;
        let (code, redirect) = (format!("code-{}", self.serial), asked["redirect_uri"].clone());
        self.codes.insert(code.clone(), redirect.clone());
        self.pages.push(asked.clone());
        format!("{redirect}?code={code}&state={}", asked["state"])
    }

    fn grant(&mut self, grant: &'static str, request: &Request) -> (u16, Value) {
        let form = |name: &str| request.form.get(name).cloned().unwrap_or_default();
        let refused = |status: u16, error: &str| (status, json!({ "error": error }));
        self.serial += 1;
        let tokens = json!({
            "access_token": format!("at-{}", self.serial), "token_type": "Bearer", "expires_in": self.lifetime,
            "refresh_token": "not wanted",
        });
        match grant {
            CODE => {
                let is_known =
                    self.codes.remove(&form("code")).is_some_and(|redirect| redirect == form("redirect_uri"));
                if !is_known || form("code_verifier").len() < 43 {
                    return refused(400, "invalid_grant");
                }
                let id_token = id_token(self.serial);
                (
                    200,
                    json!({ "access_token": "unused", "token_type": "Bearer", "expires_in": 60,
                    "refresh_token": self.refresh, "id_token": id_token }),
                )
            }
            REFRESH => {
                if form("refresh_token") != self.refresh || !self.is_alive {
                    self.replays += usize::from(self.is_alive);
                    self.is_alive = false;
                    return refused(400, "invalid_grant");
                }
                self.refresh = format!("rt-{}", self.serial);
                let id_token = id_token(self.serial);
                (
                    200,
                    json!({ "access_token": "unused", "token_type": "Bearer", "expires_in": 60,
                    "refresh_token": self.refresh, "id_token": id_token }),
                )
            }
            EXCHANGE => {
                let subject = form("subject_token");
                if form("subject_token_type").ends_with("refresh_token") {
                    return self.exchange_refresh_token(&subject, &form("audience"), &form("resource"));
                }
                let number = jwt::claims(&subject)["jti"].as_str().and_then(|jti| jti.parse::<u64>().ok());
                if number.is_none_or(|number| number < self.oldest) {
                    return refused(400, "invalid_grant");
                }
                let assertion = format!("id-jag-{}", self.serial);
                self.grants.insert(assertion.clone(), format!("{} {}", form("audience"), form("resource")));
                (
                    200,
                    json!({ "access_token": assertion, "token_type": "N_A", "expires_in": 300,
                    "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag" }),
                )
            }
            BEARER => {
                let assertion = form("assertion");
                if assertion.starts_with("id-jag-") {
                    let is_for = |audience: &String| {
                        audience
                            .split(' ')
                            .next()
                            .is_some_and(|issuer| format!("{issuer}/token").ends_with(&request.path))
                    };
                    if !self.grants.remove(&assertion).is_some_and(|audience| is_for(&audience)) {
                        self.replays += usize::from(self.spent.contains(&assertion));
                        return refused(400, "invalid_grant");
                    }
                    self.spent.insert(assertion);
                } else if assertion.starts_with("bad") {
                    return refused(400, "invalid_grant");
                }
                (200, tokens)
            }
            CREDENTIALS if !self.knows(request) => refused(401, "invalid_client"),
            CREDENTIALS | DELEGATION => (200, tokens),
            _ => refused(400, "unsupported_grant_type"),
        }
    }

    /// An exchange that spends the refresh token, as ID-JAG allows it.
    fn exchange_refresh_token(&mut self, subject: &str, audience: &str, resource: &str) -> (u16, Value) {
        if subject != self.refresh || !self.is_alive {
            self.replays += usize::from(self.is_alive);
            self.is_alive = false;
            return (400, json!({ "error": "invalid_grant" }));
        }
        let assertion = format!("id-jag-{}", self.serial);
        self.grants.insert(assertion.clone(), format!("{audience} {resource}"));
        let mut body = json!({ "access_token": assertion, "token_type": "N_A", "expires_in": 300,
            "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag" });
        if !self.keeps_refresh_token {
            self.refresh = format!("rt-{}", self.serial);
            body["refresh_token"] = self.refresh.clone().into();
        }
        (200, body)
    }

    /// Whether the client authenticates as `robot`, in any way.
    fn knows(&self, request: &Request) -> bool {
        let form = |name: &str| request.form.get(name).map(String::as_str);
        if let Some(header) = &request.authorization {
            return *header == jwt::basic("robot", &self.secret);
        }
        match form("client_assertion") {
            Some(assertion) => jwt::claims(assertion)["sub"] == "robot",
            None => form("client_id") == Some("robot") && form("client_secret") == Some(&self.secret),
        }
    }
}

/// An ID token that is good for an hour, with a number of its own.
fn id_token(number: u64) -> String {
    jwt::unsigned(
        &json!({ "iss": "idp", "sub": "ann", "iat": 1_700_000_000, "exp": 1_700_003_600, "jti": number.to_string() }),
    )
}
