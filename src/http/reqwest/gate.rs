//! The gate that a request's bytes pass once, or never.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::http::{Body, Departure};

/// Decides once whether the bytes of a request may pass.
#[derive(Debug)]
pub(super) struct Gate {
    departure: Departure,
    passage: AtomicU8,
}

/// The state of a request's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// The bytes were handed to the connection.
    Left,
    /// The connection asked for the bytes after the deadline.
    TooLate,
    /// The bytes have not left, and never will.
    Shut,
}

impl Gate {
    const WAITING: u8 = 0;
    const LEFT: u8 = 1;
    const TOO_LATE: u8 = 2;
    const SHUT: u8 = 3;

    pub(super) fn new(departure: Departure) -> Self {
        Self { departure, passage: AtomicU8::new(Self::WAITING) }
    }

    /// Whether the bytes may leave now. The connection asks when it polls the body. It never polls an empty body, so a request
    /// without a body passes the gate as soon as its connection is established.
    pub(super) fn pass(&self) -> bool {
        let to = if self.departure.may_leave() { Self::LEFT } else { Self::TOO_LATE };
        self.settle(to) == Ok(Self::WAITING) && to == Self::LEFT
    }

    /// Blocks all later passage, and returns the state so far.
    pub(super) fn shut(&self) -> Passage {
        match self.settle(Self::SHUT) {
            Err(Self::LEFT) => Passage::Left,
            Err(Self::TOO_LATE) => Passage::TooLate,
            _ => Passage::Shut,
        }
    }

    fn settle(&self, to: u8) -> Result<u8, u8> {
        self.passage.compare_exchange(Self::WAITING, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// A body that yields its bytes once.
pub(super) struct OnceBody {
    bytes: Option<Bytes>,
    gate: Arc<Gate>,
}

impl OnceBody {
    pub(super) fn new(body: Body, gate: Arc<Gate>) -> Self {
        // The `Bytes` own the body, so that it is wiped when the connection drops them.
        Self { bytes: Some(Bytes::from_owner(body)).filter(|bytes| !bytes.is_empty()), gate }
    }
}

/// The error for a connection that asks for the bytes after the deadline, or after the attempt was abandoned.
#[derive(Debug, thiserror::Error)]
#[error("the request may not leave any more")]
pub(super) struct MayNotLeave;

impl http_body::Body for OnceBody {
    type Data = Bytes;
    type Error = MayNotLeave;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        let frame = if self.gate.pass() { Ok(Frame::data(bytes)) } else { Err(MayNotLeave) };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests;
