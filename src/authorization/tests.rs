//! The login source over a scripted client, without an authorization server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Response;
use tokenkeeper_actors::memory::MemoryStore;
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::ports::login::{LoginSource, Preparation, Prepared};
use tokenkeeper_actors::ports::store::PendingLogin;
use tokenkeeper_actors::system::{Entropy, SystemClock};
use tokenkeeper_actors::values::{
    AttemptId, BrowserBinding, Callback, DigestKey, Epoch, LoginMethod, LoginReason, OfferedPrompt, Scopes,
    ServerIdentity, Target,
};
use url::Url;

use super::{AuthorizationLogins, Exchanges, LoginSettings};
use crate::callback;
use crate::discovery::AuthorizationServer;
use crate::http::{Body, Exchange, HttpClient, HttpError, NotSent};
use crate::issuers::Client;
use crate::issuers::providers::Providers;
use crate::proof::Proofs;
use crate::registration::Clients;
use crate::{Account, ResourceUri};

/// A client that reaches no server.
#[derive(Debug)]
struct Offline;

#[async_trait]
impl HttpClient for Offline {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        Err(HttpError::NotSent(NotSent::Unreachable))
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

const RESOURCE: &str = "https://mcp.example.com/mcp";
const REDIRECT: &str = "https://host.example.com/callback";

/// Logins at a server that the host has described, so that no request is needed before the code is redeemed.
fn logins() -> AuthorizationLogins {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
    let clients = Clients::default().pre_registered("https://as.example.com", Client::public("host"), [REDIRECT]);
    let settings = LoginSettings::default().clients(clients).discovery(|discovery| {
        let mut server = AuthorizationServer::unpublished("https://as.example.com", "https://as.example.com/token");
        server.authorization_endpoint = Some("https://as.example.com/authorize".to_owned());
        discovery.configured_server(ResourceUri::parse(RESOURCE).unwrap(), server)
    });
    let store = Arc::new(MemoryStore::new(DigestKey::new([7; 32])));
    let entropy = Entropy::new().unwrap();
    let proofs = Proofs::new(Arc::clone(&clock), entropy.clone());
    let providers = Providers::builtin();
    let (http, profiles) = (Arc::new(Offline), providers.profiles());
    let exchanges = Exchanges { http, clock, providers, profiles, proofs };
    AuthorizationLogins::new(settings, store, exchanges, entropy).unwrap()
}

fn identity() -> ServerIdentity {
    ServerIdentity::new(Account::default(), Target::mcp(RESOURCE).unwrap())
}

async fn prepared(logins: &AuthorizationLogins, method: LoginMethod) -> PendingLogin {
    let preparation = Preparation {
        attempt: AttemptId(7),
        scopes: Scopes::default(),
        wished: Scopes::default(),
        method,
        expires: logins.exchanges.clock.now().wall.after(Duration::from_secs(600)),
        grant: None,
        extends: false,
    };
    let Prepared { expires, sealed, .. } = logins.prepare(&identity(), preparation).await.unwrap();
    PendingLogin {
        identity: identity(),
        attempt: AttemptId(7),
        epoch: Epoch::default(),
        same_subject: true,
        expires,
        sealed,
    }
}

/// The answer that the page would send.
fn answer(logins: &AuthorizationLogins, pending: &PendingLogin) -> Callback {
    let OfferedPrompt::Browser { url } = logins.offer(pending).unwrap().prompt else { panic!("no page") };
    let url = Url::parse(url.as_str()).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    callback::read(&format!("code=the-code&state={state}")).unwrap()
}

#[tokio::test]
async fn an_answer_counts_in_the_browser_that_began() {
    let (logins, browser) = (logins(), BrowserBinding::new(b"a cookie of the host"));
    let pending = prepared(&logins, LoginMethod::Hosted { redirect: REDIRECT.to_owned(), browser }).await;
    let read = async |callback: Callback| logins.read(&pending, &callback).await.map(|code| code.expose().to_owned());
    let answer = answer(&logins, &pending);
    assert_eq!(read(answer.clone()).await, Err(LoginReason::OtherBrowser));
    let other = BrowserBinding::new(b"a cookie of another person");
    assert_eq!(read(answer.clone().in_browser(other)).await, Err(LoginReason::OtherBrowser));
    assert_eq!(read(answer.in_browser(browser)).await, Ok("the-code".to_owned()));
}

#[tokio::test]
async fn an_answer_without_a_binding_counts_in_any_browser() {
    let logins = logins();
    let pending = prepared(&logins, LoginMethod::Redirect(REDIRECT.to_owned())).await;
    let answer = answer(&logins, &pending).in_browser(BrowserBinding::new(b"any"));
    assert_eq!(logins.read(&pending, &answer).await.map(|code| code.expose().to_owned()), Ok("the-code".to_owned()));
}

#[tokio::test]
async fn the_sealed_request_shows_no_secret_and_reads_back_only_in_its_own_version() {
    use secrecy::{ExposeSecret, SecretSlice};

    let logins = logins();
    let pending = prepared(&logins, LoginMethod::Redirect(REDIRECT.to_owned())).await;
    let sealed = String::from_utf8(pending.sealed.expose_secret().to_vec()).unwrap();
    let open = super::PendingAuthorization::open(&pending.sealed).unwrap();
    let super::Way::Browser { verifier, .. } = &open.way else { panic!("no page") };
    assert!(sealed.contains(verifier.as_str()) && !format!("{open:?} {pending:?}").contains(verifier.as_str()));
    for changed in [sealed.replace("\"version\":1", "\"version\":2"), sealed.replace("none", "unknown"), String::new()]
    {
        let changed = PendingLogin { sealed: SecretSlice::from(changed.into_bytes()), ..pending.clone() };
        assert_eq!(logins.offer(&changed).unwrap_err(), LoginReason::UnknownLogin);
    }
}
