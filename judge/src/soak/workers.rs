//! The workers of a soak, as the parent has them.

use std::collections::BTreeMap;
use std::io;

use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Invocation;
use super::messages::{FlightStage, WorkerReport, WorkerRequest, WorkerSetup};
use crate::processes::{WorkerOutput, WorkerProcess};

/// The number of a worker. Numbers are not used again.
pub(super) type WorkerNumber = u32;

/// An event of a worker.
#[derive(Debug)]
pub(super) enum WorkerEvent {
    Report(WorkerReport),
    /// The worker is dead, and all of its reports have been read.
    Dead(Option<Box<Worker>>),
}

/// All living workers. Dropping it kills them.
pub(super) struct Workers {
    program: Invocation,
    setup: WorkerSetup,
    workers: BTreeMap<WorkerNumber, Worker>,
    started: WorkerNumber,
    events: mpsc::UnboundedReceiver<(WorkerNumber, Option<WorkerReport>)>,
    send: mpsc::UnboundedSender<(WorkerNumber, Option<WorkerReport>)>,
    readers: JoinSet<()>,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    process: WorkerProcess,
    /// The stage of its flight, as it reported last.
    pub(super) stage: FlightStage,
    pub(super) stopped: bool,
    /// Whether it has reported anything. Before that it is not stopped, because it may not end with its parent yet.
    has_reported: bool,
    /// Whether the parent killed it.
    pub(super) killed: bool,
    /// Whether it has ended by itself as requested.
    pub(super) ended: bool,
}

impl Workers {
    pub(super) fn new(program: Invocation, setup: WorkerSetup) -> Self {
        let (send, events) = mpsc::unbounded_channel();
        Self { program, setup, workers: BTreeMap::new(), started: 0, events, send, readers: JoinSet::new() }
    }

    /// Starts one more worker. `epoch` is that of the last login.
    pub(super) async fn start(&mut self, epoch: u64) -> io::Result<()> {
        self.started += 1;
        let mut command = self.program.command();
        // Ctrl-C is for the parent, which ends its workers itself.
        command.process_group(0);
        let (process, output) = WorkerProcess::start(command)?;
        let mut worker = Worker {
            process,
            stage: FlightStage::Idle,
            stopped: false,
            has_reported: false,
            killed: false,
            ended: false,
        };
        let setup = WorkerSetup { seed: self.setup.seed.wrapping_add(u64::from(self.started)), ..self.setup.clone() };
        worker.send(&WorkerRequest::Start(setup)).await;
        worker.send(&WorkerRequest::Login(epoch)).await;
        #[expect(clippy::disallowed_methods, reason = "ends with the output that it reads, and with the workers")]
        self.readers.spawn(read(self.started, output, self.send.clone()));
        self.workers.insert(self.started, worker);
        Ok(())
    }

    /// Returns the next event of any worker. Safe to drop.
    pub(super) async fn next_event(&mut self) -> (WorkerNumber, WorkerEvent) {
        let Some((number, report)) = self.events.recv().await else { return std::future::pending().await };
        let event = match report {
            Some(report) => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.note(&report);
                }
                WorkerEvent::Report(report)
            }
            None => WorkerEvent::Dead(self.workers.remove(&number).map(Box::new)),
        };
        (number, event)
    }

    pub(super) async fn send_all(&mut self, request: WorkerRequest) {
        for worker in self.workers.values_mut() {
            worker.send(&request).await;
        }
    }

    /// Sends SIGKILL. The death is an event.
    pub(super) fn kill(&mut self, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.killed = true;
            worker.process.signal(Signal::KILL);
        }
    }

    /// Sends SIGSTOP, and returns whether the worker lives and was not stopped before.
    pub(super) fn stop(&mut self, number: WorkerNumber) -> bool {
        let running = |worker: &&mut Worker| worker.has_reported && !worker.stopped;
        let Some(worker) = self.workers.get_mut(&number).filter(running) else { return false };
        worker.stopped = true;
        worker.process.signal(Signal::STOP);
        true
    }

    /// Sends SIGCONT.
    pub(super) fn resume(&mut self, number: WorkerNumber) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.stopped = false;
            worker.process.signal(Signal::CONT);
        }
    }

    /// The workers that are neither stopped nor killed.
    pub(super) fn running(&self) -> Vec<WorkerNumber> {
        let runs = |worker: &Worker| !worker.stopped && !worker.killed;
        self.workers.iter().filter(|(_, worker)| runs(worker)).map(|(number, _)| *number).collect()
    }

    pub(super) fn all(&self) -> Vec<WorkerNumber> {
        self.workers.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
}

impl Worker {
    /// A dead worker takes no message, and its death is an event.
    async fn send(&mut self, request: &WorkerRequest) {
        let _ = self.process.send(request).await;
    }

    fn note(&mut self, report: &WorkerReport) {
        self.has_reported = true;
        match report {
            WorkerReport::Stage(stage) => self.stage = *stage,
            WorkerReport::Ended { .. } => self.ended = true,
            _ => {}
        }
    }

    /// Waits for the end of the process, so that the system frees it.
    pub(super) async fn reap(self) {
        let _ = self.process.end().await;
    }
}

async fn read(
    number: WorkerNumber,
    mut output: WorkerOutput,
    send: mpsc::UnboundedSender<(WorkerNumber, Option<WorkerReport>)>,
) {
    while let Some(report) = output.next().await {
        if send.send((number, Some(report))).is_err() {
            return;
        }
    }
    let _ = send.send((number, None));
}
