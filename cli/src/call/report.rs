//! The report of calls, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::content;
use crate::failure::Failure;
use crate::mcp_client::{Connection, RequestFailure};
use crate::paint::{print_json, print_json_text};
use crate::wire::envelope::MessageParts;
use crate::wire::http::SendRecord;

/// The exit codes, the most important one for a person first.
const ORDER: [u8; 5] = [3, 4, 6, 5, 1];

/// The outcome of a call.
#[derive(Debug)]
pub(super) struct CallOutcome {
    /// The number of the call, from 1.
    pub(super) n: u64,
    pub(super) took: Duration,
    pub(super) record: SendRecord,
    /// The message with the result, which is also present if the tool reports an error.
    pub(super) message: Option<Vec<u8>>,
    pub(super) failure: Option<RequestFailure>,
}

/// Prints the calls, and counts them.
pub(super) struct CallReport<'a, W> {
    is_json: bool,
    /// Whether several calls are made. Their lines then have numbers.
    has_many: bool,
    is_terminal: bool,
    out: &'a mut W,
    /// The milliseconds of each call.
    millis: Vec<u64>,
    failed: u64,
    /// A failure for each reason.
    failures: BTreeMap<&'static str, RequestFailure>,
}

impl<'a, W: Write> CallReport<'a, W> {
    /// A report of this many calls.
    pub(super) fn new(is_json: bool, calls: u64, out: &'a mut W) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            is_json,
            has_many: calls > 1,
            is_terminal,
            out,
            millis: Vec::new(),
            failed: 0,
            failures: BTreeMap::new(),
        }
    }

    /// Prints a call.
    pub(super) fn call(&mut self, outcome: CallOutcome) -> io::Result<()> {
        let millis = u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX);
        self.millis.push(millis);
        let CallOutcome { n, record, message, failure, .. } = outcome;
        let result = message.as_deref().and_then(MessageParts::read).and_then(|message| message.result);
        if self.is_json {
            let generation = record.generation.map(|generation| generation.to_string());
            // The result is the server's own text, so that large numbers do not change.
            let result = result.map_or("null", |result| result.get());
            let line = format!(
                r#"{{"n":{n},"ok":{},"ms":{millis},"generation":{},"attempts":{},"result":{result},"error":{}}}"#,
                failure.is_none(),
                Value::from(generation),
                record.attempts,
                failure.as_ref().map_or(Value::Null, RequestFailure::object),
            );
            print_json_text(self.out, &line)?;
        } else {
            if let Some(result) = result {
                self.out.write_all(content::shown(result, self.is_terminal).as_bytes())?;
            }
            if let (Some(failure), true) = (&failure, self.has_many) {
                let _ = writeln!(io::stderr(), "call {n}: {}: {}", failure.reason(), failure.message());
            }
        }
        self.out.flush()?;
        if let Some(failure) = failure {
            self.failed += 1;
            self.failures.entry(failure.reason()).or_insert(failure);
        }
        Ok(())
    }

    /// Prints the totals, and returns the failure that the command ends with, if a call failed.
    pub(super) async fn end(&mut self, connection: &Connection) -> Result<(), Failure> {
        let totals = self.totals(connection);
        if self.is_json {
            print_json(self.out, &totals)?;
        } else if self.has_many {
            let span =
                |name: &str| totals[name].as_u64().map_or_else(|| "-".to_owned(), |millis| format!("{millis} ms"));
            let _ = writeln!(
                io::stderr(),
                "{} calls: {} ok, {} failed, {} token requests, p50 {}, p99 {}",
                totals["calls"],
                totals["ok"],
                totals["failed"],
                totals["token_requests"],
                span("p50_ms"),
                span("p99_ms"),
            );
        }
        let mut worst: Option<Failure> = None;
        for (_, failure) in std::mem::take(&mut self.failures) {
            let failure = connection.failure(failure, true).await;
            let rank = |failure: &Failure| ORDER.iter().position(|code| *code == failure.code());
            if worst.as_ref().is_none_or(|worst| rank(&failure) < rank(worst)) {
                worst = Some(failure);
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Reports that no call could be made.
    pub(super) async fn not_opened(&mut self, failure: RequestFailure, connection: &Connection) -> Result<(), Failure> {
        if self.is_json {
            let mut totals = self.totals(connection);
            totals["error"] = failure.object();
            print_json(self.out, &totals)?;
        }
        Err(connection.failure(failure, false).await)
    }

    fn totals(&mut self, connection: &Connection) -> Value {
        self.millis.sort_unstable();
        let calls = self.millis.len() as u64;
        json!({
            "calls": calls,
            "ok": calls - self.failed,
            "failed": self.failed,
            "token_requests": connection.token_requests(),
            "p50_ms": percentile(&self.millis, 50),
            "p99_ms": percentile(&self.millis, 99),
        })
    }
}

/// The smallest value that at least this percentage of the values does not exceed. The values are in order.
fn percentile(ordered: &[u64], percent: usize) -> Option<u64> {
    let rank = (ordered.len() * percent).div_ceil(100);
    ordered.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (Some(100), Some(198)));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 50)), (Some(7), Some(7), None));
        assert_eq!((percentile(&[1, 2], 50), percentile(&[1, 2], 99)), (Some(1), Some(2)));
    }
}
