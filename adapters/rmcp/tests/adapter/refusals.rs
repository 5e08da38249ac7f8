//! Refusals in every form that rmcp's clients make of them, at a client over reqwest and at one that is not.

use tokenkeeper::Reason;
use tokenkeeper_rmcp::{SessionClient, session_error};
use tokenkeeper_testkit::mcp::{ChallengeForm, Instead};

use crate::host::{Host, call, echo};
use crate::requests::{CALL, URI, held, numbered, post};
use crate::scripted::{Headers, Scripted, Step};
use crate::within::within;
use rmcp::transport::streamable_http_client::{StreamableHttpClient, StreamableHttpError};

const SCOPE: &str = "Bearer error=\"insufficient_scope\", scope=\"tools:admin\"";

// --- rmcp's client over reqwest ---------------------------------------------------------------------------------------

#[tokio::test]
async fn a_call_refused_in_any_form_is_sent_again_after_one_refresh() {
    for form in [
        ChallengeForm::Bearer,
        ChallengeForm::None,
        ChallengeForm::SecondHeader,
        ChallengeForm::SecondInHeader,
        ChallengeForm::NonAscii,
    ] {
        let host = Host::with(|_| {}, |settings| settings.challenge = form).await;
        let mcp = host.connect(&host.own_client()).await;
        host.server.kill_access_tokens();
        within("a call", echo(&mcp, "x")).await.unwrap_or_else(|error| panic!("{form:?}: {error:?}"));
        let (tokens, counts) = (host.server.counts(), host.resource.counts());
        assert_eq!((tokens.token_requests, counts.status(401), counts.executed("echo")), (1, 1, 1), "{form:?}");
    }
}

/// rmcp keeps one challenge of a refusal. `Negotiate` is the first, so the demand for scopes is lost.
#[tokio::test]
async fn a_demand_for_scopes_is_seen_in_the_first_header_alone() {
    for (form, is_seen) in [
        (ChallengeForm::Bearer, true),
        (ChallengeForm::SecondInHeader, true),
        (ChallengeForm::SecondHeader, false),
        (ChallengeForm::None, false),
    ] {
        let host = Host::with(|_| {}, |settings| settings.challenge = form).await;
        let mcp = host.connect(&host.own_client()).await;
        let error = within("an error", mcp.call_tool(call("restricted", "x", 1))).await.unwrap_err();
        let step_up = session_error(&error).and_then(|error| error.step_up().cloned());
        assert_eq!(step_up.is_some(), is_seen, "{form:?}: {error:?}");
        assert_eq!(host.server.counts().token_requests, 0, "{form:?}");
    }
}

/// rmcp drops the status of a challenge that is not ASCII, so a 403 is taken for a 401.
#[tokio::test]
async fn a_demand_for_scopes_that_is_not_ascii_costs_one_refresh_and_no_more() {
    let host = Host::with(|_| {}, |settings| settings.challenge = ChallengeForm::NonAscii).await;
    let mcp = host.connect(&host.own_client()).await;
    for _ in 0..3 {
        let error = within("an error", mcp.call_tool(call("restricted", "x", 1))).await.unwrap_err();
        assert_eq!(session_error(&error).unwrap().reason(), Some(Reason::ResourceRefuses));
    }
    assert_eq!(host.server.counts().token_requests, 1);
    within("a call", echo(&mcp, "x")).await.unwrap();
}

#[tokio::test]
async fn a_refused_end_of_an_mcp_session_is_sent_again() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    host.resource.next("DELETE", 1, Instead::InvalidToken);
    within("the end", mcp.cancel()).await.unwrap();
    let counts = host.resource.counts();
    assert_eq!((counts.answered("DELETE", 401), counts.answered("DELETE", 204), counts.sessions), (1, 1, 0));
    assert_eq!(host.server.counts().token_requests, 1);
}

/// A server that answers 401 to an MCP session that it has forgotten.
#[tokio::test]
async fn a_refusal_that_no_token_helps_ends_after_one_refresh() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    host.resource.next("tools/call", 6, Instead::InvalidToken);
    for _ in 0..3 {
        let error = within("an error", echo(&mcp, "x")).await.unwrap_err();
        let session = session_error(&error).unwrap();
        assert_eq!(session.reason(), Some(Reason::ResourceRefuses));
        assert!(!error.is_authorization_required());
    }
    assert_eq!(host.server.counts().token_requests, 1);
}

// --- a client that is not reqwest -------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn another_client_is_read_in_the_same_way() {
    let refusals = [
        Step::Challenged(401, "Bearer"),
        Step::Challenged(401, "Negotiate"),
        Step::Text("HTTP 401 Unauthorized: "),
        Step::Text("invalid www-authenticate header value"),
        Step::Own(Some(401)),
    ];
    for refusal in refusals {
        let (script, inner) = (numbered(), Scripted::new([refusal]));
        let client = SessionClient::over(inner.clone(), script.session());
        post(&client, CALL).await.unwrap();
        assert_eq!((inner.sent().len(), script.counts().token_requests), (2, 2), "{refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_client_may_fail_to_end_a_session_or_to_open_a_stream_with_any_text() {
    for refusal in
        [Step::Own(Some(401)), Step::Text("delete_session returned 401 Unauthorized"), Step::Challenged(401, "Bearer")]
    {
        let (script, inner) = (numbered(), Scripted::new([refusal]));
        let client = SessionClient::over(inner.clone(), script.session());
        client.delete_session(URI.into(), "s".into(), None, Headers::new()).await.unwrap();
        assert_eq!((inner.sent().len(), script.counts().token_requests), (2, 2), "{refusal:?}");
    }
    for refusal in
        [Step::Own(Some(401)), Step::Text("get_stream returned 401 Unauthorized"), Step::Challenged(401, "Bearer")]
    {
        let (script, inner) = (numbered(), Scripted::new([refusal]));
        let client = SessionClient::over(inner.clone(), script.session());
        drop(client.get_stream(URI.into(), None, None, None, Headers::new()).await.unwrap());
        assert_eq!((inner.sent().len(), script.counts().token_requests), (2, 2), "{refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_demand_for_scopes_of_another_client_is_a_step_up_with_either_status() {
    for status in [401, 403] {
        let (script, inner) = (numbered(), Scripted::new([Step::Challenged(status, SCOPE)]));
        let client = SessionClient::over(inner.clone(), script.session());
        let error = post(&client, CALL).await.unwrap_err();
        assert!(matches!(error, StreamableHttpError::Io(_)));
        let step_up = held(&error).step_up().unwrap();
        assert_eq!(step_up.scopes().iter().collect::<Vec<_>>(), ["tools:admin"]);
        assert_eq!(script.counts().token_requests, 1);
    }
}
