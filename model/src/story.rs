//! States and paths in words.

use stateright::Path;
use tokenkeeper_actors::law::flight::{FlightEffect, Op};
use tokenkeeper_actors::law::ledger::Change;
use tokenkeeper_actors::values::FlightId;

use crate::actions::Action;
use crate::identity::process_of;
use crate::server::Rt;
use crate::state::{Seat, State, op};

/// The two processes.
const PROCESSES: [&str; 2] = ["A", "B"];

/// A path in words, with its actions and the state at its end.
pub(crate) fn path(path: Path<State, Action>) -> String {
    let steps = path.into_vec();
    let mut told = String::new();
    for (number, pair) in steps.windows(2).enumerate() {
        let [(before, Some(next)), (after, _)] = pair else { continue };
        told += &format!("{:>3}. {}\n{}", number + 1, action(before, next), state(after));
    }
    told
}

/// An action in words. `state` is the state before it.
fn action(state: &State, action: &Action) -> String {
    match action {
        Action::Begin { process, informed: true } => {
            format!("{} reads the record; a caller refuses its token: it begins a flight", PROCESSES[*process])
        }
        Action::Begin { process, informed: false } => {
            format!("{} begins a flight, from what it knows", PROCESSES[*process])
        }
        Action::Learn(process) => format!("{}'s session learns of the login", PROCESSES[*process]),
        Action::Perform(flight, stamp) => match pending(state, *flight, *stamp) {
            Some(FlightEffect::Send { .. }) => format!("{}'s request leaves", name(*flight)),
            Some(FlightEffect::Connect(..)) => format!("{}'s connection stands", name(*flight)),
            Some(effect) => format!("{}: the store does {}", name(*flight), deed(effect)),
            None => format!("{}: nothing", name(*flight)),
        },
        Action::EndClaim(flight) => format!("{}'s claim is ended", name(*flight)),
        Action::Tick(flight) => format!("{} is told the time", name(*flight)),
        Action::Process(flight, op) => {
            let awaited =
                state.wire.iter().any(|request| (request.by, request.op, request.awaited) == (*flight, *op, true));
            let late = if awaited { "" } else { ", whose answer is lost" };
            format!("the server processes {}'s request{late}", name(*flight))
        }
        Action::Unsent(flight) => format!("{}'s request cannot be sent", name(*flight)),
        Action::FailSave(flight) => format!("the store fails to write {}'s commit", name(*flight)),
        Action::LoseAnswer(flight) => format!("{}'s connection breaks", name(*flight)),
        Action::Land(flight, stamp) => {
            let late = state.late.iter().find(|late| late.flight == *flight && op(&late.effect) == Some(*stamp));
            format!("{}: the store does, late, {}", name(*flight), late.map_or("nothing", |late| deed(&late.effect)))
        }
        Action::Crash(process) => format!("{} crashes and starts again", PROCESSES[*process]),
        Action::LoseClaim(epoch) => format!("the claim of epoch {} is lost", epoch.number()),
        Action::Login => "a login is installed".to_owned(),
        Action::Pass(span) => format!("{} s pass", span.millis() / 1000),
    }
}

/// The facts of a state, one a line.
pub(crate) fn state(state: &State) -> String {
    let record = &state.store.record;
    let held = record.held();
    let access = record.grant().and_then(|grant| grant.access.as_ref()).map_or(0, |access| access.number);
    let rt = held.and_then(|held| Rt::of(held.credential.token()));
    let rt = rt.map_or("no refresh token".to_owned(), |rt| format!("token {rt}"));
    let mark = held.and_then(|held| held.mark.as_ref());
    let mark = mark.map(|mark| format!(", marked by {} ({})", name(mark.flight), mark.presentations));
    let holders: Vec<_> =
        state.store.holders().map(|(epoch, flight)| format!(", {} holds {}", name(flight), epoch.number())).collect();
    let (epoch, revision) = (record.epoch.number(), record.revision.number());
    let (mark, holders, time) = (mark.unwrap_or_default(), holders.concat(), state.now / 1000);
    let mut told = format!("       at {time} s: record {epoch}.{revision}, access {access}, {rt}{mark}{holders}\n");
    for (_, seat) in state.seats() {
        told += &format!("       {} {}\n", name(seat.flight.id()), phase(seat));
    }
    if let Some(law) = state.broken {
        told += &format!("       BROKEN: {}\n", law.name());
    }
    told
}

fn pending(state: &State, flight: FlightId, stamp: Op) -> Option<&FlightEffect> {
    let seat = state.processes[process_of(flight)].seat(flight)?;
    seat.pending.iter().map(|pending| &pending.effect).find(|effect| op(effect) == Some(stamp))
}

/// An effect on the store in words.
fn deed(effect: &FlightEffect) -> &'static str {
    match effect {
        FlightEffect::Load(_) => "the read",
        FlightEffect::Claim { .. } => "the claim",
        FlightEffect::Renew { .. } => "the renewal",
        FlightEffect::Change(_, change) => match change {
            Change::Mark { .. } => "the mark",
            Change::Withdraw { .. } => "the withdrawal of the mark",
            Change::Commit(_) => "the commit",
            Change::End { .. } => "the end of the grant",
            _ => "a write",
        },
        _ => "something",
    }
}

/// A flight's name: `A1` is the first one of the first process.
fn name(flight: FlightId) -> String {
    format!("{}{}", PROCESSES[process_of(flight).min(1)], flight.0 % 16)
}

/// The flight's phase by its machine's name, and the effects it waits for.
fn phase(seat: &Seat) -> String {
    let text = format!("{:?}", seat.flight);
    let phase = text.split_once(", phase: ").map_or("", |(_, rest)| rest);
    let end = phase.find([' ', '(', ',']).unwrap_or(phase.len());
    let pending: Vec<_> = seat.pending.iter().map(|pending| deed(&pending.effect)).collect();
    match pending.as_slice() {
        [] => phase[..end].to_owned(),
        pending => format!("{}: {} pending", &phase[..end], pending.join(", ")),
    }
}
