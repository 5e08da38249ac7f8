//! A vendor's servers behind one HTTP client. They check each request as the vendor documents it, and rotate and revoke.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Response, StatusCode, header};
use sha2::{Digest, Sha256};
use tokenkeeper::http::{Body as Bytes, Exchange, HttpClient, HttpError, MaybeSent, NotSent};
use url::{Url, form_urlencoded};

pub(crate) const CLIENT: &str = "our-app";
pub(crate) const SECRET: &str = "its-secret";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:4711/callback";

/// The documented behaviour of one vendor.
#[derive(Debug)]
pub(crate) struct Vendor {
    pub(crate) name: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) token: &'static str,
    /// The authorization page of its API, if it has one with endpoints of its own.
    pub(crate) page: Option<Page>,
    pub(crate) body: Body,
    pub(crate) method: Method,
    pub(crate) token_parameters: &'static [(&'static str, &'static str)],
    pub(crate) refuses_resource: bool,
    /// Whether a refresh must name scopes.
    pub(crate) wants_scope: bool,
    /// The answers, with the places `{at}`, `{rt}` and `{scope}`.
    pub(crate) exchange: &'static str,
    pub(crate) refresh: &'static str,
    /// The lifetime of the access token of a refresh, in seconds, as far as the answer tells it.
    pub(crate) lifetime: Option<u64>,
    /// The answer to a dead refresh token.
    pub(crate) dead: (u16, &'static str),
    pub(crate) rotation: Rotation,
    pub(crate) lost: Lost,
    pub(crate) revocation: Option<Revocation>,
    /// The introspection endpoint, which names a lifetime of two hours.
    pub(crate) introspection: Option<&'static str>,
    /// A URL of its API. Empty if each customer has its own.
    pub(crate) api: &'static str,
    /// Further answers to a refresh that is not processed.
    pub(crate) odd: &'static [(u16, &'static str, Odd)],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) url: &'static str,
    pub(crate) parameters: &'static [(&'static str, &'static str)],
    /// The parameter of the scopes and their separator.
    pub(crate) scope: &'static str,
    pub(crate) separator: char,
    /// The scopes that the test asks for.
    pub(crate) asks: &'static [&'static str],
    pub(crate) offline: Offline,
}

/// When a refresh token is issued.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offline {
    Always,
    Scope(&'static str),
    Parameters(&'static [(&'static str, &'static str)]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Form,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Public,
    Post,
    Basic,
}

/// The fate of a refresh token that was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// It is replaced, and its second use ends the lineage.
    Strict,
    /// It is not replaced.
    None,
    /// It is replaced and stays good.
    OldStaysGood,
    /// It is replaced, and stays good until its successor is used.
    UntilUsed,
    /// It is replaced, and a prompt repeat is answered with the same pair.
    Grace,
    /// It is replaced, and a prompt repeat is answered with an access token alone.
    AccessInGrace,
}

/// The outcome for a session whose answer was lost after the vendor has processed the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A repeat brings tokens.
    Recovers,
    /// A repeat brings an access token, and the refresh token stays in doubt.
    Serves,
    /// A repeat shows that the lineage has ended, which it has anyway.
    Ends,
    /// Nothing is repeated, because it would cost more than the lineage.
    NeverAgain,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Revocation {
    pub(crate) url: &'static str,
    pub(crate) form: Form,
    pub(crate) body: Body,
    pub(crate) answer: &'static str,
}

/// The form of a revocation, and the token that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A POST by the client with the refresh token, which ends the grant.
    Refresh,
    /// A POST with an access token as its bearer, which ends that one.
    Bearer,
    /// A DELETE by the client with an access token, which ends that one.
    Delete,
}

/// The meaning of an odd answer to a refresh that was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Dead,
    Client,
    /// A repeat brings tokens.
    Passes,
}

/// A fault of the next token request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is processed, and the answer is lost.
    Lose,
    /// It is not processed, and answered so.
    Answer(u16, &'static str),
}

/// The servers of one vendor. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    vendor: &'static Vendor,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    codes: BTreeMap<String, Code>,
    drawn: usize,
    /// The beginning of all tokens, which differ from those of other vendors.
    prefix: &'static str,
    /// The newest pair.
    pair: Option<(String, String)>,
    /// The refresh token before it, and whether its successor was used.
    spent: Option<(String, bool)>,
    all_spent: BTreeSet<String>,
    access: BTreeSet<String>,
    ended: bool,
    revoked: Vec<String>,
    faults: VecDeque<Fault>,
    presented: Vec<String>,
}

#[derive(Debug)]
struct Code {
    challenge: String,
    scopes: String,
    offline: bool,
}

type Parameters = BTreeMap<String, String>;

impl Server {
    pub(crate) fn new(vendor: &'static Vendor) -> Self {
        let state = State { prefix: vendor.name, ..State::default() };
        Self { vendor, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A grant as it was made before the test, and its refresh token.
    pub(crate) fn granted(&self) -> String {
        self.state().draw().1
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Ends the grant, as a person does on the vendor's page.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.access.clear();
    }

    /// Ends all access tokens, and no grant.
    pub(crate) fn expire_access(&self) {
        self.state().access.clear();
    }

    /// The refresh tokens that were presented, in their order.
    pub(crate) fn presented(&self) -> Vec<String> {
        self.state().presented.clone()
    }

    pub(crate) fn revoked(&self) -> Vec<String> {
        self.state().revoked.clone()
    }

    /// The access token that was issued last.
    pub(crate) fn newest_access(&self) -> String {
        format!("{}-at-{}", self.vendor.name, self.state().drawn)
    }

    pub(crate) fn newest(&self) -> (String, String) {
        self.state().pair.clone().unwrap()
    }

    /// The API's answer to a request with this header.
    pub(crate) fn api(&self, authorization: &str) -> StatusCode {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        if self.state().access.contains(token) { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }

    /// Opens the page as a browser does, with a person who agrees. Returns the address that the browser is sent to.
    pub(crate) fn visit(&self, address: &str) -> String {
        let page = self.vendor.page.unwrap();
        let url = Url::parse(address).unwrap();
        assert_eq!(address.split('?').next(), Some(page.url));
        let mut asked = Parameters::new();
        for (name, value) in url.query_pairs() {
            assert!(asked.insert(name.clone().into_owned(), value.into_owned()).is_none(), "{name} comes twice");
        }
        let is = |name: &str| asked.get(name).map(String::as_str);
        assert_eq!(
            (is("response_type"), is("client_id"), is("redirect_uri")),
            (Some("code"), Some(CLIENT), Some(REDIRECT))
        );
        assert_eq!(is("code_challenge_method"), Some("S256"));
        assert_eq!(is("resource"), None, "an API is no resource");
        for (name, value) in page.parameters {
            assert_eq!(is(name), Some(*value), "{name}");
        }
        let scopes: BTreeSet<_> =
            is(page.scope).unwrap_or_default().split(page.separator).filter(|s| !s.is_empty()).collect();
        assert!(page.scope == "scope" || is("scope").is_none(), "no scope of a bot is asked for");
        let offline = match page.offline {
            Offline::Always => true,
            Offline::Scope(scope) => scopes.contains(scope),
            Offline::Parameters(wanted) => wanted.iter().all(|(name, value)| is(name) == Some(value)),
        };
        let expected = match page.offline {
            Offline::Scope(scope) => page.asks.iter().copied().chain([scope]).collect(),
            _ => page.asks.iter().copied().collect::<BTreeSet<_>>(),
        };
        assert_eq!(scopes, expected, "{address}");
        let mut state = self.state();
        let code = format!("code-{}", state.codes.len());
        let challenge = asked["code_challenge"].clone();
        state.codes.insert(code.clone(), Code { challenge, scopes: page.asks.join(" "), offline });
        let answer = [("code", code.as_str()), ("state", &asked["state"])];
        Url::parse_with_params(REDIRECT, answer).unwrap().into()
    }

    /// Reads a request as the vendor does. The error is the reason why it is none.
    fn read(&self, exchange: &Exchange, body: Body) -> Result<Parameters, String> {
        let request = &exchange.request;
        let bytes = request.body().as_bytes();
        let mut parameters = Parameters::new();
        let kind = request.headers()[header::CONTENT_TYPE].to_str().unwrap();
        match (body, kind) {
            (Body::Form, "application/x-www-form-urlencoded") => {
                for (name, value) in form_urlencoded::parse(bytes) {
                    if parameters.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                        return Err(format!("{name} comes twice"));
                    }
                }
            }
            (Body::Json, "application/json") => parameters = serde_json::from_slice(bytes).unwrap(),
            _ => return Err(format!("{body:?} is wanted, and {kind} came")),
        }
        let basic = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
        let has = |name: &str, value: &str| parameters.get(name).map(String::as_str) == Some(value);
        let is_client = match self.vendor.method {
            Method::Public => has("client_id", CLIENT) && !parameters.contains_key("client_secret") && basic.is_none(),
            Method::Post => has("client_id", CLIENT) && has("client_secret", SECRET) && basic.is_none(),
            Method::Basic => basic == Some(expected) && !parameters.contains_key("client_secret"),
        };
        if is_client {
            Ok(parameters)
        } else {
            Err("the client is not authenticated as the vendor wants it".to_owned())
        }
    }

    fn token(&self, parameters: &Parameters) -> (u16, String) {
        let vendor = self.vendor;
        for (name, value) in vendor.token_parameters {
            assert_eq!(parameters.get(*name).map(String::as_str), Some(*value), "{name}");
        }
        assert!(!(vendor.refuses_resource && parameters.contains_key("resource")), "AADSTS9010010");
        let mut state = self.state();
        match parameters["grant_type"].as_str() {
            "authorization_code" => {
                let code = state.codes.remove(&parameters["code"]).unwrap();
                let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(&parameters["code_verifier"]));
                assert_eq!((verifier, parameters["redirect_uri"].as_str()), (code.challenge, REDIRECT));
                let (access, refresh) = state.draw();
                let refresh = if code.offline { refresh } else { String::new() };
                (200, filled(vendor.exchange, &access, &refresh).replace("{scope}", &code.scopes))
            }
            "refresh_token" => {
                assert!(!vendor.wants_scope || parameters.contains_key("scope"), "a refresh names its scopes");
                let presented = parameters["refresh_token"].clone();
                state.presented.push(presented.clone());
                let (newest_access, newest) = state.pair.clone().unwrap();
                let before = state.spent.clone().filter(|(token, _)| *token == presented);
                let is_good = !state.ended && presented == newest;
                let dead = || (vendor.dead.0, vendor.dead.1.to_owned());
                match (vendor.rotation, is_good, before) {
                    _ if state.ended => dead(),
                    (Rotation::None, true, _) => {
                        let access = state.draw_access();
                        (200, filled(vendor.refresh, &access, &presented))
                    }
                    (_, true, _) => {
                        state.all_spent.insert(presented.clone());
                        let (access, refresh) = state.draw();
                        state.spent = Some((presented, false));
                        (200, filled(vendor.refresh, &access, &refresh))
                    }
                    (Rotation::OldStaysGood, false, _) if state.all_spent.contains(&presented) => {
                        let (access, refresh) = state.draw();
                        (200, filled(vendor.refresh, &access, &refresh))
                    }
                    (Rotation::Grace, false, Some(_)) => (200, filled(vendor.refresh, &newest_access, &newest)),
                    (Rotation::UntilUsed, false, Some(_)) => (200, filled(vendor.refresh, &newest_access, &newest)),
                    (Rotation::AccessInGrace, false, Some(_)) => {
                        let access = state.draw_access();
                        (200, format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":3600}}"#))
                    }
                    _ => {
                        state.ended = true;
                        dead()
                    }
                }
            }
            other => panic!("{other}"),
        }
    }

    /// Revokes the token of a request, which is made as the vendor documents it.
    fn revoke(&self, revocation: Revocation, exchange: &Exchange) -> (u16, String) {
        let headers = exchange.request.headers();
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
        let body = exchange.request.body().as_bytes();
        let (method, token) = match revocation.form {
            Form::Refresh => {
                let parameters = self.read(exchange, revocation.body).unwrap_or_else(|why| panic!("{why}"));
                let token = parameters["token"].clone();
                assert!(!self.state().access.contains(&token), "the refresh token ends the access tokens too");
                (http::Method::POST, token)
            }
            Form::Bearer => {
                assert!(body.is_empty(), "the client is not asked for");
                (http::Method::POST, authorization.unwrap().strip_prefix("Bearer ").unwrap().to_owned())
            }
            Form::Delete => {
                let client = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
                assert_eq!(authorization, Some(&*client));
                let parameters: Parameters = serde_json::from_slice(body).unwrap();
                assert_eq!(parameters.len(), 1);
                (http::Method::DELETE, parameters["access_token"].clone())
            }
        };
        assert_eq!(exchange.request.method(), method);
        let mut state = self.state();
        if revocation.form != Form::Refresh {
            assert!(state.access.remove(&token), "a token that is good");
        }
        state.revoked.push(token);
        (if revocation.answer.is_empty() { 204 } else { 200 }, revocation.answer.to_owned())
    }
}

impl State {
    fn draw(&mut self) -> (String, String) {
        let access = self.draw_access();
        let pair = (access, format!("{}-rt-{}", self.prefix, self.drawn));
        self.pair = Some(pair.clone());
        pair
    }

    fn draw_access(&mut self) -> String {
        self.drawn += 1;
        let access = format!("{}-at-{}", self.prefix, self.drawn);
        self.access.insert(access.clone());
        access
    }
}

fn filled(template: &str, access: &str, refresh: &str) -> String {
    template.replace("{at}", access).replace("{rt}", refresh)
}

#[async_trait]
impl HttpClient for Server {
    async fn send(&self, exchange: Exchange) -> Result<Response<Bytes>, HttpError> {
        if !exchange.departure.may_leave() {
            return Err(HttpError::NotSent(NotSent::TooLate));
        }
        let url = exchange.request.uri().to_string();
        if exchange.request.method() == http::Method::GET {
            assert_eq!(url, self.vendor.api, "a request went elsewhere");
            let status = self.api(exchange.request.headers()[header::AUTHORIZATION].to_str().unwrap());
            let body = r#"{"id":7,"login":"ann","teams":["blue"]}"#;
            return Ok(Response::builder().status(status).body(Bytes::new(body)).unwrap());
        }
        if self.vendor.introspection == Some(&*url) {
            let parameters = self.read(&exchange, Body::Form).unwrap_or_else(|why| panic!("{why}"));
            let is_active = self.state().access.contains(&parameters["token"]);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let body =
                format!(r#"{{"active":{is_active},"scope":"api","token_type":"access_token","exp":{}}}"#, now + 7200);
            return Ok(Response::new(Bytes::new(body)));
        }
        let revocation = self.vendor.revocation.filter(|revocation| revocation.url == url);
        let (status, body) = match revocation {
            Some(revocation) => self.revoke(revocation, &exchange),
            None => {
                assert_eq!(url, self.vendor.token, "a request went elsewhere");
                let parameters = self.read(&exchange, self.vendor.body).unwrap_or_else(|why| panic!("{why}"));
                let fault = self.state().faults.pop_front();
                match fault {
                    Some(Fault::Answer(status, body)) => {
                        let token = parameters.get("refresh_token").cloned().unwrap_or_default();
                        self.state().presented.push(token);
                        (status, body.to_owned())
                    }
                    Some(Fault::Lose) => {
                        self.token(&parameters);
                        return Err(HttpError::MaybeSent(MaybeSent::Broken));
                    }
                    None => self.token(&parameters),
                }
            }
        };
        Ok(Response::builder().status(status).body(Bytes::new(body)).unwrap())
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}
