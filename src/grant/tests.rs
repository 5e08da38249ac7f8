//! The requests that the grant sends, their targets, and the evidence it reports.

mod ahead;
mod dialects;
mod revocations;
mod within;

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Response, StatusCode, header};
use tokenkeeper_actors::law::profile::{NotSent, Profile};
use tokenkeeper_actors::ports::source::NotRevoked;
use tokenkeeper_actors::values::record::{ClientAuth, Held, Issuer, Refresh, RefreshCredential};
use tokenkeeper_actors::values::{
    AccessToken, Account, ClientSecret, DigestKey, DpopKey, ElapsedTime, Moment, ProviderName, RenewalPlan, Scopes,
    WallTime,
};

use super::*;

/// A clock that stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment {
            wall: WallTime::from_millis(1_767_225_600_000),
            elapsed: ElapsedTime::from_millis(500_000),
            ..Moment::default()
        }
    }
}

/// Answers every request the same way, and records the requests.
#[derive(Debug)]
struct Scripted {
    answer: Result<(u16, &'static str), HttpError>,
    asked: Mutex<Vec<Exchange>>,
}

#[async_trait]
impl HttpClient for Scripted {
    async fn send(&self, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        self.asked.lock().unwrap().push(exchange);
        let (status, body) = self.answer?;
        let mut answer = Response::new(Body::new(body));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    }
}

const TOKENS: &str = r#"{"access_token":"at-1","refresh_token":"rt-2","expires_in":60}"#;

fn grant() -> Grant {
    Grant {
        renewal: RenewalPlan::default(),
        binding: Binding {
            issuer: Issuer("https://as.example.com".to_owned()),
            client: Client { id: "host 1".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None },
            token_endpoint: "https://as.example.com/token?tenant=1".to_owned(),
            revocation_endpoint: Some("https://as.example.com/revoke".to_owned()),
            resource: Some("https://mcp.example.com/mcp".to_owned()),
        },
        requested: Scopes::new(["a", "b", "c"]),
        granted: Scopes::new(["a", "b"]),
        subject: None,
        signed_in: None,
        rotated: false,
        dpop_key: None,
        refresh: Refresh::None,
        access: None,
        parked: None,
    }
}

fn confidential(auth: ClientAuth) -> Grant {
    let mut grant = grant();
    grant.binding.client.auth = auth;
    grant.binding.client.secret = Some(ClientSecret::new("p&ss:w+rd/é"));
    grant
}

fn identity() -> ServerIdentity {
    ServerIdentity::new(Account::new("work").unwrap(), Target::mcp("https://mcp.example.com/mcp").unwrap())
}

fn source(answer: Result<(u16, &'static str), HttpError>) -> (RefreshGrant, Arc<Scripted>) {
    let http = Arc::new(Scripted { answer, asked: Mutex::default() });
    (RefreshGrant::new(http.clone(), Arc::new(Still)), http)
}

fn token_request(grant: Option<Grant>) -> TokenRequest {
    TokenRequest {
        renewal: RenewalPlan::default(),
        refresh: Some(RefreshToken::new("rt 1+/=")),
        grant: grant.map(Box::new),
        not_after: ElapsedTime::from_millis(502_000),
        timeout: Duration::from_secs(30),
    }
}

/// The one request that `source` sends for `grant`, and the evidence it reports.
async fn asked(source: (RefreshGrant, Arc<Scripted>), grant: Grant) -> (Exchange, Evidence) {
    let evidence = source.0.request(&identity(), token_request(Some(grant))).await;
    let mut asked = std::mem::take(&mut *source.1.asked.lock().unwrap());
    assert_eq!(asked.len(), 1);
    (asked.remove(0), evidence)
}

fn body(exchange: &Exchange) -> &str {
    std::str::from_utf8(exchange.request.body().as_bytes()).unwrap()
}

fn header(exchange: &Exchange, name: header::HeaderName) -> Option<&str> {
    exchange.request.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_public_client_names_itself_in_the_form() {
    let (exchange, evidence) = asked(source(Ok((200, TOKENS))), grant()).await;
    assert_eq!(exchange.request.method(), http::Method::POST);
    assert_eq!(exchange.request.uri(), "https://as.example.com/token?tenant=1");
    assert_eq!(header(&exchange, header::CONTENT_TYPE), Some("application/x-www-form-urlencoded"));
    assert_eq!(header(&exchange, header::ACCEPT), Some("application/json"));
    assert_eq!(header(&exchange, header::ACCEPT_ENCODING), Some("identity"));
    assert_eq!(header(&exchange, header::AUTHORIZATION), None);
    assert_eq!(
        body(&exchange),
        "grant_type=refresh_token&refresh_token=rt+1%2B%2F%3D&resource=https%3A%2F%2Fmcp.example.com%2Fmcp&client_id=host+1"
    );
    assert_eq!((exchange.timeout, exchange.max_answer), (Duration::from_secs(30), 1024 * 1024));
    let Evidence::Tokens(tokens) = evidence else { panic!("{evidence:?}") };
    assert_eq!(tokens.validity.anchored(), Still.now());
}

#[tokio::test]
async fn a_secret_goes_either_into_the_header_or_into_the_form() {
    let (basic, _) = asked(source(Ok((200, TOKENS))), confidential(ClientAuth::Basic)).await;
    let value = &basic.request.headers()[header::AUTHORIZATION];
    // The decoded value is `host+1:p%26ss%3Aw%2Brd%2F%C3%A9`.
    assert_eq!(value.to_str().unwrap(), "Basic aG9zdCsxOnAlMjZzcyUzQXclMkJyZCUyRiVDMyVBOQ==");
    assert!(value.is_sensitive());
    assert!(!body(&basic).contains("client_"), "{}", body(&basic));

    let (post, _) = asked(source(Ok((200, TOKENS))), confidential(ClientAuth::Post)).await;
    assert_eq!(header(&post, header::AUTHORIZATION), None);
    assert!(body(&post).ends_with("&client_id=host+1&client_secret=p%26ss%3Aw%2Brd%2F%C3%A9"), "{}", body(&post));

    let (none, _) = asked(source(Ok((200, TOKENS))), confidential(ClientAuth::None)).await;
    assert!(body(&none).ends_with("&client_id=host+1"), "a public client sends no secret");
    assert!(!format!("{basic:?}{post:?}").contains("aG9z"));
}

/// Entra names the scopes of the access token in its answer, and `offline_access` is not one.
#[tokio::test]
async fn offline_access_that_was_requested_is_requested_with_each_refresh() {
    let sent = |requested: &'static [&str], granted: &'static [&str]| async move {
        let (requested, granted) = (Scopes::new(requested.iter().copied()), Scopes::new(granted.iter().copied()));
        let renewal = RenewalPlan::at(ProviderName::new("entra").unwrap());
        let grant = Grant { renewal, requested, granted, ..grant() };
        let (exchange, _) = asked(source(Ok((200, TOKENS))), grant).await;
        let parameters = url::form_urlencoded::parse(exchange.request.body().as_bytes());
        parameters.into_owned().find(|(name, _)| name == "scope").map(|(_, scopes)| scopes)
    };
    let some = |scopes: &str| Some(scopes.to_owned());
    assert_eq!(sent(&["a", "offline_access"], &["a"]).await, some("a offline_access"));
    assert_eq!(sent(&["a", "offline_access"], &["a", "offline_access"]).await, some("a offline_access"));
    assert_eq!(sent(&["offline_access", "a"], &[]).await, some("offline_access a"));
    assert_eq!(sent(&["a", "b"], &["a"]).await, some("a"));
    assert_eq!(sent(&[], &["a"]).await, some("a"));
    assert_eq!(sent(&[], &[]).await, None);
}

#[tokio::test]
async fn a_dialect_leaves_the_resource_out() {
    let renewal = RenewalPlan::at(ProviderName::new("entra").unwrap());
    let (exchange, _) = asked(source(Ok((200, TOKENS))), Grant { renewal, ..grant() }).await;
    assert!(!body(&exchange).contains("resource"), "{}", body(&exchange));
}

#[tokio::test]
async fn a_target_without_a_resource_names_none() {
    let mut grant = grant();
    grant.binding.resource = None;
    let (exchange, _) = asked(source(Ok((200, TOKENS))), grant).await;
    assert_eq!(body(&exchange), "grant_type=refresh_token&refresh_token=rt+1%2B%2F%3D&client_id=host+1");
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_asked() {
    let with = |change: fn(&mut Grant)| {
        let mut grant = confidential(ClientAuth::Basic);
        change(&mut grant);
        Some(grant)
    };
    let grants = [
        None,
        with(|grant| grant.dpop_key = Some(DpopKey::new("key"))),
        with(|grant| grant.binding.client.auth = ClientAuth::PrivateKeyJwt),
        with(|grant| grant.binding.client.secret = None),
        with(|grant| {
            grant.binding.client.secret = None;
            grant.binding.client.auth = ClientAuth::Post;
        }),
        with(|grant| grant.binding.token_endpoint = "http://as.example.com/token".to_owned()),
        with(|grant| grant.binding.token_endpoint = "nowhere".to_owned()),
    ];
    for grant in grants {
        let (source, http) = source(Ok((200, TOKENS)));
        let evidence = source.request(&identity(), token_request(grant.clone())).await;
        assert!(matches!(evidence, Evidence::NotSent(NotSent::Unbuildable)), "{grant:?}");
        assert_eq!(http.asked.lock().unwrap().len(), 0);
    }
    let (source, http) = source(Ok((200, TOKENS)));
    let evidence = source.request(&identity(), TokenRequest { refresh: None, ..token_request(Some(grant())) }).await;
    assert!(matches!(evidence, Evidence::NotSent(NotSent::Unbuildable)));
    assert_eq!(http.asked.lock().unwrap().len(), 0);
    assert_eq!(source.spending(), Spending::SingleUse);
}

/// A clock that shows the last moment it was set to.
#[derive(Debug)]
struct SetClock(Mutex<Moment>);

impl Clock for SetClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}

/// A client whose answer takes 20 s by `clock`, and carries a `Retry-After` date.
#[derive(Debug)]
struct Slow {
    clock: Arc<SetClock>,
    status: StatusCode,
    retry_at: WallTime,
}

#[async_trait]
impl HttpClient for Slow {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        *self.clock.0.lock().unwrap() = later(Still.now());
        let mut answer = Response::new(Body::new(TOKENS));
        *answer.status_mut() = self.status;
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(self.retry_at.as_millis()));
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_str(&date).unwrap());
        Ok(answer)
    }
}

/// A client whose answer is compressed, as its proxy sent it.
#[derive(Debug)]
struct Compressed(StatusCode, String);

#[async_trait]
impl HttpClient for Compressed {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(self.1.as_bytes()).unwrap();
        let mut answer = Response::new(Body::new(encoder.finish().unwrap()));
        *answer.status_mut() = self.0;
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(answer)
    }
}

/// 20 s after `moment`, on both clocks.
fn later(moment: Moment) -> Moment {
    let span = Duration::from_secs(20);
    Moment { wall: moment.wall.after(span), elapsed: moment.elapsed.after(span), ..moment }
}

/// The report of a refresh whose answer takes 20 s and has this status, with a `Retry-After` date 100 s after the
/// request.
async fn reported_after_20_s(status: StatusCode) -> (Evidence, Moment) {
    let clock = Arc::new(SetClock(Mutex::new(Still.now())));
    let retry_at = Still.now().wall.after(Duration::from_secs(100));
    let http = Slow { clock: Arc::clone(&clock), status, retry_at };
    let source = RefreshGrant::new(Arc::new(http), clock.clone());
    let evidence = source.request(&identity(), token_request(Some(grant()))).await;
    (evidence, clock.now())
}

#[tokio::test]
async fn a_lifetime_counts_from_the_start_of_the_request() {
    let (evidence, answered) = reported_after_20_s(StatusCode::OK).await;
    let Evidence::Tokens(tokens) = evidence else { panic!("{evidence:?}") };
    assert_eq!(tokens.validity.anchored(), Still.now());
    // The lifetime counts on even if only one of the two clocks has advanced.
    for now in
        [answered, Moment { wall: Still.now().wall, ..answered }, Moment { elapsed: Still.now().elapsed, ..answered }]
    {
        assert_eq!(tokens.validity.remaining(&now), Some(Duration::from_secs(60 - 20)));
    }
}

#[tokio::test]
async fn a_retry_after_date_counts_from_the_answer() {
    let (evidence, _) = reported_after_20_s(StatusCode::TOO_MANY_REQUESTS).await;
    let Evidence::Refused(refused) = evidence else { panic!("{evidence:?}") };
    assert_eq!(refused.retry_after, Some(Duration::from_secs(100 - 20)));
}

#[tokio::test]
async fn a_request_may_leave_until_its_time_has_passed() {
    for (not_after, may_leave) in [(499_999, false), (500_000, true)] {
        let (source, http) = source(Ok((200, TOKENS)));
        let not_after = ElapsedTime::from_millis(not_after);
        source.request(&identity(), TokenRequest { not_after, ..token_request(Some(grant())) }).await;
        assert_eq!(http.asked.lock().unwrap()[0].departure.may_leave(), may_leave);
    }
}

#[tokio::test]
async fn a_failure_is_reported_as_what_it_is() {
    let report = |error| async move { asked(source(Err(error)), grant()).await.1 };
    for why in [NotSent::Unreachable, NotSent::TooLate, NotSent::Unbuildable, NotSent::Forbidden] {
        let evidence = report(HttpError::NotSent(why)).await;
        assert!(matches!(evidence, Evidence::NotSent(reported) if reported == why), "{evidence:?}");
    }
    for (why, lost) in
        [(MaybeSent::TimedOut, Lost::TimedOut), (MaybeSent::Broken, Lost::Broken), (MaybeSent::TooLarge, Lost::Broken)]
    {
        let evidence = report(HttpError::MaybeSent(why)).await;
        assert!(matches!(evidence, Evidence::Lost(reported) if reported == lost), "{evidence:?}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let report = |status, body: String| async move {
        let source = RefreshGrant::new(Arc::new(Compressed(status, body)), Arc::new(Still));
        source.request(&identity(), token_request(Some(grant()))).await
    };
    let evidence = report(StatusCode::OK, TOKENS.to_owned()).await;
    let Evidence::Tokens(tokens) = evidence else { panic!("{evidence:?}") };
    assert_eq!(tokens.refresh.as_ref().map(RefreshToken::expose), Some("rt-2"));
    let evidence = report(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.to_owned()).await;
    let Evidence::Refused(refused) = evidence else { panic!("{evidence:?}") };
    assert_eq!((refused.status, refused.error.as_deref()), (400, Some("invalid_grant")));
    let evidence = report(StatusCode::OK, " ".repeat(DEFAULT_ANSWER_MOST + 1)).await;
    assert!(matches!(evidence, Evidence::Lost(Lost::Broken)), "{evidence:?}");
}

#[tokio::test]
async fn a_word_that_repeats_a_secret_is_not_repeated() {
    let mut grant = confidential(ClientAuth::Post);
    grant.binding.client.secret = Some(ClientSecret::new("secret-word"));
    let word = |answer| {
        let grant = grant.clone();
        async move {
            let Evidence::Refused(refused) = asked(source(Ok((400, answer))), grant).await.1 else { panic!() };
            refused.error
        }
    };
    assert_eq!(word(r#"{"error":"bad_secret-word"}"#).await, None);
    assert_eq!(word(r#"{"error":"secret-wor"}"#).await, None);
    assert_eq!(word(r#"{"error":"invalid_grant"}"#).await.as_deref(), Some("invalid_grant"));
}

/// A word that is part of a secret by chance is still reported. Otherwise a dead token would be presented again.
#[tokio::test]
async fn a_word_that_the_profile_knows_is_reported_whatever_the_secrets_are() {
    for secret in ["", "i", "invalid", "invalid_grant", "a-secret-with-invalid_grant-in-it"] {
        for (answer, due) in [
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (r#"{"error":"invalid_client"}"#, "invalid_client"),
            (r#"{"error":"invalid_scope"}"#, "invalid_scope"),
            (r#"{"error":"use_dpop_nonce"}"#, "use_dpop_nonce"),
            (r#"{"error":{"code":"refresh_token_reused"}}"#, "refresh_token_reused"),
        ] {
            let mut grant = confidential(ClientAuth::Post);
            grant.binding.client.secret = Some(ClientSecret::new(secret));
            let (source, _) = source(Ok((400, answer)));
            let refresh = Some(RefreshToken::new(format!("rt-{due}-{secret}")));
            let evidence = source.request(&identity(), TokenRequest { refresh, ..token_request(Some(grant)) }).await;
            let Evidence::Refused(refused) = evidence else { panic!("{evidence:?}") };
            assert_eq!(refused.error.as_deref(), Some(due), "{secret:?}");
        }
    }
}

#[tokio::test]
async fn of_several_words_the_one_that_the_profile_knows_is_reported() {
    const ANSWER: &str = r#"{"error":"invalid_request","error_code":"own_word","message":"Gone for good."}"#;
    let name = || ProviderName::new("example").unwrap();
    let word = |profiles: Option<Profiles>, renewal: RenewalPlan| async move {
        let (source, http) = source(Ok((400, ANSWER)));
        let source = match profiles {
            Some(profiles) => source.profiles(profiles),
            None => source,
        };
        let Evidence::Refused(refused) = asked((source, http), Grant { renewal, ..grant() }).await.1 else { panic!() };
        refused.error
    };
    let own = || Profile { dead_words: vec!["own_word".to_owned()], ..Profile::default() };
    let phrase = || Profile { client_words: vec!["gone_for_good".to_owned()], ..Profile::default() };
    let some = |word: &str| Some(word.to_owned());
    assert_eq!(word(None, RenewalPlan::default()).await, some("invalid_request"));
    assert_eq!(word(Some(own().into()), RenewalPlan::default()).await, some("own_word"));
    assert_eq!(word(Some(phrase().into()), RenewalPlan::default()).await, some("gone_for_good"));
    let named = Profiles::default().with(name(), own());
    assert_eq!(word(Some(named.clone()), RenewalPlan::at(name())).await, some("own_word"));
    assert_eq!(word(Some(named), RenewalPlan::default()).await, some("invalid_request"));
}

#[tokio::test]
async fn a_source_shows_no_secret() {
    let (source, http) = source(Ok((400, r#"{"error":"x"}"#)));
    let mut grant = confidential(ClientAuth::Basic);
    grant.binding.client.secret = Some(ClientSecret::new("hush-1"));
    let request = TokenRequest { refresh: Some(RefreshToken::new("hush-2")), ..token_request(Some(grant)) };
    let evidence = source.request(&identity(), request).await;
    let shown = format!("{source:?} {:?} {evidence:?}", http.asked.lock().unwrap());
    assert!(!shown.contains("hush") && !shown.contains("aG9z"), "{shown}");
}
