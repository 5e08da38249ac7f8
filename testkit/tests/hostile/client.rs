//! Two clients for the tests. One is an HTTP client that follows and repeats nothing, the other a bare socket.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within::within;

/// The HTTP version of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::One, Version::Two];

pub(crate) fn client(version: Version) -> Client {
    let builder = Client::builder()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30));
    match version {
        Version::One => builder.http1_only(),
        Version::Two => builder.http2_prior_knowledge(),
    }
    .build()
    .unwrap()
}

/// A refresh with `token`, for the public client and the resource of `grant`.
pub(crate) fn refresh_with(client: &Client, grant: &Grant, token: &str) -> RequestBuilder {
    form(client.post(&grant.binding.token_endpoint), &refresh_body(grant, token))
}

pub(crate) fn refresh(client: &Client, grant: &Grant) -> RequestBuilder {
    refresh_with(client, grant, grant.refresh_token.expose())
}

pub(crate) fn form(request: RequestBuilder, body: &str) -> RequestBuilder {
    request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned())
}

pub(crate) fn refresh_body(grant: &Grant, token: &str) -> String {
    let resource: String =
        form_urlencoded::byte_serialize(grant.binding.resource.as_ref().unwrap().as_bytes()).collect();
    let id = &grant.binding.client.id;
    format!("grant_type=refresh_token&refresh_token={token}&client_id={id}&resource={resource}")
}

/// Calls the protected resource.
pub(crate) async fn call(client: &Client, server: &HostileAs, access: &str) -> Response {
    client.post(server.resource()).bearer_auth(access).body("{}").send().await.unwrap()
}

pub(crate) async fn json(answer: Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

pub(crate) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// A refresh as the bytes of an HTTP/1.1 request.
pub(crate) fn wire(grant: &Grant) -> String {
    let body = refresh_body(grant, grant.refresh_token.expose());
    let form = "application/x-www-form-urlencoded";
    format!("POST /token HTTP/1.1\r\nhost: x\r\ncontent-type: {form}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Writes `request` on its own connection, and reads until it ends. Returns the bytes read and the kind of ending.
pub(crate) async fn converse(server: &HostileAs, request: &str) -> (String, std::io::Result<()>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = within("the end of a connection", stream.read_to_end(&mut answer)).await.map(|_| ());
    (String::from_utf8(answer).unwrap(), end)
}

pub(crate) fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}
