//! HTTP/2 by `h2`, except for frames that `h2` never sends.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::{pause, start};
use super::dispatcher::{Answer, Call, Dispatcher, Head};
use super::fault::{Afterwards, Manner};
use super::http1::{close, reset};
use super::reply::Reply;
use super::socket::SharedSocket;

/// The maximum size of a body.
const MOST: usize = 1 << 20;

/// A stream's request to its connection. It carries the unanswered stream along, because h2 resets dropped streams, and
/// the client would see that reset first.
enum Command {
    /// Ends the connection. A clean end comes after the answers already handed over.
    End(End, Unanswered),
    /// Sends a GOAWAY with this last stream, and continues.
    GoAway(u32, Unanswered),
    /// Resets the connection as soon as another request arrives.
    ResetOnNext,
}

type Unanswered = Box<dyn Any + Send>;
type Commands = mpsc::UnboundedSender<Command>;

/// The way a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reset,
    Close,
}

/// Answers requests until the client or a fault ends the connection. `read` holds the bytes already read.
///
/// Requests in progress at that time are still processed, as with HTTP/1.1. Their answers are lost.
pub(super) async fn serve(dispatcher: Arc<Dispatcher>, stream: TcpStream, read: BytesMut) {
    let socket = SharedSocket::new(stream, read);
    let mut streams = JoinSet::new();
    // In a block, so that the connection is dropped before its socket is ended.
    let end = {
        let mut builder = h2::server::Builder::new();
        // Limits against too many requests or cancellations are off, because this server is for storms of them.
        builder
            .max_pending_accept_reset_streams(1 << 20)
            .max_local_error_reset_streams(None)
            .data_frame_budget(1 << 30);
        match builder.handshake(socket.clone()).await {
            Ok(connection) => converse(&dispatcher, connection, &socket, &mut streams).await,
            Err(_) => End::Close,
        }
    };
    if let Some(stream) = socket.take() {
        match end {
            End::Reset => {
                reset(&stream);
                drop(stream);
            }
            End::Close => close(stream).await,
        }
    }
    while streams.join_next().await.is_some() {}
}

async fn converse(
    dispatcher: &Arc<Dispatcher>,
    mut connection: Connection<SharedSocket, Bytes>,
    socket: &SharedSocket,
    streams: &mut JoinSet<()>,
) -> End {
    let (commands, mut received) = mpsc::unbounded_channel();
    let mut unanswered = Vec::new();
    let mut doomed = false;
    loop {
        tokio::select! {
            biased;
            Some(command) = received.recv() => match command {
                Command::End(end, left) => {
                    unanswered.push(left);
                    if end == End::Close {
                        flush_answers(dispatcher, &mut connection, socket).await;
                    }
                    return end;
                }
                Command::GoAway(last, left) => {
                    unanswered.push(left);
                    socket.insert_frame(&go_away(last));
                    socket.flush().await;
                }
                Command::ResetOnNext => doomed = true,
            },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let head = head(&request);
                    let call = dispatcher.arrive(&head);
                    if doomed {
                        return End::Reset;
                    }
                    let stream = Stream { call, head, respond, commands: commands.clone() };
                    start(streams, stream.serve(request.into_body()));
                }
                Some(Err(_)) | None => return End::Close,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Sends the answers that streams have handed over, as far as the client takes them.
async fn flush_answers(
    dispatcher: &Arc<Dispatcher>,
    connection: &mut Connection<SharedSocket, Bytes>,
    socket: &SharedSocket,
) {
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok((request, _)))) = connection.poll_accept(cx) {
            // It arrives too late for an answer, and is counted all the same.
            drop(dispatcher.arrive(&head(&request)));
        }
        Poll::Ready(())
    })
    .await;
    socket.flush().await;
}

/// A request, and the channel for its answer.
struct Stream {
    call: Call,
    head: Head,
    respond: SendResponse<Bytes>,
    commands: Commands,
}

impl Stream {
    async fn serve(self, body: RecvStream) {
        // A client that breaks off within its request gets no answer.
        if let Some(body) = read(body).await {
            let answer = self.call.answer(&self.head, &body).await;
            // A failed delivery needs no handling.
            let _ = self.deliver(answer).await;
        }
    }

    async fn deliver(mut self, answer: Answer) -> Result<(), h2::Error> {
        let Answer { reply, manner, afterwards } = answer;
        let id = self.respond.stream_id().as_u32();
        match manner {
            Manner::Whole => {
                let mut sending = self.begin(&reply, reply.body.is_empty())?;
                if !reply.body.is_empty() {
                    send(&mut sending, reply.body, true).await?;
                }
            }
            Manner::Drip { every, for_ever } => {
                let mut sending = self.begin(&reply, false)?;
                drip(&mut sending, &reply.body, every, for_ever, &self.call).await?;
            }
            Manner::Halves { pause: between } => {
                let mut sending = self.begin(&reply, false)?;
                let half = reply.body.len() / 2;
                send(&mut sending, reply.body.slice(..half), false).await?;
                pause(between).await;
                self.call.leave();
                send(&mut sending, reply.body.slice(half..), false).await?;
                sending.send_data(Bytes::new(), true)?;
            }
            Manner::Half => {
                let mut sending = self.begin(&reply, false)?;
                let half = reply.body.slice(..reply.body.len() / 2);
                send(&mut sending, half, false).await?;
                self.command(Command::End(End::Close, Box::new(sending)));
                return Ok(());
            }
            Manner::Silence => {
                // Until the client cancels or the connection ends.
                poll_fn(|cx| self.respond.poll_reset(cx)).await?;
                return Ok(());
            }
            Manner::RefuseStream => {
                self.respond.send_reset(Reason::REFUSED_STREAM);
                return Ok(());
            }
            Manner::Reset => return self.leave(|left| Command::End(End::Reset, left)),
            Manner::Close => return self.leave(|left| Command::End(End::Close, left)),
            Manner::GoAway { covering: false } => {
                return self.leave(|left| Command::GoAway(id.saturating_sub(2), left));
            }
            Manner::GoAway { covering: true } => {
                self.command(Command::GoAway(id, Box::new(())));
                return self.leave(|left| Command::End(End::Close, left));
            }
        }
        match afterwards {
            Afterwards::Keep => {}
            Afterwards::Close => self.command(Command::End(End::Close, Box::new(()))),
            Afterwards::ResetOnNext => self.command(Command::ResetOnNext),
        }
        Ok(())
    }

    fn begin(&mut self, reply: &Reply, ends: bool) -> Result<SendStream<Bytes>, h2::Error> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in &reply.headers {
            // Headers that HTTP/2 forbids are left out.
            if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(*name), header::HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        self.respond.send_response(response, ends)
    }

    /// Leaves the request unanswered.
    fn leave(self, command: impl FnOnce(Unanswered) -> Command) -> Result<(), h2::Error> {
        let Self { respond, commands, call, .. } = self;
        drop(call);
        // The send fails if the connection has ended already.
        let _ = commands.send(command(Box::new(respond)));
        Ok(())
    }

    fn command(&self, command: Command) {
        // The send fails if the connection has ended already.
        let _ = self.commands.send(command);
    }
}

fn head(request: &Request<RecvStream>) -> Head {
    let value = |name: header::HeaderName| text(request.headers(), &name);
    let proofs = request.headers().get_all("dpop").into_iter();
    Head {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        authorization: value(header::AUTHORIZATION),
        proofs: proofs.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect(),
        content_type: value(header::CONTENT_TYPE).unwrap_or_default(),
        if_none_match: value(header::IF_NONE_MATCH),
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The whole body. Returns `None` if it breaks off or is too long.
async fn read(mut body: RecvStream) -> Option<BytesMut> {
    let mut whole = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        // The window belongs to the connection, and other streams wait for it.
        body.flow_control().release_capacity(data.len()).ok()?;
        whole.extend_from_slice(&data);
        if whole.len() > MOST {
            return None;
        }
    }
    Some(whole)
}

/// Sends the data as the client's window allows.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, ends: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = loop {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(0)) => {}
                Some(Ok(capacity)) => break capacity,
                Some(Err(error)) => return Err(error),
                None => return Err(Reason::STREAM_CLOSED.into()),
            }
        };
        let part = data.split_to(capacity.min(data.len()));
        stream.send_data(part, ends && data.is_empty())?;
    }
    Ok(())
}

async fn drip(
    stream: &mut SendStream<Bytes>,
    body: &Bytes,
    every: Duration,
    for_ever: bool,
    call: &Call,
) -> Result<(), h2::Error> {
    for at in 0..body.len() {
        pause(every).await;
        send(stream, body.slice(at..=at), false).await?;
    }
    if !for_ever {
        call.leave();
        return stream.send_data(Bytes::new(), true);
    }
    loop {
        pause(every).await;
        send(stream, Bytes::from_static(b" "), false).await?;
    }
}

/// A GOAWAY with NO_ERROR (RFC 9113 section 6.8). h2 sends it only for the actual last stream.
fn go_away(last: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    // Eight bytes long, of type 7, on stream 0. The error code is 0.
    (frame[2], frame[3]) = (8, 7);
    frame[9..13].copy_from_slice(&last.to_be_bytes());
    frame
}
