use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::values::{ElapsedTime, Moment};

use super::*;

/// A clock that advances by one millisecond on each reading.
#[derive(Debug, Default)]
struct Ticking(AtomicU8);

impl Clock for Ticking {
    fn now(&self) -> Moment {
        let elapsed = ElapsedTime::from_millis(self.0.fetch_add(1, Ordering::SeqCst).into());
        Moment { elapsed, ..Moment::default() }
    }
}

fn gate(body: &str, not_after: u64) -> (Pin<Box<OnceBody>>, Arc<Gate>) {
    let body = Body::new(body);
    let departure = Departure::by(Arc::new(Ticking::default()), ElapsedTime::from_millis(not_after));
    let gate = Arc::new(Gate::new(departure));
    (Box::pin(OnceBody::new(body, Arc::clone(&gate))), gate)
}

/// The result of polling the body for its next bytes.
fn ask(body: &mut Pin<Box<OnceBody>>) -> Option<Result<Vec<u8>, ()>> {
    match http_body::Body::poll_frame(body.as_mut(), &mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(frame) => Some(frame?.map(|frame| frame.into_data().unwrap().to_vec()).map_err(|_| ())),
        Poll::Pending => panic!("the body is always ready"),
    }
}

#[test]
fn the_bytes_pass_once() {
    let (mut body, gate) = gate("rt", 0);
    assert_eq!(http_body::Body::size_hint(&*body).exact(), Some(2));
    assert!(!http_body::Body::is_end_stream(&*body));
    assert_eq!(ask(&mut body), Some(Ok(b"rt".to_vec())));
    assert!(http_body::Body::is_end_stream(&*body));
    assert_eq!(ask(&mut body), None);
    assert_eq!(gate.shut(), Passage::Left);
}

#[test]
fn a_second_body_on_the_same_gate_gets_nothing() {
    let (mut first, gate) = gate("rt", 9);
    let mut second = Box::pin(OnceBody::new(Body::new("rt"), Arc::clone(&gate)));
    assert_eq!(ask(&mut first), Some(Ok(b"rt".to_vec())));
    assert_eq!(ask(&mut second), Some(Err(())));
    assert_eq!(gate.shut(), Passage::Left);
}

#[test]
fn the_clock_is_asked_when_the_bytes_are() {
    let (mut body, gate) = gate("rt", 0);
    assert!(gate.departure.may_leave());
    assert_eq!(ask(&mut body), Some(Err(())), "the second reading is a millisecond later");
    assert_eq!(gate.shut(), Passage::TooLate);
}

#[test]
fn nothing_passes_a_gate_that_is_shut() {
    let (mut body, gate) = gate("rt", 9);
    assert_eq!(gate.shut(), Passage::Shut);
    assert_eq!(ask(&mut body), Some(Err(())));
    assert_eq!(gate.shut(), Passage::Shut);
}

#[test]
fn an_empty_body_is_never_asked_for() {
    let (mut body, gate) = gate("", 0);
    assert!(http_body::Body::is_end_stream(&*body));
    assert_eq!(ask(&mut body), None);
    assert!(gate.pass());
    assert_eq!(gate.shut(), Passage::Left);
}
