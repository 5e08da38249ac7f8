//! The callback route, to which an upstream sends the person's browser with its answer to a login.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use tokenkeeper::callback::read;
use tokenkeeper::{BrowserBinding, Callback, LoginReason};
use tokio::task::JoinHandle;

use super::flow::{self, Flow, Goal};
use super::{codes, pages};
use crate::gateway::Gateway;
use crate::people::{IdentifyError, PeopleError};

/// The maximum time that the browser waits until its login is completed. The login goes on after it.
const COMPLETE: Duration = Duration::from_secs(60);

pub(super) async fn callback(
    State(gateway): State<Gateway>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let stop = |advice| pages::trouble(StatusCode::BAD_REQUEST, "This sign-in is not known", advice);
    let Ok(answer) = read(&query.unwrap_or_default()) else {
        return stop("The provider's answer cannot be read. Start the sign-in again in the app.");
    };
    let key = answer.key;
    let Some(flow) = flow::of_answer(&gateway, &headers, &key) else {
        return stop("It has expired, or was begun in another browser. Start the sign-in again in the app.");
    };
    // A login at a further upstream adds to the sessions of one subject, and the browser's person may be another one by now.
    if flow.upstream > 0 && flow::person_of(&gateway, &headers).await.as_deref() != Some(&flow.account) {
        return stop("Another person has signed in with this browser since. Start the sign-in again in the app.");
    }
    // A browser that leaves now has given its answer, and the sign-in goes on without it.
    match apart(ended(gateway, headers, flow, answer)).await {
        Ok(answer) => answer,
        Err(_) => pages::trouble(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The sign-in was not completed",
            "The gateway has an error. Tell its operator.",
        ),
    }
}

/// Runs a future that goes on when its caller is dropped.
#[expect(clippy::disallowed_methods, reason = "a task with an end, which the waits of the login bound")]
pub(super) fn apart<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}

/// Completes a login, and returns the answer for the browser.
async fn ended(gateway: Gateway, headers: HeaderMap, flow: Flow, answer: Callback) -> Response {
    let key = answer.key;
    let answer = answer.in_browser(BrowserBinding::new(flow.secret.as_bytes()));
    let mut response = match gateway.0.runtime.complete_login(answer, COMPLETE).await {
        Ok(()) => signed_in(&gateway, &headers, &flow).await,
        Err(error) => not_signed_in(&gateway, &flow.goal, error.reason()),
    };
    flow::close(&gateway, &key, &mut response);
    response
}

/// The answer for the browser after a login was completed.
async fn signed_in(gateway: &Gateway, headers: &HeaderMap, flow: &Flow) -> Response {
    let subject = match flow.upstream {
        0 => match identified(gateway, &flow.account).await {
            Ok(subject) => subject,
            Err((error, advice)) => return flow::failed(gateway, &flow.goal, error, advice),
        },
        // A login at a further upstream is begun on the session of a known subject, which is its account.
        _ => flow.account.clone(),
    };
    let mut answer = match &flow.goal {
        Goal::Code(request) => {
            codes::remember(gateway, &subject, request).await;
            codes::issue(gateway, &subject, request).await
        }
        Goal::Session => flow::done(),
        Goal::Another(index) => flow::begin(gateway, headers, *index, Some(&subject), Goal::Session).await,
    };
    // Only the first upstream identifies the person. The others add sessions.
    if flow.upstream == 0 {
        flow::set_person(gateway, &subject, &mut answer);
    }
    answer
}

/// Identifies the person who has signed in, and makes this login's session theirs. Returns the subject. An error is the OAuth
/// error and the advice for the person.
async fn identified(gateway: &Gateway, account: &str) -> Result<String, (&'static str, &'static str)> {
    let inner = &gateway.0;
    let broken = ("server_error", "The gateway is not set up for this. Tell its operator.");
    let busy = ("temporarily_unavailable", "The provider does not say who you are now. Try again in a minute.");
    // The first upstream is the one that identifies persons.
    let session = inner.upstreams.first().and_then(|first| inner.session(first, account).ok()).ok_or(broken)?;
    let user = match inner.identify.identify(&session).await {
        Ok(user) => user,
        Err(error) => {
            // The next sign-in has a session of its own, so that this one would never be used.
            inner.forget(account).await;
            return Err(match error {
                IdentifyError::Unavailable { .. } => busy,
                IdentifyError::NoPerson => broken,
            });
        }
    };
    let (subject, now) = (user.subject(), inner.now());
    let settled = inner.people.settle(&subject, Some(account), inner.person_expires(now), now).await;
    if settled == Err(PeopleError::Full) {
        inner.forget(account).await;
    }
    let unused = settled.map_err(|error| match error {
        PeopleError::Full => {
            ("temporarily_unavailable", "The gateway has no room for a further person. Tell its operator.")
        }
        PeopleError::Trouble => {
            ("temporarily_unavailable", "The gateway's store does not answer. Try again in a minute.")
        }
    })?;
    if let Some(unused) = unused {
        let gateway = gateway.clone();
        apart(async move { gateway.0.forget(&unused).await });
    }
    Ok(subject)
}

/// The answer for the browser after a login ended without a session.
fn not_signed_in(gateway: &Gateway, goal: &Goal, reason: LoginReason) -> Response {
    let (error, advice) = match reason {
        LoginReason::Denied => ("access_denied", "The provider was told not to sign in."),
        LoginReason::UnknownLogin | LoginReason::TimedOut | LoginReason::Cancelled | LoginReason::Superseded => {
            ("access_denied", "This sign-in has expired or was answered before. Start it again in the app.")
        }
        LoginReason::Forged | LoginReason::OtherBrowser | LoginReason::WrongIssuer => {
            ("access_denied", "The answer did not come from the provider. Start the sign-in again in the app.")
        }
        LoginReason::SubjectChanged => ("access_denied", "Another person signed in than before. Use the same account."),
        _ => ("temporarily_unavailable", "The provider did not complete the sign-in. Try again in a minute."),
    };
    tracing::info!(%reason, "an upstream login was not completed");
    flow::failed(gateway, goal, error, advice)
}
