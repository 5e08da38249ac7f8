//! The part of a request's way that both wires share, with logging, gates, and the check of its token.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body::Body;
use hyper::body::Incoming;
use serde_json::json;

use super::answer::{Answer, empty, json, with};
use super::counts::ReceivedRequest;
use super::message::Received;
use super::settings::{ChallengeForm, HoldAt, Instead};
use super::state::Shared;
use super::wire;
use crate::hostile::{Admission, TokenVerdict};

/// The maximum size of a body.
const MAX_BODY: usize = 32 << 20;

/// Answers a request.
pub(super) async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    shared.log(ReceivedRequest::new(&head));
    match head.uri.path() {
        "/mcp" => {
            let method = head.method.to_string();
            shared.count(|counts| *counts.requests.entry(method).or_default() += 1);
        }
        path if path.starts_with("/.well-known/") => return metadata(&shared, path),
        _ => {
            shared.count(|counts| counts.elsewhere += 1);
            return json(200, &json!({}));
        }
    }
    let Some(body) = read(body).await else { return empty(413) };
    let received = Received::new(head, &body);
    let operation = received.operation.clone();
    shared.count(|counts| *counts.operations.entry(operation).or_default() += 1);
    let operation = received.operation.clone();
    let answer = respond(&shared, received).await;
    let status = answer.status().as_u16();
    shared.count(|counts| *counts.answers.entry((operation, status)).or_default() += 1);
    answer
}

/// A refusal with a challenge in the form that the test chose.
pub(super) fn refusal(shared: &Shared, status: u16, challenge: &str) -> Answer {
    let (answer, bearer) = (empty(status), challenge.as_bytes());
    match shared.settings().challenge {
        ChallengeForm::Bearer => with(answer, header::WWW_AUTHENTICATE, bearer),
        ChallengeForm::None => answer,
        ChallengeForm::SecondHeader => {
            let answer = with(answer, header::WWW_AUTHENTICATE, "Negotiate");
            with(answer, header::WWW_AUTHENTICATE, bearer)
        }
        ChallengeForm::SecondInHeader => {
            with(answer, header::WWW_AUTHENTICATE, [b"Basic realm=\"mcp\", ", bearer].concat())
        }
        ChallengeForm::NonAscii => {
            with(answer, header::WWW_AUTHENTICATE, [bearer, b", error_description=\"expir\xe9\""].concat())
        }
    }
}

/// The challenge of an invalid token.
pub(super) fn invalid_token(shared: &Shared) -> String {
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", shared.origin);
    format!("Bearer resource_metadata=\"{metadata}\", error=\"invalid_token\"")
}

async fn respond(shared: &Arc<Shared>, received: Received) -> Answer {
    shared.pass(HoldAt::BeforeCheck, &received).await;
    match shared.instead_of(&received) {
        None => {}
        Some(Instead::Redirect { status, location }) => return with(empty(status), header::LOCATION, location),
        Some(Instead::InvalidToken) => return refusal(shared, 401, &invalid_token(shared)),
        Some(Instead::Status(status)) => return empty(status),
    }
    let (admission, further) = check(shared, &received);
    let mut answer = match admission {
        Ok(admission) => {
            shared.pass(HoldAt::AfterCheck, &received).await;
            wire::serve(shared, received, admission).await
        }
        Err(refusal) => *refusal,
    };
    answer.headers_mut().extend(further);
    answer
}

/// The verdict on a request, and headers of its answer.
fn check(shared: &Shared, received: &Received) -> (Result<Admission, Box<Answer>>, HeaderMap) {
    let settings = shared.settings();
    let scopes = received.tool().and_then(|tool| settings.tool_scopes.get(tool)).map_or("", String::as_str);
    let scopes: Vec<&str> = scopes.split(' ').filter(|scope| !scope.is_empty()).collect();
    let head = &received.head;
    let (verdict, further) = shared.verifier.admit_request(head.method.as_str(), &head.headers, &shared.uri, &scopes);
    let admission = match verdict {
        TokenVerdict::Admitted(admission) => Ok(admission),
        TokenVerdict::Refused { status, challenge } => {
            let status = if status == 403 { settings.insufficient_scope_status } else { status };
            Err(Box::new(refusal(shared, status, &challenge)))
        }
    };
    (admission, further)
}

/// The resource's metadata (RFC 9728).
fn metadata(shared: &Shared, path: &str) -> Answer {
    if path != "/.well-known/oauth-protected-resource/mcp" {
        return empty(404);
    }
    json(200, &json!({ "resource": shared.uri, "authorization_servers": shared.verifier.issuers() }))
}

/// Reads a body. `None` if it is too large, or breaks off.
async fn read(body: Incoming) -> Option<Bytes> {
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            if read.len() + data.len() > MAX_BODY {
                return None;
            }
            read.extend_from_slice(&data);
        }
    }
    Some(read.freeze())
}
