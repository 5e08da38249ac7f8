//! A connection that stands before its request. A client that does not connect ahead keeps all of these checks.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use tokenkeeper::http::{Exchange, HttpClient, HttpConnection, HttpError, NotSent, Reach};

use super::Finding;
use super::kit::{answered, arrived, arrived_once, exchange, ok, shown};
use super::server::{Act, Server};
use super::unsent::until;
use crate::contract::{Breach, ensure, same};

/// Connects to `server`. `None` if the client does not connect ahead.
async fn connect(client: &Arc<dyn HttpClient>, server: &Server) -> Result<Option<Box<dyn HttpConnection>>, Breach> {
    let uri = exchange(&server.uri("/token"))?.request.uri().clone();
    let refused = |why| Breach::new(format!("a server listens, and the client says {why:?}"));
    client.connect(&uri, Reach::Any).await.map_err(refused)
}

/// Not a byte leaves with the connection, nor with its end.
pub async fn a_connection_alone_sends_nothing(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let Some(connection) = connect(&client, &server).await? else { return Ok(()) };
    server.until(|log| log.connections == 1).await?;
    drop(connection);
    server.until(|log| log.ended == 1).await?;
    arrived(&server.log(), 0)
}

/// A request goes over the connection that was established for it, once.
pub async fn a_request_goes_over_its_connection(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let Some(connection) = connect(&client, &server).await? else { return Ok(()) };
    answered(&connection.send(exchange(&server.uri("/token"))?).await, 200)?;
    let log = server.log();
    arrived_once(&log)?;
    same("the number of connections", log.connections, 1)
}

/// Without a listener there is no connection.
pub async fn a_server_that_does_not_listen_is_unreachable(client: Arc<dyn HttpClient>) -> Finding {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    let uri = exchange(&format!("http://127.0.0.1:{port}/token"))?.request.uri().clone();
    let outcome = client.connect(&uri, Reach::Any).await;
    let right = matches!(outcome, Ok(None) | Err(NotSent::Unreachable));
    ensure(right, || format!("no server listens, and the client says {outcome:?}"))
}

/// The peer closes the connection before the request.
pub async fn a_connection_that_was_closed_is_not_sent(client: Arc<dyn HttpClient>) -> Finding {
    for server in [Server::closing().await?, Server::unwilling().await?] {
        // A reset may be faster than the client, which then has no connection.
        let uri = exchange(&server.uri("/token"))?.request.uri().clone();
        let Ok(Some(connection)) = client.connect(&uri, Reach::Any).await else { continue };
        server.until(|log| log.ended == 1).await?;
        let outcome = connection.send(exchange(&server.uri("/token"))?).await;
        let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Unreachable)));
        ensure(right, || format!("the peer has closed the connection, and the client says {}", shown(&outcome)))?;
        arrived(&server.log(), 0)?;
    }
    Ok(())
}

/// Not a byte of a request leaves after its deadline, and the deadline counts although the connection stands.
pub async fn a_late_request_does_not_leave_over_its_connection(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let Some(connection) = connect(&client, &server).await? else { return Ok(()) };
    let late = Exchange { departure: until(4_999), ..exchange(&server.uri("/token"))? };
    let outcome = connection.send(late).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::TooLate)));
    ensure(right, || format!("it was too late, and the client says {}", shown(&outcome)))?;
    server.until(|log| log.ended == 1).await?;
    arrived(&server.log(), 0)
}

/// A request for another host does not go over the connection.
pub async fn a_request_goes_to_its_own_host(client: Arc<dyn HttpClient>) -> Finding {
    let (server, other) = (Server::always(Act::Answer(ok())).await?, Server::always(Act::Answer(ok())).await?);
    let Some(connection) = connect(&client, &server).await? else { return Ok(()) };
    answered(&connection.send(exchange(&other.uri("/token"))?).await, 200)?;
    arrived(&server.log(), 0)?;
    arrived_once(&other.log())
}
