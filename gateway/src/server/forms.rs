//! Forms of the gateway's own pages. A hidden field has the content of the form and a hash of the browser's cookie, signed by
//! the gateway, so that no other page and no other browser can send the form.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokenkeeper::engine::values::WallTime;

use super::cookies::Cookies;
use super::params::Params;
use crate::gateway::Gateway;
use crate::seal::{NoRandomness, Use, draw};

/// The cookie that ties forms to the browser in which they were shown.
const BROWSER: &str = "browser";

/// How long a form can be answered.
const FORM_LIFETIME: Duration = Duration::from_secs(600);

/// How long the cookie of a browser lasts.
const BROWSER_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The hidden field of a form.
#[derive(Serialize, Deserialize)]
struct Hidden<T> {
    content: T,
    /// The SHA-256 hash of the browser's cookie.
    browser: String,
    /// In milliseconds of wall time.
    expires: u64,
}

/// A form that is to be shown.
pub(super) struct Form {
    /// The hidden field's text, which needs no escapes.
    pub(super) hidden: String,
    /// Sets the cookie of a browser that has none yet.
    cookie: Option<HeaderValue>,
}

impl Form {
    /// A form with this content, for the browser of a request.
    pub(super) fn new<T: Serialize>(
        gateway: &Gateway,
        headers: &HeaderMap,
        purpose: Use,
        content: T,
    ) -> Result<Self, NoRandomness> {
        let cookies = Cookies::of(&gateway.0.issuer);
        let (browser, cookie) = match cookies.get(headers, BROWSER) {
            Some(browser) if browser.len() >= 32 => (browser.to_owned(), None),
            _ => {
                let browser = URL_SAFE_NO_PAD.encode(draw::<32>()?);
                let cookie = cookies.set(BROWSER, &browser, BROWSER_LIFETIME);
                (browser, cookie)
            }
        };
        let expires = gateway.0.now().after(FORM_LIFETIME).as_millis();
        let hidden = Hidden { content, browser: digest(&browser), expires };
        Ok(Self { hidden: gateway.0.seal.seal(purpose, &hidden), cookie })
    }

    /// Adds the browser's cookie to the page that shows the form.
    pub(super) fn on(self, mut page: Response) -> Response {
        if let Some(cookie) = self.cookie {
            page.headers_mut().append(SET_COOKIE, cookie);
        }
        page
    }
}

/// The content of a form that a person has sent, and its other fields. An error is the advice for the person.
pub(super) fn read<T: DeserializeOwned>(
    gateway: &Gateway,
    headers: &HeaderMap,
    purpose: Use,
    body: &[u8],
) -> Result<(T, Params), &'static str> {
    if !is_own(gateway, headers) {
        return Err("It came from another page than the gateway's own. Start the sign-in again in the app.");
    }
    let damaged = "The form is damaged. Start the sign-in again in the app.";
    let params = Params::of_form(headers, body).ok_or(damaged)?;
    let form = params.get("form").and_then(|text| gateway.0.seal.open::<Hidden<T>>(purpose, text));
    let Hidden { content, browser, expires } = form.ok_or(damaged)?;
    let held = Cookies::of(&gateway.0.issuer).get(headers, BROWSER);
    if held.map(digest).as_deref() != Some(&browser) {
        return Err(
            "The form was shown in another browser, or cookies are off. Allow cookies, and start again in the app.",
        );
    }
    if gateway.0.now() >= WallTime::from_millis(expires) {
        return Err("The page was open for too long. Start the sign-in again in the app.");
    }
    Ok((content, params))
}

/// Whether a browser sent the form from the gateway's own page. Browsers of today send at least one of the two headers.
fn is_own(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = headers.get(ORIGIN).is_none_or(|origin| origin == gateway.0.issuer.as_str());
    site && origin
}

fn digest(browser: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(browser.as_bytes()))
}
