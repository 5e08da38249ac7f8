//! The clients that reach a server: the client that ships, and clients of hosts, which keep their connections.

use std::sync::Arc;

use async_trait::async_trait;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, MaybeSent, NotSent, ReqwestClient};

/// The client and the protocol of the requests to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The client that ships: HTTP/1.1, and a connection of its own for each request.
    Shipped,
    /// A host's own client, which keeps its connections alive: HTTP/1.1.
    KeptAlive,
    /// A host's own client, whose requests share one connection: HTTP/2.
    Shared,
}

impl Wire {
    pub const ALL: [Wire; 3] = [Wire::Shipped, Wire::KeptAlive, Wire::Shared];

    /// Returns a client without connections.
    pub fn client(self) -> Arc<dyn HttpClient> {
        let builder = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        match self {
            Wire::Shipped => Arc::new(ReqwestClient::new().unwrap()),
            Wire::KeptAlive => Arc::new(Own(builder.http1_only().build().unwrap())),
            Wire::Shared => Arc::new(Own(builder.http2_prior_knowledge().build().unwrap())),
        }
    }

    /// The number of connections that `requests` need, one after another and with none lost.
    pub fn connections(self, requests: u64) -> u64 {
        match self {
            Wire::Shipped => requests,
            Wire::KeptAlive | Wire::Shared => 1,
        }
    }
}

/// A host's own client. It reports "not sent" only for a connection that was never established.
#[derive(Debug)]
struct Own(reqwest::Client);

impl Own {
    async fn exchange(&self, exchange: Exchange) -> Result<http::Response<Body>, reqwest::Error> {
        let request = exchange.request.map(|body| body.as_bytes().to_vec());
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(exchange.timeout);
        let mut answer = self.0.execute(request).await?;
        let mut whole = http::Response::new(());
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        let body = answer.bytes().await?;
        Ok(whole.map(|()| Body::new(body)))
    }
}

#[async_trait]
impl HttpClient for Own {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        if !exchange.departure.may_leave() {
            return Err(HttpError::NotSent(NotSent::TooLate));
        }
        let most = exchange.max_answer;
        match self.exchange(exchange).await {
            Ok(answer) if answer.body().as_bytes().len() > most => Err(HttpError::MaybeSent(MaybeSent::TooLarge)),
            Ok(answer) => Ok(answer),
            Err(error) if error.is_connect() => Err(HttpError::NotSent(NotSent::Unreachable)),
            Err(error) if error.is_timeout() => Err(HttpError::MaybeSent(MaybeSent::TimedOut)),
            Err(_) => Err(HttpError::MaybeSent(MaybeSent::Broken)),
        }
    }
}
