use std::sync::atomic::AtomicU32;
use std::task::{Wake, Waker};

use super::*;

/// A peer whose bytes are always ready.
struct Flood;

impl Read for Flood {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(&vec![b'x'; buffer.remaining()]);
        Poll::Ready(Ok(()))
    }
}

/// A peer that is silent.
struct Silence;

impl Read for Silence {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads once, with a buffer of `room` bytes, and returns the number of bytes.
fn read(connection: &mut Bounded<impl Read + Unpin>, room: usize, wakes: &Arc<Wakes>) -> Poll<io::Result<usize>> {
    let mut bytes = vec![0; room];
    let mut buffer = ReadBuf::new(&mut bytes);
    let waker = Waker::from(Arc::clone(wakes));
    let outcome = Pin::new(connection).poll_read(&mut Context::from_waker(&waker), buffer.unfilled());
    outcome.map_ok(|()| buffer.filled().len())
}

#[test]
fn other_tasks_run_between_the_reads_of_a_flood() {
    let allowance = Allowance::new(10 * TURN);
    let (mut connection, wakes) = (Bounded::new(Flood, &allowance), Arc::new(Wakes::default()));
    let (mut turns, mut bytes) = (0, 0);
    loop {
        match read(&mut connection, 1 << 20, &wakes) {
            Poll::Ready(Ok(length)) => bytes += length,
            Poll::Ready(Err(_)) => break,
            Poll::Pending => {
                turns += 1;
                assert_eq!(bytes, turns * TURN);
                assert_eq!(wakes.0.load(Ordering::SeqCst) as usize, turns, "each pause wakes its own task");
            }
        }
    }
    assert_eq!((turns, bytes), (10, 10 * TURN));
}

#[test]
fn no_more_than_the_allowance_is_read() {
    let allowance = Allowance::new(1_000);
    let (mut connection, wakes) = (Bounded::new(Flood, &allowance), Arc::new(Wakes::default()));
    assert!(matches!(read(&mut connection, 600, &wakes), Poll::Ready(Ok(600))));
    assert!(matches!(read(&mut connection, 600, &wakes), Poll::Ready(Ok(400))));
    assert!(!allowance.is_exceeded());
    assert!(matches!(read(&mut connection, 600, &wakes), Poll::Ready(Err(_))));
    assert!(allowance.is_exceeded());
    allowance.reset(300);
    assert!(matches!(read(&mut connection, 600, &wakes), Poll::Ready(Ok(300))));
}

#[test]
fn silence_is_waited_for() {
    let allowance = Allowance::new(1_000);
    let (mut connection, wakes) = (Bounded::new(Silence, &allowance), Arc::new(Wakes::default()));
    assert!(read(&mut connection, 600, &wakes).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
}

/// A connection that records its writes.
#[derive(Default)]
struct Noting(Vec<String>);

impl Write for Noting {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.push(format!("write {}", bytes.len()));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.push("flush".to_owned());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.push("shutdown".to_owned());
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.push(format!("write {} pieces", pieces.len()));
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }
}

#[test]
fn writes_pass_through() {
    let mut connection = Bounded::new(Noting::default(), &Allowance::new(0));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut pinned = Pin::new(&mut connection);
    assert!(pinned.is_write_vectored());
    assert!(matches!(pinned.as_mut().poll_write(&mut cx, b"abc"), Poll::Ready(Ok(3))));
    let pieces = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"cde")];
    assert!(matches!(pinned.as_mut().poll_write_vectored(&mut cx, &pieces), Poll::Ready(Ok(5))));
    assert!(matches!(pinned.as_mut().poll_flush(&mut cx), Poll::Ready(Ok(()))));
    assert!(matches!(pinned.as_mut().poll_shutdown(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(connection.connection.0, ["write 3", "write 2 pieces", "flush", "shutdown"]);
}
