//! What has not been sent is said not to have been sent.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use tokenkeeper::http::{Departure, Exchange, HttpClient, HttpError, NotSent};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{ElapsedTime, Moment};

use super::Finding;
use super::kit::{answered, arrived, arrived_once, exchange, ok, shown};
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

fn until(millis: u64) -> Departure {
    Departure::by(Arc::new(Still), ElapsedTime::from_millis(millis))
}

/// Nobody listens: no connection, no request.
pub async fn a_refused_connection_is_not_sent(client: Arc<dyn HttpClient>) -> Finding {
    // Bound, so that nobody else gets the port, and not listening yet: std has no way to say so but to close it.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    let outcome = client.send(exchange(&format!("http://127.0.0.1:{port}/token"))?).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Unreachable)));
    ensure(right, || format!("nobody listened, and the client says {}", shown(&outcome)))
}

/// A request whose time has passed does not leave, not even a byte of it.
pub async fn a_request_that_is_late_does_not_leave(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let outcome = client.send(Exchange { departure: until(4_999), ..exchange(&server.uri("/token"))? }).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::TooLate)));
    ensure(right, || format!("it was too late, and the client says {}", shown(&outcome)))?;
    // Another request arrives, so what was sent before it would have arrived as well.
    answered(&client.send(exchange(&server.uri("/marker"))?).await, 200)?;
    let log = server.log();
    arrived(&log, 1)?;
    let Some(arrival) = log.arrivals.first() else { return Err(Breach::new("nothing arrived")) };
    same("what arrived", arrival.head.starts_with("POST /marker "), true)
}

/// `not_after` is the last moment at which a request may leave.
pub async fn a_request_that_may_leave_until_now_leaves(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let outcome = client.send(Exchange { departure: until(5_000), ..exchange(&server.uri("/token"))? }).await;
    answered(&outcome, 200)?;
    arrived_once(&server.log())
}
