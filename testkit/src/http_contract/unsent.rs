//! A request that has not been sent is reported as not sent.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use tokenkeeper::http::{Departure, Exchange, HttpClient, HttpError, NotSent, Reach};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{ElapsedTime, Moment};

use super::Finding;
use super::kit::{answered, arrived, arrived_once, exchange, get, ok, shown};
use super::server::{Act, Server};
use crate::contract::{Breach, ensure, same};

/// A clock that stands still at 5 s.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment { elapsed: ElapsedTime::from_millis(5_000), ..Moment::default() }
    }
}

pub(super) fn until(millis: u64) -> Departure {
    Departure::by(Arc::new(Still), ElapsedTime::from_millis(millis))
}

/// Without a listener there is no connection, and no request.
pub async fn a_refused_connection_is_not_sent(client: Arc<dyn HttpClient>) -> Finding {
    // Bound, so that no other process gets the port. std cannot bind without listening, so the listener is closed
    // again.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    let outcome = client.send(exchange(&format!("http://127.0.0.1:{port}/token"))?).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Unreachable)));
    ensure(right, || format!("nobody listened, and the client says {}", shown(&outcome)))
}

/// A request without a body that found no connection is not sent either, although no body shows that it stayed here.
pub async fn a_get_without_a_connection_is_not_sent(client: Arc<dyn HttpClient>) -> Finding {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    let outcome = client.send(get(&format!("http://127.0.0.1:{port}/"), Reach::Any)?).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Unreachable)));
    ensure(right, || format!("no server listens, and the client says {}", shown(&outcome)))?;
    let server = Server::always(Act::Answer(ok())).await?;
    let late = Exchange { departure: until(4_999), ..get(&server.uri("/"), Reach::Any)? };
    let outcome = client.send(late).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::TooLate)));
    ensure(right, || format!("it was too late, and the client says {}", shown(&outcome)))?;
    arrived(&server.log(), 0)
}

/// Not a byte of a request leaves after its deadline.
pub async fn a_request_that_is_late_does_not_leave(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let outcome = client.send(Exchange { departure: until(4_999), ..exchange(&server.uri("/token"))? }).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::TooLate)));
    ensure(right, || format!("it was too late, and the client says {}", shown(&outcome)))?;
    // This second request arrives, so an earlier one would have arrived as well.
    answered(&client.send(exchange(&server.uri("/marker"))?).await, 200)?;
    let log = server.log();
    arrived(&log, 1)?;
    let Some(arrival) = log.arrivals.first() else { return Err(Breach::new("nothing arrived")) };
    same("what arrived", arrival.head.starts_with("POST /marker "), true)
}

/// `not_after` is inclusive.
pub async fn a_request_that_may_leave_until_now_leaves(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let outcome = client.send(Exchange { departure: until(5_000), ..exchange(&server.uri("/token"))? }).await;
    answered(&outcome, 200)?;
    arrived_once(&server.log())
}
