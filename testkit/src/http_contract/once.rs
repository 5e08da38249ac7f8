//! A request arrives once, and its answer is returned unchanged.

use std::sync::Arc;

use tokenkeeper::http::{HttpClient, Reach};
use tokio::task::JoinSet;

use super::Finding;
use super::kit::{BODY, answer, answered, arrived, arrived_once, call, exchange, get, maybe_sent, ok, shown};
use super::server::{Act, Server};
use crate::contract::{Breach, ensure, same};

/// The number of concurrent requests.
const CROWD: usize = 16;

/// Method, path, query, headers and body arrive once and unchanged, with the body's length.
pub async fn a_request_arrives_once_and_as_it_is(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let outcome = client.send(exchange(&server.uri("/o/token?tenant=1&x=%2F"))?).await;
    answered(&outcome, 200)?;
    let log = server.log();
    arrived_once(&log)?;
    let Some(arrival) = log.arrivals.first() else { return Err(Breach::new("nothing arrived")) };
    same("the request line", arrival.head.lines().next(), Some("POST /o/token?tenant=1&x=%2F HTTP/1.1"))?;
    same("the body", String::from_utf8_lossy(&arrival.body).as_ref(), BODY)?;
    for (name, due) in [
        ("content-type", vec!["application/x-www-form-urlencoded"]),
        ("accept", vec!["application/json"]),
        ("accept-encoding", vec!["identity"]),
        ("authorization", vec!["Basic aHVzaC0yOmh1c2gtMg=="]),
        ("content-length", vec![BODY.len().to_string().as_str()]),
        ("host", vec![server.uri("").trim_start_matches("http://")]),
        ("transfer-encoding", vec![]),
        ("expect", vec![]),
        ("cookie", vec![]),
        ("referer", vec![]),
    ] {
        same(name, arrival.header(name), due)?;
    }
    Ok(())
}

/// A request without a body, such as a GET for metadata, arrives once and without one.
pub async fn a_request_without_a_body_arrives_once(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    answered(&client.send(get(&server.uri("/.well-known/x"), Reach::Any)?).await, 200)?;
    let log = server.log();
    arrived_once(&log)?;
    let Some(arrival) = log.arrivals.first() else { return Err(Breach::new("nothing arrived")) };
    same("the request line", arrival.head.lines().next(), Some("GET /.well-known/x HTTP/1.1"))?;
    same("the length of the body", arrival.body.len(), 0)?;
    same("transfer-encoding", arrival.header("transfer-encoding"), vec![])
}

/// No state shared between requests makes one of them arrive twice.
pub async fn of_many_requests_at_once_each_arrives_once(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(ok())).await?;
    let mut calls = JoinSet::new();
    for number in 0..CROWD {
        let (client, exchange) = (Arc::clone(&client), exchange(&server.uri(&format!("/{number}")))?);
        #[expect(clippy::disallowed_methods, reason = "tasks of this check, which waits for them")]
        calls.spawn(async move { client.send(exchange).await });
    }
    for outcome in calls.join_all().await {
        answered(&outcome, 200)?;
    }
    let log = server.log();
    arrived(&log, CROWD)?;
    for number in 0..CROWD {
        let line = format!("POST /{number} ");
        let times = log.arrivals.iter().filter(|arrival| arrival.head.starts_with(&line)).count();
        ensure(times == 1, || format!("of {CROWD} requests at once, one arrived {times} times"))?;
    }
    Ok(())
}

/// A status is not an error.
pub async fn every_status_is_an_answer(client: Arc<dyn HttpClient>) -> Finding {
    for status in [200, 201, 204, 304, 400, 401, 403, 404, 422, 429, 500, 502, 503, 504, 599] {
        let server = Server::always(Act::AnswerAndEnd(answer(&format!("{status} X"), "", ""))).await?;
        answered(&call(&client, &server).await?, status)?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// A redirect is not followed. Following it would send the refresh token to another place (law 13), or a second time.
pub async fn a_redirect_is_an_answer(client: Arc<dyn HttpClient>) -> Finding {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::always(Act::Answer(ok())).await?;
        let location = format!("Location: {}\r\n", elsewhere.uri("/token"));
        let server = Server::always(Act::Answer(answer(&format!("{status} X"), &location, ""))).await?;
        let outcome = call(&client, &server).await?;
        arrived(&elsewhere.log(), 0)?;
        answered(&outcome, status)?;
        arrived_once(&server.log())?;

        let itself = Server::always(Act::Answer(answer(&format!("{status} X"), "Location: /other\r\n", ""))).await?;
        answered(&call(&client, &itself).await?, status)?;
        arrived_once(&itself.log())?;
    }
    Ok(())
}

/// The client reacts to neither a challenge nor an invitation to retry.
pub async fn an_answer_that_asks_for_more_is_an_answer(client: Arc<dyn HttpClient>) -> Finding {
    for (status, headers) in [
        (401, "WWW-Authenticate: Basic realm=\"as\"\r\n"),
        (407, "Proxy-Authenticate: Basic realm=\"as\"\r\n"),
        (408, "Connection: close\r\n"),
        (421, ""),
        (425, ""),
        (429, "Retry-After: 0\r\n"),
        (503, "Retry-After: 0\r\n"),
    ] {
        let server = Server::always(Act::AnswerAndEnd(answer(&format!("{status} X"), headers, ""))).await?;
        answered(&call(&client, &server).await?, status)?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// 1xx responses precede the answer, and are not the answer.
pub async fn early_hints_are_no_answer(client: Arc<dyn HttpClient>) -> Finding {
    let mut hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
    hints.extend(ok());
    let server = Server::always(Act::Answer(hints)).await?;
    answered(&call(&client, &server).await?, 200)?;
    arrived_once(&server.log())
}

/// Cookies are not sent back. The token endpoint must see no cookie session.
pub async fn no_cookie_is_sent_back(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::always(Act::Answer(answer("200 OK", "Set-Cookie: session=1; Path=/\r\n", "{}"))).await?;
    answered(&call(&client, &server).await?, 200)?;
    answered(&call(&client, &server).await?, 200)?;
    let log = server.log();
    arrived(&log, 2)?;
    let cookies = log.arrivals.iter().map(|arrival| arrival.header("cookie").len()).sum();
    same("the number of cookies sent", cookies, 0)
}

/// Headers and body are returned as the server sent them, however the body is framed.
pub async fn an_answers_headers_and_body_are_given_as_they_are(client: Arc<dyn HttpClient>) -> Finding {
    let head = "HTTP/1.1 400 Bad Request\r\nRetry-After: 5\r\nretry-after: 7\r\nContent-Type: text/html\r\n";
    for (how, act) in [
        ("with its length", Act::Answer(format!("{head}Content-Length: 4\r\n\r\n\0{{}}\u{7f}").into_bytes())),
        (
            "in chunks",
            Act::Answer(
                format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\n\0\r\n3;x=y\r\n{{}}\u{7f}\r\n0\r\n\r\n")
                    .into_bytes(),
            ),
        ),
        ("until the connection ends", Act::AnswerAndEnd(format!("{head}\r\n\0{{}}\u{7f}").into_bytes())),
    ] {
        let server = Server::always(act).await?;
        let outcome = call(&client, &server).await?;
        answered(&outcome, 400)?;
        let Ok(answer) = outcome else { return Ok(()) };
        same(&format!("a body {how}"), answer.body().as_bytes(), b"\0{}\x7f")?;
        let given: Vec<_> = answer.headers().get_all("retry-after").iter().map(|value| value.as_bytes()).collect();
        same("Retry-After", given, vec![b"5".as_slice(), b"7".as_slice()])?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// A kept-alive connection is reset when the first byte of the next request arrives. That request arrived once, and
/// must not arrive again.
pub async fn a_connection_that_dies_on_the_next_request_brings_no_second_copy(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::start(|number| match number {
        0 => Act::AnswerAndResetLater(answer("200 OK", "Connection: keep-alive\r\n", "{}")),
        _ => Act::Answer(ok()),
    })
    .await?;
    answered(&call(&client, &server).await?, 200)?;
    let outcome = call(&client, &server).await?;
    let attempts = server.log().attempts() - 1;
    ensure(attempts == 1, || format!("it arrived {attempts} times, and the client says {}", shown(&outcome)))?;
    if server.log().fragments > 0 { maybe_sent(&outcome, "the connection was reset") } else { answered(&outcome, 200) }
}

/// The server has closed an idle connection, and the client may or may not have noticed.
pub async fn a_connection_that_closed_meanwhile_brings_no_second_copy(client: Arc<dyn HttpClient>) -> Finding {
    let kept = answer("200 OK", "Connection: keep-alive\r\n", "{}");
    let acts = [Act::AnswerAndEnd(kept.clone()), Act::AnswerAndReset(kept)];
    for act in acts {
        let server = Server::start(move |number| if number == 0 { act.clone() } else { Act::Answer(ok()) }).await?;
        // A reset may overtake the answer.
        let first = call(&client, &server).await?;
        ensure(!matches!(first, Err(tokenkeeper::http::HttpError::NotSent(_))), || {
            format!("the first request arrived, and the client says {}", shown(&first))
        })?;
        let outcome = call(&client, &server).await?;
        let attempts = server.log().attempts() - 1;
        ensure(attempts <= 1, || format!("it arrived {attempts} times"))?;
        ensure(outcome.is_err() || attempts == 1, || "an answer to a request that never arrived".to_owned())?;
    }
    Ok(())
}

/// The `Debug` output of a client contains nothing of a request or an answer.
pub async fn a_client_shows_no_secret(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::start(|number| match number {
        0 => Act::Answer(answer("200 OK", "", r#"{"access_token":"at-hush-3"}"#)),
        _ => Act::AnswerAndReset(Vec::new()),
    })
    .await?;
    let told = call(&client, &server).await?;
    let lost = call(&client, &server).await?;
    let lost = lost.err().map(|error| error.to_string());
    let shown = format!("{client:?} {client:#?} {told:?} {lost:?}");
    ensure(!shown.contains("hush") && !shown.contains("aHVzaC0y"), || "what it shows has a secret in it".to_owned())
}
