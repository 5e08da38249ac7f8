//! The device authorization grant (RFC 8628), for computers and devices without a browser.

use std::time::Duration;

use serde::Deserialize;
use tokenkeeper_actors::law::profile::Profile;
use tokenkeeper_actors::ports::login::Polled;
use tokenkeeper_actors::values::record::RenewalPlan;
use tokenkeeper_actors::values::{LoginReason, Scopes};
use url::Url;
use zeroize::Zeroizing;

use super::exchange::{Endpoint, Exchanges, Unanswered};
use super::pending::{PendingAuthorization, Way};
use crate::grant::{BodyFormat, may_receive_secrets};
use crate::http::Reach;

/// The grant type of polls (section 3.4).
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The pause between polls if the server names none (section 3.2), in seconds.
const DEFAULT_INTERVAL: u64 = 5;

/// The longest pause between polls that is accepted, in seconds.
const MAX_INTERVAL: u64 = 60;

/// The time-out of one request.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum length of a user code, in characters.
const MAX_USER_CODE: usize = 64;

/// The maximum length of a device code, in bytes.
const MAX_DEVICE_CODE: usize = 8 * 1024;

/// The maximum length of the address of a page, in bytes.
const MAX_PAGE: usize = 2 * 1024;

/// The answer of the device authorization endpoint (section 3.2).
#[derive(Deserialize)]
struct DeviceAuthorization {
    device_code: String,
    user_code: String,
    verification_uri: Option<String>,
    /// Google's name for `verification_uri`.
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

/// Asks for a device code. Returns the data to show to the person, and the lifetime of the code.
///
/// # Errors
///
/// The reason why there is no device code.
pub(super) async fn begin(
    exchanges: &Exchanges,
    endpoint: Endpoint<'_>,
    scopes: &Scopes,
    resource: Option<&str>,
    profile: &Profile,
) -> Result<(Way, Option<Duration>), LoginReason> {
    let scope = scopes.iter().collect::<Vec<_>>().join(" ");
    let mut parameters = Vec::new();
    parameters.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
    parameters.extend(resource.map(|resource| ("resource", resource)));
    let answer = match exchanges.post(endpoint, parameters, BodyFormat::Form, TIMEOUT).await {
        Ok(answer) => answer,
        Err(Unanswered::NotSent(reason)) => return Err(reason),
        Err(Unanswered::Lost) => return Err(LoginReason::ServerTrouble),
    };
    if !answer.is_success() {
        return Err(answer.refusal(profile));
    }
    let answer: DeviceAuthorization = answer.json().ok_or(LoginReason::MetadataUnusable)?;
    let page = answer.verification_uri.or(answer.verification_url).ok_or(LoginReason::MetadataUnusable)?;
    let is_shown = |code: &str| {
        !code.is_empty()
            && code.chars().count() <= MAX_USER_CODE
            && code.chars().all(|c| c == ' ' || c.is_ascii_graphic())
    };
    if !is_shown(&answer.user_code) || !(1..=MAX_DEVICE_CODE).contains(&answer.device_code.len()) {
        return Err(LoginReason::MetadataUnusable);
    }
    let page = exact_page(&page, endpoint.reach).ok_or(LoginReason::UnsafeAddress)?;
    let way = Way::Device {
        device_code: answer.device_code,
        user_code: answer.user_code,
        page,
        complete: answer.verification_uri_complete.and_then(|page| exact_page(&page, endpoint.reach)),
        interval: answer.interval.unwrap_or(DEFAULT_INTERVAL).clamp(1, MAX_INTERVAL),
    };
    Ok((way, answer.expires_in.map(Duration::from_secs)))
}

/// Returns the address of a page in the form in which it is shown and opened, or `None` if it must not be opened. Only
/// printable ASCII is accepted, because the URL parser accepts line breaks and control characters, and a terminal acts on
/// them.
fn exact_page(page: &str, reach: Reach) -> Option<String> {
    let is_exact = page.len() <= MAX_PAGE && may_receive_secrets(page);
    let url = Url::parse(page).ok().filter(|url| is_exact && reach.permits(url).is_ok())?;
    Some(url.into())
}

/// Asks once for the tokens of a device code (section 3.4).
pub(super) async fn poll(exchanges: &Exchanges, pending: &PendingAuthorization, renewal: RenewalPlan) -> Polled {
    let Way::Device { device_code, .. } = &pending.way else { return Polled::Ended(LoginReason::UnknownLogin) };
    let (client, device_code) = (pending.client(), Zeroizing::new(device_code.clone()));
    let mut parameters = vec![("grant_type", GRANT_TYPE), ("device_code", device_code.as_str())];
    parameters.extend(pending.resource.as_deref().map(|resource| ("resource", resource)));
    let endpoint =
        Endpoint { url: &pending.token_endpoint, client: &client, reach: pending.reach(), issuer: &pending.issuer };
    let key = pending.proof_key();
    let answer = match exchanges.post_for_tokens(endpoint, key.as_ref(), parameters, BodyFormat::Form, TIMEOUT).await {
        Ok(answer) => answer,
        // A server that does not answer is polled less often (section 3.5). If it issued the tokens in an answer that was
        // lost, it refuses the code at the next poll.
        Err(Unanswered::Lost | Unanswered::NotSent(LoginReason::Unreachable)) => return Polled::SlowDown,
        Err(Unanswered::NotSent(reason)) => return Polled::Ended(reason),
    };
    match answer.error(&exchanges.profiles.of(&renewal)).as_deref() {
        Some("authorization_pending") => return Polled::Pending,
        Some("slow_down") => return Polled::SlowDown,
        Some("expired_token") => return Polled::Ended(LoginReason::TimedOut),
        _ => {}
    }
    match exchanges.tokens(&answer, pending, renewal) {
        Ok(issued) => Polled::Issued(issued),
        Err(LoginReason::ServerTrouble) => Polled::SlowDown,
        Err(reason) => Polled::Ended(reason),
    }
}
