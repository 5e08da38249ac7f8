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

/// The number of bytes of one read with a buffer of `room` bytes.
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
