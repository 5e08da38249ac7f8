//! A home that an earlier version of the command wrote opens, serves, refreshes, and loses nothing.
//!
//! `fixtures/home-format-2`, `home-format-3` and `home-format-4` have the files of such homes after some imports and one
//! logout. The number is that of their records. They hold no secrets. The tokens were made up, and the authorization server
//! is a closed port on loopback. The last one has a server whose URL has keys in it.
#![cfg(unix)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tokenkeeper::engine::ports::store::TokenStore;
use tokenkeeper::engine::runtime::{AuthRuntime, AuthSession, Settings};
use tokenkeeper::engine::system::SystemClock;
use tokenkeeper::engine::values::record::ClientAuth;
use tokenkeeper::grant::RefreshGrant;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, ReqwestClient};
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{Account, ProviderName, Reason, RenewalPlan, ServerIdentity, Target, TokenOptions};
use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};

/// The authorization server's address in the files.
const STORED_ISSUER: &str = "http://127.0.0.1:9";
const STORED_RESOURCE: &str = "https://mcp.example.com/mcp";

/// A server with keys in its URL, and an account that is named like one.
const KEYED: (&str, &str) = ("https://mcp.example.com/k-path-secret-1/mcp?key=query-secret-2", "account-secret-3");

/// Redirects requests for the stored server to a running one, and translates the stored names into the names it knows.
#[derive(Debug)]
struct Relay {
    client: ReqwestClient,
    issuer: String,
    /// Stored names, each with the running server's name for the same thing.
    names: Vec<(&'static str, String)>,
}

fn encoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

#[async_trait]
impl HttpClient for Relay {
    async fn send(&self, mut exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let uri = exchange.request.uri().to_string();
        *exchange.request.uri_mut() = uri.replace(STORED_ISSUER, &self.issuer).parse().unwrap();
        let mut body = String::from_utf8(exchange.request.body().as_bytes().to_vec()).unwrap();
        for (stored, running) in &self.names {
            body = body.replace(&encoded(stored), &encoded(running));
        }
        *exchange.request.body_mut() = Body::new(body);
        self.client.send(exchange).await
    }
}

/// A copy of the fixture of records in this format, private as a home must be.
fn home(format: u32) -> TempDir {
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let fixture = format!("tests/fixtures/home-format-{format}");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture), home.path());
    // Git does not track empty folders.
    let logins = home.path().join("logins");
    fs::create_dir_all(&logins).unwrap();
    fs::set_permissions(logins, fs::Permissions::from_mode(0o700)).unwrap();
    home
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn identity(account: &str) -> ServerIdentity {
    let resource = if account == KEYED.1 { KEYED.0 } else { STORED_RESOURCE };
    ServerIdentity::new(Account::new(account).unwrap(), Target::mcp(resource).unwrap())
}

/// A runtime on a copy of the home, and a server in place of the stored one.
struct Scene {
    server: HostileAs,
    store: FileStore,
    runtime: AuthRuntime,
    _home: TempDir,
}

impl Scene {
    async fn of(format: u32) -> Self {
        let server = HostileAs::start().await.unwrap();
        let public = server.register(ClientAuth::None);
        let confidential = server.register(ClientAuth::Post);
        let (plain, secret) = (server.grant_to(&public), server.grant_to(&confidential));
        let (strict, keyed) = (server.grant_to(&public), server.grant_to(&public));
        let names = vec![
            (STORED_RESOURCE, server.resource()),
            ("stored-confidential-client", confidential.id.clone()),
            ("stored-client-secret", confidential.secret.as_ref().unwrap().expose().to_owned()),
            ("stored-client", public.id.clone()),
            ("stored-refresh-token-plain", plain.refresh_token.expose().to_owned()),
            ("stored-refresh-token-secret", secret.refresh_token.expose().to_owned()),
            ("stored-refresh-token-strict", strict.refresh_token.expose().to_owned()),
            ("stored-refresh-token-keyed", keyed.refresh_token.expose().to_owned()),
        ];
        let client = ReqwestClient::new().unwrap();
        let relay = Relay { client, issuer: server.issuer().to_owned(), names };
        let home = home(format);
        let store = FileStore::builder(home.path()).existing().open().unwrap();
        let source = RefreshGrant::new(Arc::new(relay), Arc::new(SystemClock::new().unwrap()));
        let settings = Settings { profiles: Providers::builtin().profiles(), ..Settings::new(Arc::new(source)) };
        let runtime = AuthRuntime::builder(Arc::new(store.clone()), settings).spawn().await.unwrap();
        Self { server, store, runtime, _home: home }
    }

    fn session(&self, account: &str) -> AuthSession {
        self.runtime.session(identity(account))
    }
}

#[tokio::test]
async fn a_home_of_an_earlier_version_opens_serves_and_refreshes() {
    for (format, accounts) in [
        (2, &["gone", "plain", "secret"][..]),
        (3, &["gone", "plain", "secret", "strict"]),
        (4, &[KEYED.1, "gone", "plain", "secret", "strict"]),
    ] {
        opens_serves_and_refreshes(format, accounts).await;
    }
}

async fn opens_serves_and_refreshes(format: u32, accounts: &[&str]) {
    let scene = Scene::of(format).await;
    let mut listed = scene.store.list().await.unwrap();
    listed.sort();
    let mut stored: Vec<_> = accounts.iter().copied().map(identity).collect();
    stored.sort();
    assert_eq!(listed, stored);

    // A stored token that is valid is served without a request.
    let lease = scene.session("secret").token().await.unwrap();
    assert_eq!(lease.token().expose(), "stored-access-token");
    assert_eq!(lease.scopes().iter().collect::<Vec<_>>(), ["read"]);
    assert_eq!(scene.server.counts().token_requests, 0);

    // An expired token is refreshed, repeatedly, with and without a client secret.
    let force = TokenOptions { force: true, ..TokenOptions::default() };
    let renewed = if accounts.contains(&KEYED.1) { KEYED.1 } else { "plain" };
    for account in ["plain", "secret", renewed, "secret"] {
        let lease = scene.session(account).token_with(force).await.unwrap();
        assert!(lease.token().expose().starts_with("at-"), "{account}");
    }
    let counts = scene.server.counts();
    assert_eq!((counts.token_requests, counts.replays), (4, 0));
    for account in ["plain", "secret", renewed] {
        let record = scene.store.load(&identity(account)).await.unwrap().unwrap();
        let grant = record.grant().unwrap();
        assert_eq!(grant.renewal, RenewalPlan::default(), "{account}");
        assert!(record.held().unwrap().credential.token().expose().starts_with("rt-"), "{account}");
    }

    // A tombstone is still a tombstone.
    let error = scene.session("gone").token().await.unwrap_err();
    assert_eq!(error.reason(), Reason::LoggedOut);
    assert!(scene.runtime.shutdown(std::time::Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn the_provider_in_a_record_of_an_earlier_version_decides_about_repeats() {
    let scene = Scene::of(3).await;
    scene.server.next(When::After, Fault::reset());
    let error = scene.session("strict").token().await.unwrap_err();
    assert_eq!(error.reason(), Reason::MaybeConsumed, "at this provider nothing is presented twice");
    assert_eq!(scene.server.counts().token_requests, 1);
    assert!(scene.runtime.shutdown(std::time::Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn a_session_of_an_earlier_version_is_given_its_provider() {
    let scene = Scene::of(2).await;
    let session = scene.session("plain");
    session.configure(RenewalPlan::at(ProviderName::new("notion").unwrap())).await.unwrap();
    scene.server.next(When::After, Fault::reset());
    let error = session.token().await.unwrap_err();
    assert_eq!(error.reason(), Reason::MaybeConsumed, "at this provider nothing is presented twice");
    assert_eq!(scene.server.counts().token_requests, 1);
    assert!(scene.runtime.shutdown(std::time::Duration::from_secs(5)).await.is_clean());
}
