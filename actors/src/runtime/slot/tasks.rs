//! The running tasks of one kind, and the reports that they leave for the actor.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// Tasks with identifiers `I` that take messages `M` and leave reports `R`.
#[derive(Debug)]
pub(super) struct Tasks<I, M, R> {
    /// The running tasks, with the channels to them. There is seldom more than one.
    running: Vec<(I, mpsc::UnboundedSender<M>)>,
    /// Reports that no actor has taken yet. `None` means that the task has ended.
    reports: VecDeque<(I, Option<R>)>,
}

impl<I, M, R> Default for Tasks<I, M, R> {
    fn default() -> Self {
        Self { running: Vec::new(), reports: VecDeque::new() }
    }
}

impl<I: Copy + PartialEq, M, R> Tasks<I, M, R> {
    /// Registers a task. Messages to it arrive at the returned receiver.
    pub(super) fn register(&mut self, id: I) -> mpsc::UnboundedReceiver<M> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.running.push((id, sender));
        receiver
    }

    /// Sends a message to one running task, or to all of them.
    pub(super) fn send(&self, to: Option<I>, message: impl Fn() -> M) {
        for (_, sender) in self.running.iter().filter(|(id, _)| to.is_none_or(|to| to == *id)) {
            drop(sender.send(message()));
        }
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether reports wait for an actor.
    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Stores a report, `None` for the end of the task.
    pub(super) fn put(&mut self, id: I, report: Option<R>) {
        if report.is_none() {
            self.running.retain(|(running, _)| *running != id);
        }
        self.reports.push_back((id, report));
    }

    /// Takes the next report.
    pub(super) fn take(&mut self) -> Option<(I, Option<R>)> {
        self.reports.pop_front()
    }

    /// Whether a task has ended and all its reports were taken.
    pub(super) fn is_finished(&self, id: I) -> bool {
        self.running.iter().all(|(running, _)| *running != id) && self.reports.iter().all(|(of, _)| *of != id)
    }
}
