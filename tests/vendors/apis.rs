//! Sessions at the API of each provider that has a login of its own, from the page to the end.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method as Verb, StatusCode};
use tokenkeeper::engine::memory::MemoryStore;
use tokenkeeper::engine::values::DigestKey;
use tokenkeeper::issuers::providers::Providers;
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::registration::Clients;
use tokenkeeper::{
    AuthRuntime, AuthSession, Login, LoginCause, LoginMethod, LoginProgress, LoginReason, LoginSettings, LoginWish,
    Misdirected, Next, OfferedPrompt, OperationKey, Reason, RevocationOutcome, Scopes, SessionSpec, TokenOptions,
    callback,
};

use super::server::{CLIENT, Form, Method, REDIRECT, SECRET, Server, Vendor};
use super::table;
use super::within::within;

const WAIT: Duration = Duration::from_secs(30);

async fn runtime(store: &MemoryStore, server: &Server, vendor: &Vendor, providers: Providers) -> AuthRuntime {
    let client = match vendor.method {
        Method::Basic => Client::secret_basic(CLIENT, SECRET),
        _ => Client::secret_post(CLIENT, SECRET),
    };
    let clients = Clients::default().without_dynamic().pre_registered(vendor.issuer, client, [REDIRECT]);
    let builder = AuthRuntime::builder(store.clone()).http(Arc::new(server.clone())).providers(providers);
    builder.login(LoginSettings::default().clients(clients)).spawn().await.unwrap()
}

async fn page(session: &AuthSession, scopes: &[&str]) -> Result<String, LoginReason> {
    let method = LoginMethod::Redirect(REDIRECT.to_owned());
    let wish = LoginWish { scopes: Scopes::new(scopes.iter().copied()), method, same_subject: false, extends: false };
    match within("a page", session.begin_login(wish, LoginCause::Person, WAIT)).await {
        Ok(LoginProgress::Offered { offer, .. }) => match &offer.prompt {
            OfferedPrompt::Browser { url } => Ok(url.as_str().to_owned()),
            other => panic!("{other:?}"),
        },
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.reason()),
    }
}

async fn sign_in(session: &AuthSession, server: &Server, vendor: &Vendor) {
    let url = page(session, vendor.page.unwrap().asks).await.unwrap();
    let answer = callback::read(&server.visit(&url)).unwrap();
    within("the login", session.complete_login(answer, WAIT)).await.unwrap();
}

fn with_page() -> impl Iterator<Item = &'static Vendor> {
    table::ALL.iter().filter(|vendor| vendor.page.is_some())
}

fn spec(vendor: &Vendor) -> SessionSpec {
    SessionSpec::provider(vendor.name).unwrap()
}

#[tokio::test]
async fn a_person_signs_in_and_the_session_outlives_its_runtime() {
    for vendor in with_page() {
        let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        sign_in(&session, &server, vendor).await;
        let lease = within("a token", session.token()).await.unwrap();
        assert_eq!(lease.token().expose(), server.newest().0, "{}", vendor.name);
        assert!(auth.shutdown(WAIT).await.is_clean());

        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        let kept = within("a token", session.token()).await.unwrap();
        assert_eq!(kept.token().expose(), lease.token().expose(), "{}", vendor.name);
        assert_eq!(kept.validity().lifetime(), lease.validity().lifetime(), "{}", vendor.name);
        assert!(server.presented().is_empty(), "{}: nothing was refreshed", vendor.name);
        assert!(auth.shutdown(WAIT).await.is_clean());
    }
}

#[tokio::test]
async fn a_401_of_the_api_is_one_refresh_and_one_more_request() {
    for vendor in with_page().filter(|vendor| !vendor.api.is_empty()) {
        let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        sign_in(&session, &server, vendor).await;
        let to = session.destination(vendor.api).unwrap();
        server.expire_access();
        let mut statuses = Vec::new();
        let mut call = session.call(OperationKey::of("GET"));
        loop {
            let mut headers = HeaderMap::new();
            let authorization = within("an authorization", call.authorize(&to, &Verb::GET)).await.unwrap();
            authorization.unwrap().apply(&mut headers);
            let status = server.api(headers["authorization"].to_str().unwrap());
            statuses.push(status);
            match within("a decision", call.next(status, &HeaderMap::new())).await.unwrap() {
                Next::Again => {}
                Next::Done => break,
            }
        }
        assert_eq!(statuses, [StatusCode::UNAUTHORIZED, StatusCode::OK], "{}", vendor.name);
        assert_eq!(server.presented().len(), 1, "{}", vendor.name);
        assert!(auth.shutdown(WAIT).await.is_clean());
    }
}

#[tokio::test]
async fn a_logout_revokes_the_token_that_the_vendor_revokes() {
    for vendor in with_page() {
        let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        sign_in(&session, &server, vendor).await;
        let (access, refresh) = server.newest();
        let done = within("the logout", session.logout()).await.unwrap();
        let (outcome, revoked) = match vendor.revocation.map(|revocation| revocation.form) {
            Some(Form::Refresh) => (RevocationOutcome::Done, vec![refresh]),
            // The refresh token may live on.
            Some(Form::Bearer | Form::Delete) => (RevocationOutcome::AccessTokenAlone, vec![access]),
            None => (RevocationOutcome::NotOffered, Vec::new()),
        };
        assert_eq!((done.revocation, server.revoked()), (Some(outcome), revoked), "{}", vendor.name);
        assert_eq!(done.may_still_live(), outcome != RevocationOutcome::Done, "{}", vendor.name);
        assert!(auth.shutdown(WAIT).await.is_clean());
    }
}

#[tokio::test]
async fn a_token_goes_to_the_urls_of_the_row_alone() {
    let vendor = with_page().find(|vendor| vendor.name == "github").unwrap();
    let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
    let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
    let session = auth.session(spec(vendor));
    for url in ["https://api.github.com", "https://api.github.com/user", "https://api.github.com/user?per_page=1"] {
        assert!(session.destination(url).is_ok(), "{url}");
    }
    for url in [
        "https://github.com/user",
        "http://api.github.com/user",
        "https://api.github.com.evil.example/user",
        "https://api.github.com:8443/user",
        "https://api.github.com@evil.example/",
    ] {
        assert_eq!(session.destination(url), Err(Misdirected::OtherApi { provider: "github".to_owned() }), "{url}");
    }
    assert_eq!(session.destination("user"), Err(Misdirected::NoUrl));
    for unknown in ["salesforce", "nobody-knows"] {
        let session = auth.session(SessionSpec::provider(unknown).unwrap());
        assert_eq!(session.destination("https://api.github.com/user"), Err(Misdirected::NoServer), "{unknown}");
    }
    assert!(auth.shutdown(WAIT).await.is_clean());
}

#[tokio::test]
async fn a_provider_of_a_file_is_signed_in_to_like_a_known_one() {
    let vendor = with_page().find(|vendor| vendor.name == "slack").unwrap();
    let file = r#"{ "version": 1, "providers": { "chat": {
        "extends": "slack", "issuer": "https://slack.com", "api": ["https://chat.example.com/api"],
        "endpoints": { "authorization": "https://slack.com/oauth/v2/authorize", "token": "https://slack.com/api/oauth.v2.access" }
    } } }"#;
    let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
    let auth = runtime(&store, &server, vendor, Providers::from_json(file).unwrap()).await;
    let session = auth.session(SessionSpec::provider("chat").unwrap());
    sign_in(&session, &server, vendor).await;
    assert_eq!(within("a token", session.token()).await.unwrap().token().expose(), server.newest().0);
    assert!(session.destination("https://chat.example.com/api/users").is_ok());
    assert!(
        session.destination("https://slack.com/api/conversations.list").is_err(),
        "the places of slack are its own"
    );
    // A runtime that was not given the file spends nothing.
    let without = runtime(&store, &server, vendor, Providers::builtin()).await;
    let forced = TokenOptions { force: true, ..TokenOptions::default() };
    let chat = without.session(SessionSpec::provider("chat").unwrap());
    assert_eq!(within("no token", chat.token_with(forced)).await.unwrap_err().reason(), Reason::SourceMissing);
    assert!(server.presented().is_empty());
    assert!(without.shutdown(WAIT).await.is_clean());
    assert!(within("a token", session.token_with(forced)).await.is_ok());
    assert_eq!(server.presented().len(), 1);
    let nameless = auth.session(SessionSpec::provider("nobody-knows").unwrap());
    assert_eq!(page(&nameless, &["read"]).await, Err(LoginReason::NoAuthorizationServer));
    assert!(auth.shutdown(WAIT).await.is_clean());
}

#[tokio::test]
async fn an_imported_login_has_the_provider_of_its_api() {
    for vendor in with_page() {
        let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        let client = match vendor.method {
            Method::Basic => Client::secret_basic(CLIENT, SECRET),
            _ => Client::secret_post(CLIENT, SECRET),
        };
        let issuer = IssuerSettings::new(vendor.issuer, vendor.token, client).unwrap();
        let login = Login::at(issuer).refresh_token(server.granted()).granted(["read", "write"]);
        within("the login", session.install(login)).await.unwrap();
        let lease = within("a token", session.token()).await.unwrap();
        assert_eq!(lease.token().expose(), server.newest_access(), "{}", vendor.name);
        assert!(auth.shutdown(WAIT).await.is_clean());
    }
}

#[tokio::test]
async fn two_providers_never_share_a_session() {
    let [one, other] = ["github", "linear"].map(|name| with_page().find(|vendor| vendor.name == name).unwrap());
    let store = MemoryStore::new(DigestKey::new([7; 32]));
    for vendor in [one, other] {
        let server = Server::new(vendor);
        let auth = runtime(&store, &server, vendor, Providers::builtin()).await;
        let session = auth.session(spec(vendor));
        sign_in(&session, &server, vendor).await;
        assert!(auth.shutdown(WAIT).await.is_clean());
    }
    let server = Server::new(one);
    let auth = runtime(&store, &server, one, Providers::builtin()).await;
    let (one, other) = (auth.session(spec(one)), auth.session(spec(other)));
    let to = other.destination("https://api.linear.app/graphql").unwrap();
    assert!(within("no authorization", one.call(OperationKey::of("GET")).authorize(&to, &Verb::GET)).await.is_err());
    assert!(auth.shutdown(WAIT).await.is_clean());
}

#[tokio::test]
async fn a_row_of_a_file_tells_where_the_person_is_described() {
    let vendor = with_page().find(|vendor| vendor.name == "github").unwrap();
    let file = r#"{ "version": 1, "providers": { "github": { "user": {
        "requests": [{ "name": "me", "at": { "url": "https://api.github.com/user" } }],
        "fields": { "subject": ["/me/id"], "name": ["/me/login"], "groups": ["/me/teams/*"] }
    } } } }"#;
    let (server, store) = (Server::new(vendor), MemoryStore::new(DigestKey::new([7; 32])));
    let auth = runtime(&store, &server, vendor, Providers::from_json(file).unwrap()).await;
    let session = auth.session(spec(vendor));
    sign_in(&session, &server, vendor).await;
    let user = within("the person", session.user()).await.unwrap();
    assert_eq!((user.subject(), user.name(), user.groups()), ("7", Some("ann"), &["blue".to_owned()][..]));
    // A provider that behaves alike is another one, whose tokens do not go there.
    let more = r#"{ "version": 1, "providers": { "ours": { "extends": "github" } } }"#;
    let ours = Providers::from_json(file).unwrap().with_json(more).unwrap();
    assert!(ours.named("github").unwrap().user.is_some() && ours.named("ours").unwrap().user.is_none());
    assert!(auth.shutdown(WAIT).await.is_clean());
}
