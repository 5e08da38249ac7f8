//! A scriptable server for one check, which counts what arrives.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::contract::{Breach, within};

/// The pause of a dripping server before each piece.
const DRIP: Duration = Duration::from_millis(5);

/// The time in which the client's next step must show at the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server's reaction to a request.
#[derive(Clone)]
pub(super) enum Act {
    /// Writes these bytes, and reads on.
    Answer(Vec<u8>),
    /// Writes these bytes, and closes the connection cleanly.
    AnswerAndEnd(Vec<u8>),
    /// Writes these bytes, and resets the connection.
    AnswerAndReset(Vec<u8>),
    /// Writes these bytes, and resets the connection as soon as another byte arrives.
    AnswerAndResetLater(Vec<u8>),
    /// Writes these bytes, and then nothing more.
    AnswerAndHang(Vec<u8>),
    /// Writes the first, and then the second repeatedly, as fast as the client reads.
    Flood(Vec<u8>, Vec<u8>),
    /// Writes the first, and then the second repeatedly, with a pause before each.
    Drip(Vec<u8>, Vec<u8>),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The request line and the headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Arrival {
    /// The values of the header `name`, which is in lower case.
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// The requests and connections so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Complete requests.
    pub(super) arrivals: Vec<Arrival>,
    /// Connections on which an incomplete request arrived.
    pub(super) fragments: usize,
    /// Connections.
    pub(super) connections: usize,
    /// Connections that have ended.
    pub(super) ended: usize,
}

impl Log {
    /// The number of complete and incomplete requests.
    pub(super) fn attempts(&self) -> usize {
        self.arrivals.len() + self.fragments
    }
}

/// A server on loopback. It ends, with all its connections, when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    _tasks: JoinSet<()>,
}

type Script = Arc<dyn Fn(usize) -> Act + Send + Sync>;

/// The server's reaction to a connection.
enum Conduct {
    Serve(Script),
    Reset,
    Close,
}

impl Server {
    /// A server that reacts to every request in the same way.
    pub(super) async fn always(act: Act) -> io::Result<Self> {
        Self::start(move |_| act.clone()).await
    }

    /// A server that calls `script` for its reaction to the first request (0), the second, and so on.
    pub(super) async fn start(script: impl Fn(usize) -> Act + Send + Sync + 'static) -> io::Result<Self> {
        Self::listen(Conduct::Serve(Arc::new(script))).await
    }

    /// A server that resets every connection at once.
    pub(super) async fn unwilling() -> io::Result<Self> {
        Self::listen(Conduct::Reset).await
    }

    /// A server that closes every connection at once, and cleanly.
    pub(super) async fn closing() -> io::Result<Self> {
        Self::listen(Conduct::Close).await
    }

    #[expect(clippy::disallowed_methods, reason = "a server's tasks, owned by the server")]
    async fn listen(conduct: Conduct) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&log);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                match &conduct {
                    // A failed connection is caused by the client or by this server's script.
                    Conduct::Serve(script) => {
                        let (script, shared) = (Arc::clone(script), Arc::clone(&shared));
                        connections.spawn(async move {
                            serve(stream, script, Arc::clone(&shared)).await;
                            lock(&shared).ended += 1;
                        });
                        continue;
                    }
                    Conduct::Reset => drop(stream.set_zero_linger()),
                    Conduct::Close => {}
                }
                drop(stream);
                lock(&shared).ended += 1;
            }
        });
        Ok(Self { address, log, _tasks: tasks })
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URI of `path` here.
    pub(super) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests and connections so far.
    pub(super) fn log(&self) -> Log {
        lock(&self.log).clone()
    }

    /// Waits until the log is as `wanted`.
    pub(super) async fn until(&self, wanted: impl Fn(&Log) -> bool) -> Result<(), Breach> {
        let waits = async {
            while !wanted(&self.log()) {
                pause().await;
            }
        };
        within(PATIENCE, waits).await.ok_or_else(|| Breach::new(format!("it did not come to this: {:?}", self.log())))
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, script: Script, log: Arc<Mutex<Log>>) {
    let mut unread = Vec::new();
    loop {
        let Ok(Some(arrival)) = read(&mut stream, &mut unread).await else {
            lock(&log).fragments += usize::from(!unread.is_empty());
            return;
        };
        let number = {
            let mut log = lock(&log);
            log.arrivals.push(arrival);
            log.arrivals.len() - 1
        };
        if !matches!(perform(&mut stream, script(number), &log).await, Ok(true)) {
            return;
        }
    }
}

/// Performs `act`. Returns whether to read on.
async fn perform(stream: &mut TcpStream, act: Act, log: &Mutex<Log>) -> io::Result<bool> {
    match act {
        Act::Answer(bytes) => stream.write_all(&bytes).await.map(|()| true),
        Act::AnswerAndEnd(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await.map(|()| false)
        }
        Act::AnswerAndReset(bytes) => {
            stream.write_all(&bytes).await?;
            stream.set_zero_linger().map(|()| false)
        }
        Act::AnswerAndResetLater(bytes) => {
            stream.write_all(&bytes).await?;
            if stream.read(&mut [0; 1]).await? == 1 {
                lock(log).fragments += 1;
                stream.set_zero_linger()?;
            }
            Ok(false)
        }
        Act::AnswerAndHang(bytes) => {
            stream.write_all(&bytes).await?;
            // Waits until the client closes the connection.
            while stream.read(&mut [0; 1024]).await? > 0 {}
            Ok(false)
        }
        Act::Flood(first, piece) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&piece).await?;
            }
        }
        Act::Drip(first, piece) => {
            stream.write_all(&first).await?;
            loop {
                pause().await;
                stream.write_all(&piece).await?;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server that is slow on purpose, and a look at its log now and then")]
async fn pause() {
    tokio::time::sleep(DRIP).await;
}

/// The next request, or `None` at the end of the connection. Bytes of an incomplete request remain in `unread`.
async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Arrival>> {
    loop {
        if let Some((arrival, length)) = parse(unread) {
            unread.drain(..length);
            return Ok(Some(arrival));
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

/// The request at the start of `bytes`, and its length. The body of a chunked request is its raw chunks.
fn parse(bytes: &[u8]) -> Option<(Arrival, usize)> {
    let begin = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut arrival = Arrival { head: String::from_utf8_lossy(&bytes[..begin]).into_owned(), body: Vec::new() };
    let end = if arrival.header("transfer-encoding").is_empty() {
        begin + arrival.header("content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0)
    } else {
        begin + bytes[begin..].windows(5).position(|five| five == b"0\r\n\r\n")? + 5
    };
    arrival.body = bytes.get(begin..end)?.to_vec();
    Some((arrival, end))
}
