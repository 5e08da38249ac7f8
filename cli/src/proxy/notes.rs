//! Notes for people, on standard error.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

/// The maximum number of notes that wait to be written. Further ones are dropped, because a host may never read them.
const MAX_WAITING: usize = 64;

/// Writes notes on a separate thread, so that a host that does not read them blocks nothing. Cheap to clone.
///
/// Notes contain neither tokens nor headers. The only texts of a server in them are names, without characters that act on a
/// terminal.
#[derive(Clone, Debug)]
pub(super) struct NoteWriter(SyncSender<String>);

impl NoteWriter {
    #[expect(clippy::disallowed_methods, reason = "a thread, because the runtime would wait for a write at its end")]
    pub(super) fn of_process() -> io::Result<Self> {
        let (sender, notes) = sync_channel::<String>(MAX_WAITING);
        let writing = move || {
            for note in notes {
                let _ = writeln!(io::stderr(), "note: {note}");
            }
        };
        std::thread::Builder::new().name("stderr".to_owned()).spawn(writing)?;
        Ok(Self(sender))
    }

    pub(super) fn note(&self, text: &str) {
        let _ = self.0.try_send(text.to_owned());
    }
}
