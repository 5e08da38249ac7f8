//! The bounds on the number of events of each kind in one run.

use std::fmt;

/// The number of events of each kind in one run. A check explores every order of all events within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    /// Flights of each process, one after the other. A process that crashes keeps the ones it had not begun.
    pub flights: u8,
    /// Processes that crash, at any point, and start again. Requests that they have sent may still be processed. On
    /// leases, a write that is on its way may still arrive.
    pub crashes: u8,
    /// Claims that are lost without their holder noticing. Leases only.
    pub claim_losses: u8,
    /// Lost answers of the authorization server. The server may have processed the request or not.
    pub lost_answers: u8,
    /// Requests that the server processes late, after the answer was lost and a later request of the lineage has left.
    /// Other requests whose answers are lost are processed before that or never.
    pub late_requests: u8,
    /// Connections that cannot be established and requests that cannot be sent, because the server is unreachable.
    pub unsent: u8,
    /// Commits that the store reports as failed. The flight keeps its tokens, and saves them again.
    pub failed_saves: u8,
    /// Installed logins.
    pub logins: u8,
    /// Sessions that learn of a login while their flight holds its claim, and may begin another flight beside it.
    /// Other sessions wait for their flight.
    pub lessons: u8,
    /// Store operations that a flight gives up, and that take effect later or never. A flight gives up only when time
    /// passes, which `lulls` and `pauses` allow.
    pub timeouts: u8,
    /// Stretches of 6 s. This is longer than a store operation may take, and longer than the allowed time between mark
    /// and send.
    pub lulls: u8,
    /// Stretches of 25 s. This is shorter than a request's time-out, but a stretch together with a lull is longer.
    pub waits: u8,
    /// Stretches of 100 s, past every limit, at any point. The processes stood still or were suspended. Besides these,
    /// time passes as often as needed where nothing else can happen and a flight or a session waits. This is 1 s if a
    /// session waits no longer than that, and 100 s otherwise.
    pub pauses: u8,
}

impl Bounds {
    /// Two flights of each process, without faults.
    pub const CALM: Bounds = Bounds {
        flights: 2,
        crashes: 0,
        claim_losses: 0,
        lost_answers: 0,
        late_requests: 0,
        unsent: 0,
        failed_saves: 0,
        logins: 0,
        lessons: 0,
        timeouts: 0,
        lulls: 0,
        waits: 0,
        pauses: 0,
    };

    /// Two flights of each process, a crash, a claim loss, a lost answer and a login, in one run.
    pub const STATED: Bounds = Bounds { crashes: 1, claim_losses: 1, lost_answers: 1, logins: 1, ..Bounds::CALM };

    /// The same, and a failed save.
    pub const UNSAVED: Bounds = Bounds { failed_saves: 1, ..Bounds::STATED };

    /// A crash and a lost answer over a slow store. An operation is given up and takes effect later.
    pub const SLOW: Bounds = Bounds { crashes: 1, lost_answers: 1, timeouts: 1, lulls: 1, waits: 1, ..Bounds::CALM };

    /// A crash, two lost answers, and a request that is processed late.
    pub const DOUBTFUL: Bounds = Bounds { crashes: 1, lost_answers: 2, late_requests: 1, ..Bounds::CALM };

    /// A login over a slow store.
    pub const OVERTAKEN: Bounds = Bounds { logins: 1, timeouts: 1, lulls: 1, ..Bounds::CALM };

    /// A claim loss and a lost answer. The processes may stand still at any point.
    pub const STILL: Bounds = Bounds { claim_losses: 1, lost_answers: 1, pauses: 1, ..Bounds::CALM };

    /// A claim loss and a failed save. The processes may stand still at any point.
    pub const LOST: Bounds = Bounds { claim_losses: 1, failed_saves: 1, pauses: 1, ..Bounds::CALM };
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.flights, if self.flights == 1 { "flight each" } else { "flights each" }),
            (self.crashes, "crash"),
            (self.claim_losses, "claim loss"),
            (self.lost_answers, "lost answer"),
            (self.late_requests, "late request"),
            (self.unsent, "unsent request"),
            (self.failed_saves, "failed save"),
            (self.logins, "login"),
            (self.lessons, "lesson"),
            (self.timeouts, "time-out"),
            (self.lulls, "lull"),
            (self.waits, "wait"),
            (self.pauses, "pause"),
        ];
        let mut comma = "";
        for (most, kind) in kinds.into_iter().filter(|(most, _)| *most > 0) {
            let plural = if most > 1 && !kind.ends_with("each") { "s" } else { "" };
            write!(f, "{comma}{most} {kind}{plural}")?;
            comma = ", ";
        }
        Ok(())
    }
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// 1 s.
    Second,
    /// 6 s.
    Lull,
    /// 25 s.
    Wait,
    /// 100 s.
    Pause,
}

impl Span {
    /// The spans, shortest first.
    pub const ALL: [Span; 4] = [Span::Second, Span::Lull, Span::Wait, Span::Pause];

    /// The length in milliseconds.
    pub const fn millis(self) -> u64 {
        match self {
            Span::Second => 1_000,
            Span::Lull => 6_000,
            Span::Wait => 25_000,
            Span::Pause => 100_000,
        }
    }
}
