//! A request whose answer is lost may have been sent.

use std::sync::Arc;

use tokenkeeper::http::{HttpClient, HttpError, MaybeSent, Reach};

use super::Finding;
use super::kit::{arrived_once, call, get, maybe_sent_and, shown};
use super::server::{Act, Server};
use crate::contract::ensure;

/// The head of an answer with a body of 100 bytes.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";

async fn is_in_doubt(client: &Arc<dyn HttpClient>, what: &str, act: Act) -> Finding {
    let server = Server::always(act).await?;
    let outcome = call(client, &server).await?;
    maybe_sent_and(&outcome, MaybeSent::Broken, what)?;
    arrived_once(&server.log())
}

/// A request without a body may have been sent as soon as its connection stands.
pub async fn a_get_whose_answer_is_lost_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    for act in [Act::AnswerAndReset(Vec::new()), Act::AnswerAndEnd(Vec::new())] {
        let server = Server::always(act).await?;
        let outcome = client.send(get(&server.uri("/"), Reach::Any)?).await;
        maybe_sent_and(&outcome, MaybeSent::Broken, "a request without a body")?;
        arrived_once(&server.log())?;
    }
    Ok(())
}

/// The server reads the request, and resets the connection.
pub async fn a_reset_before_the_answer_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    is_in_doubt(&client, "a reset before the answer", Act::AnswerAndReset(Vec::new())).await
}

/// The server reads the request, and closes the connection.
pub async fn an_end_before_the_answer_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    is_in_doubt(&client, "an end before the answer", Act::AnswerAndEnd(Vec::new())).await?;
    is_in_doubt(&client, "an end after a hint", Act::AnswerAndEnd(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())).await
}

/// The connection is reset within the answer.
pub async fn a_reset_within_the_answer_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    let answer = format!("{HEAD}{{\"access_token\":\"at\"");
    is_in_doubt(&client, "a reset within the answer", Act::AnswerAndReset(answer.into())).await
}

/// The connection ends within the answer. Half an object is not an answer if the refresh token may be in the missing
/// part, or if the status is not 200. Nor is half of anything else, whose end only the framing shows.
pub async fn half_an_answer_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, answer) in [
        ("half a status line", "HTTP/1.1 20".to_owned()),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
        ("a head without its body", HEAD.to_owned()),
        ("half a body", format!("{HEAD}{{\"access_token\":\"at\"")),
        ("half a refresh token", format!("{HEAD}{{\"access_token\":\"at\",\"refresh_token\":\"rt")),
        ("no refresh token", format!("{HEAD}{{\"access_token\":\"at\",\"expires_in\":3600")),
        (
            "half an error",
            "HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"at\",\"refresh_token\":\"rt\","
                .to_owned(),
        ),
        ("half a form", format!("{HEAD}access_token=at&refresh_token=rt")),
        ("a body without its last chunk", format!("{chunked}2\r\n{{ \r\n")),
        ("a form without its last chunk", format!("{chunked}f\r\naccess_token=at\r\n")),
        ("half a chunk", format!("{chunked}9\r\n{{ ")),
    ] {
        is_in_doubt(&client, what, Act::AnswerAndEnd(answer.into())).await?;
    }
    Ok(())
}

/// The peer answers, but not in HTTP.
pub async fn what_is_no_http_may_have_been_sent(client: Arc<dyn HttpClient>) -> Finding {
    for (what, answer) in [
        ("another protocol", "220 mail.example.com ESMTP\r\n".to_owned()),
        ("a bare body", "{\"access_token\":\"at\"}\r\n\r\n".to_owned()),
        ("a bad status", "HTTP/1.1 abc OK\r\n\r\n".to_owned()),
        ("a bad length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcde".to_owned()),
        ("a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc".to_owned()),
    ] {
        is_in_doubt(&client, what, Act::AnswerAndEnd(answer.into())).await?;
    }
    Ok(())
}

/// The connection is established, and reset before the request is read. The client decides whether it was sent. It has
/// no answer, and does not retry if the request may have been sent.
pub async fn a_connection_reset_at_once_brings_no_answer_and_no_second_copy(client: Arc<dyn HttpClient>) -> Finding {
    let server = Server::unwilling().await?;
    let outcome = call(&client, &server).await?;
    ensure(outcome.is_err(), || format!("nobody answered, and the client says {}", shown(&outcome)))?;
    let log = server.log();
    let tried_once = log.connections <= 1 || matches!(outcome, Err(HttpError::NotSent(_)));
    ensure(tried_once, || format!("it connected {} times", log.connections))
}
