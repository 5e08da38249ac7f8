//! rmcp's own client at the resource, with a static token.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ProgressNotificationParam, ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};
use tokenkeeper_testkit::mcp::{AnswerForm, Cut, Wires};
use tokio::sync::watch;

use crate::client::Rig;
use crate::within::within;

/// The notifications that arrived.
#[derive(Clone, Debug, Default, PartialEq)]
struct Notified {
    changes: u64,
    progress: Vec<f64>,
}

#[derive(Clone, Default)]
struct Host(Arc<watch::Sender<Notified>>);

type Service = RunningService<RoleClient, Host>;

impl ClientHandler for Host {
    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.0.send_modify(|notified| notified.changes += 1);
        ready(())
    }

    fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) -> impl Future<Output = ()> + Send + '_ {
        self.0.send_modify(|notified| notified.progress.push(params.progress));
        ready(())
    }
}

async fn connect(rig: &Rig, host: &Host, lifecycle: ClientLifecycleMode) -> Service {
    let config = StreamableHttpClientTransportConfig::with_uri(rig.resource.uri());
    let config = config.auth_header(rig.grant.access_token.expose());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let transport = StreamableHttpClientTransport::with_client(client, config);
    within("a connection", host.clone().serve_with_lifecycle(transport, lifecycle)).await.unwrap()
}

fn discover() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

fn auto() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::V_2026_07_28], legacy_version: None }
}

async fn call(service: &Service, tool: &'static str, arguments: Value) -> CallToolResult {
    let arguments = arguments.as_object().cloned().unwrap();
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    within("a result", service.call_tool(params)).await.unwrap()
}

fn text(result: &CallToolResult) -> &str {
    match &result.content[..] {
        [ContentBlock::Text(text)] => &text.text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rmcp_speaks_both_wires_in_both_forms() {
    for (lifecycle, is_2026) in [(ClientLifecycleMode::Initialize, false), (discover(), true), (auto(), true)] {
        for answers in [AnswerForm::Json, AnswerForm::Sse] {
            let (rig, host) = (Rig::start(|settings| settings.answers = answers).await, Host::default());
            let service = connect(&rig, &host, lifecycle.clone()).await;
            // The client remembers from the list which arguments headers repeat.
            let tools = within("the tools", service.list_all_tools()).await.unwrap();
            assert_eq!(tools.len(), 8);
            assert_eq!(text(&call(&service, "echo", json!({ "text": "hello" })).await), "hello");
            assert_eq!(text(&call(&service, "routed", json!({ "region": "zürich" })).await), "zürich");
            assert_eq!(text(&call(&service, "large", json!({ "bytes": 1 << 20 })).await).len(), 1 << 20);
            assert_eq!(call(&service, "fail", json!({})).await.is_error, Some(true));
            assert_eq!(text(&call(&service, "progress", json!({ "steps": 3 })).await), "done");
            let progress = vec![1.0, 2.0, 3.0];
            within("progress", host.0.subscribe().wait_for(|notified| notified.progress == progress)).await.unwrap();
            within("the end", service.cancel()).await.unwrap();

            let counts = rig.resource.counts();
            assert_eq!((counts.all_executed(), counts.running, counts.aborted), (5, 0, 0), "{lifecycle:?} {answers:?}");
            assert_eq!((counts.sessions_opened, counts.requests("DELETE")), if is_2026 { (0, 0) } else { (1, 1) });
            assert_eq!((counts.sessions, counts.status(401), counts.elsewhere), (0, 0, 0));
        }
    }
}

#[tokio::test]
async fn rmcp_falls_back_to_the_wire_of_2025() {
    for has_sessions in [true, false] {
        let rig = Rig::start(|settings| {
            settings.wires = Wires::Only2025;
            settings.has_sessions = has_sessions;
        })
        .await;
        let service = connect(&rig, &Host::default(), auto()).await;
        assert_eq!(text(&call(&service, "echo", json!({ "text": "a" })).await), "a");
        within("the end", service.cancel()).await.unwrap();
        let counts = rig.resource.counts();
        assert_eq!((counts.of("server/discover"), counts.answered("server/discover", 400)), (1, 1));
        assert_eq!((counts.of("initialize"), counts.sessions_opened), (1, u64::from(has_sessions)));
    }
}

#[tokio::test]
async fn rmcp_hears_notifications_and_resumes_its_streams() {
    let (rig, host) = (
        Rig::start(|settings| {
            settings.answers = AnswerForm::Sse;
            settings.retry = Some(Duration::from_millis(1));
        })
        .await,
        Host::default(),
    );
    let service = connect(&rig, &host, ClientLifecycleMode::Initialize).await;
    within("a stream", rig.resource.until(|counts| counts.standing_streams == 1)).await;
    rig.resource.notify("notifications/tools/list_changed", json!({}));
    within("a change", host.0.subscribe().wait_for(|notified| notified.changes == 1)).await.unwrap();
    rig.resource.cut_standing_streams();
    rig.resource.notify("notifications/tools/list_changed", json!({}));
    within("a change", host.0.subscribe().wait_for(|notified| notified.changes == 2)).await.unwrap();
    assert_eq!(rig.resource.counts().resumed, 1);
    for (cut, resumed) in [(Cut::AfterId, 2), (Cut::EndsAfterId, 3)] {
        rig.resource.cut_next("echo", 1, cut);
        assert_eq!(text(&call(&service, "echo", json!({ "text": "kept" })).await), "kept");
        assert_eq!(rig.resource.counts().resumed, resumed);
    }
    rig.resource.forget_sessions();
    assert_eq!(text(&call(&service, "echo", json!({ "text": "again" })).await), "again");
    let counts = rig.resource.counts();
    assert_eq!((counts.executed("echo"), counts.sessions_opened, counts.answered("tools/call", 404)), (3, 2, 1));
    within("the end", service.cancel()).await.unwrap();
}

#[tokio::test]
async fn rmcp_subscribes_on_the_wire_of_2026() {
    let (rig, host) = (Rig::start(|_| {}).await, Host::default());
    let service = connect(&rig, &host, discover()).await;
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let mut subscription = within("a subscription", service.peer().listen(filter)).await.unwrap();
    within("a stream", rig.resource.until(|counts| counts.standing_streams == 1)).await;
    rig.resource.notify("notifications/tools/list_changed", json!({}));
    assert!(within("a change", subscription.next()).await.unwrap().is_some());
    rig.resource.end_standing_streams();
    assert!(within("the end", subscription.next()).await.unwrap().is_none());
    assert_eq!(rig.resource.counts().of("subscriptions/listen"), 1);
    within("the end", service.cancel()).await.unwrap();
}
