//! The host: a supervisor whose children are the auth runtime and one actor for each MCP session. This is the file to copy.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared, pending};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent as Event};
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokenkeeper::actor::{self, AuthSpec};
use tokenkeeper::{AuthRuntime, AuthSession, SessionSpec, ShutdownReport};
use tokenkeeper_rmcp::{SessionClient, SessionError, session_error};
use tokio::time::{Instant, sleep, timeout};

/// How long a tool call may take, and each step of the host's end.
const PATIENCE: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(10);

pub(crate) type Answer = Result<CallToolResult, ServiceError>;
/// The result of an actor's step.
type Done<T = ()> = Result<T, ActorProcessingErr>;
type Mcp = Arc<RunningService<RoleClient, ()>>;
type Connection = Shared<BoxFuture<'static, Mcp>>;

/// Connects once a person has signed in, here or in another process, and there is a token.
async fn connect(session: AuthSession, uri: String) -> Mcp {
    loop {
        match try_connect(&session, &uri).await {
            Ok(mcp) => return Arc::new(mcp),
            Err(error) => println!("host: no connection to {uri}: {error}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn try_connect(session: &AuthSession, uri: &str) -> Done<RunningService<RoleClient, ()>> {
    session.signed_in().await?;
    session.token().await?;
    let config = StreamableHttpClientTransportConfig::with_uri(uri).max_concurrent_requests(256);
    let transport = StreamableHttpClientTransport::with_client(SessionClient::new(session.clone())?, config);
    Ok(().serve(transport).await?)
}

/// A tool call. Its reply port moves into the task that makes the call.
pub(crate) struct Call(pub(crate) CallToolRequestParams, pub(crate) RpcReplyPort<Answer>);

/// One MCP session. Connection and calls are tasks, so its mailbox is always free.
struct McpSession;

#[ractor::actor(message = Call, state = Connection, arguments = (AuthSession, String))]
impl McpSession {
    async fn pre_start(&self, me: ActorRef<Call>, (session, uri): (AuthSession, String)) -> Done<Connection> {
        let connection = connect(session, uri).boxed().shared();
        let connecting = connection.clone();
        tokio::spawn(async move {
            tokio::select! { _ = connecting => {}, _ = me.wait(None) => {} }
        });
        Ok(connection)
    }

    async fn handle(&self, me: ActorRef<Call>, Call(request, reply): Call, connection: &mut Connection) -> Done {
        let (connection, limit) = (connection.clone(), reply.get_timeout().unwrap_or(PATIENCE));
        tokio::spawn(async move {
            // A call whose caller has given up ends, and is not made after a late login.
            let call = async { connection.await.call_tool(request).await };
            let answer = timeout(limit, call).await.unwrap_or(Err(ServiceError::Timeout { timeout: limit }));
            // The host starts another one.
            let _ = matches!(answer, Err(ServiceError::TransportClosed)).then(|| me.kill());
            drop(reply.send(answer));
        });
        Ok(())
    }

    /// Lets calls end, and then the session at the server, which takes a token.
    async fn post_stop(&self, _: ActorRef<Call>, connection: &mut Connection) -> Done {
        let connection = std::mem::replace(connection, pending().boxed().shared());
        let Some(mcp) = connection.now_or_never() else { return Ok(()) };
        let deadline = Instant::now() + END / 2;
        while Arc::strong_count(&mcp) > 1 && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let Some(mcp) = Arc::into_inner(mcp) else { return Ok(()) };
        mcp.cancel().await.map(drop).map_err(Into::into)
    }
}

/// A message to the host.
pub(crate) enum ToHost {
    /// Calls a tool at the MCP session of this number.
    Call(usize, Call),
    /// Ends the host in good order.
    End(RpcReplyPort<ShutdownReport>),
}

/// The root of the tree.
pub(crate) struct Host;

pub(crate) struct HostState {
    spec: AuthSpec,
    auth: AuthRuntime,
    servers: Vec<(String, ActorRef<Call>)>,
}

#[ractor::actor(message = ToHost, state = HostState, arguments = (AuthSpec, Vec<String>))]
impl Host {
    async fn pre_start(&self, me: ActorRef<ToHost>, (spec, uris): (AuthSpec, Vec<String>)) -> Done<HostState> {
        let auth = spec.spawn_linked(me.get_cell()).await?;
        let mut servers = Vec::new();
        for uri in uris {
            servers.push((uri.clone(), start(&me, &auth, uri).await?));
        }
        Ok(HostState { spec, auth, servers })
    }

    async fn handle(&self, me: ActorRef<ToHost>, message: ToHost, state: &mut HostState) -> Done {
        match message {
            // If the MCP session has ended, the call is dropped and its caller asks again.
            ToHost::Call(number, call) => state.servers.get(number).map_or((), |(_, mcp)| drop(mcp.send_message(call))),
            ToHost::End(reply) => {
                for (_, server) in state.servers.drain(..) {
                    // MCP first, because its end takes tokens. One that has just died has ended already.
                    drop(server.stop_and_wait(None, Some(END)).await);
                }
                state.auth.quiesce(END).await;
                drop(reply.send(state.auth.shutdown(END).await)); // auth last
                me.stop(None);
            }
        }
        Ok(())
    }

    /// Without this, ractor's default would end the host with its first child.
    async fn handle_supervisor_evt(&self, me: ActorRef<ToHost>, event: Event, state: &mut HostState) -> Done {
        let (Event::ActorFailed(child, _) | Event::ActorTerminated(child, ..)) = event else { return Ok(()) };
        let id = child.get_id();
        if actor::is_supervisor(&state.auth, id) {
            state.auth = state.spec.spawn_linked(me.get_cell()).await?;
        } else if let Some((uri, server)) = state.servers.iter_mut().find(|(_, server)| server.get_id() == id) {
            *server = start(&me, &state.auth, uri.clone()).await?;
        }
        Ok(())
    }
}

async fn start(host: &ActorRef<ToHost>, auth: &AuthRuntime, uri: String) -> Done<ActorRef<Call>> {
    let session = auth.session(SessionSpec::mcp(&uri)?);
    Ok(Actor::spawn_linked(None, McpSession, (session, uri), host.get_cell()).await?.0)
}

/// Calls a tool, for at most 30 s. A call that was not sent, because an MCP session or the auth tree has ended, is made again.
pub(crate) async fn call(host: &ActorRef<ToHost>, server: usize, request: CallToolRequestParams) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ask = |reply| ToHost::Call(server, Call(request.clone(), reply));
        let left = deadline.saturating_duration_since(Instant::now());
        match host.call(ask, Some(left)).await {
            Ok(CallResult::Success(Err(error)))
                if !left.is_zero() && session_error(&error).is_some_and(SessionError::is_transient) => {}
            Ok(CallResult::Success(answer)) => return answer,
            Ok(CallResult::SenderError) => {}
            Ok(CallResult::Timeout) => return Err(ServiceError::Timeout { timeout: PATIENCE }),
            Err(_) => return Err(ServiceError::TransportClosed),
        }
        sleep(Duration::from_millis(10)).await;
    }
}
