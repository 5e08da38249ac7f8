//! The worker's side of the messages, which are one JSON value a line on standard input and standard output.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// The marker before each message of a worker. A worker may print other text too, as a test harness does.
pub(super) const MARKER: &str = "@@";

/// Reports to the parent. Callable from any thread.
///
/// Exits the process with code 1 where the parent does not listen, because a worker without a parent has no work.
pub fn report(message: &impl Serialize) {
    let written = serde_json::to_string(message).map_err(io::Error::from).and_then(|line| {
        let mut out = io::stdout().lock();
        writeln!(out, "{MARKER}{line}")?;
        out.flush()
    });
    if written.is_err() {
        std::process::exit(1);
    }
}

/// Reads the parent's requests from standard input until it ends, and calls `at_end` then.
///
/// A thread of its own reads them, because a held flight keeps a thread of the runtime busy. A line that is no request
/// counts as the end.
pub fn read_requests<T>(at_end: impl FnOnce() + Send + 'static) -> mpsc::UnboundedReceiver<T>
where
    T: DeserializeOwned + Send + 'static,
{
    let (send, requests) = mpsc::unbounded_channel();
    #[expect(clippy::disallowed_methods, reason = "reading blocks its thread, which ends with the process")]
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Some(request) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            if send.send(request).is_err() {
                // The worker is ending.
                return;
            }
        }
        at_end();
    });
    requests
}
