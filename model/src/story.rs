//! States and paths in words.

use crate::actions::Action;
use crate::identity::shown;
use crate::server::Rt;
use crate::state::{Seat, State, op};

/// An action in words.
pub(crate) fn action(action: &Action) -> String {
    format!("{action:?}")
}

/// A state in a few lines.
pub(crate) fn state(state: &State) -> String {
    let record = &state.store.record;
    let rt = record.held().and_then(|held| Rt::of(held.credential.token()));
    let mark = record.held().and_then(|held| held.mark.as_ref());
    let access = record.grant().and_then(|grant| grant.access.as_ref()).map(|access| access.number);
    let mut lines = vec![format!(
        "{:>6} ms  record {}.{} access {:?} rt {:?} mark {:?}  held {:?}",
        state.now,
        record.epoch.number(),
        record.revision.number(),
        access,
        rt.map(|rt| (rt.lineage, rt.step)),
        mark.map(|mark| (shown(mark.flight), mark.presentations)),
        state.store.holders().map(|(epoch, flight)| (epoch.number(), shown(flight))).collect::<Vec<_>>(),
    )];
    for (_, seat) in state.seats() {
        lines.push(format!("           {} {}", shown(seat.flight.id()), phase(seat)));
    }
    if let Some(law) = state.broken {
        lines.push(format!("           BROKEN: {}", law.name()));
    }
    lines.join("\n")
}

fn phase(seat: &Seat) -> String {
    let text = format!("{:?}", seat.flight);
    let phase = text.split_once(", phase: ").map_or("", |(_, rest)| rest);
    let end = phase.find([' ', '(', ',']).unwrap_or(phase.len());
    let pending: Vec<_> = seat.pending.iter().filter_map(|pending| op(&pending.effect)).map(|op| op.0).collect();
    format!("{} pending {pending:?}", &phase[..end])
}
