//! An authorization server that answers by a script, and processes that register there.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::store::TokenStore;
use tokenkeeper_actors::system::Entropy;
use tokenkeeper_actors::values::issuer::{ClientRegistration, EntryContent, EntryKind, IssuerKey, RegistrationName};
use tokenkeeper_actors::values::record::Issuer;
use tokenkeeper_actors::values::{Account, DigestKey, ElapsedTime, Moment, ServerIdentity, Target, WallTime};

use super::super::choice::{self, Choice, Job};
use super::super::{Clients, Registered, Registrar, RegistrationError, Wanted};
use crate::discovery::AuthorizationServer;
use crate::http::{Body, Exchange, HttpClient, HttpError, Reach};

pub(crate) const ISSUER: &str = "https://as.example.com";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:5000/callback";

/// Noon of 2026-01-01.
pub(crate) const NOW: u64 = 1_767_268_800_000;

#[derive(Debug)]
pub(crate) struct Still(Mutex<u64>);

impl Clock for Still {
    fn now(&self) -> Moment {
        let wall = WallTime::from_millis(*self.0.lock().unwrap());
        Moment { wall, elapsed: ElapsedTime::from_millis(500_000), ..Moment::default() }
    }
}

impl Still {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(NOW))
    }

    pub(crate) fn pass(&self, span: Duration) {
        *self.0.lock().unwrap() += u64::try_from(span.as_millis()).unwrap();
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Value,
    pub(crate) reach: Reach,
    pub(crate) max_answer: usize,
}

/// An answer of the script.
pub(crate) type Answer = Result<Response<Body>, HttpError>;

type Script = Box<dyn Fn(&Asked, usize) -> Answer + Send + Sync>;

/// Answers each request by the script, which gets the number of the request, from 0.
pub(crate) struct Server {
    script: Script,
    delay: Duration,
    asked: Mutex<Vec<Asked>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

#[async_trait]
impl HttpClient for Server {
    async fn send(&self, exchange: Exchange) -> Answer {
        let request = &exchange.request;
        let asked = Asked {
            method: request.method().clone(),
            url: request.uri().to_string(),
            authorization: request.headers().get(header::AUTHORIZATION).cloned(),
            content_type: request.headers().get(header::CONTENT_TYPE).cloned(),
            body: serde_json::from_slice(request.body().as_bytes()).unwrap_or_default(),
            reach: exchange.reach,
            max_answer: exchange.max_answer,
        };
        let number = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        tokio::time::sleep(self.delay).await;
        (self.script)(&asked, number)
    }
}

impl Server {
    pub(crate) fn new(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::slow(Duration::from_millis(300), script)
    }

    pub(crate) fn slow(delay: Duration, script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), delay, asked: Mutex::default() })
    }

    /// Registers every client as it asks, as client 0, 1, 2 and so on.
    pub(crate) fn willing() -> Arc<Self> {
        Self::new(|asked, number| answer(201, confirmed(asked, number)))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked().len()
    }
}

/// The answer that confirms the request.
pub(crate) fn confirmed(asked: &Asked, number: usize) -> Value {
    let mut client = asked.body.clone();
    client["client_id"] = json!(format!("client-{number}"));
    client
}

pub(crate) fn answer(status: u16, body: Value) -> Answer {
    raw(status, body.to_string())
}

pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    let mut answer = Response::new(Body::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(answer)
}

pub(crate) fn refusal(error: &str) -> Answer {
    answer(400, json!({"error": error, "error_description": "not so"}))
}

pub(crate) fn metadata() -> AuthorizationServer {
    AuthorizationServer {
        issuer: ISSUER.to_owned(),
        document_url: None,
        authorization_endpoint: Some(format!("{ISSUER}/authorize")),
        token_endpoint: format!("{ISSUER}/token"),
        registration_endpoint: Some(format!("{ISSUER}/register")),
        revocation_endpoint: None,
        pushed_endpoint: None,
        requires_pushed: false,
        device_endpoint: Some(format!("{ISSUER}/device")),
        userinfo_endpoint: None,
        scopes: None,
        auth_methods: Some(vec!["client_secret_basic".into(), "client_secret_post".into(), "none".into()]),
        challenge_methods: None,
        names_issuer_in_response: false,
        accepts_metadata_documents: false,
        dpop_algorithms: None,
    }
}

pub(crate) fn identity(account: &str, resource: &str) -> ServerIdentity {
    ServerIdentity::new(Account::new(account).unwrap(), Target::mcp(resource).unwrap())
}

pub(crate) fn work() -> ServerIdentity {
    identity("work", "https://mcp.example.com/mcp")
}

pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new(DigestKey::new([7; 32]))
}

fn registrar(
    clients: Clients,
    store: &Arc<dyn TokenStore>,
    http: &Arc<dyn HttpClient>,
    clock: &Arc<Still>,
    seed: u64,
) -> Registrar {
    Registrar::new(clients, Arc::clone(store), Arc::clone(http), clock.clone(), Entropy::seeded(seed))
}

/// A process at a server.
pub(crate) struct Rig {
    pub(crate) registrar: Registrar,
    pub(crate) clock: Arc<Still>,
    pub(crate) metadata: AuthorizationServer,
    pub(crate) store: Arc<dyn TokenStore>,
    http: Arc<dyn HttpClient>,
    seed: u64,
}

impl Rig {
    pub(crate) fn new(clients: Clients, http: &Arc<Server>) -> Self {
        Self::over(clients, http, Arc::new(memory()), Arc::new(Still::new()), 1)
    }

    pub(crate) fn over(
        clients: Clients,
        http: &Arc<Server>,
        store: Arc<dyn TokenStore>,
        clock: Arc<Still>,
        seed: u64,
    ) -> Self {
        let http: Arc<dyn HttpClient> = Arc::clone(http) as _;
        let registrar = registrar(clients, &store, &http, &clock, seed);
        Self { registrar, clock, metadata: metadata(), store, http, seed }
    }

    /// The same store, server and clock with other clients, as after a restart.
    pub(crate) fn restarted(&self, clients: Clients) -> Self {
        let (store, http, seed) = (Arc::clone(&self.store), Arc::clone(&self.http), self.seed + 1);
        let clock = Arc::clone(&self.clock);
        let registrar = registrar(clients, &store, &http, &clock, seed);
        Self { registrar, clock, metadata: self.metadata.clone(), store, http, seed }
    }

    pub(crate) async fn client(&self) -> Result<Registered, RegistrationError> {
        self.client_at(Some(REDIRECT)).await
    }

    pub(crate) async fn client_at(&self, redirect: Option<&str>) -> Result<Registered, RegistrationError> {
        self.client_of(&work(), redirect).await
    }

    pub(crate) async fn client_of(
        &self,
        identity: &ServerIdentity,
        redirect: Option<&str>,
    ) -> Result<Registered, RegistrationError> {
        self.reaching(identity, redirect, Reach::Public).await
    }

    pub(crate) async fn reaching(
        &self,
        identity: &ServerIdentity,
        redirect: Option<&str>,
        reach: Reach,
    ) -> Result<Registered, RegistrationError> {
        self.registrar.client_for(Wanted { server: &self.metadata, identity, redirect, reach }).await
    }

    /// The stored registration under `name`.
    pub(crate) async fn stored(&self, name: &str) -> Option<ClientRegistration> {
        match self.store.load_issuer(&key(name)).await.unwrap()?.content? {
            EntryContent::Registration(registration) => Some(*registration),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) const NAME: &str = "loopback https://mcp.example.com/mcp";

pub(crate) fn key(name: &str) -> IssuerKey {
    let kind = EntryKind::Registration(RegistrationName::new(name).unwrap());
    IssuerKey { issuer: Issuer(ISSUER.to_owned()), kind }
}

pub(crate) fn job() -> Job {
    let (server, identity) = (metadata(), work());
    let wanted = Wanted { server: &server, identity: &identity, redirect: Some(REDIRECT), reach: Reach::Public };
    match choice::choose(&Clients::default(), &wanted, WallTime::from_millis(NOW)).unwrap() {
        Choice::Dynamic(job) => *job,
        other => panic!("{other:?}"),
    }
}
