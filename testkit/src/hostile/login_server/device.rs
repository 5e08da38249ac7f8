//! Device authorizations (RFC 8628).

use std::time::Duration;

use serde_json::json;

use super::documents::ESCAPES;
use super::flaw::Flaw;
use super::grants::Approved;
use super::incoming::{Incoming, unique};
use super::pages;
use super::settings::Consent;
use super::site::Site;
use super::tally::present;
use crate::hostile::authority::{Authority, Issued, Refusal};
use crate::hostile::form::Form;
use crate::hostile::reply::Reply;

/// Its grant type.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The lifetime of a device code.
const LIFETIME: Duration = Duration::from_secs(600);

/// The growth of the interval with each `slow_down` (RFC 8628 section 3.5).
const SLOWER: u64 = 5;

/// A device code.
pub(super) struct Device {
    ordinal: usize,
    client: String,
    scope: String,
    resource: Option<String>,
    user_code: String,
    answer: Option<bool>,
    subject: String,
    expires: Duration,
    interval: u64,
    /// The polls that are still to be answered with `slow_down`.
    slow: u32,
    polled: Option<Duration>,
    spent: bool,
}

/// Answers a device authorization request.
pub(super) fn authorize(site: &mut Site, authority: &mut Authority, incoming: &Incoming<'_>, now: Duration) -> Reply {
    let form = incoming.client_form().map_err(Refusal::from);
    let checked = form.and_then(|form| {
        authority.authenticate(&form.client)?;
        let resource = form.resources.first().cloned();
        let is_known = form.resources.len() == 1 && site.knows_resource(&form.resources[0]);
        if authority.rules.checks_resource && !is_known {
            return Err(Refusal::Resource);
        }
        let scope = site.granted(form.scope.as_deref().unwrap_or_default()).ok_or(Refusal::Scope)?;
        Ok((form.client.id, scope, resource))
    });
    let (client, scope, resource) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return site.flawed_tokens(Reply::refusal(refusal)),
    };
    let code = authority.draw("device");
    // The ordinal makes it unique, and easy to type.
    let mut user_code = format!("USER-{:04}", site.devices.len());
    if site.has(Flaw::TerminalEscapes) {
        user_code.push_str(ESCAPES);
    }
    let page = format!("{}/device", site.origin);
    let complete = form_urlencoded::Serializer::new(format!("{page}?")).append_pair("user_code", &user_code).finish();
    let interval = site.settings.device_interval;
    let body = json!({
        "device_code": code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": complete,
        "expires_in": LIFETIME.as_secs(),
        "interval": interval,
    });
    let device = Device {
        ordinal: site.devices.len(),
        client,
        scope,
        resource,
        user_code,
        answer: None,
        subject: String::new(),
        expires: now.saturating_add(LIFETIME),
        interval,
        slow: 0,
        polled: None,
        spent: false,
    };
    site.devices.insert(code, device);
    Reply::json(200, &body).with("cache-control", "no-store")
}

/// Answers a poll.
pub(super) fn poll(site: &mut Site, authority: &mut Authority, form: &Form, now: Duration) -> Result<Issued, Refusal> {
    let presented = form.others.get("device_code");
    let device = presented.and_then(|code| site.devices.get_mut(code));
    present(&mut site.tally.counts.device_codes, device.as_ref().map(|device| format!("device-{}", device.ordinal)));
    authority.authenticate(&form.client)?;
    let device = device.filter(|device| device.client == form.client.id && !device.spent).ok_or(Refusal::Unknown)?;
    if now >= device.expires {
        return Err(Refusal::Expired);
    }
    let earliest = device.polled.map(|polled| polled.saturating_add(Duration::from_secs(device.interval)));
    device.polled = Some(now);
    let early = site.settings.enforces_interval && earliest.is_some_and(|earliest| now < earliest);
    if early || device.slow > 0 {
        device.slow = device.slow.saturating_sub(1);
        device.interval += SLOWER;
        return Err(Refusal::SlowDown);
    }
    match device.answer {
        None => return Err(Refusal::Pending),
        Some(false) => return Err(Refusal::Denied),
        Some(true) => device.spent = true,
    }
    if authority.rules.checks_resource && form.resources.iter().ne(&device.resource) {
        return Err(Refusal::Resource);
    }
    let (client, scope, subject) = (device.client.clone(), device.scope.clone(), device.subject.clone());
    let resource = device.resource.clone();
    let approved =
        Approved { client: &client, subject: &subject, scope: &scope, resource: resource.as_deref(), nonce: None };
    Ok(site.issue(authority, &approved, now))
}

/// The page where a person enters a user code.
pub(super) fn page(site: &mut Site, incoming: &Incoming<'_>) -> Reply {
    let is_answer = incoming.method() == "POST";
    let parameters = if is_answer { unique(incoming.form()) } else { unique(incoming.query()) }.unwrap_or_default();
    let Some(user_code) = parameters.get("user_code") else { return pages::device("") };
    let allows = match (is_answer, site.consent()) {
        (true, _) => parameters.get("answer").is_some_and(|answer| answer == "allow"),
        (false, Consent::Page) => return pages::device(user_code),
        (false, consent) => consent == Consent::Allow,
    };
    match answer(site, user_code, allows) {
        true => pages::done(allows),
        false => pages::problem("unknown user code"),
    }
}

/// Records the person's answer. Returns false for an unknown code, and for one that was answered.
pub(super) fn answer(site: &mut Site, user_code: &str, allows: bool) -> bool {
    let subject = site.person();
    let waiting = |device: &&mut Device| device.user_code == user_code && device.answer.is_none();
    let Some(device) = site.devices.values_mut().find(waiting) else { return false };
    (device.answer, device.subject) = (Some(allows), subject);
    true
}

/// The user codes of all device codes, oldest first.
pub(super) fn user_codes(site: &Site) -> Vec<String> {
    let mut devices: Vec<&Device> = site.devices.values().collect();
    devices.sort_by_key(|device| device.ordinal);
    devices.into_iter().map(|device| device.user_code.clone()).collect()
}

/// Lets a device code expire. Returns false for an unknown one.
pub(super) fn expire(site: &mut Site, user_code: &str) -> bool {
    change(site, user_code, |device| device.expires = Duration::ZERO)
}

/// Answers the next polls with `slow_down`. Returns false for an unknown code.
pub(super) fn slow_down(site: &mut Site, user_code: &str, times: u32) -> bool {
    change(site, user_code, |device| device.slow = times)
}

fn change(site: &mut Site, user_code: &str, change: impl FnOnce(&mut Device)) -> bool {
    site.devices.values_mut().find(|device| device.user_code == user_code).map(change).is_some()
}
