//! A strict authorization server. A refresh token works once, and a second presentation ends its whole lineage.

use std::fmt;

use tokenkeeper_actors::law::flight::Op;
use tokenkeeper_actors::law::profile::{Evidence, Refused, Tokens};
use tokenkeeper_actors::values::record::RefreshCredential;
use tokenkeeper_actors::values::{
    AccessToken, DigestKey, ElapsedTime, FlightId, Moment, RefreshToken, TokenKind, Validity,
};

use crate::identity::Sink;
use crate::state::State;

/// A refresh token, the `step`th of the `lineage`th login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rt {
    pub(crate) lineage: usize,
    pub(crate) step: u8,
}

impl Rt {
    fn text(self) -> String {
        format!("rt-{}-{}", self.lineage, self.step)
    }

    /// The token as a record holds it.
    pub(crate) fn credential(self, key: &DigestKey) -> RefreshCredential {
        RefreshCredential::new(RefreshToken::new(self.text()), key)
    }

    /// Parses a token.
    pub(crate) fn of(token: &RefreshToken) -> Option<Self> {
        let (lineage, step) = token.expose().strip_prefix("rt-")?.split_once('-')?;
        Some(Self { lineage: lineage.parse().ok()?, step: step.parse().ok()? })
    }
}

/// One login, and the tokens that descend from it.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    /// The step that works.
    pub(crate) current: u8,
    pub(crate) revoked: bool,
    /// It was revoked because a token was presented again after the time-out of a flight that had received its
    /// successor, and had not saved it.
    pub(crate) overtaken: bool,
}

impl fmt::Display for Rt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The history of a token that was presented.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) rt: Rt,
    /// The number of presentations.
    pub(crate) times: u8,
    /// The latest presentation.
    pub(crate) latest: Presentation,
    /// The flight that received its successor.
    pub(crate) taken_by: Option<FlightId>,
    /// The store knows that it is spent or dead.
    pub(crate) over: bool,
}

/// A presentation of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presentation {
    pub(crate) by: FlightId,
    /// The number of presentations by this flight in a row, this one included.
    pub(crate) count: u8,
    /// The time-out of the request.
    pub(crate) ends: ElapsedTime,
    /// The flight has learnt that the answer is lost.
    pub(crate) lost: bool,
}

impl Presentation {
    fn put(&self, sink: &mut Sink, now: ElapsedTime) {
        sink.flight(self.by);
        sink.plain((self.count, self.lost));
        // A time-out that has passed makes no difference.
        sink.time_if(Some(self.ends).filter(|ends| *ends > now));
    }
}

impl Presented {
    /// Writes the distinguishing values.
    pub(crate) fn put(&self, sink: &mut Sink, now: ElapsedTime) {
        sink.rt(self.rt);
        sink.plain((self.times, self.over));
        self.latest.put(sink, now);
        sink.flight_if(self.taken_by);
    }
}

/// A token request on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) by: FlightId,
    /// Stamps the answer.
    pub(crate) op: Op,
    /// Whether a flight waits for its answer.
    pub(crate) awaited: bool,
    /// Whether it left after the time-out of the request in which another flight had presented the token.
    pub(crate) overtakes: bool,
    /// Whether a later request of the lineage has left.
    pub(crate) late: bool,
    pub(crate) rt: Rt,
    /// When it left. The lifetimes that count from then are unknown, so it makes no difference.
    pub(crate) left: ElapsedTime,
    pub(crate) ends: ElapsedTime,
}

impl Request {
    /// Writes the distinguishing values.
    pub(crate) fn put(&self, sink: &mut Sink) {
        sink.rt(self.rt);
        sink.plain((self.awaited, self.overtakes, self.late));
        sink.flight(self.by);
        sink.time(self.ends);
    }
}

/// The server, and the true history of its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) lineages: Vec<Lineage>,
    pub(crate) presented: Vec<Presented>,
}

/// The server's decision about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Took {
    /// The token worked. This is its successor.
    Rotated(Rt),
    /// The token was already spent, so the lineage is revoked. The value is the flight that received the successor.
    Reused(Option<FlightId>),
    /// The lineage was revoked before.
    Refused,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { lineages: Vec::new(), presented: Vec::new() }
    }

    /// A person signs in.
    pub(crate) fn sign_in(&mut self) -> Rt {
        self.lineages.push(Lineage { current: 0, revoked: false, overtaken: false });
        Rt { lineage: self.lineages.len() - 1, step: 0 }
    }

    /// The token that works, of the newest lineage or an older one.
    pub(crate) fn current(&self, lineage: usize) -> Option<Rt> {
        let found = self.lineages.get(lineage).filter(|lineage| !lineage.revoked)?;
        Some(Rt { lineage, step: found.current })
    }

    fn presented(&mut self, rt: Rt) -> Option<&mut Presented> {
        self.presented.iter_mut().find(|presented| presented.rt == rt)
    }

    /// The latest presentation of a token.
    pub(crate) fn latest_of(&self, rt: Rt) -> Option<Presentation> {
        self.presented.iter().find(|presented| presented.rt == rt).map(|presented| presented.latest)
    }

    /// The number of a token's presentations.
    pub(crate) fn times(&self, rt: Rt) -> u8 {
        self.presented.iter().find(|presented| presented.rt == rt).map_or(0, |presented| presented.times)
    }

    /// Notes that a flight has learnt that the answer to its presentation is lost.
    pub(crate) fn lose(&mut self, rt: Rt, by: FlightId) {
        if let Some(presented) = self.presented(rt).filter(|presented| presented.latest.by == by) {
            presented.latest.lost = true;
        }
    }

    /// Notes that a request has left. Returns the number of earlier presentations of its token.
    pub(crate) fn note(&mut self, request: &Request) -> u8 {
        let latest = Presentation { by: request.by, count: 1, ends: request.ends, lost: false };
        match self.presented(request.rt) {
            Some(presented) => {
                let repeats = if presented.latest.by == request.by { presented.latest.count } else { 0 };
                presented.latest = Presentation { count: repeats + 1, ..latest };
                presented.times += 1;
                presented.times - 1
            }
            None => {
                let rt = request.rt;
                self.presented.push(Presented { rt, times: 1, latest, taken_by: None, over: false });
                0
            }
        }
    }

    /// Whether there is history to forget.
    pub(crate) fn is_stale(&self, state: &State) -> bool {
        let over =
            |number, lineage: &Lineage| !state.matters(number) && lineage.current + u8::from(lineage.revoked) > 0;
        self.presented.iter().any(|presented| !state.may_present(presented.rt))
            || self.lineages.iter().enumerate().any(|(number, lineage)| over(number, lineage))
    }

    /// Whether the server would refuse a request without any effect or never processes it, and no flight waits for the
    /// answer.
    pub(crate) fn ignores(&self, request: &Request, may_be_late: bool) -> bool {
        !request.awaited && (self.lineages[request.rt.lineage].revoked || request.late && !may_be_late)
    }

    /// Forgets history that no process can meet any more.
    pub(crate) fn forget(&mut self, state: &State) {
        self.presented.retain(|presented| state.may_present(presented.rt));
        for (number, lineage) in self.lineages.iter_mut().enumerate().filter(|(number, _)| !state.matters(*number)) {
            let _ = number;
            *lineage = Lineage { current: 0, revoked: false, overtaken: false };
        }
    }

    /// Processes a request.
    pub(crate) fn process(&mut self, request: &Request) -> Took {
        let lineage = &mut self.lineages[request.rt.lineage];
        if lineage.revoked {
            return Took::Refused;
        }
        if lineage.current == request.rt.step {
            lineage.current += 1;
            let successor = Rt { step: lineage.current, ..request.rt };
            if let Some(presented) = self.presented(request.rt).filter(|_| request.awaited) {
                presented.taken_by = Some(request.by);
            }
            return Took::Rotated(successor);
        }
        lineage.revoked = true;
        Took::Reused(self.presented(request.rt).and_then(|presented| presented.taken_by))
    }
}

impl Took {
    /// The evidence for the waiting flight.
    pub(crate) fn evidence(self, asked: Moment) -> Evidence {
        match self {
            Took::Rotated(successor) => Evidence::Tokens(Box::new(Tokens {
                access: AccessToken::new("at"),
                kind: TokenKind::Bearer,
                validity: Validity::new(asked, None),
                refresh: Some(RefreshToken::new(successor.text())),
                granted: None,
                subject: None,
                binding: None,
            })),
            Took::Reused(_) | Took::Refused => {
                let error = Some("invalid_grant".to_owned());
                Evidence::Refused(Refused { status: 400, error, retry_after: None })
            }
        }
    }
}
