//! A request connects only to addresses within its reach. A client that does not enforce the reach keeps all checks of
//! [`CHECKS`](super::CHECKS) that are here.
//!
//! Proxies of the environment are checked by [`no_proxy_of_the_environment_is_asked`] in a child process, because a process
//! with several threads must not change its own environment.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use tokenkeeper::http::{Exchange, HttpClient, HttpError, MaybeSent, NotSent, Reach};

use super::Finding;
use super::kit::{
    AMPLE, MOST, Outcome, SHORT, answer, answered, arrived, arrived_once, exchange, get, in_time, maybe_sent_and, ok,
    shown,
};
use super::server::{Act, Server};
use crate::contract::{Breach, ensure, same};

/// Hosts that are addresses of this machine, in the forms in which a URL spells them.
const LITERALS: [&str; 15] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "127.255.255.254",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
];

/// Names of this machine.
const NAMES: [&str; 3] = ["localhost", "LocalHost", "localhost."];

/// Returns a breach unless a request to `uri` is forbidden, by itself and by a connection ahead.
async fn is_forbidden(client: &Arc<dyn HttpClient>, uri: &str, reach: Reach) -> Finding {
    for exchange in [get(uri, reach)?, Exchange { reach, ..exchange(uri)? }] {
        let outcome = client.send(exchange).await;
        let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Forbidden)));
        ensure(right, || format!("{uri} is not {reach:?}, and the client says {}", shown(&outcome)))?;
    }
    let ahead = client.connect(get(uri, reach)?.request.uri(), reach).await;
    let right = matches!(ahead, Ok(None) | Err(NotSent::Forbidden));
    ensure(right, || format!("{uri} is not {reach:?}, and the client connects ahead: {ahead:?}"))
}

async fn are_forbidden(client: &Arc<dyn HttpClient>, hosts: &[&str], reach: Reach) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    for host in hosts {
        for scheme in ["https", "http"] {
            is_forbidden(client, &format!("{scheme}://{host}:{}/token", server.port()), reach).await?;
        }
    }
    same("the number of connections to the loopback", server.log().connections, 0)
}

/// A literal of this machine is not reached as a public address, regardless of its form and of the scheme. The resolver of a
/// client is not asked for literals.
pub async fn no_literal_of_this_machine_is_public(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    are_forbidden(&client, &LITERALS, Reach::Public).await?;
    // Nothing is asked of these addresses, because the client refuses them.
    for host in
        ["10.0.0.1", "169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"]
    {
        for reach in [Reach::Public, Reach::PublicOrLoopback] {
            is_forbidden(&client, &format!("https://{host}/token"), reach).await?;
        }
    }
    Ok(())
}

/// A name of this machine is not reached as a public address.
pub async fn no_name_of_this_machine_is_public(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    are_forbidden(&client, &NAMES, Reach::Public).await
}

/// With the loopback in reach, only its literals and exactly `localhost` are. A name with the loopback's address is an attack.
pub async fn other_names_of_the_loopback_are_out_of_reach(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    let hosts = ["localhost.", "a.localhost", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"];
    are_forbidden(&client, &hosts, Reach::PublicOrLoopback).await
}

/// With the loopback in reach, it is reached, by itself and over a connection that was made for it.
pub async fn the_loopback_is_reached_where_it_may_be(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    let reach = Reach::PublicOrLoopback;
    for host in ["127.0.0.1", "127.1", "localhost"] {
        let server = Server::always(Act::Answer(ok())).await?;
        let uri = format!("http://{host}:{}/token", server.port());
        answered(&client.send(get(&uri, reach)?).await, 200)?;
        arrived_once(&server.log())?;
        let failed = |why| Breach::new(format!("{uri} is {reach:?}, and the client connects ahead: {why:?}"));
        let Some(connection) = client.connect(get(&uri, reach)?.request.uri(), reach).await.map_err(failed)? else {
            continue;
        };
        answered(&connection.send(Exchange { reach, ..exchange(&uri)? }).await, 200)?;
        arrived(&server.log(), 2)?;
        same("the number of connections", server.log().connections, 2)?;
    }
    Ok(())
}

/// A connection does not carry a request with a narrower reach than its own.
pub async fn a_connection_carries_no_request_out_of_reach(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    let server = Server::always(Act::Answer(ok())).await?;
    let uri = server.uri("/token");
    let failed = |why| Breach::new(format!("a server listens, and the client says {why:?}"));
    let connected = client.connect(exchange(&uri)?.request.uri(), Reach::Any).await.map_err(failed)?;
    let Some(connection) = connected else { return Ok(()) };
    let outcome = connection.send(Exchange { reach: Reach::Public, ..exchange(&uri)? }).await;
    let right = matches!(outcome, Err(HttpError::NotSent(NotSent::Forbidden)));
    ensure(right, || format!("{uri} is not public, and the client says {}", shown(&outcome)))?;
    arrived(&server.log(), 0)
}

/// A redirect is an answer within every reach, wherever it leads.
pub async fn a_redirect_is_an_answer_within_reach(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    let target = Server::always(Act::Answer(ok())).await?;
    for location in [target.uri("/token"), format!("http://2130706433:{}/", target.port())] {
        let redirect = answer("302 Found", &format!("Location: {location}\r\n"), "");
        let server = Server::always(Act::Answer(redirect)).await?;
        answered(&client.send(get(&server.uri("/"), Reach::PublicOrLoopback)?).await, 302)?;
        arrived_once(&server.log())?;
    }
    same("the number of connections to the redirect's target", target.log().connections, 0)
}

/// The limits of time and size hold within a reach as they do without one.
pub async fn the_limits_hold_within_reach(client: Arc<dyn HttpClient>) -> Finding {
    if !client.enforces_reach() {
        return Ok(());
    }
    let body = |length| answer("200 OK", "", &"x".repeat(length));
    let send = async |act, timeout| -> Result<Outcome, Breach> {
        let server = Server::always(act).await?;
        let call = client.send(Exchange { timeout, ..get(&server.uri("/"), Reach::PublicOrLoopback)? });
        let outcome = in_time(timeout, call).await?;
        arrived_once(&server.log())?;
        Ok(outcome)
    };
    answered(&send(Act::Answer(body(MOST)), AMPLE).await?, 200)?;
    maybe_sent_and(&send(Act::Answer(body(MOST + 1)), AMPLE).await?, MaybeSent::TooLarge, "a body that is too large")?;
    maybe_sent_and(&send(Act::AnswerAndHang(Vec::new()), SHORT).await?, MaybeSent::TimedOut, "silence")
}

/// The name whose look-up no proxy may be asked for. It never resolves (RFC 6761 section 6.4).
const NOWHERE: &str = "https://tokenkeeper.invalid/token";

/// Requests a public name with `client`. It is for the child process of [`no_proxy_of_the_environment_is_asked`].
///
/// # Errors
///
/// The [`Breach`] if the request was sent.
pub async fn ask_for_a_public_name(client: Arc<dyn HttpClient>) -> Finding {
    let outcome = client.send(Exchange { timeout: SHORT, ..get(NOWHERE, Reach::Public)? }).await;
    ensure(matches!(outcome, Err(HttpError::NotSent(_))), || {
        format!("no server exists, and the client says {}", shown(&outcome))
    })
}

/// Runs `child` with a proxy in its environment, and counts the connections to the proxy. The child must call
/// [`ask_for_a_public_name`]. It may be the test program itself, asked for one test:
///
/// ```no_run
/// # use std::process::Command;
/// # use tokenkeeper_testkit::http_contract::reach::no_proxy_of_the_environment_is_asked;
/// # fn test() -> Result<(), Box<dyn std::error::Error>> {
/// let mut child = Command::new(std::env::current_exe()?);
/// child.args(["the_child_asks_for_a_public_name", "--exact"]);
/// no_proxy_of_the_environment_is_asked(child)?;
/// # Ok(())
/// # }
/// ```
///
/// Blocks until the child has ended.
///
/// # Errors
///
/// The [`Breach`] if the proxy was asked, or if the child failed.
pub fn no_proxy_of_the_environment_is_asked(mut child: Command) -> Finding {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    proxy.set_nonblocking(true)?;
    let uri = format!("http://{}", proxy.local_addr()?);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, &uri);
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        child.env_remove(name);
    }
    let output = child.output()?;
    let asked = std::iter::from_fn(|| proxy.accept().ok()).count();
    same("the number of connections to the proxy", asked, 0)?;
    let text = || format!("the child failed: {}", String::from_utf8_lossy(&output.stdout));
    ensure(output.status.success(), text)
}
