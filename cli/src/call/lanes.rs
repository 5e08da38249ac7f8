//! Calls side by side.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokenkeeper::engine::ports::clock::Clock;
use tokenkeeper::engine::system::SystemClock;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::input::CallInput;
use super::report::{CallOutcome, CallReport};
use crate::failure::Failure;
use crate::home::Interruptions;
use crate::mcp_client::{Connection, McpClient, RequestFailure};
use crate::wire::envelope::{MessageParts, member, text};
use crate::wire::http::SendRecord;

/// The maximum number of outcomes that wait to be printed. Above it, no more calls begin.
const MAX_OUTCOMES: usize = 1024;

/// The time-out for the notification that a call was given up.
const NOTICE: Duration = Duration::from_secs(1);

/// The calls to make.
#[derive(Clone, Debug)]
pub(super) struct CallPlan {
    pub(super) input: CallInput,
    /// The number of calls that are made side by side.
    pub(super) parallel: u32,
    /// The number of times that each of them is made.
    pub(super) repeat: u32,
    pub(super) interval: Option<Duration>,
    /// The time-out of each call.
    pub(super) timeout: Duration,
}

/// A sequence of calls, one after another, beside other such sequences.
struct CallLane {
    plan: CallPlan,
    client: Arc<McpClient>,
    clock: Arc<SystemClock>,
    /// The number of its first call.
    first: u64,
    outcomes: Sender<CallOutcome>,
}

impl CallPlan {
    /// The total number of calls.
    pub(super) fn calls(&self) -> u64 {
        u64::from(self.parallel) * u64::from(self.repeat)
    }
}

/// Makes the calls, and reports each. Returns the failure that the command ends with.
pub(super) async fn run(
    plan: CallPlan,
    connection: &Connection,
    interruptions: &mut Interruptions,
    report: &mut CallReport<'_, impl Write>,
) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::new().map_err(std::io::Error::other)?);
    let (sender, mut outcomes) = channel(MAX_OUTCOMES);
    let mut lanes = JoinSet::new();
    for (first, client) in (1..=u64::from(plan.parallel)).zip(connection.clients.iter().cycle()) {
        let (plan, client, clock) = (plan.clone(), Arc::clone(client), Arc::clone(&clock));
        let lane = CallLane { plan, client, clock, first, outcomes: sender.clone() };
        start(&mut lanes, lane.work());
    }
    drop(sender);
    let done = loop {
        tokio::select! {
            // The signal is polled first, because outcomes may always be ready.
            biased;
            () = interruptions.next() => break Err(Failure::Interrupted),
            outcome = outcomes.recv() => match outcome {
                Some(outcome) => if let Err(error) = report.call(outcome) {
                    break Err(error.into());
                },
                None => break Ok(()),
            },
        }
    };
    // Unfinished calls are given up.
    lanes.shutdown().await;
    let ended = report.end(connection).await;
    done.and(ended)
}

impl CallLane {
    async fn work(self) {
        let mut ticks = self.plan.interval.filter(|span| !span.is_zero()).map(ticks);
        for round in 0..u64::from(self.plan.repeat) {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let outcome = self.call(self.first + round * u64::from(self.plan.parallel)).await;
            if self.outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }

    async fn call(&self, n: u64) -> CallOutcome {
        let (has_left, mut record) = (AtomicBool::default(), SendRecord::default());
        let begun = self.clock.now().elapsed;
        let request = self.client.request("tools/call", self.plan.input.members(), &has_left, &mut record);
        #[expect(clippy::disallowed_methods, reason = "it bounds a request of MCP; a refresh goes on")]
        let done = tokio::time::timeout(self.plan.timeout, request).await;
        let took = self.clock.now().elapsed.since(begun);
        let (message, failure) = match done {
            Ok(Ok(message)) => {
                let failure = judged(&message);
                (Some(message), failure)
            }
            Ok(Err(failure)) => (None, Some(failure)),
            Err(_) => {
                #[expect(clippy::disallowed_methods, reason = "it bounds a notice")]
                let _ = tokio::time::timeout(NOTICE, self.client.cancel_abandoned()).await;
                (None, Some(RequestFailure::TimedOut { has_left: has_left.load(Ordering::Relaxed) }))
            }
        };
        CallOutcome { n, took, record, message, failure }
    }
}

/// The failure that a tool's result reports, if it reports one.
fn judged(message: &[u8]) -> Option<RequestFailure> {
    let result = MessageParts::read(message)?.result?;
    if member(result, "isError").is_some_and(|is_error| is_error.get() == "true") {
        return Some(RequestFailure::Tool);
    }
    // Only results of 2026-07-28 have a type.
    let kind = member(result, "resultType").and_then(text)?;
    (kind != "complete").then_some(RequestFailure::InputRequired)
}

#[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
fn ticks(span: Duration) -> Interval {
    let mut ticks = tokio::time::interval(span);
    // Missed ticks are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[expect(clippy::disallowed_methods, reason = "tasks of the command, which end with it")]
fn start(lanes: &mut JoinSet<()>, work: impl Future<Output = ()> + Send + 'static) {
    lanes.spawn(work);
}
