//! Asks the provider for the person who is signed in, by the requests of a mapping.

use std::time::Duration;

use ::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::{Method, Request, StatusCode};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokenkeeper_actors::law::profile::NotSent;
use tokenkeeper_actors::runtime::ServedLogin;
use tokenkeeper_actors::values::record::Grant;
use tokenkeeper_actors::values::{self, Epoch};
use url::Url;

use super::cache::Failure;
use super::context::UserContext;
use super::document::{self, ErrorMeaning};
use super::error::UserError;
use super::mapping::{ACCESS_TOKEN, ID_TOKEN, UserMapping, UserPlace, UserRefusalMeaning, UserRequest};
use super::providers::UserProviders;
use super::task::Source;
use crate::grant::{is_of_limit, may_receive_secrets, pause_of_answer};
use crate::http::{Body, Departure, Exchange, HttpError, MaybeSent, Reach, decode};
use crate::{
    AuthSession, Call, CallError, Destination, Generation, Lease, Next, OperationKey, Reason, Scopes, TokenError,
    TokenOptions,
};

/// The time for a whole fetch, tokens and all requests included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum time for which the fetch waits for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The time-out of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum length of an answer in bytes, as it arrives and decoded. It is also the limit for all answers together.
const MAX_ANSWER: usize = 64 * 1024;

/// The maximum number of times that the token and the record are read until both belong to one login.
const MAX_READS: u32 = 3;

/// The header with which a server asks for a proof with a nonce (RFC 9449 section 9). A 401 with this header is no refusal
/// of the token.
const NONCE: &str = "dpop-nonce";

/// Asks the provider of one session.
pub(super) struct SessionSource(pub(super) AuthSession);

/// One fetch of one session.
struct Fetch<'a> {
    providers: &'a UserProviders,
    session: &'a AuthSession,
    grant: &'a Grant,
    epoch: Epoch,
    /// The lease of the last request.
    lease: Lease,
    /// Whether a refusal has already caused a refresh. A fetch makes one refresh at most.
    has_refreshed: bool,
    /// The length of the answers so far, in bytes.
    length: usize,
}

/// The meaning of an answer.
enum Verdict {
    Answer(Value),
    /// Status 401, or the provider's own error code for it.
    Unauthorized,
    Forbidden,
    Failed(UserError),
}

#[async_trait]
impl Source for SessionSource {
    fn login(&self) -> Option<ServedLogin> {
        self.0.engine.served_login()
    }

    async fn fetch(&self) -> Result<UserContext, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a request for the user may be dropped at any time, and a refresh that it caused goes on"
        )]
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, fetch(&self.0)).await;
        fetched.unwrap_or(Err(Failure { error: UserError::Unreachable, login: None }))
    }
}

/// Fetches once. The token and the record are read until both belong to one login.
async fn fetch(session: &AuthSession) -> Result<UserContext, Failure> {
    let providers = match &session.oauth {
        Some(oauth) => &*oauth.users.providers,
        None => return Err(Failure { error: UserError::NoRuntime, login: None }),
    };
    let fetched_at = providers.clock.now().wall;
    let superseded = || Failure { error: UserError::Superseded, login: None };
    let mut last = superseded();
    for _ in 0..MAX_READS {
        let options = TokenOptions { timeout: TOKEN_TIMEOUT, ..TokenOptions::default() };
        let lease = session.token_with(options).await;
        let lease = lease.map_err(|error| Failure { error: error.into(), login: None })?;
        let epoch = lease.generation().epoch;
        let failed = |error: UserError| {
            // An error of the session itself does not depend on the token of one login.
            let is_of_session = matches!(error, UserError::Token(_));
            Failure { error, login: (!is_of_session).then_some(ServedLogin { epoch, signed_in: None }) }
        };
        let record = providers.store.load(session.identity()).await.map_err(|_| failed(UserError::StoreTrouble))?;
        // A login that cannot be stored is served meanwhile (law 21). Its record is missing, or that of an earlier login.
        let is_unstored = record.as_ref().is_none_or(|record| record.epoch < epoch);
        last = if is_unstored { failed(UserError::StoreTrouble) } else { superseded() };
        let record = record.filter(|record| record.epoch == epoch);
        // The login changed between the two reads, or it is not stored yet.
        let Some(grant) = record.as_ref().and_then(|record| record.grant()) else { continue };
        let mut fetch = Fetch { providers, session, grant, epoch, lease, has_refreshed: false, length: 0 };
        let mapping = providers.mapping(session.identity(), grant).map_err(failed)?;
        let document = fetch.document(&mapping).await.map_err(failed)?;
        let login = (fetch.lease.generation(), grant.signed_in);
        return document::context(document, &mapping.fields, login, fetched_at).map_err(failed);
    }
    Err(last)
}

impl Fetch<'_> {
    /// The answers of all requests, and the claims of the token.
    async fn document(&mut self, mapping: &UserMapping) -> Result<Map<String, Value>, UserError> {
        let mut document = Map::new();
        if self.grant.renewal.source == crate::machine::idp_session() {
            // The lease is the ID token. It is for this client alone, and goes to no endpoint.
            let claims = document::claims(self.lease.token().expose()).ok_or(UserError::NoSubject)?;
            document::check_subject(&claims, self.subject())?;
            document.insert(ID_TOKEN.to_owned(), claims);
            return Ok(document);
        }
        for request in &mapping.requests {
            match self.answer(request).await {
                Ok(answer) => drop(document.insert(request.name.clone(), answer)),
                Err(error) if request.optional && !error.ends_fetch() => {
                    let (identity, request) = (self.session.identity(), request.name.as_str());
                    tracing::debug!(%identity, request, %error, "the user is described without an optional answer");
                }
                Err(error) => return Err(error),
            }
        }
        if mapping.access_token
            && let Some(claims) = document::claims(self.lease.token().expose())
        {
            document.insert(ACCESS_TOKEN.to_owned(), claims);
        }
        Ok(document)
    }

    /// The subject of the session's login, if the login named one.
    fn subject(&self) -> Option<&str> {
        self.grant.subject.as_ref().map(|subject| subject.0.as_str())
    }

    /// The answer to one request.
    async fn answer(&mut self, request: &UserRequest) -> Result<Value, UserError> {
        let (url, reach) = self.place(&request.at).await?;
        let to = Destination::elsewhere(self.session.identity().clone(), url);
        let may_refresh = !request.optional && !self.has_refreshed;
        let call = self.session.call(OperationKey::of("userinfo"));
        let mut call = call.patience(TOKEN_TIMEOUT).elsewhere(u32::from(may_refresh));
        let answer = self.converse(&mut call, &to, request, reach).await?;
        if request.is_openid() {
            document::check_subject(&answer, self.subject())?;
        }
        Ok(answer)
    }

    /// Sends one request until it has its answer. After a refusal of the token the lease is invalidated, and the request is sent
    /// once more with the next one.
    async fn converse(
        &mut self,
        call: &mut Call,
        to: &Destination,
        request: &UserRequest,
        reach: Reach,
    ) -> Result<Value, UserError> {
        let method = if request.body.is_some() { Method::POST } else { Method::GET };
        let mut sent: Option<Generation> = None;
        loop {
            let authorization = call.authorize(to, &method).await.map_err(of_call)?;
            let Some(authorization) = authorization else { return Err(error(Reason::NeverSignedIn).into()) };
            let generation = authorization.lease().generation();
            if generation.epoch != self.epoch {
                return Err(UserError::Superseded);
            }
            self.has_refreshed |= sent.replace(generation).is_some_and(|earlier| earlier != generation);
            self.lease = authorization.lease().clone();
            let mut headers = HeaderMap::new();
            authorization.apply(&mut headers);
            let (status, headers, body) = self.send(headers, to.url(), &method, request, reach).await?;
            match self.read(status, &headers, body.as_bytes(), request) {
                Verdict::Answer(answer) => return Ok(answer),
                Verdict::Failed(error) => return Err(error),
                Verdict::Unauthorized if request.optional && !headers.contains_key(NONCE) => {
                    return Err(UserError::Refused);
                }
                Verdict::Unauthorized => match call.next(StatusCode::UNAUTHORIZED, &headers).await.map_err(of_call)? {
                    Next::Again => {}
                    Next::Done => return Err(UserError::Refused),
                },
                Verdict::Forbidden => {
                    let _done = call.next(StatusCode::FORBIDDEN, &headers).await.map_err(of_call)?;
                    return Err(UserError::ScopeMissing { scopes: Scopes::default() });
                }
            }
        }
    }

    /// Sends one request, and returns the status, the headers and the body of its answer.
    async fn send(
        &self,
        authorization: HeaderMap,
        url: &str,
        method: &Method,
        request: &UserRequest,
        reach: Reach,
    ) -> Result<(StatusCode, HeaderMap, Body), UserError> {
        let mut sent = Request::new(Body::default());
        let headers = sent.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in request.further_headers().map_err(|_| UserError::UnsafeAddress)? {
            headers.insert(name, value);
        }
        if let Some(body) = &request.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *sent.body_mut() = Body::new(body.to_string());
        }
        // This comes last, so that no header of the mapping can replace the authorization.
        sent.headers_mut().extend(authorization);
        *sent.method_mut() = method.clone();
        *sent.uri_mut() = url.parse().map_err(|_| UserError::UnsafeAddress)?;
        let departure = Departure::at_any_time();
        let exchange = Exchange { request: sent, timeout: REQUEST_TIMEOUT, max_answer: MAX_ANSWER, departure, reach };
        let answer = self.providers.http.send(exchange).await.map_err(of_transport)?;
        let answer = decode(answer, MAX_ANSWER).map_err(|_| UserError::TooLarge)?;
        let (head, body) = answer.into_parts();
        Ok((head.status, head.headers, body))
    }

    /// The meaning of an answer, by the mapping and by its status.
    fn read(&mut self, status: StatusCode, headers: &HeaderMap, body: &[u8], request: &UserRequest) -> Verdict {
        let now = self.providers.clock.now().wall;
        // The pause is read as that of an answer with the status `like`.
        let trouble = |like: StatusCode| {
            let retry_after = pause_of_answer(like, headers, None, now);
            Verdict::Failed(UserError::ServerTrouble { status: status.as_u16(), retry_after })
        };
        match document::refusal_in(status.as_u16(), body, &request.refusals) {
            Some(UserRefusalMeaning::Unauthorized) => return Verdict::Unauthorized,
            Some(UserRefusalMeaning::Forbidden) => return Verdict::Forbidden,
            Some(UserRefusalMeaning::Throttled) => return trouble(StatusCode::TOO_MANY_REQUESTS),
            None => {}
        }
        match status {
            StatusCode::UNAUTHORIZED => return Verdict::Unauthorized,
            StatusCode::FORBIDDEN if is_of_limit(headers, now) => return trouble(StatusCode::TOO_MANY_REQUESTS),
            StatusCode::FORBIDDEN => return Verdict::Forbidden,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => return trouble(status),
            _ if status.is_server_error() => return trouble(status),
            StatusCode::OK if is_signed(headers) => return Verdict::Failed(UserError::Signed),
            StatusCode::OK => {}
            _ => return Verdict::Failed(UserError::Unreadable { status: status.as_u16() }),
        }
        let Some(answer) = document::json(body) else {
            return Verdict::Failed(UserError::Unreadable { status: status.as_u16() });
        };
        match document::error_in(&answer, request.envelope.as_ref()) {
            Some(ErrorMeaning::Unauthorized) => return Verdict::Unauthorized,
            Some(ErrorMeaning::Forbidden) => return Verdict::Forbidden,
            Some(ErrorMeaning::Throttled) => return trouble(StatusCode::TOO_MANY_REQUESTS),
            Some(ErrorMeaning::Other) => return Verdict::Failed(UserError::ErrorInAnswer),
            None => {}
        }
        self.length += body.len();
        if self.length > MAX_ANSWER { Verdict::Failed(UserError::TooLarge) } else { Verdict::Answer(answer) }
    }

    /// The URL that a mapping names, and the addresses that the request to it may connect to.
    async fn place(&self, place: &UserPlace) -> Result<(String, Reach), UserError> {
        let identity = self.session.identity();
        let reach = self.providers.refresh.reach_of(&self.grant.renewal, identity);
        let (url, reach) = match place {
            UserPlace::Userinfo => {
                let issuer = &self.grant.binding.issuer.0;
                let endpoint = self.providers.discovery.userinfo_of(identity.resource(), issuer, reach).await;
                (endpoint.map_err(UserError::Discovery)?.ok_or(UserError::NoEndpoint)?, reach)
            }
            // The host has provided the URL, so its address is not restricted.
            UserPlace::Url(url) => (url.clone(), Reach::Any),
            UserPlace::TokenHost(path) => {
                let host = Url::parse(&self.grant.binding.token_endpoint).map_err(|_| UserError::UnsafeAddress)?;
                ([&host.origin().ascii_serialization(), path.as_str()].concat(), reach)
            }
        };
        if may_receive_secrets(&url) { Ok((url, reach)) } else { Err(UserError::UnsafeAddress) }
    }
}

/// Whether the answer is a JWT (OpenID Connect Core section 5.3.2). Such an answer is not used, because signatures are not
/// verified here.
fn is_signed(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/jwt"))
}

impl UserError {
    /// Whether the error ends the whole fetch, also if the answer is optional. Trouble that may pass does, because the person
    /// would be kept without an answer that the provider has.
    fn ends_fetch(&self) -> bool {
        matches!(self, Self::SubjectMismatch | Self::Token(_)) || self.is_transient()
    }
}

fn of_call(error: CallError) -> UserError {
    match error {
        CallError::Token { error, .. } if error.reason() == Reason::ResourceRefuses => UserError::Refused,
        CallError::Token { error, .. } => error.into(),
        CallError::StepUp(step_up) => UserError::ScopeMissing { scopes: step_up.scopes() },
        CallError::Proof(error) => error.into(),
        CallError::Misdirected(_) => UserError::UnsafeAddress,
    }
}

fn of_transport(error: HttpError) -> UserError {
    match error {
        HttpError::NotSent(NotSent::Forbidden | NotSent::Unbuildable) => UserError::UnsafeAddress,
        HttpError::NotSent(NotSent::Untrusted) => UserError::Untrusted,
        HttpError::MaybeSent(MaybeSent::TooLarge) => UserError::TooLarge,
        HttpError::NotSent(_) | HttpError::MaybeSent(_) => UserError::Unreachable,
    }
}

fn error(reason: Reason) -> TokenError {
    values::TokenError::new(reason).into()
}
