//! Upstream logins, from the browser's side. A [`Flow`] is a login that is under way. All that is needed to complete it is in a
//! signed cookie of the browser in which it was begun, so that an answer in another browser completes nothing.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::{
    AuthSession, BrowserBinding, LoginCause, LoginKey, LoginMethod, LoginProgress, LoginWish, OfferedPrompt, Scopes,
    SignInError, TokenOptions,
};

use super::authorize::AuthorizationRequest;
use super::callback::apart;
use super::cookies::Cookies;
use super::{CALLBACK, pages};
use crate::accounts;
use crate::gateway::{Gateway, LOGIN_LIFETIME};
use crate::people::Upstream;
use crate::seal::{Use, draw};
use crate::text::plain_name;

/// The cookie of a browser whose person has signed in.
const PERSON: &str = "person";

/// How long a browser's person stays known.
const PERSON_LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// The prefix of the cookies of logins.
const FLOW: &str = "flow-";

/// The maximum number of unfinished logins of one browser. With a further one, the oldest are dropped, so that their cookies do
/// not fill requests.
const MAX_FLOWS: usize = 3;

/// The maximum time that the beginning of a login may take.
const BEGIN: Duration = Duration::from_secs(30);

/// The time-out of asking a session for a token, only to learn whether it needs a login.
const LOOK: Duration = Duration::from_secs(5);

/// A login that is under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Flow {
    /// The index of the upstream among the gateway's. The first one has the index 0.
    pub(super) upstream: usize,
    /// The account of the session that signs in. At a further upstream, it is the subject.
    pub(super) account: String,
    /// The [`LoginKey`] in base64url.
    pub(super) key: String,
    /// The secret that ties the login to this browser.
    pub(super) secret: String,
    /// In milliseconds of wall time.
    expires: u64,
    pub(super) goal: Goal,
}

/// The purpose of a login.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Goal {
    /// A code for a client, which the person has allowed.
    Code(AuthorizationRequest),
    /// The session alone. No client waits for a code.
    Session,
    /// A login at the upstream of this index, which begins when the first upstream has identified the person.
    Another(usize),
}

/// The content of the cookie of a browser whose person has signed in.
#[derive(Serialize, Deserialize)]
struct PersonCookie {
    subject: String,
    /// When the person signed in, in milliseconds of wall time.
    at: u64,
}

/// The subject of the person who has signed in with this browser. `None` without such a person, if that was too long ago, if
/// the person has signed out since, or if the store cannot be read.
pub(super) async fn person_of(gateway: &Gateway, headers: &HeaderMap) -> Option<String> {
    let text = Cookies::of(&gateway.0.issuer).get(headers, PERSON)?;
    let PersonCookie { subject, at } = gateway.0.seal.open(Use::Person, text)?;
    let now = gateway.0.now();
    if now >= WallTime::from_millis(at).after(PERSON_LIFETIME) {
        return None;
    }
    let person = gateway.0.people.person(&subject, now).await.ok()??;
    (!person.has_ended(at)).then_some(subject)
}

/// Notes in an answer who has signed in with this browser.
pub(super) fn set_person(gateway: &Gateway, subject: &str, answer: &mut Response) {
    let cookie = PersonCookie { subject: subject.to_owned(), at: gateway.0.now().as_millis() };
    let text = gateway.0.seal.seal(Use::Person, &cookie);
    if let Some(header) = Cookies::of(&gateway.0.issuer).set(PERSON, &text, PERSON_LIFETIME) {
        answer.headers_mut().append(SET_COOKIE, header);
    }
}

/// Whether the subject's session at the first upstream needs no login. With an upstream that cannot be used now, the answer is
/// `true`, because a login would not help.
pub(super) async fn is_signed_in(gateway: &Gateway, subject: &str) -> bool {
    let Ok(Some(person)) = gateway.0.people.person(subject, gateway.0.now()).await else { return false };
    let Some(Ok(session)) = gateway.0.upstreams.first().map(|first| gateway.0.session(first, &person.account)) else {
        return false;
    };
    match session.token_with(TokenOptions { timeout: LOOK, ..TokenOptions::default() }).await {
        Ok(_) => true,
        Err(error) => !error.is_login_required(),
    }
}

/// The name of the subject at the first upstream, or else the e-mail address. `None` if the session does not have it at hand.
pub(super) async fn label_of(gateway: &Gateway, subject: &str) -> Option<String> {
    let person = gateway.0.people.person(subject, gateway.0.now()).await.ok()??;
    let session = gateway.0.session(gateway.0.upstreams.first()?, &person.account).ok()?;
    let user = session.user_at_hand()?;
    plain_name(user.name().or(user.email())?)
}

/// Sends the person to the upstream with the index `index` among the gateway's.
///
/// A login at the first upstream identifies the person, so that it is made on a session of its own and not on that of the
/// person whom the browser remembers, and `subject` is `None`. A login at another upstream is made on the session of `subject`.
pub(super) async fn begin(
    gateway: &Gateway,
    headers: &HeaderMap,
    index: usize,
    subject: Option<&str>,
    goal: Goal,
) -> Response {
    let inner = &gateway.0;
    let busy =
        || failed(gateway, &goal, "temporarily_unavailable", "Too many people are signing in. Try again in a minute.");
    let broken = || failed(gateway, &goal, "server_error", "The gateway is not set up for this. Tell its operator.");
    let Some(_beginning) = inner.open_logins.begin(inner.now()) else { return busy() };
    let (Ok(secret), Ok(number)) = (draw::<32>(), draw::<16>()) else { return broken() };
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let account = match subject {
        Some(subject) => subject.to_owned(),
        None => accounts::of_login(inner.now(), number),
    };
    if inner.sweeps.are_due(inner.now()) {
        let gateway = gateway.clone();
        apart(async move {
            if let Err(error) = gateway.sweep().await {
                tracing::warn!(%error, "logins that were not completed were not forgotten");
            }
        });
    }
    let Some(upstream) = inner.upstreams.get(index) else { return broken() };
    let Ok(session) = inner.session(upstream, &account) else { return broken() };
    match offered(gateway, upstream, &session, &secret).await {
        Ok(Offered::Page(key, url)) => {
            let name = name_of(&key);
            inner.open_logins.opened(name.clone(), inner.now());
            let key = URL_SAFE_NO_PAD.encode(key.0);
            let expires = inner.now().after(LOGIN_LIFETIME).as_millis();
            let flow = Flow { upstream: index, account, key, secret, expires, goal };
            let mut answer = pages::redirect(&url);
            let cookies = Cookies::of(&inner.issuer);
            let dropped = older_flows(gateway, headers).into_iter().filter_map(|name| cookies.clear(&name));
            for cookie in dropped.chain(cookies.set(&name, &inner.seal.seal(Use::Flow, &flow), LOGIN_LIFETIME)) {
                answer.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Ok(Offered::SignedIn) if matches!(goal, Goal::Session) => done(),
        // A login with another goal is at the first upstream, on a new session, which cannot be signed in.
        Ok(Offered::SignedIn) => broken(),
        Ok(Offered::Waits) => {
            failed(gateway, &goal, "temporarily_unavailable", "Another sign-in is under way. Try again in a minute.")
        }
        Err(error) => {
            tracing::warn!(reason = %error.reason(), upstream = upstream.name, "an upstream login could not begin");
            failed(
                gateway,
                &goal,
                "temporarily_unavailable",
                "The provider cannot be asked now. Try again in a minute.",
            )
        }
    }
}

/// The beginning of an upstream login.
enum Offered {
    /// The login's page, which belongs to this browser.
    Page(LoginKey, String),
    /// The session is signed in.
    SignedIn,
    /// The session waits for another login, or asks the person in another way.
    Waits,
}

/// Begins a login on a session. `secret` ties it to the browser.
async fn offered(
    gateway: &Gateway,
    upstream: &Upstream,
    session: &AuthSession,
    secret: &str,
) -> Result<Offered, SignInError> {
    let wish = LoginWish {
        scopes: Scopes::new(upstream.scopes.iter().cloned()),
        method: LoginMethod::Hosted {
            redirect: gateway.0.url(CALLBACK),
            browser: BrowserBinding::new(secret.as_bytes()),
        },
        same_subject: true,
        extends: false,
    };
    // If another browser or an earlier visit has begun a login of this session already, that one is cancelled, and a new one is
    // begun for this browser. This is tried once.
    for _ in 0..2 {
        match session.begin_login(wish.clone(), LoginCause::Person, BEGIN).await? {
            LoginProgress::Offered { key, offer, is_first: true, .. } => match offer.prompt {
                OfferedPrompt::Browser { url } => return Ok(Offered::Page(key, url.as_str().to_owned())),
                _ => return Ok(Offered::Waits),
            },
            LoginProgress::SignedIn => return Ok(Offered::SignedIn),
            _ => {
                let _ = session.cancel_login(BEGIN).await;
            }
        }
    }
    Ok(Offered::Waits)
}

/// The cookies of this browser's oldest logins, which make room for a further one. The order in which cookies arrive does not
/// show their age, so that the expiry in each decides. A cookie that cannot be read counts as the oldest.
fn older_flows(gateway: &Gateway, headers: &HeaderMap) -> Vec<String> {
    let cookies = Cookies::of(&gateway.0.issuer);
    let expires = |name: &str| {
        let flow: Option<Flow> = cookies.get(headers, name).and_then(|text| gateway.0.seal.open(Use::Flow, text));
        flow.map_or(0, |flow| flow.expires)
    };
    let mut flows = cookies.names(headers, FLOW);
    flows.sort_by_cached_key(|name| expires(name));
    let dropped = flows.len().saturating_sub(MAX_FLOWS - 1);
    flows.truncate(dropped);
    flows
}

/// The login that the browser's answer belongs to. `None` if this browser did not begin it, or if it has expired.
pub(super) fn of_answer(gateway: &Gateway, headers: &HeaderMap, key: &LoginKey) -> Option<Flow> {
    let text = Cookies::of(&gateway.0.issuer).get(headers, &name_of(key))?;
    let flow: Flow = gateway.0.seal.open(Use::Flow, text)?;
    let is_this = flow.key == URL_SAFE_NO_PAD.encode(key.0);
    (is_this && gateway.0.now() < WallTime::from_millis(flow.expires)).then_some(flow)
}

/// Notes that a login has ended, and removes its cookie.
pub(super) fn close(gateway: &Gateway, key: &LoginKey, answer: &mut Response) {
    let name = name_of(key);
    gateway.0.open_logins.closed(&name);
    if let Some(cookie) = Cookies::of(&gateway.0.issuer).clear(&name) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The answer after a login that was not completed.
pub(super) fn failed(gateway: &Gateway, goal: &Goal, error: &str, advice: &str) -> Response {
    match goal {
        Goal::Code(request) => request.refused(&gateway.0.issuer, error, advice),
        Goal::Session | Goal::Another(_) => {
            pages::trouble(StatusCode::BAD_REQUEST, "The sign-in was not completed", advice)
        }
    }
}

/// The answer after a login that no client waits for.
pub(super) fn done() -> Response {
    pages::trouble(StatusCode::OK, "You are signed in", "Go back to the app. You can close this page.")
}

/// The short name of a login's cookie.
fn name_of(key: &LoginKey) -> String {
    [FLOW, &URL_SAFE_NO_PAD.encode(&key.0[..9])].concat()
}
