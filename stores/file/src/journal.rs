//! The journal of an identity's events, one line of JSON for each, free of secrets. A line names neither its identity nor
//! its issuer, so it is not sealed.

use serde::{Deserialize, Serialize};
use tokenkeeper_actors::ports::store::{EventKind, JournalLine};
use tokenkeeper_actors::values::{BootId, ElapsedTime, FlightId, Moment, Reason, ServerIdentity, WallTime};

use crate::error::FileError;
use crate::folder::Durability;
use crate::lock;
use crate::names::{Name, append_line};
use crate::records::Place;

/// The size of a journal, in bytes, above which the older half of its lines is dropped.
const MOST: u64 = 64 * 1024;

/// The maximal number of lines kept of one identity. No line is shorter than 66 bytes.
pub(crate) const KEPT: usize = 1_000;

/// A line of the journal, and the process that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub line: JournalLine,
    /// The id that the writing process had at the time.
    pub process: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    wall: u64,
    elapsed: u64,
    boot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flight: Option<String>,
    /// Homes of version 0.1 before the first release call this member `what`.
    #[serde(alias = "what")]
    kind: String,
    #[serde(alias = "why", default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    process: u32,
}

pub(crate) fn note(place: &Place, identity: &ServerIdentity, line: &JournalLine) -> Result<(), FileError> {
    let name = place.name(identity);
    let journals = &place.home.journals;
    let failed = |error| journals.io(&error, name.as_str());
    let text = serde_json::to_string(&Line::of(line)).map_err(|error| failed(error.into()))?;
    let _lock = lock::wait(&place.home.locks, &name.journal_lock())?;
    // Checked under the lock. A removal takes it after the record is gone.
    if place.home.removes_records()? && place.home.records.stat(name.as_str())?.is_none() {
        return Ok(());
    }
    let file = journals.open_to_append(name.as_str())?;
    let size = file.metadata().map_err(failed)?.len();
    append_line(file, &text).map_err(failed)?;
    if size > MOST { shorten(place, &name) } else { Ok(()) }
}

/// Keeps the newer half. The caller holds the lock.
fn shorten(place: &Place, name: &Name) -> Result<(), FileError> {
    let journals = &place.home.journals;
    let Some(bytes) = journals.read_part(name.as_str(), 0, 2 * MOST)? else { return Ok(()) };
    let half = bytes.len() / 2;
    let from = bytes[half..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| half + end + 1);
    journals.replace(name.as_str(), &bytes[from..], Durability::ThisBoot)
}

/// The newest `most` entries, oldest first.
pub(crate) fn read(place: &Place, identity: &ServerIdentity, most: usize) -> Result<Vec<Entry>, FileError> {
    let Some(bytes) = place.home.journals.read_part(place.name(identity).as_str(), 0, 2 * MOST)? else {
        return Ok(Vec::new());
    };
    // A line that a crash cut off, or that a later version wrote, is skipped.
    let entries: Vec<Entry> = bytes.split(|byte| *byte == b'\n').filter_map(Line::read).collect();
    Ok(entries[entries.len().saturating_sub(most)..].to_vec())
}

/// Removes a journal, if there is one.
pub(crate) fn remove(place: &Place, name: &Name) -> Result<(), FileError> {
    let _lock = lock::wait(&place.home.locks, &name.journal_lock())?;
    place.home.journals.remove(name.as_str()).map(drop)
}

impl Line {
    fn of(line: &JournalLine) -> Self {
        let Moment { wall, elapsed, boot } = line.at;
        Self {
            wall: wall.as_millis(),
            elapsed: elapsed.as_millis(),
            boot: format!("{:032x}", { boot.0 }),
            flight: line.flight.map(|flight| flight.to_string()),
            kind: line.kind.as_str().to_owned(),
            reason: line.reason.map(|reason| reason.as_str().to_owned()),
            process: std::process::id(),
        }
    }

    fn read(bytes: &[u8]) -> Option<Entry> {
        let line: Self = serde_json::from_slice(bytes).ok()?;
        let number = |digits: &str| u128::from_str_radix(digits, 16).ok();
        let at = Moment {
            wall: WallTime::from_millis(line.wall),
            elapsed: ElapsedTime::from_millis(line.elapsed),
            boot: BootId(number(&line.boot)?),
        };
        let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == line.kind)?;
        let reason = line.reason.and_then(|word| Reason::ALL.into_iter().find(|reason| reason.as_str() == word));
        let flight = line.flight.as_deref().and_then(number).map(FlightId);
        Some(Entry { line: JournalLine { at, flight, kind, reason }, process: line.process })
    }
}
