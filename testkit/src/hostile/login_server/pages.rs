//! The pages that a person sees. They work without scripts, in any browser.

use super::authorize::Asked;
use crate::hostile::reply::Reply;

/// The page that asks for consent.
pub(super) fn consent(asked: &Asked, ticket: &str) -> Reply {
    let (client, scope) = (escaped(&asked.client), escaped(&asked.scope));
    let body = format!(
        "<h1>Allow access?</h1><p>The client <b>{client}</b> asks for <b>{scope}</b>.</p>\
         <form method=\"post\" action=\"/decide\"><input type=\"hidden\" name=\"ticket\" value=\"{ticket}\">{BUTTONS}</form>"
    );
    page(200, "Consent", &body)
}

/// The page for a user code.
pub(super) fn device(user_code: &str) -> Reply {
    let user_code = escaped(user_code);
    let body = format!(
        "<h1>Connect a device</h1><form method=\"post\" action=\"/device\"><label>Code \
         <input name=\"user_code\" value=\"{user_code}\"></label>{BUTTONS}</form>"
    );
    page(200, "Device", &body)
}

/// The page after an answer.
pub(super) fn done(allowed: bool) -> Reply {
    page(200, "Done", if allowed { "<h1>Allowed</h1>" } else { "<h1>Declined</h1>" })
}

/// The page for a request that cannot be answered to its client.
pub(super) fn problem(text: &str) -> Reply {
    page(400, "Error", &format!("<h1>This cannot be done</h1><p>{}</p>", escaped(text)))
}

const BUTTONS: &str = "<button name=\"answer\" value=\"allow\" id=\"allow\">Allow</button>\
    <button name=\"answer\" value=\"deny\" id=\"deny\">Deny</button>";

fn page(status: u16, title: &str, body: &str) -> Reply {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head><body>{body}</body></html>\n"
    );
    Reply { body: html.into(), ..Reply::empty(status) }
        .with("content-type", "text/html; charset=utf-8")
        .with("cache-control", "no-store")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
