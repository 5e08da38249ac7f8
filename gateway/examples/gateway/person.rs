//! A person with a browser, and the MCP client that the person has allowed.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenkeeper_testkit::login_server::Browser;
use tower::ServiceExt as _;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::Done;
use crate::world::{BACK, ORIGIN, Provider, RESOURCE, World};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const FORM: &str = "application/x-www-form-urlencoded";

/// A signed-in person.
pub(crate) struct Person {
    /// The name at both providers.
    pub(crate) name: String,
    pub(crate) tokens: Tokens,
}

#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// Registers the client of all persons.
pub(crate) async fn register(world: &World) -> Done<String> {
    let metadata = json!({ "redirect_uris": [BACK], "token_endpoint_auth_method": "none" }).to_string();
    let answer = world.app.clone().oneshot(Request::post("/oauth/register").body(Body::from(metadata))?).await?;
    let answer: Value = serde_json::from_str(&text(answer).await?)?;
    Ok(answer["client_id"].as_str().ok_or("no client")?.to_owned())
}

/// Sends a token request, and returns the tokens, or the status of the refusal.
pub(crate) async fn token(world: &World, form: &[(&str, &str)]) -> Done<Result<Tokens, StatusCode>> {
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post("/oauth/token").header(CONTENT_TYPE, FORM).body(Body::from(body))?;
    let answer = world.app.clone().oneshot(request).await?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Ok(Err(status));
    }
    let answer: Value = serde_json::from_str(&text(answer).await?)?;
    let part = |name: &str| answer[name].as_str().map(str::to_owned).ok_or("a token is missing");
    Ok(Ok(Tokens { access: part("access_token")?, refresh: part("refresh_token")? }))
}

impl Person {
    /// Signs a new person in, at both providers and for the client.
    pub(crate) async fn sign_in(world: &World, client: &str, number: usize) -> Done<Self> {
        let name = format!("person-{number}");
        let mut visit = Visit { world, cookies: BTreeMap::new() };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let request = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", BACK),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", RESOURCE),
        ];
        let query = Serializer::new(String::new()).extend_pairs(request).finish();
        let page = text(visit.get(&format!("/oauth/authorize?{query}")).await?).await?;
        let away = visit.post("/oauth/consent", &[("form", hidden(&page)?), ("answer", "allow")]).await?;
        let back = visit.at(&world.providers[0], &name, &away).await?;
        let code = parameter(location(&back)?, "code")?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", &code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", BACK),
        ];
        let tokens = token(world, &form).await?.map_err(|status| format!("no tokens: {status}"))?;
        // The second provider, at the page that the answer to a call without a session there names.
        let page = text(visit.get("/oauth/login/github").await?).await?;
        let away = visit.post("/oauth/login/github", &[("form", hidden(&page)?)]).await?;
        let done = visit.at(&world.providers[1], &name, &away).await?;
        match done.status() {
            StatusCode::OK => Ok(Self { name, tokens }),
            status => Err(format!("{name} is not signed in at the second provider: {status}").into()),
        }
    }
}

/// A browser with its cookies.
struct Visit<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
}

impl Visit<'_> {
    async fn get(&mut self, path: &str) -> Done<Response> {
        self.send(Request::get(path).body(Body::empty())?).await
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Done<Response> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Request::post(path).header(CONTENT_TYPE, FORM).body(Body::from(body))?).await
    }

    /// Signs `name` in at the provider to which `away` leads, and takes the answer back.
    async fn at(&mut self, provider: &Provider, name: &str, away: &Response) -> Done<Response> {
        let page = location(away)?;
        let callback = {
            let _page = provider.page.lock().await;
            provider.server.subject(name);
            Browser::open(page).await?.callback.ok_or("the provider did not answer")?
        };
        self.get(callback.strip_prefix(ORIGIN).ok_or("the answer leads elsewhere")?).await
    }

    async fn send(&mut self, mut request: Request<Body>) -> Done<Response> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers_mut().insert(COOKIE, cookies.join("; ").parse()?);
        let answer = self.world.app.clone().oneshot(request).await?;
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let (pair, _) = cookie.to_str()?.split_once(';').ok_or("a cookie without attributes")?;
            let (name, value) = pair.split_once('=').ok_or("a cookie without a value")?;
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        self.cookies.retain(|_, value| !value.is_empty());
        Ok(answer)
    }
}

pub(crate) async fn text(answer: Response) -> Done<String> {
    Ok(String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await?.to_vec())?)
}

/// The hidden field of a page's form.
fn hidden(page: &str) -> Done<&str> {
    let (_, form) = page.split_once("name=\"form\" value=\"").ok_or("no form")?;
    Ok(form.split('"').next().unwrap_or_default())
}

fn location(answer: &Response) -> Done<&str> {
    Ok(answer.headers().get(LOCATION).ok_or_else(|| format!("no redirect: {}", answer.status()))?.to_str()?)
}

fn parameter(url: &str, name: &str) -> Done<String> {
    let url = Url::parse(url)?;
    let found = url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
    Ok(found.ok_or_else(|| format!("no {name}: {url}"))?)
}
