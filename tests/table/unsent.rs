//! Requests that never leave.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use tokenkeeper::Reason;
use tokenkeeper::engine::law::profile::{Profile, Reuse};
use tokenkeeper::engine::values::record::{ClientAuth, Record};
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpConnection, HttpError, NotSent, Reach, ReqwestClient};
use tokenkeeper_testkit::hostile::Fault;
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service};

use crate::scene::Scene;
use crate::support::wire::Wire;

const POLICIES: [Reuse; 2] = [Reuse::EndsLineage, Reuse::EndsMore];

/// The number of times that the record was written since it was `before`.
async fn writes(scene: &Scene, before: &Record) -> u64 {
    scene.host.record().await.revision.number() - before.revision.number()
}

/// The number of writes of a flight that cannot connect. A client that does not connect ahead learns of it after the mark,
/// which is withdrawn.
fn writes_unsent(wire: Wire) -> u64 {
    if wire == Wire::Shipped { 0 } else { 2 }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_spent() {
    for (wire, reuse) in Wire::ALL.into_iter().flat_map(|wire| POLICIES.map(|policy| (wire, policy))) {
        let scene = Scene::new(wire, Profile { reuse, ..Profile::default() }).await;
        // The login's token endpoint is a port that was just given up.
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let mut grant = scene.server.grant();
        grant.binding.token_endpoint = format!("http://{gone}/token");
        scene.host.sign_in(&grant).await.unwrap();
        for _ in 0..3 {
            let before = scene.host.record().await;
            assert_eq!(scene.host.try_to_renew().await.unwrap_err().reason(), Reason::Unreachable, "{wire:?}");
            assert_eq!(scene.host.mark().await, None, "{wire:?}");
            assert_eq!(writes(&scene, &before).await, writes_unsent(wire), "{wire:?}");
            scene.pass(Duration::from_secs(1));
        }
        scene.assert_counts((1, 1, 0), "nobody listens").await;
        scene.host.shut_down().await;
    }
}

/// A TLS handshake fails. In reqwest the connector fails after TCP has connected.
#[tokio::test]
async fn what_fails_before_the_connection_stands_spends_nothing() {
    for reuse in POLICIES {
        let broken = Arc::new(AtomicBool::new(false));
        let layer = Breaking(Arc::clone(&broken));
        let http = ReqwestClient::with(|| reqwest::Client::builder().connector_layer(layer.clone())).unwrap();
        let profile = Profile { reuse, ..Profile::default() };
        let scene = Scene::with(Arc::new(http), profile, Fault::pass()).await;
        broken.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let before = scene.host.record().await;
            scene.assert_refused(Reason::Unreachable, "no connection").await;
            assert_eq!(scene.host.record().await, before, "not even a mark is written");
            scene.pass(Duration::from_secs(1));
        }
        scene.assert_counts((1, 1, 0), "no connection").await;
        assert_eq!(scene.counts().await.connections, 4, "TCP did connect");
        broken.store(false, Ordering::SeqCst);
        scene.assert_whole(1, "a connection").await;
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_made_spends_nothing() {
    for (wire, reuse) in Wire::ALL.into_iter().flat_map(|wire| POLICIES.map(|policy| (wire, policy))) {
        let scene = Scene::new(wire, Profile { reuse, ..Profile::default() }).await;
        let mut grant = scene.server.grant();
        // The client has no secret to authenticate with.
        grant.binding.client.auth = ClientAuth::Basic;
        scene.host.sign_in(&grant).await.unwrap();
        for _ in 0..3 {
            let before = scene.host.record().await;
            assert_eq!(scene.host.try_to_renew().await.unwrap_err().reason(), Reason::RequestRefused, "{wire:?}");
            assert_eq!(scene.host.record().await, before, "{wire:?}: not even a mark is written");
            scene.pass(Duration::from_secs(1));
        }
        scene.assert_counts((1, 1, 0), "cannot be made").await;
        scene.host.shut_down().await;
    }
}

/// The connection stood before the mark, and the server closed it before the request.
#[tokio::test]
async fn a_connection_that_is_closed_between_its_mark_and_its_request_spends_nothing() {
    for reuse in POLICIES {
        let closes = Arc::new(AtomicBool::new(false));
        let http = ClosedMeanwhile { http: ReqwestClient::new().unwrap(), closes: Arc::clone(&closes) };
        let scene = Scene::with(Arc::new(http), Profile { reuse, ..Profile::default() }, Fault::pass()).await;
        closes.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let before = scene.host.record().await;
            scene.assert_refused(Reason::Unreachable, "closed meanwhile").await;
            assert_eq!(scene.host.mark().await, None);
            assert_eq!(writes(&scene, &before).await, 2, "the mark, and its withdrawal");
            scene.pass(Duration::from_secs(1));
        }
        scene.assert_counts((1, 1, 0), "closed meanwhile").await;
        closes.store(false, Ordering::SeqCst);
        scene.assert_whole(1, "a connection").await;
    }
}

/// A client whose connections are made to a server that closes them, while the flag is up.
#[derive(Debug)]
struct ClosedMeanwhile {
    http: ReqwestClient,
    closes: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for ClosedMeanwhile {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        self.http.send(exchange).await
    }

    async fn connect(&self, uri: &http::Uri, reach: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        if !self.closes.load(Ordering::SeqCst) {
            return self.http.connect(uri, reach).await;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        let connection = self.http.connect(&to, reach).await?;
        drop(listener.accept().await.unwrap());
        Ok(connection.map(|connection| Box::new(Redirected { connection, to }) as Box<_>))
    }
}

/// A connection that gets its requests for another server.
#[derive(Debug)]
struct Redirected {
    connection: Box<dyn HttpConnection>,
    to: http::Uri,
}

#[async_trait]
impl HttpConnection for Redirected {
    async fn send(self: Box<Self>, mut exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        *exchange.request.uri_mut() = self.to;
        self.connection.send(exchange).await
    }
}

/// Too much time passes between the mark and the send. The record is read again, and the request goes out once.
#[tokio::test]
async fn a_request_that_was_too_late_goes_out_once_after_another_look() {
    for (wire, reuse) in Wire::ALL.into_iter().flat_map(|wire| POLICIES.map(|policy| (wire, policy))) {
        let late = Arc::new(AtomicU32::new(0));
        let http = Late { http: wire.client(), left: Arc::clone(&late) };
        let scene = Scene::with(Arc::new(http), Profile { reuse, ..Profile::default() }, Fault::pass()).await;
        late.store(1, Ordering::SeqCst);
        assert!(scene.host.renew().await.is_ok_and(|token| token != scene.access), "{wire:?}");
        scene.assert_counts((2, 2, 0), "late once").await;
        // It is too late every time, so the flight gives up and withdraws the mark.
        late.store(u32::MAX, Ordering::SeqCst);
        assert_eq!(scene.host.try_to_renew().await.unwrap_err().reason(), Reason::Aborted, "{wire:?}");
        assert_eq!(scene.host.mark().await, None, "{wire:?}");
        scene.assert_counts((2, 2, 0), "always late").await;
        late.store(0, Ordering::SeqCst);
        scene.pass(Duration::from_secs(1));
        scene.assert_whole(2, "in time").await;
    }
}

/// A client that is too late for a number of requests.
#[derive(Debug)]
struct Late {
    http: Arc<dyn HttpClient>,
    left: Arc<AtomicU32>,
}

#[async_trait]
impl HttpClient for Late {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        let late = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match late {
            Ok(_) => Err(HttpError::NotSent(NotSent::TooLate)),
            Err(_) => self.http.send(exchange).await,
        }
    }
}

/// A connector that completes no connection while the flag is up.
#[derive(Clone)]
struct Breaking(Arc<AtomicBool>);

#[derive(Clone)]
struct Connecting<S>(S, Arc<AtomicBool>);

impl<S> Layer<S> for Breaking {
    type Service = Connecting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Connecting(inner, Arc::clone(&self.0))
    }
}

impl<S, R> Service<R> for Connecting<S>
where
    S: Service<R, Error = BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connection, broken) = (self.0.call(request), Arc::clone(&self.1));
        Box::pin(async move {
            let connection = connection.await?;
            match broken.load(Ordering::SeqCst) {
                true => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                false => Ok(connection),
            }
        })
    }
}
