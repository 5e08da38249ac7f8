//! The layer over a service in memory, with sessions that follow a script.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, reason = "the modules of one test")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tasks of tests")]

mod at_hand;
mod dropping;
mod places;
mod readiness;
mod refusals;
mod server;
#[path = "../../../../actors/tests/common/within.rs"]
mod within;

use std::io;

use http::{Request, Response, StatusCode};
use tokenkeeper_testkit::scripted::ScriptedSession;
use tokenkeeper_tower::{SendError, SessionLayer, SessionService};
use tower::{Layer, ServiceExt};

use server::{Held, Server};
use within::within;

/// The server of every scripted session.
const URL: &str = "https://mcp.example.com/mcp";

const INVALID: &str = "Bearer error=\"invalid_token\"";

type Client = SessionService<Server, Request<String>>;

fn post(url: &str) -> Request<String> {
    Request::post(url).body("{}".to_owned()).unwrap()
}

fn client(script: &ScriptedSession, server: &Server) -> Client {
    SessionLayer::new(script.session()).layer(server.clone())
}

/// Sends a request, as a host does, with a clone of its client.
async fn send(client: &Client, request: Request<String>) -> Result<Response<Held>, SendError<io::Error>> {
    within("an answer", client.clone().oneshot(request)).await
}

async fn status(client: &Client, url: &str) -> StatusCode {
    send(client, post(url)).await.unwrap().status()
}

#[test]
fn futures_and_services_cross_threads() {
    fn crosses<T: Send + 'static>(_: &T) {}
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let script = ScriptedSession::new();
    let client = client(&script, &Server::accepting("access-token"));
    is_shared(&client);
    crosses(&client.clone().oneshot(post(URL)));
    // Neither a body nor an answer need be `Sync`, and no body need be `Clone`.
    let streaming = SessionLayer::once(script.session()).layer(Server::accepting("access-token"));
    crosses(&streaming.oneshot(Request::post(URL).body(server::Stream::new("{}")).unwrap()));
}

#[test]
fn what_is_shown_holds_no_secret() {
    let script = ScriptedSession::new();
    let layer: SessionLayer<Request<String>> = SessionLayer::new(script.session());
    let shown = format!("{layer:?}");
    assert!(shown.contains("https://mcp.example.com/mcp") && shown.contains("Refused"), "{shown}");
    let mut service = layer.layer(Server::accepting("access-token"));
    let future = tower::Service::call(&mut service, post("https://mcp.example.com/mcp?key=secret"));
    assert!(!format!("{service:?} {future:?}").contains("secret"));
}
