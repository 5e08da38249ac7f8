//! The adapter alone, over an inner client that follows a script, with a session that follows one too.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use tokenkeeper::{CallError, Misdirected, Reason};
use tokenkeeper_rmcp::{SessionClient, SessionError, session_error};
use tokenkeeper_testkit::scripted::{ScriptedSession, login_required, token};

use crate::scripted::{Headers, Scripted, ScriptedError, Sent, Step};

pub const URI: &str = "https://mcp.example.com/mcp";
pub const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;
const BEARER: &str = "Bearer error=\"invalid_token\"";

pub fn message(json: &str) -> ClientJsonRpcMessage {
    serde_json::from_str(json).unwrap()
}

pub async fn post<C: StreamableHttpClient>(
    client: &C,
    json: &str,
) -> Result<StreamableHttpPostResponse, StreamableHttpError<C::Error>> {
    let limits = StreamableHttpResponseLimits::default();
    client.post_message_with_response_limits(URI.into(), message(json), session(), None, Headers::new(), limits).await
}

pub fn session() -> Option<Arc<str>> {
    Some("mcp-session".into())
}

pub fn held<E: std::error::Error + Send + Sync + 'static>(error: &StreamableHttpError<E>) -> &SessionError {
    session_error(error).unwrap_or_else(|| panic!("{error:?}"))
}

fn text(token: &str) -> Option<String> {
    Some(token.to_owned())
}

/// A session whose token requests return `at-1`, `at-2` and so on.
pub fn numbered() -> ScriptedSession {
    (1..=9).fold(ScriptedSession::new(), |script, number| script.then(token(format!("at-{number}"))))
}

#[tokio::test(start_paused = true)]
async fn each_method_reaches_the_same_method_of_the_inner_client_with_all_arguments_and_a_token() {
    let script = numbered();
    let inner = Scripted::default();
    let client = SessionClient::over(inner.clone(), script.session());
    let headers =
        || Headers::from([(HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static("2025-11-25"))]);
    let mut limits = StreamableHttpResponseLimits::default();
    limits.max_json_response_size = 7;
    let uri = || Arc::<str>::from(URI);
    let last = || text("event-5");
    client.post_message(uri(), message(CALL), session(), None, headers()).await.unwrap();
    client.post_message_with_max_sse_event_size(uri(), message(CALL), session(), None, headers(), 5).await.unwrap();
    client.post_message_with_response_limits(uri(), message(CALL), session(), None, headers(), limits).await.unwrap();
    client.delete_session(uri(), session().unwrap(), None, headers()).await.unwrap();
    drop(client.get_stream(uri(), session(), last(), None, headers()).await.unwrap());
    drop(client.get_stream_with_max_sse_event_size(uri(), session(), last(), None, headers(), 6).await.unwrap());

    let expected = |method: &str| Sent {
        method: method.to_owned(),
        uri: URI.to_owned(),
        message: if method.starts_with("post") {
            serde_json::to_string(&message(CALL)).unwrap()
        } else {
            String::new()
        },
        session_id: text("mcp-session"),
        last_event_id: method.starts_with("get").then(|| "event-5".to_owned()),
        token: text("at-1"),
        headers: headers(),
    };
    let methods = ["post", "post, events of 5", "post, JSON of 7", "delete", "get", "get, events of 6"];
    assert_eq!(inner.sent(), methods.map(expected));
    assert_eq!(script.counts().token_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_host_configured_is_left_alone() {
    let script = ScriptedSession::never_signed_in();
    let refused = Step::Challenged(401, BEARER);
    let inner = Scripted::new([refused, refused, refused]);
    let client = SessionClient::over(inner.clone(), script.session());
    let pinned = || text("of-the-host");
    let elsewhere = || Arc::<str>::from("https://other.example.com/mcp");
    let error = client.post_message(elsewhere(), message(CALL), None, pinned(), Headers::new()).await.unwrap_err();
    assert!(matches!(error, StreamableHttpError::AuthRequired(_)));
    let error = client.get_stream(elsewhere(), None, None, pinned(), Headers::new()).await.err().unwrap();
    assert!(matches!(error, StreamableHttpError::AuthRequired(_)));
    let error = client.delete_session(elsewhere(), "s".into(), pinned(), Headers::new()).await.unwrap_err();
    assert!(matches!(error, StreamableHttpError::AuthRequired(_)));
    assert_eq!(inner.tokens(), [pinned(), pinned(), pinned()]);
    assert_eq!(script.counts().asked, 0);
}

#[tokio::test(start_paused = true)]
async fn an_authorization_header_that_the_host_configured_is_left_alone() {
    let (script, refused) = (numbered(), Step::Challenged(401, BEARER));
    let inner = Scripted::new([refused; 6]);
    let client = SessionClient::over(inner.clone(), script.session());
    let headers = || Headers::from([(http::header::AUTHORIZATION, HeaderValue::from_static("Basic x"))]);
    let (uri, limits) = (|| Arc::<str>::from(URI), StreamableHttpResponseLimits::default());
    let errors = [
        client.post_message(uri(), message(CALL), session(), None, headers()).await.err(),
        client.post_message_with_max_sse_event_size(uri(), message(CALL), session(), None, headers(), 5).await.err(),
        client.post_message_with_response_limits(uri(), message(CALL), session(), None, headers(), limits).await.err(),
        client.delete_session(uri(), "s".into(), None, headers()).await.err(),
        client.get_stream(uri(), session(), None, None, headers()).await.err(),
        client.get_stream_with_max_sse_event_size(uri(), session(), None, None, headers(), 5).await.err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, Some(StreamableHttpError::AuthRequired(_)))), "{errors:?}");
    assert_eq!((inner.tokens(), script.counts().asked), (vec![None; 6], 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_another_path_or_origin_is_not_sent() {
    let inner = Scripted::default();
    let client = SessionClient::over(inner.clone(), numbered().session());
    for (uri, is_origin) in [("https://mcp.example.com/mcp2", false), ("https://mcp.example.org/mcp", true)] {
        for _ in 0..2 {
            let uri = || Arc::<str>::from(uri);
            let errors = [
                client.post_message(uri(), message(CALL), None, None, Headers::new()).await.unwrap_err(),
                client.delete_session(uri(), "s".into(), None, Headers::new()).await.unwrap_err(),
                client.get_stream(uri(), None, None, None, Headers::new()).await.err().unwrap(),
            ];
            for error in errors {
                let CallError::Misdirected(why) = held(&error).call_error() else { panic!("{error:?}") };
                assert_eq!(matches!(why, Misdirected::OtherOrigin { .. }), is_origin, "{why}");
            }
        }
    }
    assert_eq!(inner.sent(), []);
    post(&client, CALL).await.unwrap();
    let below = "https://mcp.example.com/mcp/below".into();
    client.post_message(below, message(CALL), None, None, Headers::new()).await.unwrap();
    assert_eq!(inner.tokens(), [text("at-1"), text("at-1")]);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_never_signed_in_sends_bare_and_its_401_asks_for_a_login() {
    let inner = Scripted::new([Step::Good, Step::Challenged(401, "Bearer scope=\"tools\"")]);
    let client = SessionClient::over(inner.clone(), ScriptedSession::never_signed_in().session());
    post(&client, CALL).await.unwrap();
    let error = post(&client, CALL).await.unwrap_err();
    let held = held(&error);
    assert_eq!((held.reason(), held.is_login_required()), (Some(Reason::NeverSignedIn), true));
    assert_eq!(held.challenge().unwrap().scopes().unwrap().iter().collect::<Vec<_>>(), ["tools"]);
    assert_eq!(inner.tokens(), [None, None]);
}

#[tokio::test(start_paused = true)]
async fn any_other_missing_login_is_an_error_at_once_and_never_anonymous() {
    let ended = ScriptedSession::new().then(login_required());
    let logged_out = ScriptedSession::new();
    logged_out.session().token().await.unwrap();
    logged_out.logged_out_elsewhere();
    for (script, reason) in [(ended, Reason::GrantEnded), (logged_out, Reason::LoggedOut)] {
        let inner = Scripted::default();
        let client = SessionClient::over(inner.clone(), script.session());
        for error in [
            post(&client, CALL).await.unwrap_err(),
            client.delete_session(URI.into(), "s".into(), None, Headers::new()).await.unwrap_err(),
        ] {
            assert_eq!(held(&error).reason(), Some(reason));
            assert!(held(&error).is_login_required());
        }
        assert_eq!(inner.sent(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_sent_again_with_another_token_at_most_twice() {
    let script = numbered();
    let inner = Scripted::new([Step::Challenged(401, BEARER); 9]);
    let client = SessionClient::over(inner.clone(), script.session());
    let error = post(&client, CALL).await.unwrap_err();
    assert_eq!(held(&error).reason(), Some(Reason::ResourceRefuses));
    assert!(held(&error).retry_after().is_some_and(|span| span <= Duration::from_secs(30)));
    assert_eq!(inner.tokens(), [text("at-1"), text("at-2")]);
    assert_eq!(script.counts().token_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_server_and_of_the_connection_are_handed_on_as_they_are() {
    let steps =
        [Step::Own(None), Step::Own(Some(500)), Step::Text("HTTP 403 Forbidden: no"), Step::Challenged(403, "Basic")];
    let inner = Scripted::new(steps);
    let script = numbered();
    let client = SessionClient::over(inner.clone(), script.session());
    let mut errors = Vec::new();
    for _ in steps {
        errors.push(post(&client, CALL).await.unwrap_err());
    }
    assert!(matches!(errors[0], StreamableHttpError::Client(ScriptedError(None))));
    assert!(matches!(errors[1], StreamableHttpError::Client(ScriptedError(Some(500)))));
    assert!(
        matches!(&errors[2], StreamableHttpError::UnexpectedServerResponse(text) if text == "HTTP 403 Forbidden: no")
    );
    assert!(matches!(errors[3], StreamableHttpError::InsufficientScope(_)));
    assert_eq!((inner.sent().len(), script.counts().token_requests), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_needs_a_proof_is_not_presented_as_a_bearer_token() {
    let inner = Scripted::default();
    let script = ScriptedSession::new().then(token("bound").dpop());
    let error = post(&SessionClient::over(inner.clone(), script.session()), CALL).await.unwrap_err();
    assert!(matches!(held(&error).call_error(), CallError::Proof(_)));
    assert_eq!(inner.sent(), []);
}

#[test]
fn clients_and_errors_cross_threads_and_show_no_token() {
    fn crosses<T: Clone + Send + Sync + 'static>() {}
    crosses::<SessionClient<Scripted>>();
    crosses::<SessionError>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _in_the_runtime = runtime.enter();
    let client = SessionClient::over(Scripted::default(), numbered().session());
    let shown = format!("{client:?}");
    assert!(shown.contains("mcp.example.com") && !shown.contains("at-1"), "{shown}");
}
