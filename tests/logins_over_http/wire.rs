//! Clients that keep a copy of everything they send, and one that reaches a server on loopback as if it were public.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, NotSent, Reach, ReqwestClient};
use tokenkeeper_testkit::login_server::LoginServer;

/// The client that ships, with a copy of each request.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    client: Arc<ReqwestClient>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) url: String,
    /// Its headers and its body.
    pub(crate) text: String,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { client: Arc::new(ReqwestClient::new().unwrap()), sent: Arc::default() }
    }
}

impl Recorder {
    /// Everything that was sent to URLs that begin with `origin`.
    pub(crate) fn sent_to(&self, origin: &str) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|sent| sent.url.starts_with(origin)).cloned().collect()
    }

    /// The `Authorization` header and the body of the only request to `url` with `word` in it.
    pub(crate) fn only(&self, url: &str, word: &str) -> String {
        let found: Vec<Sent> = self.sent_to(url).into_iter().filter(|sent| sent.text.contains(word)).collect();
        assert_eq!(found.len(), 1, "requests to {url} with {word}");
        found[0].text.clone()
    }
}

#[async_trait]
impl HttpClient for Recorder {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let request = &exchange.request;
        let mut text = String::new();
        for (name, value) in request.headers() {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        text.push_str(&String::from_utf8_lossy(request.body().as_bytes()));
        self.sent.lock().unwrap().push(Sent { url: request.uri().to_string(), text });
        self.client.send(exchange).await
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}

/// The public origin of [`Public`].
pub(crate) const PUBLIC: &str = "https://mcp.example.com";

/// A client for which a server on loopback is at [`PUBLIC`], as behind a proxy that ends TLS. All other addresses are judged as
/// the client that ships judges them.
#[derive(Debug)]
pub(crate) struct Public {
    client: ReqwestClient,
    /// The server's own name for its origin, and its address.
    own: String,
    address: String,
    /// The path of each request to the server, and its reach.
    reaches: Mutex<Vec<(String, Reach)>>,
}

impl Public {
    pub(crate) fn new(server: &LoginServer) -> Self {
        Self {
            client: ReqwestClient::new().unwrap(),
            own: server.origin().to_owned(),
            address: format!("http://{}", server.hostile().address()),
            reaches: Mutex::default(),
        }
    }

    /// The reaches of all requests to a path.
    pub(crate) fn reaches(&self, path: &str) -> Vec<Reach> {
        let reaches = self.reaches.lock().unwrap();
        reaches.iter().filter(|(at, _)| at == path).map(|(_, reach)| *reach).collect()
    }

    fn inward(&self, text: &str) -> String {
        let escaped = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
        text.replace(PUBLIC, &self.own).replace(&escaped(PUBLIC), &escaped(&self.own))
    }
}

#[async_trait]
impl HttpClient for Public {
    async fn send(&self, mut exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let uri = exchange.request.uri().to_string();
        let url = url::Url::parse(&uri).map_err(|_| HttpError::NotSent(NotSent::Unbuildable))?;
        if exchange.reach.permits(&url).is_err() {
            return Err(HttpError::NotSent(NotSent::Forbidden));
        }
        let Some(path) = uri.strip_prefix(PUBLIC) else { return self.client.send(exchange).await };
        self.reaches.lock().unwrap().push((path.to_owned(), exchange.reach));
        *exchange.request.uri_mut() = format!("{}{}", self.address, self.inward(path)).parse().unwrap();
        let body = self.inward(&String::from_utf8_lossy(exchange.request.body().as_bytes()));
        exchange.request.headers_mut().remove(http::header::CONTENT_LENGTH);
        *exchange.request.body_mut() = Body::new(body);
        exchange.reach = Reach::Any;
        let answer = self.client.send(exchange).await?;
        let outward = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&self.own, PUBLIC);
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(http::header::CONTENT_LENGTH);
        for value in parts.headers.values_mut() {
            *value = outward(value.as_bytes()).parse().unwrap();
        }
        Ok(http::Response::from_parts(parts, Body::new(outward(body.as_bytes()))))
    }

    fn enforces_reach(&self) -> bool {
        true
    }
}
