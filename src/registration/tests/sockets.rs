//! A registration over real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokenkeeper_actors::system::{Entropy, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::rig::{REDIRECT, memory, metadata, work};
use crate::http::{Reach, ReqwestClient};
use crate::registration::{Clients, Registrar, RegistrationError, Wanted};

/// The head and the body of a request.
async fn request(socket: &mut TcpStream) -> (String, Value) {
    let mut received = Vec::new();
    loop {
        socket.read_buf(&mut received).await.unwrap();
        let text = String::from_utf8_lossy(&received).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
            return (head.to_owned(), serde_json::from_str(body).unwrap_or_default());
        }
    }
}

/// Answers each connection's request with these statuses, one after the other, and keeps the requests.
async fn serve(listener: TcpListener, statuses: Vec<u16>, requests: Arc<Mutex<Vec<(String, Value)>>>) {
    for status in statuses {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (head, mut body) = request(&mut socket).await;
        requests.lock().unwrap().push((head, body.clone()));
        body["client_id"] = json!("over-the-wire");
        let body = if status == 201 { body.to_string() } else { "{}".to_owned() };
        let length = body.len();
        let location = "location: http://127.0.0.1:1/elsewhere";
        let answer =
            format!("HTTP/1.1 {status} -\r\n{location}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_is_registered_over_the_wire_and_a_redirect_is_not_followed() {
    let whole = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = metadata();
        server.registration_endpoint = Some(format!("http://{}/register", listener.local_addr().unwrap()));
        let requests = Arc::default();
        let serving = tokio::spawn(serve(listener, vec![307, 201], Arc::clone(&requests)));
        let registrar = Registrar::new(
            Clients::default(),
            Arc::new(memory()),
            Arc::new(ReqwestClient::new().unwrap()),
            Arc::new(SystemClock::new().unwrap()),
            Entropy::new().unwrap(),
        );
        let identity = work();
        let wanted =
            Wanted { server: &server, identity: &identity, redirect: Some(REDIRECT), reach: Reach::PublicOrLoopback };
        let moved = registrar.client_for(wanted).await;
        assert!(matches!(moved, Err(RegistrationError::Refused { status: 307, .. })), "{moved:?}");
        let client = registrar.client_for(wanted).await.unwrap();
        assert_eq!(client.client.id, "over-the-wire");
        assert!(registrar.client_for(wanted).await.unwrap().is_reused);
        serving.await.unwrap();
        // The server listens no more.
        registrar.retire(client.key.as_ref().unwrap(), "over-the-wire").await.unwrap();
        assert_eq!(registrar.client_for(wanted).await, Err(RegistrationError::Unreachable));
        let requests = requests.lock().unwrap();
        assert_eq!(requests.len(), 2);
        let (head, body) = &requests[1];
        assert!(head.starts_with("POST /register HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
        assert_eq!((&body["application_type"], &body["redirect_uris"][0]), (&json!("native"), &json!(REDIRECT)));
    };
    tokio::time::timeout(Duration::from_secs(60), whole).await.unwrap();
}
