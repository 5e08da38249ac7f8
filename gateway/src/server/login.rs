//! The page at which a person signs in to an upstream, for the first time or again. A 403 to an inbound request has the URL of
//! this page, if the upstream needs a login.
//!
//! The login begins with the page's button and not with the page, so that a link or an image on another site begins none.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::flow::{self, Goal};
use super::forms::{self, Form};
use super::{LOGIN, pages};
use crate::gateway::Gateway;
use crate::seal::Use;
use crate::text::escaped;

/// Shows the page.
pub(super) async fn page(State(gateway): State<Gateway>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, upstream)) = gateway.0.upstream(&name) else { return unknown() };
    // The only error is a lack of randomness.
    let Ok(form) = Form::new(&gateway, &headers, Use::LoginForm, &name) else {
        return pages::trouble(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This sign-in cannot begin",
            "The gateway has no randomness. Tell its operator.",
        );
    };
    // `name` is equal to an upstream's name, which consists of lower-case letters, digits and hyphens, and needs no escapes.
    // `pages::page` escapes the title.
    let (label, gateway_name) = (escaped(&upstream.label), escaped(&gateway.0.name));
    let html = format!(
        "<p>{gateway_name} needs you to sign in to {label}.</p>\
         <form method=\"post\" action=\"{LOGIN}/{name}\">\
         <input type=\"hidden\" name=\"form\" value=\"{}\"><button class=\"go\">Sign in to {label}</button></form>",
        form.hidden
    );
    form.on(pages::page(StatusCode::OK, &format!("Sign in to {}", upstream.label), &html))
}

/// Begins the login, after the page's button was pressed.
pub(super) async fn begin(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some((index, _)) = gateway.0.upstream(&name) else { return unknown() };
    // The form's content is the name of the upstream that its page was for.
    let read = forms::read::<String>(&gateway, &headers, Use::LoginForm, &body);
    match read.and_then(|(asked, _)| (asked == name).then_some(()).ok_or("It was shown for another provider.")) {
        Ok(()) => {}
        Err(advice) => return pages::trouble(StatusCode::BAD_REQUEST, "This answer was not taken", advice),
    }
    match (index, flow::person_of(&gateway, &headers).await) {
        // The first upstream identifies the person, so that the person whom the browser remembers does not matter.
        (0, _) => flow::begin(&gateway, &headers, 0, None, Goal::Session).await,
        // Without a known person, a login at the first upstream comes before the one that was asked for.
        (index, None) => flow::begin(&gateway, &headers, 0, None, Goal::Another(index)).await,
        // The session at this upstream is added to those of the person.
        (index, Some(subject)) => flow::begin(&gateway, &headers, index, Some(&subject), Goal::Session).await,
    }
}

/// The answer to an address with a name that no upstream has.
fn unknown() -> Response {
    let advice = "Check the address, or start again in the app.";
    pages::trouble(StatusCode::NOT_FOUND, "There is no such provider", advice)
}
